"""One picture for slides: photo, keypoints, meshes, and the views from the side and above."""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .photo_views import ViewOptions, keypoints_view, overlay_view, plan_view
from .results import PhotoResult

_HEIGHT_PX, _CAPTION_PX, _GAP_PX = 720, 48, 12
_BACKGROUND, _TEXT_COLOR = (255, 255, 255), (30, 32, 40)


def strip_view(result: PhotoResult, options: ViewOptions) -> np.ndarray:
    """Draw photo, keypoints, meshes, side and top view side by side, with captions.

    Returns:
        (h, w, 3) uint8 RGB.
    """
    panels = {
        "Photo": result.photo,
        "Keypoints": keypoints_view(result, options),
        "Meshes": overlay_view(result, options),
        "Side and top": plan_view(result, options),
    }
    resized = {name: _with_height(picture) for name, picture in panels.items()}
    width = sum(picture.shape[1] for picture in resized.values()) + _GAP_PX * (len(resized) - 1)
    strip = Image.new("RGB", (width, _CAPTION_PX + _HEIGHT_PX), _BACKGROUND)
    draw = ImageDraw.Draw(strip)
    font = ImageFont.load_default(0.55 * _CAPTION_PX)
    left = 0
    for name, picture in resized.items():
        middle = (left + picture.shape[1] / 2, _CAPTION_PX / 2)
        draw.text(middle, name, fill=_TEXT_COLOR, font=font, anchor="mm")
        strip.paste(Image.fromarray(picture), (left, _CAPTION_PX))
        left += picture.shape[1] + _GAP_PX
    return np.array(strip)


def _with_height(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    size = (max(1, round(width * _HEIGHT_PX / height)), _HEIGHT_PX)
    interpolation = cv2.INTER_AREA if height > _HEIGHT_PX else cv2.INTER_CUBIC
    return cv2.resize(picture, size, interpolation=interpolation)
