"""Pictures and files of attention."""

import io
from dataclasses import replace

import numpy as np
import pytest

from aios.page.attention_export import attention_to_json, attention_to_npz
from aios.page.attention_pictures import attention_figure, matrix_pictures, token_pictures
from aios.page.attention_query import AttentionMissingError, AttentionQuery, people_with_attention
from aios.page.results import PhotoQuery
from aios.page.sessions import Sessions
from tests.helpers.served import middle_threshold, save_photo, tiny_predictor


@pytest.fixture(scope="module")
def predictor():
    return tiny_predictor()


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    return save_photo(tmp_path_factory.mktemp("photo") / "photo.png")


@pytest.fixture(scope="module")
def visit(predictor, tmp_path_factory):
    return Sessions(predictor, tmp_path_factory.mktemp("uploads")).visit("a")


@pytest.fixture(scope="module")
def result(visit, photo):
    return visit.result(PhotoQuery(photo, 0.0, 30, "full"))


def test_each_control_changes_the_picture(result):
    base = AttentionQuery(0, "nose", 2)
    first = token_pictures(result, base)
    for other in (
        replace(base, person=1),
        replace(base, token="left hand: wrist"),
        replace(base, layer=1),
        replace(base, level=0),
        replace(base, head=1),
        replace(base, close_up=True),
    ):
        changed = token_pictures(result, other)
        assert changed[0].shape != first[0].shape or (changed[0] != first[0]).any(), other
    assert "Person 1, nose" in first[2] and "18 sampling points" in first[2]


def test_levels_and_heads_are_parts_of_the_whole(predictor, result):
    config = predictor.model.config
    npz = np.load(io.BytesIO(attention_to_npz(result, 0)))
    weights = npz["layer3_weights"]
    assert weights.shape == (39, config.num_heads, config.num_levels, config.num_points)
    np.testing.assert_allclose(weights.sum((-1, -2)), 1, atol=5e-3)
    text = token_pictures(result, AttentionQuery(0, "nose", 2, level=1, head=0))[2]
    assert f"{config.num_points} sampling points" in text


def test_token_missing_in_an_early_layer_shows_the_one_it_is_initialised_from(result):
    early, _, text = token_pictures(result, AttentionQuery(0, "left hand: wrist", 0))
    np.testing.assert_array_equal(
        early, token_pictures(result, AttentionQuery(0, "body box", 0))[0]
    )
    assert "does not exist yet" in text


def test_threshold_does_not_change_the_attention_of_a_person(predictor, visit, photo, result):
    threshold = middle_threshold(predictor, photo)
    some = visit.result(PhotoQuery(photo, threshold, 30, "full"))
    assert len(some.prediction) == 2 and people_with_attention(some) == [0, 1]
    question = AttentionQuery(1, "right knee", 2)
    np.testing.assert_array_equal(
        token_pictures(some, question)[0], token_pictures(result, question)[0]
    )
    # The matrix contains the people found only.
    assert matrix_pictures(some, question)[0].shape != matrix_pictures(result, question)[0].shape


def test_npz_loads_without_pickle_and_is_in_pixels_of_the_photo(result):
    with np.load(io.BytesIO(attention_to_npz(result, 1)), allow_pickle=False) as npz:
        arrays = dict(npz)
    assert arrays["person"] == 2 and arrays["people"].tolist() == [1, 2, 3, 4, 5]
    assert arrays["stages"].tolist() == ["locate", "refine_body", "refine_whole_body"]
    assert arrays["layer2_tokens"].shape == (21,) and arrays["layer1_tokens"][0] == "body box"
    row = result.candidates.attention.row(result.prediction.people.query_indices[1])
    layer = result.candidates.attention.layers[2]
    np.testing.assert_allclose(
        arrays["layer3_boxes_cxcywh_px"], layer.boxes[row] * [120, 90, 120, 90], rtol=1e-5
    )
    to_all = arrays["layer3_self_attention"][18].sum() + arrays["layer3_to_others"][1].sum()
    assert to_all == pytest.approx(1, abs=5e-3)


def test_figure_contains_all_four_pictures(result):
    question = AttentionQuery(0, "face: chin", 2, close_up=True)
    pictures = [*token_pictures(result, question)[:2], *matrix_pictures(result, question)]
    figure = attention_figure(result, question)
    assert figure.shape[1] > max(p.shape[1] for p in pictures)
    assert figure.shape[0] * figure.shape[1] > sum(p.shape[0] * p.shape[1] for p in pictures)


def test_json_selects_heads_and_levels(predictor, result):
    config = predictor.model.config
    whole = attention_to_json(result, AttentionQuery(1, "nose", 2))["points"]
    assert len(whole) == config.num_heads * config.num_levels * config.num_points
    part = attention_to_json(result, AttentionQuery(1, "nose", 2, level=1, head=0))["points"]
    assert part == [point for point in whole if (point["head"], point["level"]) == (1, 2)]


@pytest.mark.parametrize("person", [9, -1])
def test_missing_person_is_refused_in_one_sentence(result, person):
    with pytest.raises(AttentionMissingError, match=f"no person {person + 1}: 5 found"):
        token_pictures(result, AttentionQuery(person, "nose", 2))


def test_person_without_stored_attention_is_refused_in_one_sentence(result):
    without = replace(result, candidates=replace(result.candidates, attention=None))
    assert people_with_attention(without) == []
    with pytest.raises(AttentionMissingError, match="highest scores"):
        token_pictures(without, AttentionQuery(0, "nose", 2))
