"""API calls over plain HTTP, without a client library."""

import json
import uuid
from pathlib import Path
from urllib.request import Request, urlopen

_SECONDS = 120
FILE_DEFAULTS = (False, False, "smplx", False, [])
"""Last arguments of `/reconstruct`: refinement and options of the files."""
VIDEO_DEFAULTS = (True, False, False, "smplx", 0.0, "auto")
"""Last arguments of `/video`: smoothing, refinement, files, start and still camera."""


def send_file(address: str, path: Path) -> str:
    """Upload a file; return its path on the server."""
    head = f'Content-Disposition: form-data; name="files"; filename="{path.name}"'
    body = b"--edge\r\n" + head.encode() + b"\r\n\r\n" + path.read_bytes() + b"\r\n--edge--\r\n"
    kind = {"Content-Type": "multipart/form-data; boundary=edge"}
    with urlopen(Request(f"{address}gradio_api/upload", body, kind), timeout=_SECONDS) as reply:
        return json.load(reply)[0]


def file_data(path: str) -> dict:
    """Argument for a file on the server."""
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


def call(address: str, name: str, data: list) -> tuple[str, list | dict | None]:
    """Call an endpoint in a new session; return kind and data of the last event."""
    url = f"{address}gradio_api/call/{name}"
    body = json.dumps({"data": data, "session_hash": uuid.uuid4().hex}).encode()
    with urlopen(Request(url, body, {"Content-Type": "application/json"}), timeout=_SECONDS) as r:
        event = json.load(r)["event_id"]
    with urlopen(f"{url}/{event}", timeout=_SECONDS) as reply:
        *_, kind, content = reply.read().decode().strip().split("\n")
    return kind.removeprefix("event: "), json.loads(content.removeprefix("data: "))
