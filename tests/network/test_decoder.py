"""The decoder: who attends to whom, what is reported when, and attention that can be drawn."""

import dataclasses

import pytest
import torch

from aios.network.decoder_layer import PersonAttention
from aios.network.outputs import PERSON_CLASS
from aios.network.queries import LOCATE, REFINE_BODY, REFINE_WHOLE_BODY
from tests.helpers.networks import SMALL, TINY, random_images, random_model, random_prefix

pytestmark = pytest.mark.usefixtures("one_thread")

WIDTH, HEADS, PEOPLE, PREFIX = 16, 2, 3, 4


def who_is_seen(layout, blocked=None):
    """(n, n) bool: does the output of the row change when the token of the column does?

    By the gradient, which is exactly 0 where nothing is seen.
    """
    torch.manual_seed(0)
    attn = PersonAttention(WIDTH, HEADS).double()
    count = PEOPLE * layout.num_tokens + (0 if blocked is None else PREFIX)
    tokens = torch.randn(1, count, WIDTH, dtype=torch.float64)
    position = torch.randn_like(tokens)

    def summed(x):
        return attn(x, position, layout, blocked)[0].sum(-1)

    jacobian = torch.autograd.functional.jacobian(summed, tokens, vectorize=True)
    return jacobian[:, 0].abs().sum(-1) > 1e-14


def rule(layout):
    """The rule in words: the same person, or two boxes."""
    person = torch.arange(PEOPLE).repeat_interleave(layout.num_tokens)
    box = torch.zeros(layout.num_tokens, dtype=torch.bool)
    box[list(layout.box_tokens)] = True
    box = box.repeat(PEOPLE)
    return (person[:, None] == person) | (box[:, None] & box)


@pytest.mark.parametrize("layout", [LOCATE, REFINE_BODY, REFINE_WHOLE_BODY])
def test_people_meet_through_boxes_only(layout):
    assert torch.equal(who_is_seen(layout), rule(layout))


@pytest.mark.parametrize("layout", [LOCATE, REFINE_BODY, REFINE_WHOLE_BODY])
def test_prefix_sees_everybody_and_is_seen_by_nobody_else(layout):
    blocked = torch.zeros(1, PREFIX, PREFIX, dtype=torch.bool)
    blocked[0, :2, 2:] = blocked[0, 2:, :2] = True  # two groups of two
    seen = who_is_seen(layout, blocked)
    assert torch.equal(seen[:PREFIX, :PREFIX], ~blocked[0])
    assert seen[:PREFIX, PREFIX:].all()
    assert not seen[PREFIX:, :PREFIX].any()
    assert torch.equal(seen[PREFIX:, PREFIX:], rule(layout))


def test_wholly_blocked_prefix_query_still_sees_people():
    blocked = torch.ones(1, PREFIX, PREFIX, dtype=torch.bool)
    seen = who_is_seen(REFINE_BODY, blocked)[:PREFIX]
    # Itself it knows only as the one who asks.
    assert torch.equal(seen[:, :PREFIX], torch.eye(PREFIX, dtype=torch.bool))
    assert seen[:, PREFIX:].all()


@pytest.mark.parametrize("layout", [REFINE_BODY, REFINE_WHOLE_BODY])
@pytest.mark.parametrize("people", [1, 2, 5])
def test_attention_is_the_masked_softmax(layout, people):
    torch.manual_seed(1)
    attn = PersonAttention(WIDTH, HEADS).double()
    x = torch.randn(2, people * layout.num_tokens, WIDTH, dtype=torch.float64)
    position = torch.randn_like(x)
    usual = torch.nn.MultiheadAttention(WIDTH, HEADS, batch_first=True).double()
    usual.load_state_dict(attn.state_dict())
    box = torch.isin(torch.arange(layout.num_tokens), torch.tensor(layout.box_tokens))
    box = box.repeat(people)
    person = torch.arange(people).repeat_interleave(layout.num_tokens)
    forbidden = (person[:, None] != person) & ~(box[:, None] & box)
    wanted = usual(x + position, x + position, x, attn_mask=forbidden, need_weights=False)[0]
    torch.testing.assert_close(attn(x, position, layout, None), wanted)


@pytest.fixture(scope="module")
def small():
    model, images = random_model(SMALL, 3), random_images([(75, 93), (61, 88)], 3)
    with torch.inference_mode():
        return model, images, model(images, aux_outputs=True, keep_attention=True)


def tensors(layer):
    """All tensors of a `LayerOutput` by name, SMPL-X among them."""
    parts = vars(layer) | (vars(layer.smplx) if layer.smplx else {})
    return {name: value for name, value in parts.items() if isinstance(value, torch.Tensor)}


def test_extras_cost_nothing_and_change_nothing(small):
    model, images, full = small
    with torch.inference_mode():
        plain = model(images)
    assert plain.aux_outputs == ()
    assert plain.attention == ()
    for name, value in tensors(plain.final).items():
        assert torch.equal(value, tensors(full.final)[name]), name


def test_prefix_changes_nothing_for_people(small):
    model, images, full = small
    prefix = random_prefix(SMALL, 2, 5, 0)
    with torch.inference_mode():
        output = model(images, prefix, aux_outputs=True, keep_attention=True)
    for ours, wanted in zip(
        (*output.aux_outputs, output.final), (*full.aux_outputs, full.final), strict=True
    ):
        assert ours.prefix_boxes.shape == (2, 5, 4)
        assert ours.prefix_class_logits.shape == (2, 5, 2)
        for name, value in tensors(wanted).items():
            torch.testing.assert_close(tensors(ours)[name], value, atol=2e-5, rtol=1e-4)
    for ours, wanted in zip(output.attention, full.attention, strict=True):
        assert ours.sampling_locations.shape == wanted.sampling_locations.shape


def test_skipped_heads_are_never_run(small):
    """In inference the SMPL-X heads of earlier layers are not touched."""
    model, images, _ = small
    ran = []
    heads = [layer.smplx for layer in model.decoder.heads.layers if layer.smplx]
    hooks = [
        head.register_forward_hook(lambda *_, index=index: ran.append(index))
        for index, head in enumerate(heads)
    ]
    with torch.inference_mode():
        model(images)
    for hook in hooks:
        hook.remove()
    assert ran == [len(heads) - 1]


def test_shapes_of_every_stage(small):
    layers = (*small[2].aux_outputs, small[2].final)
    assert [layer.stage for layer in layers] == (
        ["locate"] * 2 + ["refine_body"] * 2 + ["refine_whole_body"] * 2
    )
    for layer in layers:
        people = SMALL.num_proposals if layer.stage == "locate" else SMALL.num_people
        assert layer.class_logits.shape == (2, people, 2)
        assert layer.boxes.shape == (2, people, 4)
        assert (layer.smplx is None) == (layer.stage == "locate")
        assert (layer.keypoints_2d is None) == (layer.stage == "locate")
        assert (layer.left_hand_keypoints_2d is None) == (layer.stage != "refine_whole_body")
    final = layers[-1]
    assert final.smplx.body_rotmat.shape == (2, 7, 22, 3, 3)
    assert final.smplx.left_hand_rotmat.shape == (2, 7, 15, 3, 3)
    assert final.smplx.jaw_rotmat.shape == (2, 7, 1, 3, 3)
    assert final.face_keypoints_2d.shape == (2, 7, 6, 2)


def test_kept_attention(small):
    attention = small[2].attention
    assert len(attention) == SMALL.decoder_layers
    for kept, tokens, people in zip(
        attention, (1, 1, 21, 21, 39, 39), (40, 40, 7, 7, 7, 7), strict=True
    ):
        shape = (2, people * tokens, SMALL.num_heads, SMALL.num_levels, SMALL.num_points)
        assert kept.attention_weights.shape == shape
        assert kept.sampling_locations.shape == (*shape, 2)
        assert kept.reference_points.shape == (2, people * tokens, 4)
        total = kept.attention_weights.sum((-1, -2))
        torch.testing.assert_close(total, torch.ones_like(total))
        assert ((kept.reference_points >= 0) & (kept.reference_points <= 1)).all()
        # Offsets are some half boxes at most, hence nothing is far from the image.
        assert kept.sampling_locations.abs().max() < 20


def test_attention_is_around_its_box(small):
    """Places are the box's centre plus offsets in half boxes, in the un-padded image."""
    model, _, full = small
    kept = full.attention[-1]
    centre = kept.reference_points[:, :, None, None, None, :2]
    size = kept.reference_points[:, :, None, None, None, 2:]
    offsets = (kept.sampling_locations - centre) / size * 2 * SMALL.num_points
    # The same for all levels, as the padded share of each level has been taken out again.
    bias = model.decoder.layers[-1].cross_attn.sampling_offsets.bias
    spread = (offsets - bias.view(1, 1, SMALL.num_heads, SMALL.num_levels, -1, 2)).abs()
    assert spread[size.expand_as(offsets) > 1e-3].max() < 10


@pytest.mark.parametrize("index", [0, 1])
def test_alone_is_as_in_a_padded_batch_of_equals(index):
    """Images of one size do not meet each other in a batch."""
    model = random_model(TINY, 4)
    images = random_images([(64, 80)] * 2, 4)
    alone = dataclasses.replace(
        images,
        pixels=images.pixels[index : index + 1],
        sizes_hw=images.sizes_hw[index : index + 1],
    )
    with torch.inference_mode():
        together, single = model(images), model(alone)
    for name, value in tensors(single.final).items():
        torch.testing.assert_close(
            tensors(together.final)[name][index], value[0], atol=1e-4, rtol=1e-4
        )


def test_boxes_of_the_next_layer_have_no_gradient():
    """Each layer learns from its own output alone through its references."""
    model = random_model(TINY, 5)
    output = model(random_images([(64, 80)], 5), aux_outputs=True)
    output.final.boxes.sum().backward()
    first = model.decoder.heads.layer(0).body_box
    assert all(p.grad is None or not p.grad.any() for p in first.parameters())
    assert model.decoder.layers[0].linear1.weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in model.proposals.parameters())


@pytest.mark.parametrize("sizes", [[(75, 93)], [(75, 93), (61, 88)]])
def test_people_below_the_least_score_are_not_finished(sizes):
    """Those above it come out as ever; all scores do."""
    model, images = random_model(SMALL, 3), random_images(sizes, 3)
    with torch.inference_mode():
        whole = model(images).final
        scores = whole.class_logits[..., PERSON_CLASS].sigmoid()
        middle = scores.flatten().sort().values[scores.numel() // 2].item()
        for least in (middle, 1.0):
            some = model(images, min_score=least).final
            torch.testing.assert_close(some.class_logits, whole.class_logits)
            kept = scores >= least
            assert kept.any() == (least == middle)
            for name in ("boxes", "keypoints_2d", "face_keypoints_2d"):
                torch.testing.assert_close(getattr(some, name)[kept], getattr(whole, name)[kept])
            for name, wanted in vars(whole.smplx).items():
                found = getattr(some.smplx, name)
                assert found.shape == wanted.shape
                torch.testing.assert_close(found[kept], wanted[kept], atol=1e-5, rtol=1e-5)
        assert not some.smplx.betas.any()
