"""Rendering of GLB files with trimesh and pyrender, through the camera of the file."""

import io
from functools import lru_cache

import numpy as np
import trimesh

from aios.render import opengl


def render_glb(content, width=640, height=480):
    """Render without lighting through the camera of a GLB.

    Returns:
        (h, w, 3) uint8 RGB and (h, w) float metres along the optical axis, 0 for background.
    """
    return opengl._start_worker().submit(_render, content, width, height).result()


def _render(content, width, height):
    pyrender = opengl._import_pyrender()
    loaded = trimesh.load_scene(io.BytesIO(content), file_type="glb")
    scene = pyrender.Scene(bg_color=(0, 0, 0))
    for name in loaded.graph.nodes_geometry:
        pose, geometry = loaded.graph[name]
        mesh = pyrender.Mesh.from_trimesh(loaded.geometry[geometry], smooth=False)
        scene.add(mesh, pose=pose)
    lens = pyrender.PerspectiveCamera(
        np.radians(loaded.camera.fov[1]), aspectRatio=width / height, znear=0.05
    )
    scene.add(lens, pose=loaded.camera_transform)
    return _renderer(width, height).render(scene, pyrender.RenderFlags.FLAT)


@lru_cache
def _renderer(width, height):
    """Never deleted: deleting ends the EGL display, which the program's renderer shares."""
    return opengl._import_pyrender().OffscreenRenderer(width, height)
