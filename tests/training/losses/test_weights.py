"""The recipes "paper" and "released" differ in exactly these numbers."""

from dataclasses import asdict

from training.losses.denoising import DENOISING
from training.losses.matcher import MATCH_COSTS
from training.losses.weights import LOSS_WEIGHTS

DIFFERENCES = {
    "face_oks": (0.5, 4.0),
    "body": (1.0, 0.1),
    "hands": (1.0, 0.1),
    "jaw": (1.0, 0.1),
    "hand_joints_3d": (0.5, 0.1),
    "face_joints_3d": (0.5, 0.1),
    "body_joints_3d_local": (0.0, 1.0),
    "hand_joints_3d_local": (0.0, 0.1),
    "face_joints_3d_local": (0.0, 0.1),
    "face_joints_2d": (0.5, 0.1),
    "denoising_class": (0.0, 0.3),
    "denoising_box": (0.0, 2.5),
    "denoising_giou": (0.0, 1.0),
    "early_betas": (False, True),
    "penultimate_parts": (1.0, 0.1),
    "pictures_a_process": (1, 2),
    "denoise_random_boxes": (False, True),
}


def test_paper_and_released():
    paper, released = (asdict(LOSS_WEIGHTS[name]) for name in ("paper", "released"))
    found = {key: (paper[key], released[key]) for key in paper if paper[key] != released[key]}
    assert found == DIFFERENCES
    assert MATCH_COSTS["paper"] == MATCH_COSTS["released"]
    assert (DENOISING["paper"].queries, DENOISING["released"].queries) == (0, 100)


def test_every_recipe_has_all_three():
    assert set(LOSS_WEIGHTS) == set(MATCH_COSTS) == set(DENOISING)
