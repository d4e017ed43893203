"""Scripts of the 3D viewer, served under `/viewer/`."""

from __future__ import annotations

from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from ..resources import ASSETS

_PREFIX = "/viewer/"


class ViewerFiles:
    """ASGI middleware that serves `assets/viewer/`, which holds nothing of visitors."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap `app`."""
        self._app = app
        self._files = StaticFiles(directory=ASSETS / "viewer")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with a file; pass other requests on."""
        path = scope.get("path", "")
        if scope["type"] != "http" or not path.startswith(_PREFIX):
            await self._app(scope, receive, send)
            return
        below = {**scope, "path": path.removeprefix(_PREFIX[:-1]), "root_path": ""}
        await self._files(below, receive, send)
