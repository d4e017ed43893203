"""Projection by the camera of the network, as written in the paper."""

from torch import Tensor


def project_points(points: Tensor, focal_length: float, image_sizes_wh: Tensor) -> Tensor:
    """Camera-frame points (..., 3) in metres -> pixels (..., 2) of the network input.

    The principal point is the middle of each image; `image_sizes_wh` is broadcastable to (..., 2).
    """
    return points[..., :2] / points[..., 2:] * focal_length + image_sizes_wh / 2
