"""Turn decoded video frames into the pixels that a player shows: orientation and tone mapping."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import av

_PQ, _HLG = 16, 18
"""Transfer characteristics SMPTE ST 2084 and ARIB STD-B67 (ITU-T H.273)."""
_WHITE_NITS = 203.0
"""Diffuse white of HDR video (ITU-R BT.2408)."""
_HLG_PEAK_NITS, _HLG_GAMMA = 1000.0, 1.2
_SDR_GAMMA = 2.4
_KNEE = 0.9
_BT2020_TO_BT709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]],
    np.float32,
)
_BT2020_LUMA = np.array([0.2627, 0.6780, 0.0593], np.float32)


@dataclass(frozen=True)
class Orientation:
    """Transpose of rows and columns, then mirroring, that makes a stored frame upright."""

    transposed: bool = False
    mirrored: bool = False
    upside_down: bool = False

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """(H, W, 3) stored -> upright, contiguous."""
        if self.transposed:
            pixels = pixels.transpose(1, 0, 2)
        if self.mirrored:
            pixels = pixels[:, ::-1]
        if self.upside_down:
            pixels = pixels[::-1]
        return np.ascontiguousarray(pixels)


def orientation_of(frame: av.VideoFrame) -> Orientation:
    """Orientation from the display matrix of a frame, rounded to a multiple of 90 degrees.

    The matrix [[a, b, u], [c, d, v], [x, y, w]] maps stored (p, q) to shown
    (a p + c q + x, b p + d q + y) (ISO/IEC 14496-12, section 6.2.2).
    """
    matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return Orientation()
    a, b, _, c, d = np.frombuffer(matrix, "=i4")[:5].tolist()
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Orientation(False, a < 0, d < 0)
    return Orientation(True, c < 0, b < 0)


def rgb_pixels(frame: av.VideoFrame, width: int, height: int) -> np.ndarray:
    """(height, width, 3) uint8 RGB of a decoded frame, not yet upright; HDR is tone-mapped."""
    if frame.color_trc not in (_PQ, _HLG):
        return frame.reformat(width, height, "rgb24").to_ndarray()
    signal = frame.reformat(width, height, "rgb48le").to_ndarray()
    return tone_map(signal, is_pq=frame.color_trc == _PQ)


def tone_map(signal: np.ndarray, is_pq: bool) -> np.ndarray:
    """BT.2020 HDR signal (H, W, 3) uint16 full range -> BT.709 SDR uint8.

    Up to 0.9 of diffuse white colours are kept; brighter ones are compressed below 1.
    """
    linear = _linear_light(is_pq)[signal]
    if not is_pq:
        # The OOTF of BT.2100 turns scene light into display light.
        luminance = np.maximum(linear @ _BT2020_LUMA, 1e-6)
        peak = np.float32(_HLG_PEAK_NITS / _WHITE_NITS)
        linear *= peak * (luminance ** np.float32(_HLG_GAMMA - 1))[..., None]
    linear = np.maximum(linear @ _BT2020_TO_BT709.T, 0)
    room = 1 - _KNEE
    compressed = _KNEE + room * (1 - np.exp((_KNEE - linear) / room))
    sdr = np.where(linear > _KNEE, compressed, linear) ** np.float32(1 / _SDR_GAMMA)
    return np.rint(sdr * 255).astype(np.uint8)


@cache
def _linear_light(is_pq: bool) -> np.ndarray:
    """(65536,) float32: 16-bit signal -> light; PQ relative to diffuse white, HLG scene 0-1."""
    signal = np.arange(65536) / 65535
    if is_pq:
        power = signal ** (1 / 78.84375)
        base = np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)
        light = 10000 / _WHITE_NITS * base ** (1 / 0.1593017578125)
    else:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        light = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    return light.astype(np.float32)
