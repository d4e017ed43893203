"""Shadows on the ground, things in front of people, and what a camera does to a picture."""

from __future__ import annotations

import cv2
import numpy as np

from .appearance import cloth_colour
from .layout import View

Rng = np.random.Generator


def cast_shadow(
    vertices: np.ndarray, view: View, lamp: np.ndarray, size_hw: tuple[int, int], strength: float
) -> np.ndarray:
    """How much light is left on the ground around people.

    Args:
        vertices: (N, 3) metres, world frame, y up: some points of the skin.
        view: the camera.
        lamp: (3,) unit, world frame, towards the lamp.
        size_hw: pixels.
        strength: 0-1, how dark the shadow is.

    Returns:
        (H, W) float32, 1 in the light.
    """
    height, width = size_hw
    reach = (vertices[:, 1] / max(float(lamp[1]), 0.2)).clip(0, 4)
    ground = vertices - reach[:, None] * lamp
    ground[:, 1] = 0
    seen = (ground - view.position) @ view.rotation.T
    seen = seen[seen[:, 2] > 0.3]
    pixels = seen[:, :2] / seen[:, 2:] * view.focal_length / 2 + (width / 4, height / 4)
    pixels = pixels.astype(np.int64)
    mask = np.zeros((height // 2 + 1, width // 2 + 1), np.float32)
    inside = (pixels >= 0).all(1) & (pixels[:, 0] <= width // 2) & (pixels[:, 1] <= height // 2)
    mask[pixels[inside, 1], pixels[inside, 0]] = 1
    spread = (
        max(2.0, view.focal_length * 0.035 / max(1.5, float(np.median(seen[:, 2]))))
        if len(seen)
        else 2.0
    )
    mask = cv2.dilate(mask, np.ones((3, 3)), iterations=max(1, round(spread / 4)))
    mask = cv2.GaussianBlur(mask, (0, 0), spread / 2)
    mask = cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR)
    return 1 - strength * mask.clip(0, 1)


def draw_occluders(
    rng: Rng, depths_m: np.ndarray, size_hw: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Flat things in front of some people (boxes, discs, poles).

    Args:
        rng: source of chance.
        depths_m: (P,) distance of each person.
        size_hw: pixels.

    Returns:
        (H, W) float32 metres, infinite where nothing is, and (H, W, 3) float32 colours 0-1.
    """
    height, width = size_hw
    depth = np.full(size_hw, np.inf, np.float32)
    colour = np.zeros((*size_hw, 3), np.float32)
    if not len(depths_m) or rng.random() > 0.3:
        return depth, colour
    for _ in range(rng.integers(1, 3)):
        near = float(depths_m[rng.integers(len(depths_m))]) * rng.uniform(0.6, 0.85)
        centre = rng.uniform(0, 1, 2) * (width, height)
        half = np.exp(rng.uniform(np.log(0.02), np.log(0.2), 2)) * height
        mask = np.zeros(size_hw, np.uint8)
        low, high = (centre - half).astype(int), (centre + half).astype(int)
        kind = rng.integers(3)
        if kind == 0:  # stands on the lower edge: a wall, a table
            cv2.rectangle(mask, low.tolist(), (int(high[0]), height), 1, -1)
        elif kind == 1:
            cv2.rectangle(mask, low.tolist(), high.tolist(), 1, -1)
        else:
            cv2.ellipse(
                mask, centre.astype(int).tolist(), half.astype(int).tolist(), 0, 0, 360, 1, -1
            )
        covered = (mask > 0) & (near < depth)
        depth[covered] = near
        shades = np.linspace(rng.uniform(0.6, 1), rng.uniform(0.6, 1), height)[:, None, None]
        stripes = 1 + 0.3 * np.sign(np.sin(np.arange(width) * rng.uniform(0.02, 0.6)))
        paint = cloth_colour(rng) * shades
        if rng.random() < 0.5:
            paint = paint * stripes[None, :, None]
        colour[covered] = np.broadcast_to(paint, colour.shape)[covered]
    return depth, colour.clip(0, 1)


def photograph(rng: Rng, picture: np.ndarray) -> np.ndarray:
    """Exposure, colour cast, contrast, blur, noise and JPEG.

    Args:
        rng: source of chance.
        picture: (H, W, 3) float32, about 0-1.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    gain = np.exp(rng.normal(0, 0.22)) * np.exp(rng.normal(0, 0.05, 3))
    picture = picture * gain.astype(np.float32)
    np.maximum(picture, 0, out=picture)
    cv2.pow(picture, float(np.exp(rng.normal(0, 0.18))), picture)
    kind = rng.random()
    if kind < 0.45:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.3, 1.3))
    elif kind < 0.52:
        picture = cv2.filter2D(picture, -1, _motion_kernel(rng))
    if rng.random() < 0.7:
        noise = rng.standard_normal((picture.shape[0], picture.shape[1], 1), dtype=np.float32)
        picture += noise * np.float32(rng.exponential(0.02))
    if rng.random() < 0.08:
        picture = np.repeat(picture.mean(2, keepdims=True), 3, 2)
    answer = (picture * 255).clip(0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 96))]
        answer = cv2.imdecode(cv2.imencode(".jpg", answer, quality)[1], cv2.IMREAD_COLOR)
    return answer


def _motion_kernel(rng: Rng) -> np.ndarray:
    kernel = np.zeros((7, 7), np.float32)
    angle, reach = rng.uniform(0, np.pi), rng.uniform(1, 3)
    for step in np.linspace(-reach, reach, 13):
        kernel[round(3 + step * np.sin(angle)), round(3 + step * np.cos(angle))] += 1
    return kernel / kernel.sum()
