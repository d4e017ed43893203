"""Measurements of `tests.benchmark`, each run in its own process and returned as JSON values.

Networks of the official layout have random weights, since speed does not depend on values.
"""

import dataclasses
import os
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from aios.accelerate.int8 import quantise, why_unavailable
from aios.body.model import BodyModel
from aios.geometry.camera import Camera
from aios.media.photo import read_photo
from aios.network.config import AiOSConfig, ImageConfig
from aios.network.model import AiOS
from aios.network.preprocessing import batch_images, prepare_photo
from aios.people import people_from_output
from aios.pipelines.live import LiveSettings, LiveStream
from aios.prediction import Candidates
from aios.predictor import AiOSPredictor
from aios.render.overlay import overlay
from aios.resources import EXAMPLES
from aios.weights.load import WeightsInfo, load_model
from tests.benchmark.difference import difference

PARTS = ("image", "backbone", "encoder", "decoder", "people", "body", "picture")
PEOPLE = 5
CROWD = (1, 5, 10, 20, 30, 40, 50)
PHOTO_WH = (1920, 1152)
BUILTIN = "builtin"


@dataclasses.dataclass(frozen=True)
class Case:
    """Settings of a measurement; sizes such as "800" are short sides of the official layout."""

    size: str = "800"
    speed: str = "exact"
    device: str = "cpu"
    threads: int = 2
    repeats: int = 3
    weights: str | None = None
    """File of random weights in the official layout."""


def load(case: Case) -> tuple[AiOS, WeightsInfo]:
    """Network without fast paths, and its description."""
    if case.size == BUILTIN:
        loaded = load_model(BUILTIN)
        return loaded.model, loaded.weights
    model = load_model(case.weights).model
    short = int(case.size)
    image = ImageConfig(short, short * 5 // 3)
    model.config = dataclasses.replace(model.config, image=image)
    return model, WeightsInfo("file", "random weights", Path("random"), False, "smplx", 0.0)


def build(case: Case) -> AiOSPredictor:
    return AiOSPredictor(*load(case), BodyModel.load(), case.device, case.speed)


def save_official_layout(path: Path) -> None:
    """Save random weights with sampling locations spread like those of trained weights."""
    from aios.weights.checkpoint import save_safetensors

    torch.manual_seed(0)
    config = AiOSConfig()
    model = AiOS(config)
    with torch.no_grad():
        for module in model.modules():
            if hasattr(module, "sampling_offsets"):
                module.sampling_offsets.bias.normal_(0, 3)
    save_safetensors(path, model.state_dict(), config, dtype=torch.float32)


def noise_photo(width: int = PHOTO_WH[0], height: int = PHOTO_WH[1]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


class _Clock:
    """Accumulated seconds by part name; modules are timed by hooks."""

    def __init__(self, device: torch.device) -> None:
        self.seconds: dict[str, float] = {}
        self._device = device
        self._started = 0.0

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def call(self, name: str, function: Callable, *arguments):
        start = self._now()
        result = function(*arguments)
        self._add(name, start)
        return result

    def watch(self, name: str, module) -> None:
        def start(*_) -> None:
            self._started = self._now()

        module.register_forward_pre_hook(start)
        module.register_forward_hook(lambda *_: self._add(name, self._started))

    def _add(self, name: str, start: float) -> None:
        self.seconds[name] = self.seconds.get(name, 0.0) + self._now() - start


def measure_parts(case: Case) -> dict:
    """Seconds by part of `predict` in the fastest run, and peak memory of the process."""
    predictor, photo = build(case), noise_photo()
    height, width = photo.shape[:2]
    model, runs = predictor.model, []
    clock = _Clock(predictor.device)
    for name, modules in {
        "backbone": (model.backbone, model.level_projections),
        "encoder": (model.encoder,),
        "decoder": (model.proposals, model.decoder),
    }.items():
        for module in modules:
            clock.watch(name, module)
    candidates = predictor.find_candidates(photo)
    people = candidates.people.suppress_duplicates(predictor.weights.max_overlap)
    camera, least = candidates.camera, float(people.scores[:PEOPLE][-1])
    for _ in range(case.repeats):
        clock.seconds = {}
        cpu = time.process_time()
        with torch.inference_mode():
            pixels = clock.call("image", prepare_photo, photo, model.config.image)
            output = model(batch_images([pixels]).to(predictor.device), min_score=least)
            people = clock.call("people", people_from_output, output.final, 0, width, height)
        found = clock.call("body", predictor.assemble, Candidates(people, camera), least, PEOPLE)
        clock.call("picture", overlay, photo, found.vertices, found.faces, camera)
        runs.append(clock.seconds | {"cpu": time.process_time() - cpu})
    best = min(runs, key=lambda run: sum(run[part] for part in PARTS))
    return {
        "input": "x".join(map(str, pixels.shape[1:])),
        "pixels": pixels.shape[1] * pixels.shape[2],
        "speed": predictor.speed,
        "parts": {part: best[part] for part in PARTS},
        "total": sum(best[part] for part in PARTS),
        "cpu": min(run["cpu"] for run in runs),
        "peak_gb": peak_gb(),
    }


def measure_pair(case: Case, first: str, second: str) -> dict:
    """Time two speeds in turns, from network input to posed people, under equal machine load.

    In addition to "exact" and "fast" there is "plain": the network without fast paths, with the
    outputs of all decoder layers and the bodies of all person slots of the last layer.
    """
    runs, photo = {}, noise_photo()
    for way in (first, second):
        if way == "plain":
            runs[way] = _plain_run(case, photo)
        else:
            runs[way] = _fast_run(build(dataclasses.replace(case, speed=way)), photo)
    spent: dict[str, list[tuple[float, float]]] = {first: [], second: []}
    with torch.inference_mode():
        for repeat in range(case.repeats + 1):
            for way in (first, second):
                start = time.perf_counter(), time.process_time()
                runs[way]()
                if repeat:  # the first turn is a warm-up
                    spent[way].append(
                        (time.perf_counter() - start[0], time.process_time() - start[1])
                    )
    result: dict = {"ways": [first, second]}
    for kind, column in (("seconds", 0), ("cpu_seconds", 1)):
        least = [min(s[column] for s in spent[way]) for way in (first, second)]
        result[kind], result[f"ratio_of_{kind}"] = least, least[1] / least[0]
    return result


def _plain_run(case: Case, photo: np.ndarray) -> Callable[[], object]:
    (model, _), body = load(case), BodyModel.load()
    images = batch_images([prepare_photo(photo, model.config.image)])
    height, width = photo.shape[:2]

    def run() -> object:
        output = model(images, aux_outputs=True)
        people = people_from_output(output.final, 0, width, height)
        return body({k: torch.from_numpy(v) for k, v in people.smplx_parameters().items()})

    return run


def _fast_run(predictor: AiOSPredictor, photo: np.ndarray) -> Callable[[], object]:
    images = batch_images([prepare_photo(photo, predictor.model.config.image)])
    height, width = photo.shape[:2]
    camera = Camera(5000.0, (width / 2, height / 2), width, height)

    def run() -> object:
        output = predictor.model(images.to(predictor.device))
        people = people_from_output(output.final, 0, width, height)
        return predictor.assemble(Candidates(people, camera), 0.0, PEOPLE)

    return run


def measure_crowd(case: Case) -> dict:
    """Seconds from network input to overlay, by number of people above the threshold."""
    predictor, photo = build(case), noise_photo()
    height, width = photo.shape[:2]
    images = batch_images([prepare_photo(photo, predictor.model.config.image)])
    images = images.to(predictor.device)
    camera = predictor.find_candidates(photo).camera
    with torch.inference_mode():
        scores = predictor.model(images).final.class_logits[0, :, 1].sigmoid()
        scores = scores.sort(descending=True).values.tolist()
        seconds = []
        for count in CROWD:
            least = scores[count - 1]
            runs = []
            for _ in range(case.repeats):
                start = time.perf_counter()
                output = predictor.model(images, min_score=least)
                people = people_from_output(output.final, 0, width, height)
                found = predictor.assemble(Candidates(people, camera), least, count)
                overlay(photo, found.vertices, found.faces, camera)
                runs.append(time.perf_counter() - start)
            seconds.append(min(runs))
    return {"people": list(CROWD), "seconds": seconds}


def measure_overlay(case: Case, renderer: str) -> dict:
    """Fastest overlay of 5 people at 1280 x 720, and the first one."""
    body = BodyModel.load()
    transl = torch.tensor([[1.1 * (i - 2), 0.0, 5.0 + 0.4 * i] for i in range(PEOPLE)])
    upright = torch.tensor([[torch.pi, 0.0, 0.0]]).expand(PEOPLE, 3)
    vertices = body({"global_orient": upright, "transl": transl}).vertices.numpy()
    camera = Camera(1000.0, (640.0, 360.0), 1280, 720)
    photo = np.full((720, 1280, 3), 90, np.uint8)

    def once() -> float:
        start = time.perf_counter()
        overlay(photo, vertices, body.faces, camera, renderer=renderer)
        return time.perf_counter() - start

    return {"first": once(), "seconds": min(once() for _ in range(case.repeats + 5))}


def measure_difference(case: Case) -> dict:
    """Differences of int8 products to exact ones on the example photos.

    With random weights only the tokens are compared: all people get the same predictions.
    """
    photos = sorted(EXAMPLES.glob("*.jpg"))
    exact, rounded = (build(dataclasses.replace(case, speed="exact")) for _ in range(2))
    if reason := why_unavailable():
        return {"failed": reason}
    quantise(rounded.model, [read_photo(path) for path in photos])
    found = difference(exact, rounded, photos)
    return found if case.size == BUILTIN else {"change_of_tokens": found["change_of_tokens"]}


def measure_frames(case: Case) -> dict:
    """Frames per second of the Webcam tab, from encoded camera frame to encoded result.

    Frames are processed one by one, with tracking and smoothing; the browser is not included.
    """
    import cv2

    predictor = build(case)
    photo = read_photo(sorted(EXAMPLES.glob("*.jpg"))[0])
    height, width = photo.shape[:2]
    frame = cv2.resize(photo, (640, max(round(640 * height / width), 1)))
    sent = cv2.imencode(".jpg", frame[..., ::-1])[1]
    stream = LiveStream(predictor)
    settings = LiveSettings(predictor.weights.threshold, "full", smooth=True)
    seconds = []
    for _ in range(case.repeats * 4 + 2):
        start = time.perf_counter()
        shown = stream(cv2.imdecode(sent, cv2.IMREAD_COLOR_RGB), settings)
        cv2.imencode(".jpg", shown.picture[..., ::-1])
        seconds.append(time.perf_counter() - start)
    seconds = seconds[2:]
    return {
        "frames_per_second": 1 / statistics.median(seconds),
        "best": 1 / min(seconds),
        "people": shown.people,
    }


def measure_first_photo(case: Case) -> dict:
    """Seconds to load the weights in a new process, and of its first and second photo."""
    start = time.perf_counter()
    predictor = build(case)
    ready = time.perf_counter()
    photo = noise_photo()
    seconds = []
    for _ in range(2):
        begin = time.perf_counter()
        found = predictor.predict(photo)
        overlay(photo, found.vertices, found.faces, found.camera)
        seconds.append(time.perf_counter() - begin)
    return {"load": ready - start, "first": seconds[0], "second": seconds[1], "peak_gb": peak_gb()}


MEASURES: dict[str, Callable[..., dict]] = {
    "parts": measure_parts,
    "pair": measure_pair,
    "crowd": measure_crowd,
    "overlay": measure_overlay,
    "difference": measure_difference,
    "frames": measure_frames,
    "first": measure_first_photo,
}


def measure(kind: str, case: Case, *arguments: str) -> dict:
    torch.set_num_threads(case.threads)
    os.environ.setdefault("OMP_NUM_THREADS", str(case.threads))
    return MEASURES[kind](case, *arguments)
