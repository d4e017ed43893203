"""Parity of the network with recordings of the released one under deterministic weights.

The weights are written to a file in the released layout and read by the public loader, so the
tests cover parameter names, aliases and every stage.  Tolerances are ten times the float32 noise
between two implementations, which is part of the recording.
"""

import argparse
import gc
import hashlib

import numpy as np
import pytest
import torch

from aios.accelerate.install import accelerate
from aios.body.model import BodyModel
from aios.geometry.boxes import inverse_sigmoid
from aios.geometry.camera import weak_camera_to_transl
from aios.geometry.positions import feature_position_encoding
from aios.geometry.rotations import (
    axis_angle_to_rotmat,
    rotation_6d_to_rotmat,
    rotmat_to_axis_angle,
)
from aios.network.config import ImageConfig
from aios.network.preprocessing import ImageBatch, prepare_photo
from aios.people import people_from_output
from aios.weights.load import load_model
from tests.helpers.projection import project_points
from tests.helpers.reference import Recording, load_manifest, load_recipe, reference_folder

HIDDEN = 3e-4
LOGITS = 1.1e-4
BOX_DELTA = 2e-5
BOXES = 3e-5
ROTATIONS = 5e-4
SHAPE = 6e-5
CAMERA = 2e-6
TRANSL = 1e-4
SCORES = 2e-5
BOXES_PX = 7e-3
JOINTS_3D = 3e-4
JOINTS_PX = 5e-2
NUM_LAYERS = 6
TOKENS = (1, 1, 21, 21, 39, 39)
PART_NAMES = {
    "pred_boxes": "boxes",
    "pred_lhand_boxes": "left_hand_boxes",
    "pred_rhand_boxes": "right_hand_boxes",
    "pred_face_boxes": "face_boxes",
}
KEYPOINT_NAMES = {
    "pred_keypoints": "keypoints_2d",
    "pred_lhand_keypoints": "left_hand_keypoints_2d",
    "pred_rhand_keypoints": "right_hand_keypoints_2d",
    "pred_face_keypoints": "face_keypoints_2d",
}
ROTATION_NAMES = {
    "pred_smpl_pose": "body_rotmat",
    "pred_smpl_lhand_pose": "left_hand_rotmat",
    "pred_smpl_rhand_pose": "right_hand_rotmat",
    "pred_smpl_jaw_pose": "jaw_rotmat",
}


@pytest.fixture(scope="module")
def recipe():
    return load_recipe()


@pytest.fixture(scope="module", params=["plain", "accelerated"])
def model(request, recipe, tmp_path_factory):
    """Network loaded from a file in the released layout by the public loader."""
    tensors, state = {}, {}
    digest = hashlib.sha256()
    for name, (shape, _) in load_manifest().items():
        if name.startswith("body_model."):
            state[name] = torch.zeros(shape if np.prod(shape) < 1e5 else [1])
            continue
        canonical = recipe.canonical(name)
        if canonical not in tensors:
            tensors[canonical] = torch.from_numpy(recipe.fill(canonical, shape))
        state[name] = tensors[canonical]
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].numpy().astype("<f4").tobytes())
    recorded = np.load(reference_folder("model") / "parity_full.npz")["meta/weights_sha256"]
    assert digest.hexdigest() == str(recorded), (
        "the generated weights differ from the recorded ones"
    )
    path = tmp_path_factory.mktemp("released") / "aios_checkpoint.pth"
    args = argparse.Namespace(lr=1e-4, train_sizes=[480, 800], resume=None)
    torch.save(
        {"model": state, "optimizer": {}, "lr_scheduler": {}, "epoch": 3, "args": args}, path
    )
    assert len(state) == 1254
    del tensors, state
    loaded = load_model(path)
    path.unlink()
    gc.collect()
    if request.param == "plain":
        return loaded.model
    return accelerate(loaded.model, torch.device("cpu"), "exact", list)


@pytest.fixture(scope="module")
def body(recipe, tmp_path_factory):
    folder = tmp_path_factory.mktemp("body")
    np.savez(folder / "SMPLX_NEUTRAL.npz", **recipe.synthetic_smplx())
    return BodyModel.load(folder)


class Run:
    """One run of a recorded case, with all intermediate outputs."""

    def __init__(self, case: str, model, recipe) -> None:
        self.recording = Recording(reference_folder("model") / "parity_full.npz", f"{case}/")
        self.images = self._images(case, recipe)
        kept: dict[str, object] = {}

        def keep(name):
            return lambda module, inputs, output: kept.__setitem__(name, (inputs, output))

        decoder = model.decoder
        hooks = [
            model.backbone.register_forward_hook(keep("backbone")),
            model.level_projections.register_forward_hook(keep("levels")),
            model.proposals.register_forward_hook(keep("proposals")),
            model.proposals.class_head.register_forward_hook(keep("class")),
        ]
        for index in range(NUM_LAYERS):
            hooks += [
                model.encoder.layers[index].register_forward_hook(keep(f"encoder{index}")),
                decoder.layers[index].register_forward_hook(keep(f"decoder{index}")),
            ]
        with torch.inference_mode():
            self.output = model(self.images, aux_outputs=True, keep_attention=True)
        for hook in hooks:
            hook.remove()
        self.kept = kept
        self.model = model
        # The 900 proposals may differ from the recording in the order of equal scores:
        # recorded row -> our row.
        ours = self.output.proposals.token_indices.numpy()
        wanted = self.recording["top900_token"]
        self.rows = np.stack(
            [
                np.argsort(o)[np.searchsorted(np.sort(o), w)]
                for o, w in zip(ours, wanted, strict=True)
            ]
        )

    def _images(self, case: str, recipe) -> ImageBatch:
        sizes = self.recording["img_shape_hw"]
        height, width = sizes.max(0)
        pixels = np.zeros((len(sizes), 3, height, width), np.float32)
        mask = np.ones((len(sizes), height, width), bool)
        for index, (h, w) in enumerate(sizes):
            pixels[index, :, :h, :w] = recipe.image(h, w, f"{case}{index}")
            mask[index, :h, :w] = False
        digest = hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()
        assert digest == str(self.recording["image#sha256"])
        padding = torch.from_numpy(mask) if mask.any() else None
        return ImageBatch(torch.from_numpy(pixels), padding, torch.from_numpy(sizes))

    def in_recorded_order(self, values: torch.Tensor) -> np.ndarray:
        """Our proposals (B, 900, ...) in the order of the recording."""
        return np.stack([v[rows] for v, rows in zip(values.numpy(), self.rows, strict=True)])

    def layer_rows(self, index: int, values: torch.Tensor) -> np.ndarray:
        return self.in_recorded_order(values) if index < 2 else values.numpy()


@pytest.fixture(scope="module", params=["a", "b"])
def run(request, model, recipe):
    return Run(request.param, model, recipe)


def test_backbone_and_levels(run):
    for index, feature in enumerate(run.kept["backbone"][1]):
        run.recording.assert_close(f"backbone{index}", feature.numpy(), HIDDEN)
    for index, level in enumerate(run.kept["levels"][1]):
        run.recording.assert_close(f"src{index}", level.numpy(), HIDDEN)


def test_masks_and_position_embeddings(run):
    start = 0
    masks = run.output.encoded.padding_mask
    for index, (h, w) in enumerate(run.output.encoded.spatial_shapes):
        wanted = run.recording[f"mask{index}"]
        if masks is None:
            assert not wanted.any()
            mask = torch.zeros(wanted.shape, dtype=torch.bool)
        else:
            mask = masks[:, start : start + h * w].unflatten(1, (h, w))
            assert (mask.numpy() == wanted).all()
        code = feature_position_encoding(mask, 256).permute(0, 3, 1, 2)
        run.recording.assert_close(f"pos{index}", code.numpy(), HIDDEN)
        start += h * w


def test_encoder(run):
    for index in range(NUM_LAYERS):
        tokens = run.kept[f"encoder{index}"][1]
        run.recording.assert_close(f"enc_layer{index}", tokens.numpy(), HIDDEN)
    run.recording.assert_close("memory", run.output.encoded.memory.numpy(), HIDDEN)


def test_proposals(run):
    recording, proposals = run.recording, run.output.proposals
    recording.assert_close("enc_class", proposals.token_class_logits.numpy(), LOGITS)
    ours = np.sort(proposals.token_indices.numpy(), 1)
    assert (ours == np.sort(recording["top900_token"], 1)).all()
    content = run.kept["proposals"][1][1]
    recording.assert_close("two_stage_content", run.in_recorded_order(content), HIDDEN)
    boxes = run.in_recorded_order(proposals.boxes)
    for name in ("two_stage_box", "interm/pred_boxes"):
        recording.assert_close(name, boxes, BOXES)
    logits = run.in_recorded_order(proposals.class_logits)
    recording.assert_close("interm/pred_logits", logits, LOGITS)
    with torch.inference_mode():
        features, places = run.model.proposals.features(run.output.encoded)
        delta = run.model.proposals.box_head(features)
        chosen = proposals.token_indices[..., None].expand(-1, -1, 4)
        first = places.gather(1, chosen).sigmoid()
    recording.assert_close("enc_bbox_delta", delta.numpy(), BOX_DELTA)
    recording.assert_close("init_box_proposal", run.in_recorded_order(first), BOXES)


def test_selected_people_and_their_order(run):
    selected = run.output.selected_queries
    tokens = run.output.proposals.token_indices.gather(1, selected).numpy()
    assert (tokens == run.recording["top100_token"]).all()
    at_recorded_place = np.take_along_axis(run.rows, run.recording["top100_query"], 1)
    assert (at_recorded_place == selected.numpy()).all()


@pytest.mark.parametrize("index", range(NUM_LAYERS))
def test_decoder_layer(run, index):
    inputs, (tokens, _) = run.kept[f"decoder{index}"]
    recording, decoder = run.recording, run.model.decoder
    recording.assert_close(f"dec{index}_raw", run.layer_rows(index, tokens), HIDDEN)
    with torch.inference_mode():
        hidden = decoder.norm(tokens)
        boxes = run.output.attention[index].reference_points
        after = decoder.heads.refine(
            index,
            tokens.unflatten(1, (-1, TOKENS[index])),
            boxes.unflatten(1, (-1, TOKENS[index])),
        ).flatten(1, 2)
    recording.assert_close(f"dec{index}_hs", run.layer_rows(index, hidden), HIDDEN)
    recording.assert_close(f"dec_ref{index}", run.layer_rows(index, boxes), BOXES)
    if index not in (1, 3):  # After these layers the recording has the queries of the next stage.
        recording.assert_close(f"dec_ref{index + 1}", run.layer_rows(index, after), BOXES)


@pytest.mark.parametrize("index", range(NUM_LAYERS))
def test_heads(run, index):
    layers = (*run.output.aux_outputs, run.output.final)
    layer = layers[index]
    prefix = "out/" if index == NUM_LAYERS - 1 else f"aux{index}/"
    compared = set()
    for name in run.recording.names(prefix):
        bare, _, slicing = name.removeprefix(prefix).partition("[")
        step = int(slicing.rstrip("]").rsplit("::", 1)[1]) if slicing else 1
        if bare in ("pred_smpl_kp3d", "pred_smpl_verts", "pred_smpl_fullpose"):
            continue  # compared in the tests of bodies below
        ours, tolerance = _head_value(layer, bare)
        run.recording.assert_close(name, run.layer_rows(index, ours)[:, ::step], tolerance)
        compared.add(bare)
    assert {"pred_logits", "pred_boxes"} <= compared
    assert len(compared) == (2, 2, 13, 13, 16, 16)[index]


def _head_value(layer, name: str) -> tuple[torch.Tensor, float]:
    if name == "pred_logits":
        return layer.class_logits, LOGITS
    if name in PART_NAMES:
        return getattr(layer, PART_NAMES[name]), BOXES
    if name in KEYPOINT_NAMES:
        points = getattr(layer, KEYPOINT_NAMES[name])
        visible = torch.full(points.shape[:3], 1.0).sigmoid()
        return torch.cat([points.flatten(2), visible], -1), BOXES
    if name in ROTATION_NAMES:
        return getattr(layer.smplx, ROTATION_NAMES[name]), ROTATIONS
    if name == "pred_smpl_cam":
        return layer.smplx.weak_camera, CAMERA
    return {"pred_smpl_beta": layer.smplx.betas, "pred_smpl_expr": layer.smplx.expression}[
        name
    ], SHAPE


def _parameters(smplx, image: int, people: slice) -> dict[str, torch.Tensor]:
    def axis_angle(rotmat):
        return rotmat_to_axis_angle(rotmat[image, people]).flatten(1)

    return {
        "betas": smplx.betas[image, people],
        "expression": smplx.expression[image, people],
        "global_orient": axis_angle(smplx.body_rotmat[:, :, :1]),
        "body_pose": axis_angle(smplx.body_rotmat[:, :, 1:]),
        "left_hand_pose": axis_angle(smplx.left_hand_rotmat),
        "right_hand_pose": axis_angle(smplx.right_hand_rotmat),
        "jaw_pose": axis_angle(smplx.jaw_rotmat),
    }


def test_axis_angle_of_the_last_layer(run):
    smplx = run.output.final.smplx
    order = ("global_orient", "body_pose", "left_hand_pose", "right_hand_pose", "jaw_pose")
    ours = []
    for image in range(len(run.images.sizes_hw)):
        parameters = _parameters(smplx, image, slice(None))
        ours.append(torch.cat([parameters[name] for name in order], 1).numpy())
    run.recording.assert_close("out/pred_smpl_fullpose", np.stack(ours), ROTATIONS)


def test_bodies_of_the_last_layer(run, body):
    for image in range(len(run.images.sizes_hw)):
        parameters = _parameters(run.output.final.smplx, image, slice(None))
        with torch.inference_mode():
            joints = body.joints(parameters).numpy()
            some = body({name: values[:3] for name, values in parameters.items()})
        wanted = run.recording["out/pred_smpl_kp3d"][image]
        assert np.abs(joints - wanted).max() <= JOINTS_3D
        assert np.abs(some.joints_3d.numpy() - wanted[:3]).max() <= JOINTS_3D
        vertices = run.recording["out/pred_smpl_verts[:, :3, ::25]"][image]
        assert np.abs(some.vertices.numpy()[:, ::25] - vertices).max() <= JOINTS_3D


@pytest.mark.parametrize("index", [2, 3, 4])
def test_joints_of_earlier_layers(run, body, index):
    name = f"aux{index}/pred_smpl_kp3d[:, ::10]"
    for image in range(len(run.images.sizes_hw)):
        parameters = _parameters(run.output.aux_outputs[index].smplx, image, slice(None, None, 10))
        if index < 4:  # Stage refine_body: mean hand pose and no expression.
            for part in ("left_hand_pose", "right_hand_pose", "expression"):
                parameters[part] = torch.zeros_like(parameters[part])
        with torch.inference_mode():
            joints = body.joints(parameters).numpy()
        assert np.abs(joints - run.recording[name][image]).max() <= JOINTS_3D


def test_people_in_pixels(run, body):
    """The released post-processing keeps 50 of 100 people x 2 classes; ours scores people once."""
    for image, (height, width) in enumerate(run.images.sizes_hw.tolist()):
        people = people_from_output(run.output.final, image, width, height)
        assert (np.diff(people.scores) <= 0).all()
        recording = Recording(
            reference_folder("model") / "parity_full.npz", f"{run.recording.prefix}post{image}/"
        )
        rows = np.argsort(people.query_indices)[recording["query"]]
        person = recording["labels"] == 1
        assert person.any()
        scores = people.scores[rows][person]
        assert np.abs(scores - recording["scores"][person]).max() <= SCORES
        for name, ours, tolerance in (
            ("body_bbox", people.boxes_xyxy_px, BOXES_PX),
            ("lhand_bbox", people.left_hand_boxes_xyxy_px, BOXES_PX),
            ("rhand_bbox", people.right_hand_boxes_xyxy_px, BOXES_PX),
            ("face_bbox", people.face_boxes_xyxy_px, BOXES_PX),
            ("smplx_root_pose", people.global_orient, ROTATIONS),
            ("smplx_body_pose", people.body_pose, ROTATIONS),
            ("smplx_lhand_pose", people.left_hand_pose, ROTATIONS),
            ("smplx_rhand_pose", people.right_hand_pose, ROTATIONS),
            ("smplx_jaw_pose", people.jaw_pose, ROTATIONS),
            ("smplx_shape", people.betas, SHAPE),
            ("smplx_expr", people.expression, SHAPE),
            ("cam_trans", people.transl, TRANSL),
        ):
            recording.assert_close(name, ours[rows], tolerance)
        parameters = {
            name: torch.from_numpy(np.ascontiguousarray(values[rows]))
            for name, values in people.smplx_parameters().items()
        }
        joints = body.joints(parameters)
        pixels = project_points(joints, 5000.0, torch.tensor([width, height]))
        recording.assert_close("smplx_joint_proj", pixels.numpy(), JOINTS_PX)


def test_small_functions():
    unit = Recording(reference_folder("model") / "parity_full.npz", "unit/")
    rotmat = rotation_6d_to_rotmat(torch.from_numpy(unit["rot6d_in"]))
    unit.assert_close("rot6d_R", rotmat.numpy(), 5e-6)
    axis_angle = rotmat_to_axis_angle(torch.from_numpy(unit["rot6d_R"]))
    unit.assert_close("R_axis_angle_pytorch3d061", axis_angle.numpy(), 5e-5)
    turned_back = axis_angle_to_rotmat(axis_angle)
    unit.assert_close("rot6d_R", turned_back.numpy(), 5e-5)
    logits = inverse_sigmoid(torch.from_numpy(unit["invsig_in"]))
    unit.assert_close("invsig_out", logits.numpy(), 1e-5)
    transl = weak_camera_to_transl(torch.from_numpy(unit["proj_cam"]))
    points = torch.from_numpy(unit["proj_X"]) + transl[:, None]
    pixels = project_points(points, 5000.0, torch.tensor([640, 480]))
    unit.assert_close("proj_xy_wh640x480", pixels.numpy(), JOINTS_PX)


@pytest.mark.parametrize("case", ["p", "q", "r"])
def test_preprocessing(case):
    recording = Recording(reference_folder("model") / "parity_preproc.npz", f"{case}/")
    photo = np.ascontiguousarray(recording["in_bgr_uint8"][..., ::-1])
    prepared = prepare_photo(photo, ImageConfig())
    assert prepared.shape[1:] == tuple(recording["out_hw"])
    kept = prepared.reshape(-1)[::37].numpy()
    # 0.0014 of 255, over a standard deviation of 57.
    assert np.abs(kept - recording["out_chw_stride37"]).max() <= 5e-5
