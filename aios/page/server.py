"""Web server of the page, local and with a public link."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Sequence
from pathlib import Path

import gradio as gr
from gradio import networking
from starlette.middleware import Middleware

from ..cli import StartError
from ..resources import ASSETS
from .availability import Availability, HealthCheck
from .guard import AllowedHosts, Heartbeats, LoginPace, allowed_hosts
from .limits import MAX_STATES, MAX_UPLOAD_FILE_MB, MAX_WAITING, RequestLimits
from .mcp_login import accept_large_calls, use_uploads_in_mcp
from .page_state import OpenPagesFirst, own_folders
from .queue_places import limit_waiting_jobs, run_one_photo_each
from .sessions import Sessions
from .viewer_files import ViewerFiles

_MCP_VERSION = "1.30.0"

_log = logging.getLogger("aios.app")


def launch(
    page: gr.Blocks,
    host: str,
    port: int,
    auth: tuple[str, str] | None = None,
    never_served: Sequence[Path] = (),
    mcp: bool = False,
    availability: Availability | None = None,
    hosts: Sequence[str] = (),
) -> str:
    """Start serving in the background and return the address.

    Args:
        page: complete page.
        host: host name or address to listen on.
        port: port to listen on.
        auth: user name and password required from visitors.
        never_served: files that are refused to all visitors.
        mcp: serve MCP too; if False, the variable GRADIO_MCP_SERVER decides.
        availability: told by `/health`; None for a server that is never stopped gracefully.
        hosts: further names under which the page is served, see `guard.allowed_hosts`.

    Raises:
        StartError: the page cannot be served on this host and port.
    """
    if mcp and importlib.util.find_spec("mcp") is None:
        raise StartError(f"--mcp needs another package: pip install mcp=={_MCP_VERSION}.")
    fonts = ["ui-sans-serif", "system-ui", "Segoe UI", "Roboto", "sans-serif"]
    theme = gr.themes.Default(
        primary_hue="indigo", font=fonts, font_mono=["ui-monospace", "Consolas", "monospace"]
    ).set(
        # Text needs a contrast of 4.5 : 1.
        block_info_text_color="*neutral_500",
        block_info_text_color_dark="*neutral_400",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover_dark="*primary_700",
    )
    sessions: Sessions = page.sessions  # type: ignore[attr-defined]  # set by `build_page`
    names, any_address = allowed_hosts(host, hosts)
    middleware = [
        Middleware(HealthCheck, availability=availability or Availability()),
        Middleware(AllowedHosts, names=names, any_address=any_address),
        Middleware(ViewerFiles),
        Middleware(LoginPace, auth=auth),
        Middleware(RequestLimits),
        Middleware(Heartbeats, sessions=sessions),
    ]
    own_folders()
    if importlib.util.find_spec("mcp") is not None:
        accept_large_calls()
    # Addresses contain IPv6 hosts in brackets.
    shown = f"[{host}]" if ":" in host else host
    try:
        app, address, _ = page.queue(max_size=MAX_WAITING).launch(
            server_name=shown,
            server_port=port,
            auth=auth,
            share=False,
            prevent_thread_lock=True,
            quiet=True,
            show_error=False,
            run_history=False,
            footer_links=["api", "settings"],
            max_file_size=f"{MAX_UPLOAD_FILE_MB}mb",
            blocked_paths=[str(path.resolve()) for path in (ASSETS / "body", *never_served)],
            state_session_capacity=MAX_STATES,
            ssr_mode=False,
            mcp_server=mcp or None,
            app_kwargs={"middleware": middleware},
            theme=theme,
            css_paths=ASSETS / "page.css",
            js=(ASSETS / "page.js").read_text("utf-8"),
            # Without the check that the page answers within 3 s, which busy machines miss.
            _frontend=False,
        )
    except (OSError, ValueError) as error:
        raise StartError(f"The page cannot be served on {host}: {error}") from error
    app.state_holder = OpenPagesFirst(sessions.is_connected)
    app.state_holder.set_blocks(page)
    limit_waiting_jobs(page)
    run_one_photo_each(page)
    if mcp_server := page.mcp_server_obj:
        use_uploads_in_mcp(mcp_server, auth)
    return address.replace("[::]", "[::1]")


def share(page: gr.Blocks, port: int) -> None:
    """Open a public link, or log why there is none. The local page is served in either case.

    `launch(share=True)` is not used, because it makes local visitors load the page from a CDN and
    logs ten lines without a network.
    """
    try:
        link = networking.setup_tunnel(page.server_name, port, page.share_token, None, None)
    except Exception as error:  # the local page must survive any failure
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        _log.warning("No public link, only the local page: %s.", reason)
    else:
        _log.info("Public link, valid for one week, open to anyone unless --auth is set: %s", link)
