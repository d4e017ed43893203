"""Synthetic scenes: exact labels, dependence on seed and index only, command line."""

from __future__ import annotations

import tarfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from aios.body.model import BodyModel
from aios.media.video_reader import VideoReader
from aios.resources import STANDIN_BODY
from training.synthetic import (
    TEST_SEED,
    TRAIN_SEED,
    BodySurface,
    SceneBatch,
    SceneBatchGenerator,
    SceneGenerator,
    load_backgrounds,
    stack_photos,
)
from training.synthetic.__main__ import main
from training.synthetic.appearance import garment_offsets, sample_appearance, visible_faces
from training.synthetic.rng import CounterRng
from training.targets import TENSOR_FIELDS, Targets

SIZE = (144, 176)
PARAMETERS = ("betas", "expression", "global_orient", "body_pose", "left_hand_pose")
PARAMETERS += ("right_hand_pose", "jaw_pose", "transl")


@pytest.fixture(scope="module")
def body() -> BodySurface:
    return BodySurface()


@pytest.fixture(scope="module")
def model() -> BodyModel:
    return BodyModel.load(STANDIN_BODY)


@pytest.fixture(scope="module")
def alone(body: BodySurface) -> SceneBatch:
    """Sixteen scenes of one person each."""
    return SceneBatchGenerator(SIZE, body, TEST_SEED, people=(1, 1)).generate(range(16))


@pytest.fixture(scope="module")
def crowds(body: BodySurface) -> SceneBatch:
    """Eight scenes of several people."""
    return SceneBatchGenerator(SIZE, body, TRAIN_SEED, people=(3, 9)).generate(range(8))


def pixels_of(scenes: SceneBatch, person: int, points_norm: torch.Tensor) -> torch.Tensor:
    """(K, 2) column and row of the points inside the image."""
    points = points_norm * torch.tensor([SIZE[1], SIZE[0]])
    inside = ((points >= 0) & (points < torch.tensor([SIZE[1], SIZE[0]]))).all(-1)
    return points[inside].floor().long()


def bare_body_pixels(scenes: SceneBatch, model: BodyModel) -> list[torch.Tensor]:
    """Pixels (K, 2) of the projected bare-body vertices of every person."""
    parameters = {name: getattr(scenes.people, name) for name in PARAMETERS}
    vertices = model(parameters).vertices
    focal = scenes.focal_length[scenes.scene_index][:, None, None]
    size = torch.tensor([SIZE[1], SIZE[0]])
    flat = vertices[..., :2] / vertices[..., 2:] * focal / size + 0.5
    return [pixels_of(scenes, person, points) for person, points in enumerate(flat)]


def test_scene_does_not_depend_on_its_batch(body: BodySurface) -> None:
    generator = SceneBatchGenerator(SIZE, body, TRAIN_SEED)
    together = generator.generate([11, 4, 7, 30])
    for place, number in enumerate((11, 4, 7, 30)):
        one = generator.generate([number])
        differs = (one.images[0].int() - together.images[place].int()).abs().amax(0) > 2
        # Rounding can move a pixel at an edge, and with it a JPEG block.
        assert differs.float().mean() < 0.02
        same = one.owner[0].clamp(max=0) == together.owner[place].clamp(max=0)
        assert same.float().mean() > 0.999
        alone, among = one.targets_of(0), together.targets_of(place)
        assert len(alone) == len(among)
        for name in TENSOR_FIELDS:
            value = getattr(alone, name)
            if value.dtype == torch.float32 and name != "visible_share":
                torch.testing.assert_close(value, getattr(among, name), atol=1e-4, rtol=1e-4)


def test_seed_and_index_determine_the_scene(body: BodySurface) -> None:
    generator = SceneGenerator(SIZE, body, TRAIN_SEED)
    first = [generator.generate(7), generator.generate(8)]
    again = SceneGenerator(SIZE, body, TRAIN_SEED).generate(7)
    other = SceneGenerator(SIZE, body, TEST_SEED).generate(7)
    assert np.array_equal(first[0].image, again.image)
    assert torch.equal(first[0].targets.joints_3d, again.targets.joints_3d)
    assert not np.array_equal(first[0].image, first[1].image)
    assert not np.array_equal(first[0].image, other.image)


def test_rng_is_uniform_and_independent() -> None:
    rng = CounterRng.for_scenes(3, range(20_000))
    first, second = rng.uniform("a"), rng.uniform("b")
    assert 0 <= first.min()
    assert first.max() < 1
    assert abs(float(first.mean()) - 0.5) < 0.01
    assert abs(float(torch.corrcoef(torch.stack([first, second]))[0, 1])) < 0.03
    assert abs(float(torch.corrcoef(torch.stack([first[1:], first[:-1]]))[0, 1])) < 0.03
    lanes = rng.take(torch.arange(2000)).normal("lanes", 8)
    assert abs(float(lanes.std()) - 1) < 0.03
    assert abs(float(torch.corrcoef(lanes.T).triu(1).abs().max())) < 0.1
    kinds = rng.choice("kind", (1.0, 0.0, 3.0)).bincount(minlength=3) / 20_000
    torch.testing.assert_close(kinds, torch.tensor([0.25, 0.0, 0.75]), atol=0.02, rtol=0)
    assert torch.equal(rng.take(torch.tensor([5])).uniform("a"), first[5:6])


def test_scenes_are_complete_and_finite(crowds: SceneBatch) -> None:
    assert crowds.images.shape == (8, 3, *SIZE)
    assert crowds.images.dtype == torch.uint8
    assert crowds.images.float().std((1, 2, 3)).min() > 5
    targets, scene = crowds.targets()
    assert 8 < len(targets) == len(scene)
    for name in TENSOR_FIELDS:
        assert getattr(targets, name).isfinite().all(), name
    low = targets.boxes[:, :2] - targets.boxes[:, 2:] / 2
    high = targets.boxes[:, :2] + targets.boxes[:, 2:] / 2
    assert low.min() > -1e-5
    assert high.max() < 1 + 1e-5
    assert (targets.boxes[:, 2:] > 0).all()
    assert (targets.visible_share >= 0.1).all()
    assert sum(len(crowds.targets_of(k)) for k in range(8)) == len(targets)


def test_scenes_without_people(body: BodySurface) -> None:
    generator = SceneBatchGenerator((64, 64), body, 1, people=(0, 0))
    scenes = generator.generate([0, 1, 2])
    assert len(scenes.targets()[0]) == 0
    assert (scenes.owner < 0).all()
    assert (scenes.joint == -1).all()
    assert scenes.images.float().std((1, 2, 3)).min() > 0
    with pytest.raises(ValueError, match="0 to 20"):
        SceneBatchGenerator((64, 64), body, 1, people=(3, 21))


def test_labels_pose_the_body_model_to_the_same_joints(
    crowds: SceneBatch, model: BodyModel
) -> None:
    """Parameters, translation, focal length and projected joints are consistent."""
    targets, scene = crowds.targets()
    joints = model({name: getattr(targets, name) for name in PARAMETERS}).joints_3d
    torch.testing.assert_close(joints, targets.joints_3d, atol=5e-4, rtol=0)
    focal = crowds.focal_length[scene][:, None, None]
    size = torch.tensor([SIZE[1], SIZE[0]])
    flat = joints[..., :2] / joints[..., 2:] * focal / size + 0.5
    ahead = joints[..., 2] > 0.3
    torch.testing.assert_close(flat[ahead], targets.joints_2d[ahead], atol=4e-3, rtol=1e-3)


def test_rendered_people_match_their_labels(alone: SceneBatch, model: BodyModel) -> None:
    """Projected bare-body vertices lie on the rendered person, inside the box."""
    share, checked = [], 0
    for person, pixels in enumerate(bare_body_pixels(alone, model)):
        scene = int(alone.scene_index[person])
        mask = alone.owner[scene] == person
        if not alone.kept[person] or alone.people.visible_share[person] < 0.995:
            continue
        checked += 1
        wide = torch.from_numpy(cv2.dilate(mask.numpy().astype(np.uint8), np.ones((3, 3)))) > 0
        share.append(float(wide[pixels[:, 1], pixels[:, 0]].float().mean()))
        # No pixel of the body other than head and pelvis (hair, skirts) lies outside the box.
        box = alone.people.boxes[person] * torch.tensor([SIZE[1], SIZE[0]] * 2)
        joint = alone.joint[scene]
        rows, columns = torch.nonzero(mask & (joint >= 0) & (joint != 15) & (joint != 0)).unbind(1)
        assert columns.min() >= box[0] - box[2] / 2 - 2
        assert columns.max() <= box[0] + box[2] / 2 + 2
        assert rows.min() >= box[1] - box[3] / 2 - 2
        assert rows.max() <= box[1] + box[3] / 2 + 2
    assert checked >= 4
    assert min(share) > 0.97


def test_visible_share_accounts_for_occlusion(body: BodySurface) -> None:
    """Occluders inside the box of a person cover the pixels that the person lacks."""
    generator = SceneBatchGenerator(SIZE, body, TRAIN_SEED, people=(4, 12))
    scenes = generator.generate(range(6))
    share = scenes.people.visible_share
    visible = torch.bincount(scenes.owner[scenes.owner >= 0], minlength=len(share))
    assert (share <= 1).all()
    hidden = (share < 0.8) & (visible > 50)
    assert hidden.any()
    whole = share > 0.999
    assert whole.any()
    for person in torch.nonzero(hidden)[:, 0].tolist():
        scene = int(scenes.scene_index[person])
        box = scenes.people.boxes[person] * torch.tensor([SIZE[1], SIZE[0]] * 2)
        low, high = box[:2] - box[2:] / 2, box[:2] + box[2:] / 2
        rows, columns = slice(int(low[1]), int(high[1]) + 1), slice(int(low[0]), int(high[0]) + 1)
        owner, depth = scenes.owner[scene, rows, columns], scenes.depth[scene, rows, columns]
        farthest = scenes.people.joints_3d[person, :, 2].max()
        others = (owner != person) & (owner > -2) & (depth < farthest)
        # The missing pixels are covered by nearer people or objects inside the box.
        total = visible[person] / share[person]
        assert others.sum() >= 0.9 * (total - visible[person])


def test_occluded_joints_are_behind_other_people_or_objects(crowds: SceneBatch) -> None:
    hidden = crowds.joints_occluded
    assert 0.01 < hidden.float().mean() < 0.7
    targets = crowds.people
    for person in range(len(hidden)):
        scene = int(crowds.scene_index[person])
        points = targets.joints_2d[person] * torch.tensor([SIZE[1], SIZE[0]])
        inside = ((points >= 0) & (points < torch.tensor([SIZE[1], SIZE[0]]))).all(-1)
        column, row = points.clamp(min=0).floor().long().unbind(-1)
        column, row = column.clamp(max=SIZE[1] - 1), row.clamp(max=SIZE[0] - 1)
        owner = crowds.owner[scene, row, column]
        nearer = crowds.depth[scene, row, column] < targets.joints_3d[person, :, 2]
        wanted = inside & (owner != person) & (owner > -2) & nearer
        assert torch.equal(hidden[person], wanted)
    assert not hidden[targets.visible_share > 0.9999].all(1).any()


def test_left_and_right_hands_are_not_swapped(crowds: SceneBatch, alone: SceneBatch) -> None:
    """The pixel at a visible left wrist belongs to a joint of the left arm."""
    left = {9, 13, 16, 18, 20, *range(25, 40)}
    right = {9, 14, 17, 19, 21, *range(40, 55)}
    seen = {"left": [], "right": []}
    for scenes in (crowds, alone):
        for person in range(len(scenes.kept)):
            scene = int(scenes.scene_index[person])
            for side, wrist, joints in (("left", 20, left), ("right", 21, right)):
                if not getattr(scenes.people, f"{side}_hand_box_valid")[person]:
                    continue
                for pixel in pixels_of(scenes, person, scenes.people.joints_2d[person, [wrist]]):
                    column, row = pixel.tolist()
                    depth = scenes.depth[scene, row, column]
                    near = abs(depth - scenes.people.joints_3d[person, wrist, 2]) < 0.06
                    joint = int(scenes.joint[scene, row, column])
                    if near and scenes.owner[scene, row, column] == person and joint >= 0:
                        seen[side].append(joint in joints)
    for side in ("left", "right"):
        assert len(seen[side]) > 8
        assert np.mean(seen[side]) > 0.9


def test_surface_matches_the_body_model(body: BodySurface, model: BodyModel) -> None:
    torch.manual_seed(0)
    pose, betas, expression = torch.randn(2, 55, 3) * 0.3, torch.randn(2, 10), torch.randn(2, 10)
    pose[:, 23:25] = 0
    posed = body.pose(pose, betas, expression)
    expected = model(
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
    vertices = posed.vertices[:, : body.num_vertices]
    torch.testing.assert_close(vertices, expected.vertices, atol=1e-5, rtol=0)
    torch.testing.assert_close(posed.joints_3d, expected.joints_3d, atol=1e-5, rtol=0)


def test_clothes_and_hair_do_not_move_labelled_points(body: BodySurface) -> None:
    appearance = sample_appearance(CounterRng.for_scenes(1, range(30)), test=False)
    offsets = garment_offsets(body, appearance)
    assert offsets[:, : body.num_vertices].norm(dim=-1).max() > 0.02
    rest, zeros = torch.zeros(30, 55, 3), torch.zeros(30, 10)
    bare = body.pose(rest, zeros, zeros).joints_3d
    dressed = body.pose(rest, zeros, zeros, offsets).joints_3d
    assert (bare - dressed).norm(dim=-1).max() < 1e-5
    shown = visible_faces(body, appearance)
    assert shown[:, : len(body.faces)].all()
    skirts = shown[:, len(body.faces) :].float().mean(1)
    assert 3 < (skirts > 0).sum() < 30


def test_test_set_shares_no_fabric_pattern_with_training() -> None:
    rng = CounterRng.for_scenes(1, range(500))
    train, test = (sample_appearance(rng, test=t).patterns[..., 0].unique() for t in (False, True))
    assert set(train.tolist()) & set(test.tolist()) == {0.0}  # plain cloth


def test_targets_validate_their_shapes() -> None:
    targets = Targets.unannotated(3)
    assert len(targets.select(torch.tensor([True, False, True]))) == 2
    assert len(Targets.empty().to("cpu")) == 0
    with pytest.raises(ValueError, match="boxes"):
        replace(targets, boxes=torch.zeros(3, 5))
    with pytest.raises(ValueError, match="box_valid"):
        replace(targets, box_valid=torch.zeros(3))


def test_background_photos_are_read_from_archives(tmp_path: Path, body: BodySurface) -> None:
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
    generator = SceneBatchGenerator((64, 64), body, 1, stack_photos(pictures), people=(0, 0))
    green = generator.generate(range(12)).images.float().median(-1).values.median(-1).values
    assert (green[:, 1] > 1.7 * green[:, 0]).sum() >= 5
    assert stack_photos([]) is None


def test_preview_command_writes_a_grid(tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    main(
        ["preview", "--seed", "4", "--count", "2", "--height", "64", "--width", "64"]
        + ["--out", str(out)]
    )
    assert cv2.imread(str(out)).shape == (128, 256, 3)


def test_video_frames_change_gradually(body: BodySurface) -> None:
    generator = SceneBatchGenerator((96, 128), body, 77, None, people=(1, 2))
    times = (0.0, 0.1, 0.8, 0.0)
    first, next_one, later, again = (frame.float() for frame in generator.video_frames(20, times))
    assert torch.equal(first, again)
    little, much = ((frame - first).abs().mean() for frame in (next_one, later))
    assert 0 < little < much
    # The background hardly changes.
    assert (later - first).abs().median() < 4


def test_video_command_writes_all_frames(tmp_path: Path) -> None:
    out = tmp_path / "video.mp4"
    size = ["--height", "48", "--width", "64"]
    main(
        [
            "video",
            "--first",
            "3",
            "--people",
            "1",
            "1",
            "--seconds",
            "0.4",
            "--out",
            str(out),
            *size,
        ]
    )
    with VideoReader(out) as video:
        frames = list(video)
    assert [frame.pixels.shape for frame in frames] == [(48, 64, 3)] * 6
