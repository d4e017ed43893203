"""pyrender drawing colour, person and depth in one pass, where by itself it takes two.

Both of its own passes draw into a frame of four samples a pixel, which on a processor is most of
their cost; here edges are smoothed afterwards.  It has no public way to be given other shaders or
another frame, and its last version is of 2021, so this overrides private methods of that version.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

_SHADERS = Path(__file__).resolve().parent / "shaders"


def one_pass_renderer(width: int, height: int) -> Any:  # noqa: ANN401 - pyrender has no types
    """A `pyrender.OffscreenRenderer` whose `render` is to be asked for `RenderFlags.SEG` only.

    It gives (H, W, 4) uint8, the colours of the vertices and in place of alpha theirs, 255 where
    nothing is, and (H, W) float32 metres along z, the far plane where nothing is.
    """
    # Imported and derived from only here, as importing pyrender imports OpenGL.
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
            return color[::-1], metres[::-1]  # OpenGL begins with the lowest row

    class OnePassOffscreenRenderer(pyrender.OffscreenRenderer):
        def _create(self) -> None:
            super()._create()
            self._renderer = OnePassRenderer(self.viewport_width, self.viewport_height)
            self._renderer._program_cache = ShaderProgramCache(str(_SHADERS))

    return OnePassOffscreenRenderer(width, height)
