"""Pictures of attention, after Figures 5 and 8 of the paper.  Takes arrays only."""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

REFERENCE = (70, 230, 110)
"""Green: the reference point and box of the token."""
SAMPLE = (255, 48, 48)
"""Red: the sampling points."""
_PAPER, _INK, _FAINT = (16, 18, 24), (240, 240, 244), (150, 154, 166)
_FINE = 4  # bits of cv2's sub-pixel coordinates
_RADIUS, _LEAST_RADIUS = 0.011, 2.5
_LEAST_OPACITY = 0.22
_HEAT_SIGMA = 0.014
_HEAT_SHRINK = 3
_GAMMA = 0.5
_PEAKS = (0.05, 0.1, 0.2, 0.5, 1.0)
_HEADROOM = 36
"""Above a matrix: the page lays a label there."""


def sampling_picture(
    photo: np.ndarray, box: np.ndarray, locations: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Where one token looks: green its reference point and box, red its sampling points.

    A point is larger and less transparent the more attention it has, measured by the strongest of
    the points drawn.

    Args:
        photo: (h, w, 3) uint8 RGB; left as it is.
        box: (4,) cxcywh, 0-1 of the photo.
        locations: (K, 2) x and y, 0-1 of the photo; those outside are not to be seen.
        weights: (K,) at least 0.

    Returns:
        (h, w, 3) uint8 RGB.
    """
    picture = _calm(photo)
    size = np.array(photo.shape[1::-1], np.float64)
    unit = max(_RADIUS * float(size.max()), _LEAST_RADIUS)
    order = np.argsort(weights, kind="stable")  # the strongest on top
    strengths = np.sqrt(weights / max(float(weights.max(initial=0.0)), 1e-12))
    for index in order:
        centre, strength = locations[index] * size, float(strengths[index])
        radius = unit * (0.35 + 0.85 * strength)
        opacity = _LEAST_OPACITY + (0.95 - _LEAST_OPACITY) * strength
        _disc(picture, centre, radius, opacity)
    _reference(picture, box, size, unit)
    return picture


def heat_picture(photo: np.ndarray, locations: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Where all tokens of a person look: a map of the attention on each place of the photo.

    Args:
        photo: (h, w, 3) uint8 RGB; left as it is.
        locations: (K, 2) x and y, 0-1 of the photo.
        weights: (K,) at least 0.

    Returns:
        (h, w, 3) uint8 RGB, bright where much attention lies.
    """
    height, width = photo.shape[:2]
    rows, columns = -(-height // _HEAT_SHRINK), -(-width // _HEAT_SHRINK)
    limits = np.array([columns, rows])
    places = np.floor(locations * limits).astype(np.int64)
    inside = ((places >= 0) & (places < limits)).all(1)
    places, amounts = places[inside], weights[inside]
    sums = np.bincount(places[:, 1] * columns + places[:, 0], amounts, rows * columns)
    sigma = max(_HEAT_SIGMA * max(rows, columns), 1.0)
    heat = cv2.GaussianBlur(sums.reshape(rows, columns).astype(np.float32), (0, 0), sigma)
    relative = np.power(heat / max(float(heat.max()), 1e-12), _GAMMA, dtype=np.float32)
    share = cv2.resize(relative, (width, height), interpolation=cv2.INTER_LINEAR)
    levels = np.rint(255 * share).astype(np.uint8)
    colors = cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO)[..., ::-1]
    strength = np.clip(1.5 * share, 0.0, 0.82)[..., None]
    return np.rint(_calm(photo) * (1 - strength) + colors * strength).astype(np.uint8)


def people_matrix(
    own: np.ndarray,
    others: np.ndarray,
    box_tokens: tuple[int, ...],
    numbers: list[str],
    colors: np.ndarray,
) -> np.ndarray:
    """Self-attention between the box tokens of all people (Figure 8): rows look at columns.

    Args:
        own: (n, T, T) within people.
        others: (n, C, n, C) between box tokens of different people.
        box_tokens: which of the T tokens are the C boxes.
        numbers: n short names.
        colors: (n, 3) uint8 RGB of the people.

    Returns:
        (s, s', 3) uint8 RGB, one block for each pair of people, those of one person framed.
    """
    count, boxes = len(own), len(box_tokens)
    matrix = others.astype(np.float32).copy()
    everyone = np.arange(count)
    within = own[:, list(box_tokens)][:, :, list(box_tokens)]
    matrix[everyone, :, everyone] = within
    cell = int(np.clip(560 // max(count * boxes, 1), 3, 34))
    gap = 3
    block = boxes * cell + gap
    side = count * block - gap
    # (n, C, n, C) -> (n * C, n * C), each number a cell, with a gap between people
    peak = _peak(matrix)
    colored = _matrix_colors(matrix.reshape(count * boxes, count * boxes), peak)
    area = np.full((max(side, 1), max(side, 1), 3), _PAPER, np.uint8)
    for row in range(count):
        for column in range(count):
            part = colored[row * boxes : (row + 1) * boxes, column * boxes : (column + 1) * boxes]
            y, x = row * block, column * block
            large = np.repeat(np.repeat(part, cell, 0), cell, 1)
            area[y : y + boxes * cell, x : x + boxes * cell] = large
    labels = [f"P{number}" for number in numbers]
    starts = [index * block + (block - gap) / 2 for index in range(count)]
    picture, origin = _with_labels(area, labels, starts, colors, peak)
    draw = ImageDraw.Draw(picture)
    for index in range(count):
        x, y = origin[0] + index * block, origin[1] + index * block
        ring = _color(colors[index])
        draw.rectangle(
            (x - 2, y - 2, x + block - gap + 1, y + block - gap + 1), outline=ring, width=2
        )
    return np.array(picture)


def token_matrix(own: np.ndarray, tokens: tuple[str, ...]) -> np.ndarray:
    """Self-attention among the tokens of one person: rows look at columns.

    Args:
        own: (T, T).
        tokens: T names.

    Returns:
        (s, s', 3) uint8 RGB.
    """
    cell = int(np.clip(560 // len(tokens), 12, 60))
    peak = _peak(own)
    colored = _matrix_colors(own.astype(np.float32), peak)
    area = np.repeat(np.repeat(colored, cell, 0), cell, 1)
    starts = [(index + 0.5) * cell for index in range(len(tokens))]
    picture, _ = _with_labels(area, list(tokens), starts, None, peak)
    return np.array(picture)


def compose(pictures: list[tuple[str, np.ndarray]], columns: int = 2) -> np.ndarray:
    """Pictures under their captions on one sheet.

    Args:
        pictures: caption and (h, w, 3) uint8 RGB each.
        columns: pictures beside each other.
    """
    margin, line = 16, 30
    widths = [0] * columns
    heights = [0] * -(-len(pictures) // columns)
    for index, (_, picture) in enumerate(pictures):
        row, column = divmod(index, columns)
        widths[column] = max(widths[column], picture.shape[1])
        heights[row] = max(heights[row], picture.shape[0] + line)
    sheet = Image.new(
        "RGB",
        (sum(widths) + margin * (columns + 1), sum(heights) + margin * (len(heights) + 1)),
        _PAPER,
    )
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(17)
    for index, (caption, picture) in enumerate(pictures):
        row, column = divmod(index, columns)
        x = margin + sum(widths[:column]) + column * margin
        y = margin + sum(heights[:row]) + row * margin
        draw.text((x, y), caption, fill=_INK, font=font)
        sheet.paste(Image.fromarray(picture), (x, y + line))
    return np.array(sheet)


def _calm(photo: np.ndarray) -> np.ndarray:
    """The photo paler and darker, so that marks stand out."""
    gray = cv2.cvtColor(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return cv2.addWeighted(photo, 0.38, gray, 0.32, 4.0)


def _disc(picture: np.ndarray, centre: np.ndarray, radius: float, opacity: float) -> None:
    """A red disc with a soft dark rim, blended in place; outside the picture nothing happens."""
    reach = int(np.ceil(radius)) + 3
    height, width = picture.shape[:2]
    x0, y0 = (int(np.floor(v)) - reach for v in centre)
    x1, y1 = min(x0 + 2 * reach + 1, width), min(y0 + 2 * reach + 1, height)
    left, top = max(x0, 0), max(y0, 0)
    if x1 <= left or y1 <= top:
        return
    part = picture[top:y1, left:x1]
    at = _fixed(np.asarray(centre) - (left, top) - 0.5)
    for color, grown, share in (((30, 0, 0), 1.2, 0.55), (SAMPLE, 0.0, 1.0)):
        mask = np.zeros(part.shape[:2], np.uint8)
        cv2.circle(mask, at, _fixed_length(radius + grown), 255, -1, cv2.LINE_AA, _FINE)
        weight = (mask.astype(np.float32) * (opacity * share / 255.0))[..., None]
        part[:] = np.rint(part * (1 - weight) + np.array(color, np.float32) * weight).astype(
            np.uint8
        )


def _reference(picture: np.ndarray, box: np.ndarray, size: np.ndarray, unit: float) -> None:
    """The token's box and, in its middle, its reference point, both green with a dark edge."""
    centre, half = box[:2] * size, box[2:] * size / 2
    start, end = (_fixed(np.clip(centre + sign * half, -1e4, 1e4) - 0.5) for sign in (-1, 1))
    thick = max(round(unit / 4), 1)
    at, radius = _fixed(np.clip(centre, -1e4, 1e4) - 0.5), 0.62 * unit
    for color, wider, larger in (((8, 40, 16), 2, 1.6), (REFERENCE, 0, 0.0)):
        cv2.rectangle(picture, start, end, color, thick + wider, cv2.LINE_AA, _FINE)
        cv2.circle(picture, at, _fixed_length(radius + larger), color, -1, cv2.LINE_AA, _FINE)


def _fixed(point: np.ndarray) -> tuple[int, int]:
    x, y = np.rint(point * 2**_FINE).astype(int)
    return int(x), int(y)


def _fixed_length(length: float) -> int:
    return round(length * 2**_FINE)


def _peak(values: np.ndarray) -> float:
    """Where the colour scale ends: a round number just above the largest value."""
    largest = float(values.max(initial=0.0))
    return next((peak for peak in _PEAKS if largest <= peak), _PEAKS[-1])


def _matrix_colors(values: np.ndarray, peak: float) -> np.ndarray:
    """Numbers from 0 to `peak` -> colours; the root shows small amounts beside large ones."""
    shares = np.clip(values / peak, 0.0, 1.0) ** _GAMMA
    levels = np.rint(255 * shares).astype(np.uint8)
    return cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS)[..., ::-1]


def _with_labels(
    area: np.ndarray,
    names: list[str],
    starts: list[float],
    colors: np.ndarray | None,
    peak: float,
) -> tuple[Image.Image, tuple[int, int]]:
    """A square matrix with names at its left and top, and a scale at its right."""
    font = ImageFont.load_default(13)
    inks = [_INK] * len(names) if colors is None else [_color(color) for color in colors]
    longest = 10 + round(max((font.getlength(text) for text in names), default=0))
    left, top = longest, _HEADROOM + longest
    height, width = area.shape[:2]
    picture = Image.new("RGB", (left + width + 74, top + height + 4), _PAPER)
    picture.paste(Image.fromarray(area), (left, top))
    draw = ImageDraw.Draw(picture)
    for text, start, ink in zip(names, starts, inks, strict=True):
        draw.text((left - 6, top + start), text, fill=ink, font=font, anchor="rm")
        length = round(font.getlength(text)) + 2
        strip = Image.new("L", (length, 18))
        ImageDraw.Draw(strip).text((0, 9), text, fill=255, font=font, anchor="lm")
        turned = strip.rotate(90, expand=True)
        picture.paste(ink, (round(left + start - 9), top - 6 - length), turned)
    _draw_scale(picture, left + width + 14, top, min(height, 220), peak)
    return picture, (left, top)


def _draw_scale(picture: Image.Image, x: int, y: int, height: int, peak: float) -> None:
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(13)
    values = peak * np.linspace(1.0, 0.0, height)[:, None] ** (1 / _GAMMA)
    bar = np.repeat(_matrix_colors(values, peak), 12, 1)
    picture.paste(Image.fromarray(bar), (x, y))
    for share in (1.0, 0.5, 0.1, 0.0):
        at = y + (1 - share**_GAMMA) * (height - 1)
        draw.text((x + 17, at), f"{peak * share:g}", fill=_FAINT, font=font, anchor="lm")


def _color(values: np.ndarray) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in values)
    return red, green, blue
