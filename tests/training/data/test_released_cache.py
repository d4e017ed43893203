"""Released caches give the same targets as the files they were made from."""

import numpy as np
import pytest
import torch

from aios.body.model import BodyModel
from tests.helpers.humandata_files import open_set, write_set
from training.data.archive import DataError
from training.data.released_cache import CACHE_JOINTS
from training.targets import TENSOR_FIELDS

NAMES = {
    "global_orient": "root_pose",
    "body_pose": "body_pose",
    "left_hand_pose": "lhand_pose",
    "right_hand_pose": "rhand_pose",
    "jaw_pose": "jaw_pose",
    "betas": "shape",
    "expression": "expr",
    "transl": "trans",
}


def write_cache(path, photos):
    """Write a cache in the format of the released loaders."""
    entries = {}
    for index in range(len(photos)):
        known = photos.annotations[index]
        corners = {
            part: [
                np.concatenate([box[:2], box[:2] + box[2:]]) if valid else None
                for box, valid in zip(
                    boxes, known.part_valid.get(part, [True] * len(boxes)), strict=True
                )
            ]
            for part, boxes in known.boxes.items()
        }
        body = {NAMES[name]: values for name, values in known.parameters.items()}
        body["body_pose"] = body["body_pose"].reshape(-1, 21, 3)
        for part, short in (("left_hand", "lhand"), ("right_hand", "rhand"), ("face", "face")):
            body[f"{short}_valid"] = known.part_valid[part]
        body["smplx_valid"] = known.smplx_valid
        entries[str(index)] = {
            "img_path": f"data/datasets/bedlam/train_images/{known.image}",
            "img_shape": known.size_wh[::-1],
            "bbox": corners["body"],
            "lhand_bbox": corners["left_hand"],
            "rhand_bbox": corners["right_hand"],
            "face_bbox": corners["face"],
            "joint_img": known.joints_2d[:, list(CACHE_JOINTS)],
            "joint_cam": known.joints_3d[:, list(CACHE_JOINTS)],
            "smplx_param": body,
            "as_smplx": "smplx",
            "gender": ["neutral"] * len(known.smplx_valid),
        }
    np.savez_compressed(path, **entries, data_len=len(entries), data_strategy="balance")


@pytest.fixture
def sets(tmp_path):
    original = open_set(
        write_set(tmp_path, BodyModel.load(), "bedlam"), tmp_path, "bedlam", interval=1
    )
    write_cache(tmp_path / "bedlam_train_cache_1.npz", original)
    return tmp_path, original


def test_cache_gives_the_same_targets(sets):
    root, original = sets
    cached = open_set(root / "bedlam_train_cache_1.npz", root, "bedlam", trust_pickle=True)
    # The interval of the data set, 5, is not applied again.
    assert len(cached) == len(original) == 3
    kept = torch.tensor(sorted(set(CACHE_JOINTS)))
    for index in range(len(original)):
        ours, wanted = cached[index].targets, original[index].targets
        for name in TENSOR_FIELDS:
            before, after = getattr(wanted, name), getattr(ours, name)
            if name.startswith("joints_") and before.ndim > 1:
                before, after = before[:, kept], after[:, kept]
            torch.testing.assert_close(after, before, atol=1e-6, rtol=0, msg=name)


def test_pickles_need_trust_pickle(sets):
    root, _ = sets
    with pytest.raises(DataError, match=r"bedlam_train_cache_1\.npz.*--trust-pickle") as caught:
        open_set(root / "bedlam_train_cache_1.npz", root, "bedlam")
    assert str(caught.value).count(". ") == 0


def test_incomplete_caches_are_named(sets):
    root, original = sets
    np.savez(root / "half.npz", **{"0": {"img_path": "x"}}, data_len=1, data_strategy="balance")
    with pytest.raises(DataError, match=r"half\.npz: image 0 does not have the format"):
        open_set(root / "half.npz", root, "bedlam", trust_pickle=True)[0]
    np.savez(root / "less.npz", data_len=2, data_strategy="balance")
    with pytest.raises(DataError, match="declares 2 images, but has 0"):
        open_set(root / "less.npz", root, "bedlam", trust_pickle=True)
