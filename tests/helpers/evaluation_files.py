"""Replacements of the licensed files and data sets of the benchmarks, and a perfect predictor.

The stand-in body is stored as SMPL-X; the vertex lists are derived from its skinning.
"""

from __future__ import annotations

import hashlib
import os
import pickle
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas
import torch
from scipy.sparse import csr_matrix

from aios.body.model import BodyModel
from aios.body.parameters import SMPLX_NAMES
from aios.geometry.camera import Camera
from aios.people import FIELD_SHAPES, People
from aios.prediction import Candidates
from aios.predictor import AiOSPredictor
from aios.resources import STANDIN_BODY
from aios.weights.load import WeightsInfo
from tests.helpers.humandata_files import rewrite
from tests.helpers.training_samples import FOCAL_PX, SIZE_HW, random_picture, random_targets
from training.data import DATA_SETS
from training.data.batch import Sample
from training.data.write import write_humandata
from training.evaluation.metrics import BodyParts
from training.targets import MALE, Targets

COUNTS = (2, 1, 3)
AGORA_WH = (3840, 2160)
NUM_SMPL = 6890
BEDLAM_VALIDATION = "bedlam/annotations/bedlam_val.npz"


def make_body_folder(folder: Path) -> Path:
    """Write SMPL-X files of all genders (the same body) and every licensed list."""
    with np.load(STANDIN_BODY, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files if not name.startswith("standin_")}
    arrays["posedirs"] = np.zeros_like(arrays["posedirs"])
    np.savez(folder / "SMPLX_NEUTRAL.npz", **arrays)
    for gender in ("MALE", "FEMALE"):
        os.link(folder / "SMPLX_NEUTRAL.npz", folder / f"SMPLX_{gender}.npz")
    regressor = arrays["J_regressor"].astype(np.float64)
    regressor /= regressor.sum(1, keepdims=True)
    parts = BodyParts.from_skinning(arrays["weights"], regressor)
    hands = {"left_hand": parts.left_hand, "right_hand": parts.right_hand}
    smpl_joints = arrays["J_regressor"][:24, :NUM_SMPL].clip(1e-6)
    smpl_joints /= smpl_joints.sum(1, keepdims=True)
    chosen = np.linspace(0, len(arrays["v_template"]) - 1, NUM_SMPL).astype(int)
    matrix = csr_matrix(
        (np.ones(NUM_SMPL), (np.arange(NUM_SMPL), chosen)), (NUM_SMPL, len(arrays["v_template"]))
    )
    pickles = {
        "MANO_SMPLX_vertex_ids.pkl": hands,
        "SMPLX_to_J14.pkl": parts.j14_regressor,
        "smplx2smpl.pkl": {"matrix": matrix},
        "SMPL_NEUTRAL.pkl": {"J_regressor": csr_matrix(smpl_joints)},
    }
    for name, content in pickles.items():
        (folder / name).write_bytes(pickle.dumps(content))
    np.save(folder / "SMPL-X__FLAME_vertex_ids.npy", parts.face)
    np.save(folder / "body_verts_smplx.npy", parts.body)
    np.save(folder / "body_verts_smpl.npy", np.arange(100, NUM_SMPL))
    return folder


def some_people(body: BodyModel, seed: int, gender: int = MALE) -> list[Sample]:
    """A few images of 96 x 64 pixels; the first person of each has the given gender."""
    samples = []
    for k, count in enumerate(COUNTS):
        targets = random_targets(body, count, seed + k)
        genders = targets.gender.clone()
        genders[0] = gender
        samples.append(Sample(random_picture(seed + k), replace(targets, gender=genders)))
    return samples


def write_set(root: Path, name: str, samples: list[Sample]) -> None:
    """Write HumanData of a test split to its default path."""
    data_set = DATA_SETS[name]
    path = root / (data_set.test or BEDLAM_VALIDATION)
    images = root / ("bedlam/val_images" if name == "bedlam" else data_set.images)
    write_humandata(path, images, samples, data_set.key_2d or "smplx")
    if name == "bedlam":
        rewrite(path, lambda content: _as_bedlam(content, images))


def _as_bedlam(content: dict, images: Path) -> None:
    """Rename images to the form SCENE/png/SEQUENCE/FRAME.png of BEDLAM."""
    renamed = []
    for name in content["image_path"]:
        frame = Path(str(name)).stem
        new = f"scene_{frame}_6fps/png/seq_000000/seq_000000_{frame[-4:]}.png"
        if (images / str(name)).exists():
            (images / new).parent.mkdir(parents=True)
            (images / str(name)).rename(images / new)
        renamed.append(new)
    content["image_path"] = np.array(renamed)


def agora_name(index: int) -> str:
    return f"ag_validationset_renderpeople_bfh_flowers_5_15_{index:05d}.png"


def write_images(folder: Path, named: dict[str, Sample]) -> None:
    for name, sample in named.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / name), cv2.cvtColor(sample.picture, cv2.COLOR_RGB2BGR))


def write_agora(root: Path, body: BodyModel, samples: list[Sample], conversion=None) -> None:
    """Write data frames of SMPL-X, or of SMPL with a conversion, and the images.

    One extra row has a name without "bfh"; every row has an extra, fully occluded person.
    """
    names = [agora_name(index) for index in range(len(samples))]
    named = dict(zip(names, samples, strict=True))
    rows = [_agora_row(name, s.targets, body, conversion) for name, s in named.items()]
    rows.append(rows[0] | {"imgPath": "ag_validationset_3dpeople_forest_00000.png"})
    named |= {rows[-1]["imgPath"]: samples[0]}
    write_images(root / "agora/3840x2160/validation", named)
    folder = root / "agora/dataframes" / ("smpl" if conversion else "smplx")
    folder.mkdir(parents=True)
    pandas.DataFrame(rows[:2]).to_pickle(folder / "validation_0_withjv.pkl")
    pandas.DataFrame(rows[2:]).to_pickle(folder / "validation_1_withjv.pkl")


def _agora_row(name: str, targets: Targets, body: BodyModel, conversion) -> dict:
    posed = body({name: getattr(targets, name) for name in SMPLX_NAMES})
    vertices, joints = posed.vertices.numpy(), posed.joints_3d[:, :127].numpy()
    if conversion:
        vertices, joints = conversion(vertices)
    height, width = SIZE_HW
    pixels = joints[..., :2] / joints[..., 2:] * FOCAL_PX + [width / 2, height / 2]
    pixels = pixels * np.array(AGORA_WH) / [width, height]
    hidden = pixels[:1] + 30.0  # an occluded person behind the first
    return {
        "imgPath": name,
        "gt_joints_2d": [*pixels, *hidden],
        "gt_joints_3d": [*joints, *joints[:1]],
        "gt_verts": [*vertices, *vertices[:1]],
        "occlusion": [*np.linspace(0, 60, len(pixels)), 97.0],
        "isValid": [True] * (len(pixels) + 1),
        "kid": [index == 0 for index in range(len(pixels) + 1)],
    }


def as_people(targets: Targets, size_wh: tuple[int, int]) -> People:
    """The ground truth as network outputs."""
    count = len(targets)
    size = np.array(size_wh, np.float32)
    low_high = torch.cat(
        [
            targets.boxes[:, :2] - targets.boxes[:, 2:] / 2,
            targets.boxes[:, :2] + targets.boxes[:, 2:] / 2,
        ],
        -1,
    )
    values = {
        name: np.zeros((count, *shape), np.int64 if name == "query_indices" else np.float32)
        for name, shape in FIELD_SHAPES.items()
    }
    values |= {name: getattr(targets, name).numpy() for name in SMPLX_NAMES}
    values["scores"] = np.linspace(0.95, 0.8, count, dtype=np.float32)
    values["boxes_xyxy_px"] = low_high.numpy() * np.tile(size, 2)
    values["keypoint_scores"] = np.ones((count, 17), np.float32)
    values["keypoints_2d_px"] = targets.keypoints_2d.numpy() * size
    return People(**values)


def digest(picture: np.ndarray) -> str:
    return hashlib.sha256(picture.tobytes()).hexdigest()


class PerfectPredictor(AiOSPredictor):
    """Returns the ground truth of learned images, modified by `change`."""

    def __init__(self, body: BodyModel, weights: Path, change=None) -> None:
        self.body, self.device = body, torch.device("cpu")
        convention = "standin" if body.is_standin else "smplx"
        self.weights = WeightsInfo("file", "perfect", weights, False, convention, 0.3)
        self._poser, self.refine = self._build_poser(body), False
        self.pictures: list[str] = []
        self._change = change or (lambda people: people)
        self._known: dict[str, Candidates] = {}

    def learn(self, samples: list[Sample], focal_length: float = FOCAL_PX) -> None:
        for sample in samples:
            height, width = sample.picture.shape[:2]
            camera = Camera(focal_length, (width / 2, height / 2), width, height)
            people = as_people(sample.targets, (width, height))
            self._known[digest(sample.picture)] = Candidates(people, camera)

    def predict(self, photo, threshold=None, max_people=30):
        candidates = self._known[digest(photo)]
        changed = replace(candidates, people=self._change(candidates.people))
        return self.assemble(changed, threshold, max_people)

    def predict_batch(self, photos, threshold=None, max_people=30):
        self.pictures += [digest(photo) for photo in photos]
        return [self.predict(photo, threshold, max_people) for photo in photos]
