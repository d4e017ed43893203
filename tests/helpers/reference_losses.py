"""Recorded predictions, people and denoising draws of the released program, as our types."""

import re
from dataclasses import replace
from functools import cache

import torch

from aios.network.config import AiOSConfig
from aios.network.outputs import AiOSOutput, LayerOutput, ProposalOutput, SmplxOutput
from aios.network.queries import LOCATE, REFINE_WHOLE_BODY, layer_layouts
from tests.helpers.reference import Recording, reference_folder
from training.data.batch import Batch
from training.joints import PART_ROOTS
from training.losses.denoising import Denoising, DenoisingConfig, NoiseDraws
from training.losses.validity import PARTS, annotation_masks
from training.targets import Targets

FOCAL_PX = 5000.0
HEATMAP_WH = (12.0, 16.0)
"""Size of the image in units of the recorded 2D joints."""
ROWS = {"body": slice(0, 25), "left_hand": slice(25, 45), "right_hand": slice(45, 65)}
ROWS["face"] = slice(65, 137)
SHORT = {"left_hand": "lhand", "right_hand": "rhand", "face": "face"}


@cache
def recording():
    return Recording(reference_folder("losses") / "losses_fixture.npz")


def tensor(name):
    return torch.from_numpy(recording()[name])


def count(pattern):
    """Number of distinct values of the first group of `pattern` among the recorded names."""
    found = (re.match(pattern, name) for name in recording().arrays.files)
    return len({match[1] for match in found if match})


IMAGES = range(count(r"in/targets/(\d+)/"))
LAYERS = range(count(r"in/layer(\d+)/"))
OUTPUTS = (*(f"layer{k}" for k in LAYERS), "interm")


def concatenated(kind, name):
    """Concatenate the people of all images."""
    return torch.cat([tensor(f"in/{kind}/{i}/{name}") for i in IMAGES])


def image_index():
    people = [len(recording()[f"in/targets/{i}/boxes"]) for i in IMAGES]
    return torch.repeat_interleave(torch.arange(len(people)), torch.tensor(people))


def slots():
    """Index among our 144 joints of each recorded row.

    The recording has both eyes twice with different random values; the second value of each goes
    to a joint that is not scored.
    """
    rows = recording()["conv/smplx_137_from_144"].tolist()
    unused = iter(sorted(set(range(144)) - set(rows)))
    return [row if row not in rows[:k] else next(unused) for k, row in enumerate(rows)]


def spread(rows):
    """(..., 137, D) recorded rows -> (..., 144, D)."""
    joints = rows.new_zeros(*rows.shape[:-2], 144, rows.shape[-1])
    joints[..., slots(), :] = rows
    return joints


def points(recorded):
    """x1 y1 ... xK yK v1 ... vK -> (..., K, 2) and (..., K)."""
    size = recorded.shape[-1] // 3 * 2
    return recorded[..., :size].unflatten(-1, (-1, 2)), recorded[..., size:]


def build_targets(joints_3d):
    """Annotations of all people; `joints_3d` (P, 137, 4) metres and confidence."""
    pose = concatenated("data_batch", "smplx_pose")
    root, body, left, right, jaw = pose.split([3, 63, 45, 45, 3], -1)
    is_3d = torch.stack([tensor(f"in/data_batch/{i}/is_3D")[0] for i in IMAGES])[image_index()]
    joints_2d = spread(concatenated("data_batch", "joint_img"))
    cam = spread(joints_3d)
    people = len(pose)
    values = {
        "boxes": concatenated("targets", "boxes"),
        "box_valid": concatenated("data_batch", "body_bbox_valid") > 0,
        "smplx_valid": torch.ones(people, dtype=torch.bool),
        "betas_valid": concatenated("data_batch", "smplx_shape_valid") > 0,
        "expression_valid": concatenated("data_batch", "smplx_expr_valid") > 0,
        "global_orient": root,
        "body_pose": body,
        "left_hand_pose": left,
        "right_hand_pose": right,
        "jaw_pose": jaw,
        "betas": concatenated("data_batch", "smplx_shape"),
        "expression": concatenated("data_batch", "smplx_expr"),
        "joints_3d": cam[..., :3].contiguous(),
        "joints_3d_confidence": cam[..., 3].contiguous(),
        "joints_3d_valid": is_3d > 0,
        "joints_2d": joints_2d[..., :2] / torch.tensor(HEATMAP_WH),
        "joints_2d_visible": joints_2d[..., 2].contiguous(),
    }
    for part in ("", *PARTS):
        short, prefix = (f"{SHORT[part]}_", f"{part}_") if part else ("", "")
        where, visible = points(concatenated("targets", f"{short}keypoints"))
        values |= {f"{prefix}keypoints_2d": where, f"{prefix}keypoints_visible": visible}
        if part:
            values[f"{part}_boxes"] = concatenated("targets", f"{short}boxes")
            values[f"{part}_box_valid"] = concatenated("data_batch", f"{short}bbox_valid") > 0
    return replace(Targets.unannotated(people), **values)


def build_batch(targets):
    sizes = torch.stack([tensor(f"in/data_batch/{i}/img_shape") for i in IMAGES])
    nothing = torch.zeros(len(sizes), 3, 1, 1, dtype=torch.uint8)
    ignore = torch.zeros(len(sizes), dtype=torch.bool)
    return Batch(nothing, sizes, targets, image_index(), ignore, FOCAL_PX)


def read_layer(index):
    start, layout = f"in/layer{index}/", layer_layouts(AiOSConfig())[index]
    values = {
        "stage": layout.stage,
        "class_logits": tensor(f"{start}pred_logits"),
        "boxes": tensor(f"{start}pred_boxes"),
        "prefix_class_logits": tensor(f"{start}dn_class_pred"),
        "prefix_boxes": tensor(f"{start}dn_bbox_pred"),
    }
    if layout is not LOCATE:
        values["keypoints_2d"] = points(tensor(f"{start}pred_keypoints"))[0]
        values["smplx"] = SmplxOutput(
            body_rotmat=tensor(f"{start}pred_smpl_pose"),
            left_hand_rotmat=tensor(f"{start}pred_smpl_lhand_pose"),
            right_hand_rotmat=tensor(f"{start}pred_smpl_rhand_pose"),
            jaw_rotmat=tensor(f"{start}pred_smpl_jaw_pose"),
            betas=tensor(f"{start}pred_smpl_beta"),
            expression=tensor(f"{start}pred_smpl_expr"),
            weak_camera=tensor(f"{start}pred_smpl_cam"),
        )
        for part, short in SHORT.items():
            values[f"{part}_boxes"] = tensor(f"{start}pred_{short}_boxes")
            if layout is REFINE_WHOLE_BODY:
                points_2d = points(tensor(f"{start}pred_{short}_keypoints"))[0]
                values[f"{part}_keypoints_2d"] = points_2d
    return LayerOutput(**values)


def read_output():
    *before, final = (read_layer(index) for index in LAYERS)
    nothing = torch.zeros(len(IMAGES), 0)
    proposals = ProposalOutput(
        nothing, nothing, tensor("in/interm/pred_logits"), tensor("in/interm/pred_boxes")
    )
    return AiOSOutput(final, proposals, nothing, None, tuple(before))


class RecordedBody:
    """Body model that looks up the recorded joints of a pose by its betas."""

    def __init__(self):
        layers = [k for k in LAYERS if f"in/layer{k}/pred_smpl_beta" in recording()]
        betas, joints = (
            torch.cat([tensor(f"in/layer{k}/pred_smpl_{name}").flatten(0, 1) for k in layers])
            for name in ("beta", "kp3d")
        )
        self.betas, self.joints_3d = betas, spread(joints)

    def to(self, device):
        return self

    def joints(self, parameters):
        gap = (parameters["betas"][:, None] - self.betas).abs().sum(-1)
        assert bool((gap.min(1).values == 0).all())
        return self.joints_3d[gap.argmin(1)]


def recorded_masks(targets, parts_need_box):
    """Our masks with the recorded validity of single pose joints."""
    valid = concatenated("data_batch", "smplx_pose_valid") * targets.smplx_valid[:, None]
    body, left, right, jaw = valid.split([22, 15, 15, 1], -1)
    own = annotation_masks(targets, parts_need_box)
    return own | {
        "body_pose": body,
        "left_hand_pose": left,
        "right_hand_pose": right,
        "jaw_pose": jaw,
    }


def local_joints():
    """The second recorded 3D target, as one body.

    Its hands and face are relative to wrists and neck, and the released program subtracts row 0
    from all rows.  Our criterion subtracts wrists and neck itself, so they are added here.
    """
    rows = concatenated("data_batch", "smplx_joint_cam").clone()
    pelvis = rows[:, :1, :3].clone()
    order = recording()["conv/smplx_137_from_144"].tolist()
    for part in PARTS:
        root = order.index(PART_ROOTS[part])
        rows[:, ROWS[part], :3] += rows[:, root : root + 1, :3] - pelvis
    return rows


def proposals_and_layers():
    """Output by recorded name."""
    output = read_output()
    layers = dict(
        zip((f"layer{k}" for k in LAYERS), (*output.aux_outputs, output.final), strict=True)
    )
    return layers | {"interm": output.proposals}


def matched_targets():
    """People as the recorded matcher has them."""
    where, visible = points(concatenated("targets", "keypoints"))
    boxes = concatenated("targets", "boxes")
    return replace(
        Targets.unannotated(len(boxes)),
        boxes=boxes,
        keypoints_2d=where.contiguous(),
        keypoints_visible=visible.contiguous(),
    )


CASES = sorted({name.split("/")[1] for name in recording().names("dn/")} - {"eval"})


def denoise(case):
    """Run our denoising on the recorded people and draws; the content of a query is its label."""
    start, numbers = f"dn/{case}/", recording()[f"dn/{case}/n_gt"].tolist()
    boxes = [tensor(f"{start}gt_boxes{i}") for i in range(len(numbers))]
    targets = replace(Targets.unannotated(sum(numbers)), boxes=torch.cat(boxes))
    pictures = torch.zeros(len(numbers), 3, 1, 1, dtype=torch.uint8)
    index = torch.repeat_interleave(torch.arange(len(numbers)), torch.tensor(numbers))
    sizes = torch.ones(len(numbers), 2, dtype=torch.int64)
    ignore = torch.zeros(len(numbers), dtype=torch.bool)
    batch = Batch(pictures, sizes, targets, index, ignore, FOCAL_PX)
    known, replaces = tensor(f"{start}known_boxes"), tensor(f"{start}u_label")
    people = torch.zeros(known.shape[:2])
    for i, own in enumerate(boxes):
        if len(own):
            person = (known[i, :, None] - own).abs().sum(-1).argmin(1)
            people[i] = (person + 0.5) / len(own)
    config = DenoisingConfig(queries=known.shape[1])
    denoising = Denoising(1, config)
    # Labels are recorded for the chosen queries only, one per row.
    labels = torch.zeros(known.shape[:2])
    drawn = tensor(f"{start}new_labels")
    labels[replaces < config.label_noise] = (drawn + 0.5) / (len(denoising.labels.weight) - 1)
    denoising.labels.weight.data.copy_(torch.arange(len(denoising.labels.weight))[:, None])
    draws = NoiseDraws(people, known, replaces, labels, tensor(f"{start}u_box"))
    return denoising(batch, draws)
