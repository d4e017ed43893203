"""Weights of all loss terms, and the rules by which terms are computed, by recipe.

`LOSS_WEIGHTS` and `LOSS_RULES` hold three recipes: "builtin" trained the weights that come with
the program, "paper" has the numbers of the paper (AiOS, supplement B.3), "released" those of the
released program.  `matcher.MATCHING` and `denoising.DENOISING` use the same names.

Terms by decoder layer: class and body box at every layer; part boxes, keypoints and SMPL-X body
from stage `refine_body` on; everything else of hands and face in stage `refine_whole_body`.

The recipes "paper" and "released" assume a run without dense targets (`dense_tokens` 0) and with
one training stage.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class LossWeights:
    """Factor on each loss term; defaults of the recipe "builtin"."""

    class_: float = 3.0
    box: float = 5.0
    giou: float = 2.0
    part_box: float = 1.0
    part_giou: float = 0.2
    keypoints: float = 5.0
    oks: float = 0.5
    hand_keypoints: float = 1.0
    hand_oks: float = 0.0
    face_keypoints: float = 1.0
    face_oks: float = 0.0
    root: float = 0.6
    body: float = 0.03
    hands: float = 0.005
    jaw: float = 0.01
    betas: float = 0.05
    expression: float = 0.002
    body_joints_3d: float = 0.15
    hand_joints_3d: float = 0.02
    face_joints_3d: float = 0.01
    body_joints_3d_local: float = 0.0
    """3D joints relative to the root of their part: here the pelvis, as in `body_joints_3d`."""
    hand_joints_3d_local: float = 0.0
    """Relative to the wrist."""
    face_joints_3d_local: float = 0.0
    """Relative to the neck."""
    body_joints_2d: float = 2.0
    hand_joints_2d: float = 0.2
    face_joints_2d: float = 0.1
    camera: float = 5.0
    denoising_class: float = 0.3
    denoising_box: float = 1.5
    denoising_giou: float = 0.6
    dense_class: float = 2.0
    dense_box: float = 2.5
    dense_giou: float = 1.0
    dense_keypoints: float = 2.5
    dense_root: float = 0.6
    dense_body: float = 0.05
    dense_heat: float = 0.3
    map_heat: float = 1.0
    """`map_*`: terms of the backbone's keypoint maps, see `keypoint_map_terms`."""
    map_offset: float = 0.3
    map_kept: float = 2.0


@dataclass(frozen=True)
class LossRules:
    """How loss terms are computed and divided; defaults of the recipe "builtin"."""

    keypoints_in_box_units: bool = True
    """2D distances are means in units of the person's box; otherwise sums in units of the image."""
    unannotated_negative: float = 0.4
    """Factor on unmatched queries away from every annotated person, in images where not everyone
    is annotated."""
    min_overlap: float = 0.1
    """After stage `locate`, pairs whose boxes have a smaller IoU are left out: a person that no
    query covers would only pull a distant query away.  The remaining pairs are averaged over each
    batch separately, so a step of several batches differs slightly from one joined batch unless
    this is 0."""
    parts_need_box: bool = True
    """Pose and joints of hands and face count only where the part's box is annotated, and are
    divided by all people with an annotated body; otherwise they follow their own annotation and
    are divided by the people who have it."""
    min_camera_scale: float | None = 0.001
    """Lower bound of the predicted camera scale before projection; None for no bound."""
    joints_train_shape: bool = False
    """3D and 2D joints also have a gradient with respect to the shape.  While poses are uncertain,
    small bodies lower every joint error and adults shrink to children."""
    shape_before_whole_body: bool = True
    """Train the shape in stage `refine_body` too; the paper trains only poses there."""
    penultimate_factor: float = 1.0
    """Factor at the layer before the last on pelvis-aligned 3D joints of hands and face and on 2D
    joints of hands."""
    images_per_process: int = 1
    """Denoising terms are divided by the queries of all images and multiplied by this: the
    released program sums them over the images of a process, which has two."""
    denoise_random_boxes: bool = False
    """Train the boxes of denoising queries also in images without people, where they are random,
    as the released program does."""


_PAPER_WEIGHTS = LossWeights(
    class_=2.0,
    box=5.0,
    giou=2.0,
    part_box=5.0,
    part_giou=2.0,
    keypoints=10.0,
    oks=4.0,
    hand_keypoints=10.0,
    hand_oks=0.5,
    face_keypoints=10.0,
    face_oks=0.5,
    root=1.0,
    body=1.0,
    hands=1.0,
    jaw=1.0,
    betas=0.01,
    expression=0.01,
    body_joints_3d=1.0,
    hand_joints_3d=0.5,
    face_joints_3d=0.5,
    body_joints_2d=1.0,
    hand_joints_2d=0.5,
    face_joints_2d=0.5,
    camera=0.0,
    denoising_class=0.0,
    denoising_box=0.0,
    denoising_giou=0.0,
    dense_class=0.0,
    dense_box=0.0,
    dense_giou=0.0,
    dense_keypoints=0.0,
    dense_root=0.0,
    dense_body=0.0,
    dense_heat=0.0,
    map_heat=0.0,
    map_offset=0.0,
    map_kept=0.0,
)

LOSS_WEIGHTS: dict[str, LossWeights] = {
    "builtin": LossWeights(),
    "paper": _PAPER_WEIGHTS,
    "released": replace(
        _PAPER_WEIGHTS,
        face_oks=4.0,
        body=0.1,
        hands=0.1,
        jaw=0.1,
        hand_joints_3d=0.1,
        face_joints_3d=0.1,
        body_joints_3d_local=1.0,
        hand_joints_3d_local=0.1,
        face_joints_3d_local=0.1,
        face_joints_2d=0.1,
        denoising_class=0.3,
        denoising_box=2.5,
        denoising_giou=1.0,
    ),
}

_PAPER_RULES = LossRules(
    keypoints_in_box_units=False,
    unannotated_negative=1.0,
    min_overlap=0.0,
    parts_need_box=False,
    min_camera_scale=None,
    joints_train_shape=True,
    shape_before_whole_body=False,
)

LOSS_RULES: dict[str, LossRules] = {
    "builtin": LossRules(),
    "paper": _PAPER_RULES,
    "released": replace(
        _PAPER_RULES,
        shape_before_whole_body=True,
        penultimate_factor=0.1,
        images_per_process=2,
        denoise_random_boxes=True,
    ),
}
