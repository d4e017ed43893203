"""A pyrender renderer that draws colour, person index and depth in one pass.

pyrender itself needs two passes, both with four samples per pixel, which is most of the cost on a
CPU; here edges are smoothed afterwards.  pyrender has no public way to set shaders or the frame
buffer.  Its last release is of 2021 and pinned, so this module overrides private methods.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

_SHADERS = Path(__file__).resolve().parent / "shaders"


def one_pass_renderer(width: int, height: int) -> Any:  # noqa: ANN401 - pyrender has no types
    """Create a `pyrender.OffscreenRenderer`; call `render` with `RenderFlags.SEG` only.

    `render` returns (H, W, 4) uint8, the interpolated vertex colours with the alpha of the first
    vertex, 255 for background, and (H, W) float32 metres along z, the far plane for background.
    """
    # Importing pyrender imports OpenGL, so it is imported on first use.
    import pyrender
    from OpenGL import GL
    from pyrender.shader_program import ShaderProgramCache

    class OnePassRenderer(pyrender.Renderer):
        def _configure_forward_pass_viewport(self, flags: int) -> None:
            super()._configure_forward_pass_viewport(flags)
            GL.glBindFramebuffer(GL.GL_DRAW_FRAMEBUFFER, self._main_fb)

        def _read_main_framebuffer(
            self, scene: pyrender.Scene, flags: int
        ) -> tuple[np.ndarray, np.ndarray]:
            width, height = self._main_fb_dims
            color = np.empty((height, width, 4), np.uint8)
            depth = np.empty((height, width), np.float32)
            GL.glBindFramebuffer(GL.GL_READ_FRAMEBUFFER, self._main_fb)
            GL.glReadPixels(0, 0, width, height, GL.GL_RGBA, GL.GL_UNSIGNED_BYTE, color)
            GL.glReadPixels(0, 0, width, height, GL.GL_DEPTH_COMPONENT, GL.GL_FLOAT, depth)
            lens = scene.main_camera_node.camera
            metres = lens.znear * lens.zfar / (lens.zfar - depth * (lens.zfar - lens.znear))
            return color[::-1], metres[::-1]  # OpenGL starts with the bottom row

    class OnePassOffscreenRenderer(pyrender.OffscreenRenderer):
        def _create(self) -> None:
            super()._create()
            self._renderer = OnePassRenderer(self.viewport_width, self.viewport_height)
            self._renderer._program_cache = ShaderProgramCache(str(_SHADERS))

    return OnePassOffscreenRenderer(width, height)
