"""A page with the pictures that went worst: what was predicted beside what is true."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import cv2
import numpy as np

from aios.geometry.camera import Camera
from aios.predictor import AiOSPredictor
from aios.render.overlay import overlay, person_colors

from .cases import Truth, place_under
from .metrics import VERTICES, Outcome, outcome
from .run import Measured

WORST = 20
_WIDTH_PX = 720
_QUALITY = 85
_WRONG = (255, 255, 255)
_NOT_ASKED = (90, 90, 90)
_SKELETON = 55
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1500px; padding: 0 1rem;
  color: #222; background: #fafafa }
figure { margin: 0 0 2.5rem } figure div { display: flex; gap: .5rem }
figure img { width: 100%; min-width: 0; flex: 1; border-radius: 4px }
figcaption { margin: .3rem 0 } code { background: #eee; padding: 0 .3rem }
"""


def write_worst_pictures(
    measured: Measured, predictor: AiOSPredictor, threshold: float, path: Path, count: int = WORST
) -> list[str]:
    """Write one HTML file that needs no other.

    Args:
        measured: a run with answers.
        predictor: poses what was predicted.
        threshold: lowest score of a person who is drawn.
        path: of the page.
        count: at most this many pictures.

    Returns:
        The names of the pictures, worst first.
    """
    protocol = measured.benchmark.headline
    error = "pve_all" if protocol is VERTICES else "body_mve"
    result = outcome(measured.records[protocol.name], threshold, "plain")
    worst = result.worst_pictures(error, count)
    names = [name for name, _ in worst]
    cases = {case.name: case for case in measured.cases}
    answers = {answer.name: answer for answer in measured.answers(names)}
    figures = []
    for place, (name, mean) in enumerate(worst, start=1):
        picture, truth = cases[name].load()
        assert truth is not None
        prediction = predictor.assemble(answers[name].candidates, threshold, len(picture))
        camera = prediction.camera.scaled(*_shown_size(prediction.camera))
        small = cv2.resize(picture, (camera.width, camera.height), interpolation=cv2.INTER_AREA)
        colors = person_colors(max(len(truth.people), 1))
        pairs = _pairs(result, name)
        true = _draw_truth(small, truth, camera, predictor, colors)
        own_colors = np.array(
            [colors[pairs[index]] if index in pairs else _WRONG for index in prediction], np.uint8
        ).reshape(-1, 3)
        own = overlay(small, prediction.vertices, prediction.faces, camera, own_colors)
        figures.append(_figure(place, name, mean, _counts(result, name), (true, own)))
    path.write_text(_page(measured.benchmark.title, error, threshold, figures))
    return names


def _shown_size(camera: Camera) -> tuple[int, int]:
    scale = min(_WIDTH_PX / camera.width, 1.0)
    return max(round(camera.width * scale), 1), max(round(camera.height * scale), 1)


def _pairs(result: Outcome, name: str) -> dict[int, int]:
    """Prediction -> person."""
    rows = np.flatnonzero((result.picture == result.pictures.index(name)) & result.found)
    return dict(zip(result.prediction[rows].tolist(), result.person[rows].tolist(), strict=True))


def _counts(result: Outcome, name: str) -> Mapping[str, int]:
    place = result.pictures.index(name)
    rows = result.picture == place
    found = int((rows & result.found).sum())
    return {
        "found": found,
        "missed": int(rows.sum()) - found,
        "wrong": int(result.num_false_positives[place]),
    }


def _draw_truth(
    picture: np.ndarray,
    truth: Truth,
    camera: Camera,
    predictor: AiOSPredictor,
    colors: np.ndarray,
) -> np.ndarray:
    """Meshes of the annotated people, and the joints of SMPL, which has no faces here.

    Where their camera is not known, they are put where that of the prediction sees their joints.
    """
    people = truth.people
    size = np.array([camera.width, camera.height])
    pixels = people.joints_2d * (size / np.array(truth.resolution_wh))
    colors = np.where(people.valid[:, None], colors[: len(people)], _NOT_ASKED).astype(np.uint8)
    faces = predictor.body.faces
    if len(people) and people.vertices.shape[1] > faces.max():
        if truth.camera:
            camera, shift = truth.camera.scaled(camera.width, camera.height), np.zeros((1, 3))
        else:
            joints = people.joints_3d[:, :_SKELETON]
            shift = place_under(joints, pixels[:, :_SKELETON], camera)
        return overlay(picture, people.vertices + shift[:, None], faces, camera, colors)
    drawn = picture.copy()
    for person, color in zip(pixels, colors.tolist(), strict=True):
        for x, y in person.clip(-1e4, 1e4).round().astype(int).tolist():
            cv2.circle(drawn, (x, y), 3, color, -1, cv2.LINE_AA)
    return drawn


def _figure(
    place: int,
    name: str,
    mean_mm: float,
    counts: Mapping[str, int],
    pictures: tuple[np.ndarray, np.ndarray],
) -> str:
    images = "".join(
        f'<img src="{_data_uri(picture)}" alt="{what} of {escape(name)}">'
        for what, picture in zip(("truth", "prediction"), pictures, strict=True)
    )
    listed = ", ".join(f"{number} {what}" for what, number in counts.items() if number)
    error = "no one found" if math.isnan(mean_mm) else f"{mean_mm:.0f} mm"
    return (
        f"<figure><figcaption>{place}. <code>{escape(name)}</code>: {error}; {listed}"
        f"</figcaption><div>{images}</div></figure>"
    )


def _data_uri(picture: np.ndarray) -> str:
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
    return f"data:image/jpeg;base64,{base64.b64encode(encoded.tobytes()).decode()}"


def _page(title: str, error: str, threshold: float, figures: Sequence[str]) -> str:
    what = {"pve_all": "vertex error", "body_mve": "error of the body's vertices"}[error]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style><h1>{escape(title)}: the worst pictures</h1>"
        f"<p>Images in which no one was found come first, then images by mean {what} of the "
        f"people found, at score {threshold:g} or more. Left: ground truth. Right: prediction. "
        f"The same color marks the same person, white a false positive, grey a person excluded "
        f"from the evaluation.</p>"
        f"{''.join(figures)}</html>\n"
    )
