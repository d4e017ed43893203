"""MCP server of the page: photos as uploads, and the login of `--auth`."""

from __future__ import annotations

import base64
import binascii
import secrets
from functools import partial
from pathlib import Path
from typing import Any

from gradio.utils import get_upload_folder
from gradio_client import Client  # type: ignore[import-untyped]

from .arguments import NOT_UPLOADED
from .limits import MAX_CALL_MB


def accept_large_calls() -> None:
    """Let the MCP server take calls of `MAX_CALL_MB`; call before the page is launched."""
    from gradio.mcp import GradioMCPServer
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

    GradioMCPServer.StreamableHTTPSessionManager = partial(  # type: ignore[misc, assignment]
        StreamableHTTPSessionManager, max_request_body_size=MAX_CALL_MB * 1024 * 1024
    )


def use_uploads_in_mcp(server: Any, auth: tuple[str, str] | None) -> None:  # noqa: ANN401
    """Change the MCP server of Gradio.

    It calls the page as a client of its own, which needs the login. It stores photos of calls twice
    and never deletes the first copy, and downloads any web address.

    Args:
        server: of `gr.Blocks.mcp_server_obj`.
        auth: user name and password of the page.
    """

    def convert(arguments: dict[str, Any], positions: list[list[str | int]]) -> dict[str, Any]:
        files = {str(position[0]) for position in positions if len(position) == 1}
        return {k: _stored(v) if k in files else v for k, v in arguments.items()}

    server.convert_strings_to_filedata = convert
    if auth is None:
        return

    def client() -> Client:
        if server._client_instance is None:
            server._client_instance = Client(
                server.local_url,
                auth=auth,
                download_files=False,
                verbose=False,
                analytics_enabled=False,
                ssl_verify=False,
                _skip_components=False,
                headers={"x-gradio-user": "mcp"},
            )
        return server._client_instance

    server._get_or_create_client = client


def _stored(value: object) -> object:
    """File argument of a photo sent as text, or given by its address on this page."""
    if not isinstance(value, str):
        return value
    if not value.startswith("data:"):
        # Without `meta` the client uploads and downloads nothing; the page checks the path.
        return {"path": value}
    head, _, text = value.partition(",")
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(NOT_UPLOADED) from error
    if not head.endswith(";base64") or len(content) > MAX_CALL_MB * 1024 * 1024:
        raise ValueError(NOT_UPLOADED)
    suffix = "".join(c for c in head.partition("/")[2].partition(";")[0] if c.isalnum())[:8]
    folder = Path(get_upload_folder()) / secrets.token_hex(32)
    folder.mkdir(parents=True)
    path = folder / f"photo.{suffix or 'bin'}"
    path.write_bytes(content)
    return {"path": str(path)}
