"""Number badges on people and a distance legend, drawn on rendered images."""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .colors import distance_colors

_TEXT_COLOR, _PANEL_COLOR = (255, 255, 255), (16, 18, 24)
_LEGEND_MIN_SIDE_PX = 120
_LEGEND_OPACITY = 200


def label_points(person: np.ndarray, count: int) -> np.ndarray:
    """Point of each person's visible region that is farthest from the region's edge.

    Args:
        person: (H, W) int32 index of the person at each pixel, -1 for background.
        count: number of people P.

    Returns:
        (P, 2) float64 x and y in pixels, NaN for invisible people.
    """
    points = np.full((count, 2), np.nan)
    rows, columns = np.nonzero(person >= 0)
    owners = person[rows, columns]
    order = np.argsort(owners, kind="stable")
    limits = np.searchsorted(owners[order], np.arange(count + 1))
    for index in range(count):
        pixels = order[limits[index] : limits[index + 1]]
        if not len(pixels):
            continue
        y0, x0 = rows[pixels].min(), columns[pixels].min()
        mask = np.zeros((rows[pixels].max() - y0 + 3, columns[pixels].max() - x0 + 3), np.uint8)
        mask[rows[pixels] - y0 + 1, columns[pixels] - x0 + 1] = 1
        inside = cv2.distanceTransform(mask, cv2.DIST_L2, 3)
        y, x = np.unravel_index(int(inside.argmax()), inside.shape)
        points[index] = x0 + x - 0.5, y0 + y - 0.5
    return points


def draw_labels(
    image: np.ndarray,
    points: np.ndarray,
    texts: list[str],
    colors: np.ndarray,
    order: np.ndarray,
    notes: list[str] | None = None,
) -> np.ndarray:
    """Draw a round badge with a text at each point, and optionally a note below it.

    Args:
        image: (H, W, 3) uint8 RGB; not modified.
        points: (P, 2) x and y in pixels; NaN rows are skipped.
        texts: P short texts.
        colors: (P, 3) uint8 RGB of the rings.
        order: (P,) depth; badges of lower values are drawn over those of higher values.
        notes: P short texts; None for no notes.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    canvas = Image.fromarray(image)
    draw = ImageDraw.Draw(canvas)
    radius = float(np.clip(0.02 * max(canvas.size), 8.0, 60.0))
    font = ImageFont.load_default(1.25 * radius)
    for index in np.argsort(-np.asarray(order), kind="stable"):
        x, y = points[index]
        if np.isnan(x):
            continue
        _draw_disc(canvas, (x, y), radius, tuple(int(c) for c in colors[index]))
        draw.text((x, y), texts[index], fill=_TEXT_COLOR, font=font, anchor="mm")
        if notes is not None:
            _draw_note(draw, (x, y + 1.75 * radius), notes[index], radius)
    return np.array(canvas)


def _draw_note(
    draw: ImageDraw.ImageDraw, centre: tuple[float, float], text: str, radius: float
) -> None:
    """Draw a text on a dark, rounded panel."""
    font = ImageFont.load_default(radius)
    x, y = centre
    half = font.getlength(text) / 2 + 0.4 * radius
    panel = (x - half, y - 0.65 * radius, x + half, y + 0.65 * radius)
    draw.rounded_rectangle(panel, 0.4 * radius, fill=_PANEL_COLOR)
    draw.text(centre, text, fill=_TEXT_COLOR, font=font, anchor="mm")


def _draw_disc(
    canvas: Image.Image, centre: tuple[float, float], radius: float, ring: tuple[int, ...]
) -> None:
    """Draw a dark disc with a coloured ring, anti-aliased by 4x supersampling."""
    size = int(np.ceil(2 * radius)) + 2
    corner = (round(centre[0] - size / 2), round(centre[1] - size / 2))
    large = Image.new("L", (4 * size, 4 * size))
    for share, color in ((1.0, ring), (0.84, _PANEL_COLOR)):
        large.paste(0, (0, 0, *large.size))
        edge = 2.0 * size - 4.0 * radius * share
        ImageDraw.Draw(large).ellipse((edge, edge, 4 * size - edge, 4 * size - edge), fill=255)
        canvas.paste(color, corner, large.resize((size, size), Image.Resampling.BOX))


def draw_legend(
    image: np.ndarray,
    limits: tuple[float, float],
    seen: tuple[float, float],
    person: np.ndarray,
) -> np.ndarray:
    """Draw the scale of `distance_colors` in the corner that covers least of the people.

    Args:
        image: (H, W, 3) uint8 RGB; not modified.
        limits: near and far end of the scale, metres.
        seen: smallest and largest distance in the image, metres.
        person: (h, w) int32 person index per pixel of the same view at any size, -1 for
            background.

    Returns:
        (H, W, 3) uint8 RGB; `image` itself if it is too small for a legend.
    """
    height, width = image.shape[:2]
    if min(height, width) < _LEGEND_MIN_SIDE_PX:
        return image
    unit = round(float(np.clip(0.02 * max(height, width), 10.0, 60.0)))
    font = ImageFont.load_default(unit)
    near, far = limits
    below, above = "< " if seen[0] < near else "", "> " if seen[1] > far else ""
    texts = [f"{below}{near:.1f} m", f"{np.sqrt(near * far):.1f} m", f"{above}{far:.1f} m"]
    bar_height, bar_width = min(9 * unit, height // 2), unit
    text_width = round(max(font.getlength(text) for text in texts))
    size = (text_width + bar_width + 2 * unit, bar_height + 2 * unit)
    left, top = _emptiest_corner(person, size, (width, height), unit)
    canvas = Image.fromarray(image)
    panel = Image.new("L", size)
    ImageDraw.Draw(panel).rounded_rectangle((0, 0, *size), unit // 2, fill=_LEGEND_OPACITY)
    canvas.paste(_PANEL_COLOR, (left, top), panel)
    x, y = left + round(0.7 * unit), top + unit
    steps = near * (far / near) ** np.linspace(0.0, 1.0, bar_height)
    bar = np.repeat(distance_colors(steps, near, far)[:, None], bar_width, axis=1)
    canvas.paste(Image.fromarray(bar), (x, y))
    draw = ImageDraw.Draw(canvas)
    for text, share in zip(texts, (0.0, 0.5, 1.0), strict=True):
        spot = (x + 1.5 * bar_width, y + share * bar_height)
        draw.text(spot, text, fill=_TEXT_COLOR, font=font, anchor="lm")
    return np.array(canvas)


def _emptiest_corner(
    person: np.ndarray, size: tuple[int, int], image_size: tuple[int, int], margin: int
) -> tuple[int, int]:
    """Left and top of a box of `size` (w, h) in an image (w, h); lower right corner on a tie."""
    best, least = (0, 0), np.inf
    scale = np.array(person.shape[::-1]) / image_size
    for right, bottom in ((1, 1), (0, 1), (1, 0), (0, 0)):
        left = (image_size[0] - size[0] - margin) if right else margin
        top = (image_size[1] - size[1] - margin) if bottom else margin
        x0, y0 = (np.array([left, top]) * scale).astype(int)
        x1, y1 = (np.array([left + size[0], top + size[1]]) * scale).astype(int)
        covered = int((person[max(y0, 0) : y1, max(x0, 0) : x1] >= 0).sum())
        if covered < least:
            best, least = (left, top), covered
    return best
