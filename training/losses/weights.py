"""How much every loss counts, and the switches that go with it, by name of the recipe.

`LOSS_WEIGHTS` has three recipes that differ in nothing but these numbers: "builtin" made the
weights that come with the program, "paper" is what the paper says (supplement B.3), "released"
what the released program does.  `matcher.MATCH_COSTS` and `denoising.DENOISING` have the same
names.  Terms exist at the layers of the training specification's table (section 4): class and
body box everywhere, parts, keypoints and SMPL-X from stage `refine_body` on, everything else of
hands and face in stage `refine_whole_body`.

What "paper" and "released" need beside them: no dense targets (`dense_tokens` 0), no curriculum.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class LossWeights:
    """Weights of all terms; the defaults are those of the built-in model's recipe."""

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
    """3D joints of a part from the part's own root: the pelvis, so the same once more."""
    hand_joints_3d_local: float = 0.0
    """From the wrist."""
    face_joints_3d_local: float = 0.0
    """From the neck."""
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

    keypoints_in_box_units: bool = True
    """2D distances in sides of the person's box, averaged over points; else summed in 0-1."""
    one_to_one_proposals: bool = False
    """Match the encoder's proposals one to one (as the paper) beside the dense targets."""
    unannotated_negative: float = 0.4
    """Weight of an unmatched query in a picture where not everyone is annotated."""
    least_overlap: float = 0.1
    """IoU below which a pair is left out after stage `locate`: a person whom no slot covers would
    only teach a slot elsewhere to be wrong.  What is left is averaged over each batch by itself,
    so above 0 a step of several batches is not quite that of the joined one."""
    parts_by_box: bool = True
    """Pose and joints of hands and face need the part's box and are divided by all people who have
    a body; else they follow their own annotation and are divided by the people who have it."""
    least_camera_scale: float | None = 0.001
    """The predicted scale is raised to this before projecting; None leaves it alone."""
    betas_by_joints: bool = False
    """3D and 2D joints teach the shape too.  Where the pose is not sure, small bodies lower every
    joint error, and people become children before the lens."""
    early_betas: bool = True
    """Teach the shape before stage `refine_whole_body` too; the paper teaches only poses there."""
    penultimate_parts: float = 1.0
    """Factor at the layer before the last on pelvis-aligned 3D joints of hands and face and on 2D
    joints of the hands."""
    pictures_a_process: int = 1
    """Denoising terms are divided by the queries of all pictures and multiplied by this: the
    released program sums them over the pictures of a process, of which it has two."""
    denoise_random_boxes: bool = False
    """Teach the boxes of denoising queries also in pictures without people, where they are random
    and only undisturbed again; the released program does."""


_PAPER = LossWeights(
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
    keypoints_in_box_units=False,
    one_to_one_proposals=True,
    unannotated_negative=1.0,
    least_overlap=0.0,
    parts_by_box=False,
    least_camera_scale=None,
    betas_by_joints=True,
    early_betas=False,
)

LOSS_WEIGHTS: dict[str, LossWeights] = {
    "builtin": LossWeights(),
    "paper": _PAPER,
    "released": replace(
        _PAPER,
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
        early_betas=True,
        penultimate_parts=0.1,
        pictures_a_process=2,
        denoise_random_boxes=True,
    ),
}
"""By recipe."""
