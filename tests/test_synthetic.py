"""The synthetic scenes: exact labels, repeatable pictures, people who stay within their limits."""

from __future__ import annotations

import tarfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from aios.body_model import BodyModel
from training.synthetic import TEST_SEED, TRAIN_SEED, BodySurface, SceneGenerator, load_backgrounds
from training.synthetic.__main__ import main
from training.synthetic.anatomy import LIMITS, angles_to_body_pose
from training.synthetic.appearance import draw_looks, garment_offsets
from training.synthetic.labels import PosedPeople, build_targets, project
from training.synthetic.layout import View, draw_layout
from training.synthetic.poses import draw_pose
from training.synthetic.raster import EMPTY, Composite, Splats, composite, sample_counts, splat
from training.synthetic.scenes import Cast, pose_cast, to_camera
from training.synthetic.surface import DEFAULT_BODY
from training.targets import Targets

SIZE = (160, 200)
FOCAL = 200.0
VIEW = View(np.diag([1.0, -1.0, -1.0]), np.array([0.0, 1.0, 0.0]), FOCAL)


@pytest.fixture(scope="module")
def body() -> BodySurface:
    return BodySurface()


@pytest.fixture(scope="module")
def generator(body: BodySurface) -> SceneGenerator:
    return SceneGenerator((128, 160), body, TEST_SEED)


def standing_cast(count: int) -> Cast:
    """People of mean shape with their arms somewhat lowered, looking at the camera."""
    rng = np.random.default_rng(0)
    lowered = {name: 0.0 for name in LIMITS} | {"l_shoulder_out": 0.9, "r_shoulder_out": 0.9}
    pose = replace(
        draw_pose(rng),
        body_pose=angles_to_body_pose(lowered),
        jaw_pose=np.zeros(3, np.float32),
        lift=0.0,
    )
    turns = np.tile(np.eye(3), (count, 1, 1))
    zeros = torch.zeros(count, 10)
    return Cast([pose] * count, turns, zeros, zeros, draw_looks(rng, count))


def place(body: BodySurface, places: list[tuple[float, float]]) -> tuple[PosedPeople, Splats]:
    """Draw standing people at world (x, z) metres into separate buffers."""
    cast = standing_cast(len(places))
    vertices, joints = pose_cast(body, cast, None)
    shift = torch.tensor([[[x, 0.0, z]] for x, z in places])
    people = to_camera(cast, body, vertices + shift, joints + shift, VIEW)
    heights = np.array([FOCAL * 1.7 / -z for _, z in places])
    return people, splat(body, people.vertices, *sample_counts(heights), FOCAL, SIZE)


def label(
    body: BodySurface, people: PosedPeople, splats: Splats, occluder: torch.Tensor | None = None
) -> tuple[Composite, Targets]:
    nothing = torch.full(SIZE, torch.inf)
    picture = composite(splats, nothing if occluder is None else occluder)
    return picture, build_targets(people, picture, body, FOCAL, SIZE)


def test_scene_depends_on_seed_and_number_alone(
    body: BodySurface, generator: SceneGenerator
) -> None:
    first, again = generator.generate(7), SceneGenerator((128, 160), body, TEST_SEED).generate(7)
    assert np.array_equal(first.image, again.image)
    assert torch.equal(first.targets.joints_3d, again.targets.joints_3d)
    assert not np.array_equal(first.image, generator.generate(8).image)
    other = SceneGenerator((128, 160), body, TRAIN_SEED).generate(7)
    assert not np.array_equal(first.image, other.image)


def test_scene_is_complete_and_finite(generator: SceneGenerator) -> None:
    for index in range(8):
        scene = generator.generate(index)
        assert scene.image.shape == (128, 160, 3)
        assert scene.image.dtype == np.uint8
        targets = scene.targets
        for name in ("boxes", "joints_3d", "global_orient", "keypoints_2d", "face_boxes"):
            assert getattr(targets, name).isfinite().all()
        corners = torch.cat(
            [
                targets.boxes[:, :2] - targets.boxes[:, 2:] / 2,
                targets.boxes[:, :2] + targets.boxes[:, 2:] / 2,
            ]
        )
        assert ((corners > -1e-5) & (corners < 1 + 1e-5)).all()
        assert (targets.boxes[:, 2:] > 0).all()
        assert (targets.visible_share >= 0.1).all()


def test_nobody_is_a_scene(body: BodySurface) -> None:
    scene = SceneGenerator((64, 64), body, 1, max_people=0).generate(0)
    assert len(scene.targets) == 0
    assert (scene.owner == -1).all()
    assert scene.image.std() > 0
    view, places = draw_layout(np.random.default_rng(0), np.zeros(0), (64, 64))
    assert places.shape == (0, 2)
    assert view.focal_length > 0


def test_labels_pose_the_body_model_to_the_same_joints(generator: SceneGenerator) -> None:
    """Parameters, translation and projected joints of a scene say the same thing."""
    model = BodyModel.load(DEFAULT_BODY)
    scene = next(s for s in map(generator.generate, range(50)) if len(s.targets) >= 2)
    targets = scene.targets
    names = ("betas", "expression", "global_orient", "body_pose", "left_hand_pose")
    names += ("right_hand_pose", "jaw_pose", "transl")
    joints = model({name: getattr(targets, name) for name in names}).joints_3d
    torch.testing.assert_close(joints, targets.joints_3d, atol=2e-4, rtol=0)
    pixels = project(joints, targets.focal_length, (128, 160))
    expected = targets.joints_2d * torch.tensor([160.0, 128.0])
    torch.testing.assert_close(pixels, expected, atol=0.3, rtol=1e-3)


def test_surface_agrees_with_the_body_model(body: BodySurface) -> None:
    torch.manual_seed(0)
    pose, betas, expression = torch.randn(2, 55, 3) * 0.3, torch.randn(2, 10), torch.randn(2, 10)
    pose[:, 23:25] = 0
    vertices, joints = body.pose(pose, betas, expression)
    answer = BodyModel.load(DEFAULT_BODY)(
        {
            "betas": betas,
            "expression": expression,
            "global_orient": pose[:, 0],
            "body_pose": pose[:, 1:22].flatten(1),
            "jaw_pose": pose[:, 22],
            "left_hand_pose": pose[:, 25:40].flatten(1),
            "right_hand_pose": pose[:, 40:].flatten(1),
        }
    )
    torch.testing.assert_close(vertices, answer.vertices, atol=1e-5, rtol=0)
    torch.testing.assert_close(joints, answer.joints_3d, atol=1e-5, rtol=0)


def test_clothes_and_hair_leave_the_labelled_points_in_place(body: BodySurface) -> None:
    looks = draw_looks(np.random.default_rng(1), 20)
    offsets = garment_offsets(body, looks)
    assert offsets.norm(dim=-1).max() > 0.01
    rest = torch.zeros(20, 55, 3)
    zeros = torch.zeros(20, 10)
    _, bare = body.pose(rest, zeros, zeros)
    _, dressed = body.pose(rest, zeros, zeros, offsets)
    assert (bare - dressed).norm(dim=-1).max() < 1e-5


def test_joints_lie_on_the_drawn_person_and_boxes_hold_it(body: BodySurface) -> None:
    people, splats = place(body, [(0.1, -3.0)])
    picture, targets = label(body, people, splats)
    mask = (picture.owner == 0).numpy()
    assert 2000 < mask.sum() < 6000
    pixels = (targets.joints_2d[0, :55] * torch.tensor([200.0, 160.0])).floor().long()
    wide = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3)))
    assert wide[pixels[:, 1], pixels[:, 0]].all()
    rows, columns = np.nonzero(mask)
    box = targets.boxes[0].numpy() * [200, 160, 200, 160]
    assert np.isclose(box[0] - box[2] / 2, columns.min(), atol=1.5)
    assert np.isclose(box[0] + box[2] / 2, columns.max() + 1, atol=1.5)
    assert np.isclose(box[1] - box[3] / 2, rows.min(), atol=1.5)
    assert np.isclose(box[1] + box[3] / 2, rows.max() + 1, atol=1.5)
    assert targets.keypoints_visible.all()
    assert not targets.keypoints_occluded.any()
    assert float(targets.visible_share[0]) == 1.0


def test_left_is_left(body: BodySurface) -> None:
    """Somebody who looks at the camera has the left hand on the picture's right."""
    people, splats = place(body, [(0.0, -3.0)])
    _, targets = label(body, people, splats)
    assert targets.left_hand_box_valid.all()
    assert targets.right_hand_box_valid.all()
    assert targets.face_box_valid.all()
    assert targets.left_hand_boxes[0, 0] > 0.55
    assert targets.right_hand_boxes[0, 0] < 0.45
    points = targets.keypoints_2d[0, :, 0]
    for left in (1, 3, 5, 7, 9, 11, 13, 15):
        assert points[left] > points[left + 1]
    assert (targets.left_hand_keypoints_2d[0, 1:, 0] > points[9] - 0.02).all()
    assert (targets.right_hand_keypoints_2d[0, 1:, 0] < points[10] + 0.02).all()


def test_the_nearer_person_is_in_front_whatever_the_order(body: BodySurface) -> None:
    for places in ([(0.0, -3.0), (0.1, -5.0)], [(0.1, -5.0), (0.0, -3.0)]):
        people, splats = place(body, places)
        picture, targets = label(body, people, splats)
        near = int(np.argmax([z for _, z in places]))
        both = (splats.keys < EMPTY).all(0)
        assert both.sum() > 300
        assert (picture.owner[both] == near).float().mean() > 0.995
        assert targets.visible_share[near] > 0.995
        far = 1 - near
        hidden = 1 - float(both.sum()) / float((splats.keys[far] < EMPTY).sum())
        assert abs(float(targets.visible_share[far]) - hidden) < 0.02
        assert targets.keypoints_occluded[far].any()
        assert not targets.keypoints_occluded[near].any()


def test_visible_share_behind_a_wall(body: BodySurface) -> None:
    people, splats = place(body, [(0.0, -3.0)])
    wall = torch.full(SIZE, torch.inf)
    wall[:, 100:] = 1.5
    picture, targets = label(body, people, splats, wall)
    mask = splats.keys[0] < EMPTY
    share = float(mask[:, :100].sum() / mask.sum())
    assert abs(float(targets.visible_share[0]) - share) < 0.01
    assert 0.4 < share < 0.6
    assert not targets.left_hand_box_valid[0]
    assert targets.right_hand_box_valid[0]
    wall[:] = 1.5
    assert len(label(body, people, splats, wall)[1]) == 0
    wall[:] = 20.0
    assert float(label(body, people, splats, wall)[1].visible_share[0]) == 1.0


def test_box_of_a_cut_body_ends_at_the_edge(body: BodySurface) -> None:
    people, splats = place(body, [(1.35, -3.0)])
    _, targets = label(body, people, splats)
    box = targets.boxes[0]
    assert abs(float(box[0] + box[2] / 2) - 1) < 1e-6
    assert not targets.left_hand_box_valid[0]
    assert targets.keypoints_visible[0, 10] == 1
    assert targets.keypoints_visible[0, 9] == 0
    people, splats = place(body, [(4.0, -3.0)])
    assert len(label(body, people, splats)[1]) == 0


@pytest.mark.parametrize("distance", [1.6, 3.0, 6.0, 9.0])
def test_bodies_have_no_holes(body: BodySurface, distance: float) -> None:
    people, splats = place(body, [(0.0, -distance)])
    picture, _ = label(body, people, splats)
    mask = picture.owner == 0
    around = mask[1:-1, :-2] & mask[1:-1, 2:] & mask[:-2, 1:-1] & mask[2:, 1:-1]
    assert (around & ~mask[1:-1, 1:-1]).sum() == 0
    surely = people.vertices[0, body.weights[:, [3, 6, 9]].sum(1) > 0.95]
    column, row = project(surely, FOCAL, SIZE).floor().long().unbind(-1)
    seen = (row >= 0) & (row < SIZE[0])
    assert mask[row[seen], column[seen]].float().mean() > 0.99


def test_targets_check_themselves() -> None:
    targets = Targets.unannotated(3)
    assert len(targets.select(torch.tensor([True, False, True]))) == 2
    assert len(Targets.empty().to("cpu")) == 0
    with pytest.raises(ValueError, match="boxes"):
        replace(targets, boxes=torch.zeros(3, 5))
    with pytest.raises(ValueError, match="box_valid"):
        replace(targets, box_valid=torch.zeros(3))


def test_backgrounds_are_read_from_archives(tmp_path: Path, body: BodySurface) -> None:
    picture = np.full((90, 120, 3), (10, 200, 60), np.uint8)
    cv2.imwrite(str(tmp_path / "green.png"), picture[..., ::-1])
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    with tarfile.open(tmp_path / "good.tar", "w") as file:
        file.add(tmp_path / "green.png", "green.png")
    with tarfile.open(tmp_path / "bad.tar", "w") as file:
        file.add(tmp_path / "broken.jpg", "broken.jpg")
    pictures = load_backgrounds([tmp_path / "good.tar"], longest_px=60)
    assert [p.shape for p in pictures] == [(45, 60, 3)]
    assert np.array_equal(pictures[0][0, 0], [10, 200, 60])
    with pytest.raises(ValueError, match=r"broken\.jpg"):
        load_backgrounds([tmp_path / "bad.tar"])
    makers = SceneGenerator((64, 64), body, 1, pictures, max_people=0)
    green = [makers.generate(i).image.mean((0, 1)) for i in range(6)]
    assert sum(bool(g[1] > 2 * g[0]) for g in green) >= 3


def test_contact_sheet_is_written(tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    main(
        ["show", "--seed", "4", "--count", "2", "--height", "64", "--width", "64"]
        + ["--out", str(out)]
    )
    assert cv2.imread(str(out)).shape == (128, 256, 3)
