"""Load weights: the official ones, the built-in ones, a Hub repository or a file."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from torch import Tensor
from torch.overrides import TorchFunctionMode

from ..network.config import AiOSConfig
from ..network.score_calibration import ScoreCalibration
from ..resources import BUILTIN_WEIGHTS
from .checkpoint import (
    CheckpointError,
    is_out_of_memory,
    load_strictly,
    read_released,
    read_safetensors,
)
from .hub import HubError, HubFileMissingError, fetch_file, fetch_metadata, find_cached

if TYPE_CHECKING:
    from ..network.model import AiOS

OFFICIAL_REPO = "ttxskk/AiOS"
RELEASED_FILE = "aios_checkpoint.pth"
SAFETENSORS_FILE = "model.safetensors"
AUTO_TIMEOUT_SECONDS = 5.0
"""Time limit of `"auto"` for the Hub before it falls back to the built-in weights."""

RELEASED_THRESHOLD = 0.3
"""Default score threshold, 0-1, as in the demo released with the paper."""

CALIBRATION_KEY = "score_calibration"
"""Metadata of a safetensors file: the three coefficients of `ScoreCalibration`."""

BodyConvention = Literal["smplx", "standin"]
Placement = Literal["camera", "keypoints"]
_HUB_ID = re.compile(r"(?P<repo>[\w][\w.-]*/[\w][\w.-]*)(?::(?P<file>[\w][\w./-]*))?")
_RELEASED_SUFFIXES = (".pth", ".pt")
_SUFFIXES = (*_RELEASED_SUFFIXES, ".safetensors")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WeightsInfo:
    """Origin and properties of loaded weights."""

    name: Literal["official", "builtin", "hub", "file"]
    description: str
    """One phrase to show to users; with `"auto"` it includes the reason for the choice."""
    path: Path
    is_official: bool
    """Whether the file is in the released layout, with the network of the paper."""
    body_convention: BodyConvention
    """Body model of the predicted shape coefficients and hand poses."""
    threshold: float
    """Default score threshold, 0-1."""
    max_overlap: float = 1.0
    """Maximum box IoU of two people; of a pair above it the lower score is dropped (NMS).

    1 disables NMS, as in the paper: a fully trained network predicts each person once.  Weights
    with short training, like the built-in ones, need NMS.
    """
    placed_by: Placement = "camera"
    """Source of the translation: "camera" takes the predicted camera, as in the paper; "keypoints"
    fits the posed body to the predicted 2D keypoints, close to the predicted depth, for networks
    whose keypoints are more accurate than their camera."""
    calibration: ScoreCalibration = ScoreCalibration()
    """Of the scores; the default keeps those of the network."""


@dataclass(frozen=True)
class LoadedModel:
    """Network with weights, in evaluation mode on the CPU."""

    model: AiOS
    config: AiOSConfig
    weights: WeightsInfo


def load_model(source: str | Path = "auto") -> LoadedModel:
    """Find or fetch weights and load them strictly into a network of their config.

    Args:
        source: `"official"` (the paper's, from the Hub), `"builtin"` (small, shipped with the
            code), `"auto"` (official if cached or reachable within 5 s, else built-in), a Hub
            repository `"user/name"` or `"user/name:file"`, or the path of a `.pth` in the released
            layout or a `.safetensors` of this program.  An existing path takes precedence over a
            repository of the same name.

    Raises:
        CheckpointError: no usable weights; the message names the remedy.
    """
    if source == "auto":
        return _load_auto()
    if source == "official":
        path = find_cached(OFFICIAL_REPO, RELEASED_FILE) or fetch_file(OFFICIAL_REPO, RELEASED_FILE)
        return _load_file(path, "official", f"the paper's weights ({OFFICIAL_REPO})")
    if source == "builtin":
        return _load_builtin("selected with --weights")
    path = Path(source).expanduser()
    if path.exists():
        path = _file_in(path)
        return _load_file(path, "file", f"weights from {path}")
    match = _HUB_ID.fullmatch(str(source))
    if match is None or (match["file"] is None and path.suffix in _SUFFIXES):
        raise CheckpointError(
            f"No weights found for {str(source)!r}: use 'auto', 'official', 'builtin',"
            " a Hub repository 'user/name', or the path of a .pth or .safetensors file."
        )
    path = _fetch_any(match["repo"], match["file"])
    return _load_file(path, "hub", f"weights from {match['repo']} ({path.name})")


def _load_auto() -> LoadedModel:
    try:
        if find_cached(OFFICIAL_REPO, RELEASED_FILE) is None:
            fetch_metadata(OFFICIAL_REPO, RELEASED_FILE, timeout=AUTO_TIMEOUT_SECONDS)
        return load_model("official")
    except CheckpointError as error:
        reason = f"because the official weights are not available: {error}"
    try:
        loaded = _load_builtin(reason)
    except CheckpointError as error:
        raise CheckpointError(f"{error} They were needed {reason}") from error
    _log.warning("Using %s", loaded.weights.description)
    return loaded


def _load_builtin(reason: str) -> LoadedModel:
    if not BUILTIN_WEIGHTS.is_file():
        raise CheckpointError(
            f"The built-in weights {BUILTIN_WEIGHTS} are missing:"
            " run from a clone of the repository, or select other weights."
        )
    return _load_file(BUILTIN_WEIGHTS, "builtin", f"the small built-in weights, {reason}")


def _file_in(path: Path) -> Path:
    """Weight file in a folder, or `path` itself if it is a file."""
    if path.is_file():
        return path
    for name in (SAFETENSORS_FILE, RELEASED_FILE):
        if (path / name).is_file():
            return path / name
    raise CheckpointError(
        f"The folder {path} contains neither {SAFETENSORS_FILE} nor {RELEASED_FILE}."
    )


def _fetch_any(repo_id: str, filename: str | None) -> Path:
    if filename is not None:
        return fetch_file(repo_id, filename)
    for name in (SAFETENSORS_FILE, RELEASED_FILE):
        try:
            return fetch_file(repo_id, name)
        except HubFileMissingError:
            continue
    raise HubError(
        f"{repo_id} on the Hub contains neither {SAFETENSORS_FILE} nor {RELEASED_FILE}:"
        f" name the file as '{repo_id}:FILE'."
    )


def _load_file(
    path: Path, name: Literal["official", "builtin", "hub", "file"], description: str
) -> LoadedModel:
    if path.suffix not in _SUFFIXES:
        raise CheckpointError(
            f"{path} is not a weight file: it must end in {', '.join(_SUFFIXES)}."
        )
    if path.suffix in _RELEASED_SUFFIXES:
        config = AiOSConfig()
        info = WeightsInfo(name, description, path, True, "smplx", RELEASED_THRESHOLD)
        return _build(config, _released_state(path, config), info)
    config, state, metadata = read_safetensors(path)
    convention = metadata.get("body_convention", "standin")
    if convention not in get_args(BodyConvention):
        raise CheckpointError(f"{path} has an unknown body_convention: {convention!r}.")
    placed_by = metadata.get("placed_by", "camera")
    if placed_by not in get_args(Placement):
        raise CheckpointError(f"{path} has an unknown placed_by: {placed_by!r}.")
    info = WeightsInfo(
        name,
        description,
        path,
        is_official=False,
        body_convention=cast(BodyConvention, convention),
        threshold=_fraction(metadata, "threshold", RELEASED_THRESHOLD, path),
        max_overlap=_fraction(metadata, "max_overlap", 1.0, path),
        placed_by=cast(Placement, placed_by),
        calibration=_calibration(metadata, path),
    )
    return _build(config, state, info)


def _fraction(metadata: dict[str, str], name: str, default: float, path: Path) -> float:
    """Number 0-1 from the metadata of a safetensors file."""
    text = metadata.get(name, str(default))
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise CheckpointError(f"{path} has a {name} outside 0-1: {text!r}.")
    return value


def _calibration(metadata: dict[str, str], path: Path) -> ScoreCalibration:
    """Coefficients of the scores from the metadata of a safetensors file."""
    text = metadata.get(CALIBRATION_KEY)
    if text is None:
        return ScoreCalibration()
    try:
        bias, class_weight, keypoint_weight = map(float, text.split())
        return ScoreCalibration(bias, class_weight, keypoint_weight)
    except ValueError as error:
        raise CheckpointError(f"{path} has an unusable {CALIBRATION_KEY}: {text!r}.") from error


def _released_state(path: Path, config: AiOSConfig) -> dict[str, Tensor]:
    from .official_names import rename_official

    return rename_official(read_released(path), config)


def _build(config: AiOSConfig, state: dict[str, Tensor], info: WeightsInfo) -> LoadedModel:
    # Imported here, so that finding and fetching weights does not import the network.
    from ..network.model import AiOS

    try:
        with _SkipInit():
            model = AiOS(config)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise CheckpointError(
            f"There is not enough memory for the network of {info.path}: close other programs."
        ) from error
    load_strictly(model, state, info.path, assign=True)
    return LoadedModel(model.eval(), config, info)


class _SkipInit(TorchFunctionMode):
    """Skips `torch.nn.init` functions: loading replaces all values anyway.

    Uninitialised memory costs nothing.  The device "meta" would do the same, but its first `arange`
    imports torch's compiler, which takes a second.
    """

    def __torch_function__(  # noqa: D105
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - result of any torch function
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)
