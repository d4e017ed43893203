"""Keypoint maps: heads over the pyramid, and keypoints that move to their peaks."""

import dataclasses

import pytest
import torch

from aios.network.config import BUILTIN_CONFIG
from aios.network.keypoint_maps import KeypointHeads, move_to_peaks
from aios.network.mobilenet import MobileNetV2
from aios.network.model import AiOS
from aios.network.outputs import EncodedImage, KeypointMaps, LayerOutput
from aios.network.preprocessing import batch_images

pytestmark = pytest.mark.usefixtures("one_thread")

HEIGHT, WIDTH = 40, 60


def maps_with_peaks(*peaks):
    """Maps that are 0.9 in the given cells (keypoint, x, y) and 1e-4 elsewhere; no offsets."""
    heat = torch.full((1, 17, HEIGHT, WIDTH), 1e-4)
    for keypoint, x, y in peaks:
        heat[0, keypoint, y, x] = 0.9
    return KeypointMaps(heat.logit(), torch.zeros(1, 17, 2, HEIGHT, WIDTH))


def moved(maps, points=(30.0, 20.0), box=(30.0, 20.0, 20.0, 20.0), valid=(1.0, 1.0)):
    """Outputs for one person with all keypoints at `points`; everything in cells."""
    extent = torch.tensor([WIDTH * valid[0], HEIGHT * valid[1]])
    output = LayerOutput(
        "refine_whole_body",
        class_logits=torch.zeros(1, 1, 2),
        boxes=(torch.tensor(box) / extent.repeat(2))[None, None],
        keypoints_2d=(torch.tensor(points) / extent).expand(1, 1, 17, 2),
    )
    encoded = EncodedImage(
        torch.zeros(1, 4, 8), None, ((2, 2),), torch.tensor([[valid]]), keypoint_maps=maps
    )
    found = move_to_peaks(output, encoded)
    return found.keypoints_2d[0, 0] * extent, found.keypoint_scores[0, 0]


def test_keypoints_move_to_the_peak_near_them():
    keypoints, scores = moved(maps_with_peaks((3, 33, 18)))
    torch.testing.assert_close(keypoints[3], torch.tensor([33.0, 18.0]))
    torch.testing.assert_close(scores[3], torch.tensor(0.9))


def test_keypoints_without_a_peak_stay_and_score_low():
    keypoints, scores = moved(maps_with_peaks((3, 33, 18)))
    torch.testing.assert_close(keypoints[4], torch.tensor([30.0, 20.0]))
    assert scores[4] < 0.01


def test_the_nearer_of_two_equal_peaks_is_taken():
    keypoints, _ = moved(maps_with_peaks((0, 24, 20), (0, 32, 20)))
    torch.testing.assert_close(keypoints[0], torch.tensor([32.0, 20.0]))


def test_peaks_outside_the_box_belong_to_others():
    keypoints, _ = moved(maps_with_peaks((0, 44, 20)), points=(39.0, 20.0))
    torch.testing.assert_close(keypoints[0], torch.tensor([39.0, 20.0]))


def test_offsets_are_added_to_the_cell():
    maps = maps_with_peaks((5, 33, 18))
    maps.offsets[0, 5, :, 18, 33] = torch.tensor([0.25, -0.5])
    keypoints, _ = moved(maps)
    torch.testing.assert_close(keypoints[5], torch.tensor([33.25, 17.5]))


def test_padding_of_the_batch_does_not_shift_keypoints():
    keypoints, _ = moved(maps_with_peaks((3, 33, 18)), valid=(0.75, 0.8))
    torch.testing.assert_close(keypoints[3], torch.tensor([33.0, 18.0]))


def test_heads_read_the_finest_map_of_the_pyramid():
    torch.manual_seed(0)
    backbone = MobileNetV2(BUILTIN_CONFIG.backbone).eval()
    finest = []
    backbone.pyramid.register_forward_hook(lambda _module, _inputs, maps: finest.append(maps[-1]))
    with torch.no_grad():
        features = backbone(torch.rand(1, 3, 64, 96))
        maps = backbone.keypoints(features[0])
        expected = backbone.keypoints.heat(finest[0])
    assert isinstance(backbone.keypoints, KeypointHeads)
    torch.testing.assert_close(maps.heat_logits, expected)
    assert maps.offsets.shape == (1, 17, 2, 16, 24)


def test_training_leaves_keypoints_to_the_tokens():
    model = AiOS(BUILTIN_CONFIG)
    images = batch_images([torch.zeros(3, 64, 96)])
    with torch.no_grad():
        assert model.train()(images).final.keypoint_scores is None
        assert model.eval()(images).final.keypoint_scores.shape == (1, 20, 17)


def test_networks_without_maps_keep_their_keypoints():
    output = LayerOutput("locate", torch.zeros(1, 1, 2), torch.zeros(1, 1, 4))
    encoded = EncodedImage(torch.zeros(1, 4, 8), None, ((2, 2),), torch.ones(1, 1, 2))
    assert move_to_peaks(output, encoded) is output
    without = dataclasses.replace(BUILTIN_CONFIG.backbone.pyramid, keypoint_width=0)
    backbone = dataclasses.replace(BUILTIN_CONFIG.backbone, pyramid=without)
    assert MobileNetV2(backbone).keypoints is None
