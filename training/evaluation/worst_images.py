"""HTML page of the images with the worst predictions, each beside its ground truth."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import cv2
import numpy as np

from aios.geometry.camera import Camera, fit_translation
from aios.predictor import AiOSPredictor
from aios.render.overlay import overlay, person_colors

from .metrics import VERTICES, Outcome, outcome
from .run import EvaluationRun
from .samples import GroundTruth

WORST_COUNT = 20
_WIDTH_PX = 720
_QUALITY = 85
_FALSE_POSITIVE_COLOR = (255, 255, 255)
_EXCLUDED_COLOR = (90, 90, 90)
_NUM_SKELETON_JOINTS = 55
_START_DEPTH_M = 10.0
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1500px; padding: 0 1rem;
  color: #222; background: #fafafa }
figure { margin: 0 0 2.5rem } figure div { display: flex; gap: .5rem }
figure img { width: 100%; min-width: 0; flex: 1; border-radius: 4px }
figcaption { margin: .3rem 0 } code { background: #eee; padding: 0 .3rem }
"""


def write_worst_images(
    run: EvaluationRun,
    predictor: AiOSPredictor,
    threshold: float,
    path: Path,
    count: int = WORST_COUNT,
) -> list[str]:
    """Write one self-contained HTML file.

    Args:
        run: with prediction records.
        predictor: poses the predicted bodies.
        threshold: score threshold of the people drawn.
        path: of the page.
        count: maximum number of images.

    Returns:
        Names of the images in the order of `Outcome.worst_images`.
    """
    protocol = run.benchmark.headline
    error = "pve_all" if protocol is VERTICES else "body_mve"
    result = outcome(run.records[protocol.name], threshold, "plain")
    worst = result.worst_images(error, count)
    names = [name for name, _ in worst]
    samples = {sample.name: sample for sample in run.samples}
    predictions = {record.name: record for record in run.predictions(names)}
    figures = []
    for rank, (name, mean) in enumerate(worst, start=1):
        image, truth = samples[name].load()
        assert truth is not None
        prediction = predictor.assemble(predictions[name].candidates, threshold, len(image))
        camera = prediction.camera.scaled(*_shown_size(prediction.camera))
        small = cv2.resize(image, (camera.width, camera.height), interpolation=cv2.INTER_AREA)
        colors = person_colors(max(len(truth.people), 1))
        pairs = _pairs(result, name)
        true_image = _draw_truth(small, truth, camera, predictor, colors)
        predicted_colors = np.array(
            [
                colors[pairs[index]] if index in pairs else _FALSE_POSITIVE_COLOR
                for index in prediction
            ],
            np.uint8,
        ).reshape(-1, 3)
        predicted_image = overlay(
            small, prediction.vertices, prediction.faces, camera, predicted_colors
        )
        images = (true_image, predicted_image)
        figures.append(_figure(rank, name, mean, _counts(result, name), images))
    path.write_text(_page(run.benchmark.title, error, threshold, figures))
    return names


def _shown_size(camera: Camera) -> tuple[int, int]:
    scale = min(_WIDTH_PX / camera.width, 1.0)
    return max(round(camera.width * scale), 1), max(round(camera.height * scale), 1)


def _pairs(result: Outcome, name: str) -> dict[int, int]:
    """Map each matched prediction of an image to its person."""
    rows = np.flatnonzero((result.image_index == result.images.index(name)) & result.found)
    return dict(zip(result.prediction[rows].tolist(), result.person[rows].tolist(), strict=True))


def _counts(result: Outcome, name: str) -> Mapping[str, int]:
    index = result.images.index(name)
    rows = result.image_index == index
    found = int((rows & result.found).sum())
    return {
        "found": found,
        "missed": int(rows.sum()) - found,
        "false positives": int(result.num_false_positives[index]),
    }


def _draw_truth(
    image: np.ndarray,
    truth: GroundTruth,
    camera: Camera,
    predictor: AiOSPredictor,
    colors: np.ndarray,
) -> np.ndarray:
    """Draw the annotated meshes, or for SMPL, whose faces are not available, the joints."""
    people = truth.people
    size = np.array([camera.width, camera.height])
    pixels = people.joints_2d * (size / np.array(truth.resolution_wh))
    colors = np.where(people.valid[:, None], colors[: len(people)], _EXCLUDED_COLOR)
    colors = colors.astype(np.uint8)
    faces = predictor.body.faces
    if len(people) and people.vertices.shape[1] > faces.max():
        shift = np.zeros((1, 3))
        if truth.camera:
            camera = truth.camera.scaled(camera.width, camera.height)
        else:
            joints = people.joints_3d[:, :_NUM_SKELETON_JOINTS]
            shift = shift_into_view(joints, pixels[:, :_NUM_SKELETON_JOINTS], camera)
        return overlay(image, people.vertices + shift[:, None], faces, camera, colors)
    drawn = image.copy()
    for person, color in zip(pixels, colors.tolist(), strict=True):
        for x, y in person.clip(-1e4, 1e4).round().astype(int).tolist():
            cv2.circle(drawn, (x, y), 3, color, -1, cv2.LINE_AA)
    return drawn


def shift_into_view(points: np.ndarray, pixels: np.ndarray, camera: Camera) -> np.ndarray:
    """Translations that project bodies at any position, even behind the camera, to given pixels.

    For drawing ground truth whose own camera is unknown.

    Args:
        points: (n, K, 3) metres, orientation of the camera frame.
        pixels: (n, K, 2) of the camera's image.
        camera: that projects.

    Returns:
        (n, 3) metres to be added to `points`, see `fit_translation`.
    """
    start = np.zeros((len(points), 3))
    start[:, 2] = _START_DEPTH_M - points[..., 2].min(1)
    return start + fit_translation(points + start[:, None], pixels, camera)


def _figure(
    rank: int,
    name: str,
    mean_mm: float,
    counts: Mapping[str, int],
    images: tuple[np.ndarray, np.ndarray],
) -> str:
    tags = "".join(
        f'<img src="{_data_uri(image)}" alt="{kind} of {escape(name)}">'
        for kind, image in zip(("ground truth", "prediction"), images, strict=True)
    )
    listed = ", ".join(f"{number} {kind}" for kind, number in counts.items() if number)
    error = "no one found" if math.isnan(mean_mm) else f"{mean_mm:.0f} mm"
    return (
        f"<figure><figcaption>{rank}. <code>{escape(name)}</code>: {error}; {listed}"
        f"</figcaption><div>{tags}</div></figure>"
    )


def _data_uri(image: np.ndarray) -> str:
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
    return f"data:image/jpeg;base64,{base64.b64encode(encoded.tobytes()).decode()}"


def _page(title: str, error: str, threshold: float, figures: Sequence[str]) -> str:
    name = {"pve_all": "vertex error", "body_mve": "body vertex error"}[error]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style><h1>{escape(title)}: the worst images</h1>"
        f"<p>Images in which no one was found come first, then images by mean {name} of the "
        f"people found, at score threshold {threshold:g}. Left: ground truth. Right: prediction. "
        f"The same color marks the same person, white a false positive, grey a person excluded "
        f"from the evaluation.</p>"
        f"{''.join(figures)}</html>\n"
    )
