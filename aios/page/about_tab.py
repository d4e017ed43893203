"""The tab that says what this is, what is kept, and how to get what the paper uses."""

from __future__ import annotations

import gradio as gr

from .body_upload import add_body_upload
from .context import PageContext
from .model_summary import banner_html

_ABOUT = """### What you see
[AiOS](https://arxiv.org/abs/2403.17934) (Sun et al., CVPR 2024) finds every person in a photo at
once and reads body, hands and face from the whole picture, without cutting anybody out. Each person
becomes a posed SMPL-X mesh before the camera of the photo. This page runs an independent
implementation, written from the paper.

* **Photo**: meshes, depth order, keypoints, side and top views, a 3D scene, all parameters.
* **Attention**: where the network looked for each joint, hand and face.
* **Webcam** and **Video**: everyone followed, in steady colours; motion as BVH and animated GLB.
* **Many photos**: one archive in, one archive out.

### What is kept
Photos stay on the machine that serves this page and are shown to nobody else. Pictures and files
made of them go when you close the page, at the latest after an hour. The webcam sends nothing
before you start it or take a snapshot.

### For programs
The same answers come over HTTP: see *Use via API* at the foot of the page.

### Licences
The code is Apache-2.0. Weights, the SMPL-X body and the package that poses it are for
non-commercial research; the stand-in body is in the public domain."""


def build_about_tab(context: PageContext) -> None:
    """Weights, body, privacy."""
    with gr.Tab("About"):
        predictor = context.predictor
        banner = banner_html(predictor.weights, predictor.body, predictor.speed)
        gr.HTML(banner, padding=False)
        add_body_upload(context)
        gr.Markdown(_ABOUT, elem_id="about")
