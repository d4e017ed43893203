"""Numbers at people and a legend of distances, drawn on finished pictures."""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .colors import distance_colors

_INK, _PAPER = (255, 255, 255), (16, 18, 24)
_LEGEND_LEAST_SIDE_PX = 120
_LEGEND_OPACITY = 200


def label_points(person: np.ndarray, count: int) -> np.ndarray:
    """The point deepest inside the visible part of each person.

    Args:
        person: (H, W) int32 index of the person at each pixel, -1 for nobody.
        count: P.

    Returns:
        (P, 2) float64 x and y in pixels, nan for whom nothing is to be seen.
    """
    points = np.full((count, 2), np.nan)
    rows, columns = np.nonzero(person >= 0)
    owners = person[rows, columns]
    order = np.argsort(owners, kind="stable")
    limits = np.searchsorted(owners[order], np.arange(count + 1))
    for index in range(count):
        mine = order[limits[index] : limits[index + 1]]
        if not len(mine):
            continue
        y0, x0 = rows[mine].min(), columns[mine].min()
        mask = np.zeros((rows[mine].max() - y0 + 3, columns[mine].max() - x0 + 3), np.uint8)
        mask[rows[mine] - y0 + 1, columns[mine] - x0 + 1] = 1
        inside = cv2.distanceTransform(mask, cv2.DIST_L2, 3)
        y, x = np.unravel_index(int(inside.argmax()), inside.shape)
        points[index] = x0 + x - 0.5, y0 + y - 0.5
    return points


def draw_labels(
    picture: np.ndarray,
    points: np.ndarray,
    texts: list[str],
    colors: np.ndarray,
    order: np.ndarray,
) -> np.ndarray:
    """Draw a round badge with a text at each point.

    Args:
        picture: (H, W, 3) uint8 RGB; left as it is.
        points: (P, 2) x and y in pixels; rows of nan are skipped.
        texts: P short texts.
        colors: (P, 3) uint8 of the rings.
        order: (P,) the last is drawn first and may be hidden in part by the others.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    radius = float(np.clip(0.02 * max(image.size), 8.0, 60.0))
    font = ImageFont.load_default(1.25 * radius)
    for index in np.argsort(-np.asarray(order), kind="stable"):
        x, y = points[index]
        if np.isnan(x):
            continue
        _disc(image, (x, y), radius, tuple(int(c) for c in colors[index]))
        draw.text((x, y), texts[index], fill=_INK, font=font, anchor="mm")
    return np.array(image)


def _disc(
    image: Image.Image, centre: tuple[float, float], radius: float, ring: tuple[int, ...]
) -> None:
    """A dark disc with a coloured ring, smooth because it is drawn four times larger."""
    size = int(np.ceil(2 * radius)) + 2
    corner = (round(centre[0] - size / 2), round(centre[1] - size / 2))
    large = Image.new("L", (4 * size, 4 * size))
    for share, color in ((1.0, ring), (0.84, _PAPER)):
        large.paste(0, (0, 0, *large.size))
        edge = 2.0 * size - 4.0 * radius * share
        ImageDraw.Draw(large).ellipse((edge, edge, 4 * size - edge, 4 * size - edge), fill=255)
        image.paste(color, corner, large.resize((size, size), Image.Resampling.BOX))


def draw_legend(picture: np.ndarray, near: float, far: float, person: np.ndarray) -> np.ndarray:
    """Draw the scale of `distance_colors` into the corner that hides least of the people.

    Args:
        picture: (H, W, 3) uint8 RGB; left as it is.  Without room for a legend it comes back.
        near: metres.
        far: metres.
        person: (h, w) int32, the same view in any size, -1 where nobody is.
    """
    height, width = picture.shape[:2]
    if min(height, width) < _LEGEND_LEAST_SIDE_PX:
        return picture
    unit = round(float(np.clip(0.02 * max(height, width), 10.0, 60.0)))
    font = ImageFont.load_default(unit)
    texts = [f"{near:.1f} m  near", f"{np.sqrt(near * far):.1f} m", f"{far:.1f} m  far"]
    bar_height, bar_width = min(9 * unit, height // 2), unit
    text_width = round(max(font.getlength(text) for text in texts))
    size = (text_width + bar_width + 2 * unit, bar_height + 2 * unit)
    left, top = _emptiest_corner(person, size, (width, height), unit)
    image = Image.fromarray(picture)
    panel = Image.new("L", size)
    ImageDraw.Draw(panel).rounded_rectangle((0, 0, *size), unit // 2, fill=_LEGEND_OPACITY)
    image.paste(_PAPER, (left, top), panel)
    x, y = left + round(0.7 * unit), top + unit
    steps = near * (far / near) ** np.linspace(0.0, 1.0, bar_height)
    bar = np.repeat(distance_colors(steps, near, far)[:, None], bar_width, axis=1)
    image.paste(Image.fromarray(bar), (x, y))
    draw = ImageDraw.Draw(image)
    for text, share in zip(texts, (0.0, 0.5, 1.0), strict=True):
        spot = (x + 1.5 * bar_width, y + share * bar_height)
        draw.text(spot, text, fill=_INK, font=font, anchor="lm")
    return np.array(image)


def _emptiest_corner(
    person: np.ndarray, size: tuple[int, int], picture: tuple[int, int], margin: int
) -> tuple[int, int]:
    """Left and top of a box of `size` (w, h) in a `picture` (w, h); lower right if all the same."""
    best, least = (0, 0), np.inf
    scale = np.array(person.shape[::-1]) / picture
    for right, bottom in ((1, 1), (0, 1), (1, 0), (0, 0)):
        left = (picture[0] - size[0] - margin) if right else margin
        top = (picture[1] - size[1] - margin) if bottom else margin
        x0, y0 = (np.array([left, top]) * scale).astype(int)
        x1, y1 = (np.array([left + size[0], top + size[1]]) * scale).astype(int)
        hidden = int((person[max(y0, 0) : y1, max(x0, 0) : x1] >= 0).sum())
        if hidden < least:
            best, least = (left, top), hidden
    return best
