"""Tone mapping of HDR video."""

import av
import numpy as np
import pytest

from aios.media.display import rgb_pixels, tone_map

_PQ, _HLG = 16, 18
_BT709_TO_BT2020 = np.array(
    [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]
)


def hdr_signal(sdr, is_pq):
    """Encode (H, W, 3) uint8 SDR with white at 203 nits as BT.2020 PQ or HLG, 0-1."""
    nits = 203 * ((sdr / 255) ** 2.4 @ _BT709_TO_BT2020.T)
    if is_pq:
        power = (nits / 10000) ** 0.1593017578125
        return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375
    display = nits / 1000
    luminance = np.maximum(display @ [0.2627, 0.6780, 0.0593], 1e-9)
    scene = display * (luminance ** (1 / 1.2 - 1))[..., None]
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    upper = a * np.log(np.maximum(12 * scene - b, 1e-9)) + c
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), upper)


def colors():
    levels = np.linspace(0, 220, 6)
    return np.stack(np.meshgrid(levels, levels, levels), -1).reshape(12, 18, 3).astype(np.uint8)


@pytest.mark.parametrize("is_pq", [True, False])
def test_colours_below_white_are_restored(is_pq):
    signal = np.rint(hdr_signal(colors(), is_pq) * 65535).astype(np.uint16)
    difference = np.abs(tone_map(signal, is_pq).astype(int) - colors())
    assert difference.max() <= 6


@pytest.mark.parametrize("is_pq", [True, False])
def test_highlights_are_compressed_in_order(is_pq):
    ramp = np.repeat(np.linspace(0, 65535, 256).astype(np.uint16)[None, :, None], 3, 2)
    grey = tone_map(ramp, is_pq)[0, :, 0].astype(int)
    assert (np.diff(grey) >= 0).all()
    assert grey[0] == 0 and grey[-1] == 255


@pytest.mark.parametrize(("transfer", "is_pq"), [(_PQ, True), (_HLG, False)])
def test_hdr_frame_is_tone_mapped_and_sdr_frame_is_not(transfer, is_pq):
    sdr = np.full((32, 48, 3), (150, 90, 60), np.uint8)
    signal = np.rint(hdr_signal(sdr, is_pq) * 65535).astype(np.uint16)
    frame = av.VideoFrame.from_ndarray(signal, "rgb48le")
    frame = frame.reformat(format="yuv420p10le", dst_colorspace=9)
    frame.colorspace, frame.color_trc, frame.color_primaries = 9, transfer, 9
    shown = rgb_pixels(frame, 48, 32)
    assert shown.dtype == np.uint8
    assert np.abs(shown.astype(int) - sdr).max() <= 6
    frame.color_trc = 1
    assert np.abs(rgb_pixels(frame, 48, 32).astype(int) - sdr).max() > 20
