"""Numbers in which the recipes "paper" and "released" differ."""

from dataclasses import asdict

from training.losses.denoising import DENOISING
from training.losses.loss_weights import LOSS_RULES, LOSS_WEIGHTS
from training.losses.matcher import MATCHING

WEIGHTS = {
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
}
RULES = {
    "shape_before_whole_body": (False, True),
    "penultimate_factor": (1.0, 0.1),
    "images_per_process": (1, 2),
    "denoise_random_boxes": (False, True),
}


def differences(recipes) -> dict:
    paper, released = asdict(recipes["paper"]), asdict(recipes["released"])
    return {key: (paper[key], released[key]) for key in paper if paper[key] != released[key]}


def test_paper_and_released_differ_in_these_numbers_only():
    assert differences(LOSS_WEIGHTS) == WEIGHTS
    assert differences(LOSS_RULES) == RULES
    assert differences(MATCHING) == {}
    assert differences(DENOISING) == {"queries": (0, 100)}


def test_every_table_has_every_recipe():
    assert set(LOSS_WEIGHTS) == set(LOSS_RULES) == set(MATCHING) == set(DENOISING)
