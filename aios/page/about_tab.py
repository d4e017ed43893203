"""Tab About: model in use, body upload, privacy and licences."""

from __future__ import annotations

import gradio as gr

from .body_upload import add_body_upload
from .context import PageContext
from .model_summary import banner_html

_ABOUT = """## What you see
[AiOS](https://arxiv.org/abs/2403.17934) (Sun et al., CVPR 2024) detects all people in a photo and
estimates body, hands and face in one pass over the full image, without cropping people. Each person
becomes an SMPL-X mesh in the camera frame of the photo. This page runs an independent
implementation, written from the paper.

* **Photo**: meshes, depth order, keypoints, side and top views, a 3D scene, all parameters.
* **Attention**: sampling points and self-attention of each body, hand and face token.
* **Webcam** and **Video**: tracked people in steady colours; motion as BVH and animated GLB.
* **Batch**: many photos in, one archive of results out.

## Privacy
Photos stay on the server of this page and are visible to you only. Uploads and results are deleted
when you close the page, or within an hour. The webcam sends nothing before you start it or take a
snapshot.

## API
The same results are available over HTTP: see *Use via API* at the bottom of the page.

## Licences
The code is Apache-2.0. Weights, the SMPL-X body model and the `smplx` package are for
non-commercial research; the stand-in body is in the public domain."""


def build_about_tab(context: PageContext) -> None:
    """Add the tab with its events."""
    with gr.Tab("About"):
        predictor = context.predictor
        banner = banner_html(predictor.weights, predictor.body, predictor.speed)
        gr.HTML(banner, padding=False)
        add_body_upload(context)
        gr.Markdown(_ABOUT, elem_id="about")
