"""How much every loss counts, and the switches that go with it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LossWeights:
    """Weights of all terms; the defaults are those of the built-in model's recipe.

    Terms exist at the layers of the training specification's table (section 4).
    """

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
    root: float = 0.3
    body: float = 0.03
    hands: float = 0.005
    jaw: float = 0.01
    betas: float = 0.15
    """High: where the pose is not known yet, small bodies lower every joint error."""
    expression: float = 0.002
    body_joints_3d: float = 0.15
    hand_joints_3d: float = 0.02
    face_joints_3d: float = 0.01
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
    dense_root: float = 0.1
    dense_body: float = 0.01

    keypoints_in_box_units: bool = True
    """2D distances in sides of the person's box, averaged over points; else summed in 0-1."""
    one_to_one_proposals: bool = False
    """Match the encoder's proposals one to one (as the paper) beside the dense targets."""
    unannotated_negative: float = 0.4
    """Weight of an unmatched query in a picture where not everyone is annotated."""
    least_overlap: float = 0.1
    """IoU below which a pair is left out after stage `locate`: a person whom no slot covers would
    only teach a slot elsewhere to be wrong."""
