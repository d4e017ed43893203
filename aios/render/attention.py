"""Attention figures in the style of Figures 5 and 8 of the AiOS paper."""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

REFERENCE = (70, 230, 110)
"""Green: reference point and box of the token."""
SAMPLE = (255, 48, 48)
"""Red: sampling points."""
_BACKGROUND, _TEXT_COLOR, _FAINT_TEXT = (16, 18, 24), (240, 240, 244), (150, 154, 166)
_SHIFT = 4  # fractional bits of coordinates in cv2
_RADIUS, _MIN_RADIUS = 0.011, 2.5
_MIN_OPACITY = 0.22
_HEAT_SIGMA = 0.014
_HEAT_STRIDE = 3
_GAMMA = 0.5
_PEAKS = (0.05, 0.1, 0.2, 0.5, 1.0)
_HEADROOM = 36
"""Pixels above a matrix, for the label of the page."""


def draw_sampling_points(
    photo: np.ndarray, box: np.ndarray, locations: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Draw the sampling points of one token in red, its reference point and box in green.

    Size and opacity of a point increase with its attention weight, relative to the largest one.

    Args:
        photo: (h, w, 3) uint8 RGB; not modified.
        box: (4,) cxcywh, 0-1 of the photo.
        locations: (K, 2) x and y, 0-1 of the photo; points outside are invisible.
        weights: (K,) non-negative attention weights.

    Returns:
        (h, w, 3) uint8 RGB.
    """
    image = _mute(photo)
    size = np.array(photo.shape[1::-1], np.float64)
    unit = max(_RADIUS * float(size.max()), _MIN_RADIUS)
    order = np.argsort(weights, kind="stable")  # the strongest on top
    strengths = np.sqrt(weights / max(float(weights.max(initial=0.0)), 1e-12))
    for index in order:
        centre, strength = locations[index] * size, float(strengths[index])
        radius = unit * (0.35 + 0.85 * strength)
        opacity = _MIN_OPACITY + (0.95 - _MIN_OPACITY) * strength
        _draw_disc(image, centre, radius, opacity)
    _draw_reference(image, box, size, unit)
    return image


def draw_heatmap(photo: np.ndarray, locations: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Draw a heat map of the attention of all tokens of a person.

    Args:
        photo: (h, w, 3) uint8 RGB; not modified.
        locations: (K, 2) x and y, 0-1 of the photo.
        weights: (K,) non-negative attention weights.

    Returns:
        (h, w, 3) uint8 RGB, bright for high attention.
    """
    height, width = photo.shape[:2]
    rows, columns = -(-height // _HEAT_STRIDE), -(-width // _HEAT_STRIDE)
    limits = np.array([columns, rows])
    cells = np.floor(locations * limits).astype(np.int64)
    inside = ((cells >= 0) & (cells < limits)).all(1)
    cells = cells[inside]
    sums = np.bincount(cells[:, 1] * columns + cells[:, 0], weights[inside], rows * columns)
    sigma = max(_HEAT_SIGMA * max(rows, columns), 1.0)
    heat = cv2.GaussianBlur(sums.reshape(rows, columns).astype(np.float32), (0, 0), sigma)
    relative = np.power(heat / max(float(heat.max()), 1e-12), _GAMMA, dtype=np.float32)
    share = cv2.resize(relative, (width, height), interpolation=cv2.INTER_LINEAR)
    levels = np.rint(255 * share).astype(np.uint8)
    colors = cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO)[..., ::-1]
    strength = np.clip(1.5 * share, 0.0, 0.82)[..., None]
    return np.rint(_mute(photo) * (1 - strength) + colors * strength).astype(np.uint8)


def draw_people_matrix(
    own: np.ndarray,
    others: np.ndarray,
    box_tokens: tuple[int, ...],
    numbers: list[str],
    colors: np.ndarray,
) -> np.ndarray:
    """Draw the self-attention between the box tokens of all people (Figure 8 of the paper).

    Rows are queries, columns are keys.

    Args:
        own: (n, T, T) attention between tokens of the same person.
        others: (n, C, n, C) attention between box tokens of different people.
        box_tokens: indices of the C box tokens among the T tokens.
        numbers: n short names.
        colors: (n, 3) uint8 RGB of the people.

    Returns:
        (s, s', 3) uint8 RGB, one block per pair of people; blocks of one person are framed.
    """
    count, boxes = len(own), len(box_tokens)
    matrix = others.astype(np.float32).copy()
    diagonal = np.arange(count)
    within = own[:, list(box_tokens)][:, :, list(box_tokens)]
    matrix[diagonal, :, diagonal] = within
    cell = int(np.clip(560 // max(count * boxes, 1), 3, 34))
    gap = 3
    block = boxes * cell + gap
    side = count * block - gap
    # (n, C, n, C) -> (n * C, n * C) cells, with a gap between people
    peak = _peak(matrix)
    colored = _matrix_colors(matrix.reshape(count * boxes, count * boxes), peak)
    area = np.full((max(side, 1), max(side, 1), 3), _BACKGROUND, np.uint8)
    for row in range(count):
        for column in range(count):
            part = colored[row * boxes : (row + 1) * boxes, column * boxes : (column + 1) * boxes]
            y, x = row * block, column * block
            large = np.repeat(np.repeat(part, cell, 0), cell, 1)
            area[y : y + boxes * cell, x : x + boxes * cell] = large
    labels = [f"P{number}" for number in numbers]
    starts = [index * block + (block - gap) / 2 for index in range(count)]
    canvas, origin = _with_labels(area, labels, starts, colors, peak)
    draw = ImageDraw.Draw(canvas)
    for index in range(count):
        x, y = origin[0] + index * block, origin[1] + index * block
        ring = _color(colors[index])
        draw.rectangle(
            (x - 2, y - 2, x + block - gap + 1, y + block - gap + 1), outline=ring, width=2
        )
    return np.array(canvas)


def draw_token_matrix(own: np.ndarray, tokens: tuple[str, ...]) -> np.ndarray:
    """Draw the self-attention between the tokens of one person: rows are queries, columns keys.

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
    canvas, _ = _with_labels(area, list(tokens), starts, None, peak)
    return np.array(canvas)


def image_grid(images: list[tuple[str, np.ndarray]], columns: int = 2) -> np.ndarray:
    """Arrange images with captions in a grid.

    Args:
        images: pairs of caption and (h, w, 3) uint8 RGB.
        columns: of the grid.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    margin, line = 16, 30
    widths = [0] * columns
    heights = [0] * -(-len(images) // columns)
    for index, (_, image) in enumerate(images):
        row, column = divmod(index, columns)
        widths[column] = max(widths[column], image.shape[1])
        heights[row] = max(heights[row], image.shape[0] + line)
    sheet = Image.new(
        "RGB",
        (sum(widths) + margin * (columns + 1), sum(heights) + margin * (len(heights) + 1)),
        _BACKGROUND,
    )
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(17)
    for index, (caption, image) in enumerate(images):
        row, column = divmod(index, columns)
        x = margin + sum(widths[:column]) + column * margin
        y = margin + sum(heights[:row]) + row * margin
        draw.text((x, y), caption, fill=_TEXT_COLOR, font=font)
        sheet.paste(Image.fromarray(image), (x, y + line))
    return np.array(sheet)


def _mute(photo: np.ndarray) -> np.ndarray:
    """Reduce saturation and brightness, for contrast with the drawing."""
    gray = cv2.cvtColor(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return cv2.addWeighted(photo, 0.38, gray, 0.32, 4.0)


def _draw_disc(image: np.ndarray, centre: np.ndarray, radius: float, opacity: float) -> None:
    """Blend a red disc with a soft dark rim, in place; clipped to the image."""
    reach = int(np.ceil(radius)) + 3
    height, width = image.shape[:2]
    x0, y0 = (int(np.floor(v)) - reach for v in centre)
    x1, y1 = min(x0 + 2 * reach + 1, width), min(y0 + 2 * reach + 1, height)
    left, top = max(x0, 0), max(y0, 0)
    if x1 <= left or y1 <= top:
        return
    part = image[top:y1, left:x1]
    at = _fixed(np.asarray(centre) - (left, top) - 0.5)
    for color, grown, share in (((30, 0, 0), 1.2, 0.55), (SAMPLE, 0.0, 1.0)):
        mask = np.zeros(part.shape[:2], np.uint8)
        cv2.circle(mask, at, _fixed_length(radius + grown), 255, -1, cv2.LINE_AA, _SHIFT)
        weight = (mask.astype(np.float32) * (opacity * share / 255.0))[..., None]
        part[:] = np.rint(part * (1 - weight) + np.array(color, np.float32) * weight).astype(
            np.uint8
        )


def _draw_reference(image: np.ndarray, box: np.ndarray, size: np.ndarray, unit: float) -> None:
    """Draw the box of the token and its centre, the reference point, green with a dark outline."""
    centre, half = box[:2] * size, box[2:] * size / 2
    start, end = (_fixed(np.clip(centre + sign * half, -1e4, 1e4) - 0.5) for sign in (-1, 1))
    thick = max(round(unit / 4), 1)
    at, radius = _fixed(np.clip(centre, -1e4, 1e4) - 0.5), 0.62 * unit
    for color, wider, larger in (((8, 40, 16), 2, 1.6), (REFERENCE, 0, 0.0)):
        cv2.rectangle(image, start, end, color, thick + wider, cv2.LINE_AA, _SHIFT)
        cv2.circle(image, at, _fixed_length(radius + larger), color, -1, cv2.LINE_AA, _SHIFT)


def _fixed(point: np.ndarray) -> tuple[int, int]:
    x, y = np.rint(point * 2**_SHIFT).astype(int)
    return int(x), int(y)


def _fixed_length(length: float) -> int:
    return round(length * 2**_SHIFT)


def _peak(values: np.ndarray) -> float:
    """End of the colour scale: the smallest value of `_PEAKS` above the largest weight."""
    largest = float(values.max(initial=0.0))
    return next((peak for peak in _PEAKS if largest <= peak), _PEAKS[-1])


def _matrix_colors(values: np.ndarray, peak: float) -> np.ndarray:
    """Colour values 0 to `peak`; the square root makes small values visible."""
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
    """Add names on the left and top of a square matrix, and a colour scale on its right."""
    font = ImageFont.load_default(13)
    inks = [_TEXT_COLOR] * len(names) if colors is None else [_color(color) for color in colors]
    longest = 10 + round(max((font.getlength(text) for text in names), default=0))
    left, top = longest, _HEADROOM + longest
    height, width = area.shape[:2]
    canvas = Image.new("RGB", (left + width + 74, top + height + 4), _BACKGROUND)
    canvas.paste(Image.fromarray(area), (left, top))
    draw = ImageDraw.Draw(canvas)
    for text, start, ink in zip(names, starts, inks, strict=True):
        draw.text((left - 6, top + start), text, fill=ink, font=font, anchor="rm")
        length = round(font.getlength(text)) + 2
        strip = Image.new("L", (length, 18))
        ImageDraw.Draw(strip).text((0, 9), text, fill=255, font=font, anchor="lm")
        turned = strip.rotate(90, expand=True)
        canvas.paste(ink, (round(left + start - 9), top - 6 - length), turned)
    _draw_scale(canvas, left + width + 14, top, min(height, 220), peak)
    return canvas, (left, top)


def _draw_scale(canvas: Image.Image, x: int, y: int, height: int, peak: float) -> None:
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(13)
    values = peak * np.linspace(1.0, 0.0, height)[:, None] ** (1 / _GAMMA)
    bar = np.repeat(_matrix_colors(values, peak), 12, 1)
    canvas.paste(Image.fromarray(bar), (x, y))
    for share in (1.0, 0.5, 0.1, 0.0):
        at = y + (1 - share**_GAMMA) * (height - 1)
        draw.text((x + 17, at), f"{peak * share:g}", fill=_FAINT_TEXT, font=font, anchor="lm")


def _color(values: np.ndarray) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in values)
    return red, green, blue
