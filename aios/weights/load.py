"""Where weights come from: the paper's, the built-in ones, a repository of the Hub, or a file."""

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
from ..resources import BUILTIN_WEIGHTS
from .checkpoint import CheckpointError, load_strictly, read_own, read_released
from .hub import HubError, HubFileMissingError, ask_hub, cached_file, fetch_file

if TYPE_CHECKING:
    from ..network.model import AiOS

OFFICIAL_REPO = "ttxskk/AiOS"
RELEASED_FILE = "aios_checkpoint.pth"
OWN_FILE = "model.safetensors"
AUTO_SECONDS = 5.0
"""How long `"auto"` waits for the Hub before it takes the built-in weights."""

RELEASED_THRESHOLD = 0.3
"""What the released demo uses (specification section 12)."""

BodyConvention = Literal["smplx", "standin"]
Placement = Literal["camera", "keypoints"]
_HUB_ID = re.compile(r"(?P<repo>[\w][\w.-]*/[\w][\w.-]*)(?::(?P<file>[\w][\w./-]*))?")
_RELEASED_SUFFIXES = (".pth", ".pt")
_SUFFIXES = (*_RELEASED_SUFFIXES, ".safetensors")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WeightsInfo:
    """Which weights are in use, for people to read."""

    name: Literal["official", "builtin", "hub", "file"]
    description: str
    """Which weights these are and, if that was decided here, why."""
    path: Path
    is_official: bool
    """In the released layout, hence the network of the paper."""
    body_convention: BodyConvention
    """The body whose shape coefficients and mean hand the network learned."""
    threshold: float
    """Score, 0-1, from which a person counts unless somebody asks for another."""
    max_overlap: float = 1.0
    """Overlap (IoU of boxes) above which the lower score of two people is the same one again.

    1 leaves nobody out, as the paper: its network learns to name each person once.  A network
    trained for hours instead of weeks does not, and its weights say so here.
    """
    placed_by: Placement = "camera"
    """What says where people stand: the predicted camera, as in the paper, or, for a network that
    is surer of its 2D keypoints, the place at which the posed body fits those best without leaving
    the predicted depth by much."""


@dataclass(frozen=True)
class LoadedModel:
    """A network with its weights, in evaluation mode on the CPU."""

    model: AiOS
    config: AiOSConfig
    weights: WeightsInfo


def load_model(source: str | Path = "auto") -> LoadedModel:
    """Find or fetch weights and load them strictly into the network that they describe.

    Args:
        source: `"official"` (the paper's, from the Hub), `"builtin"` (small, shipped with the
            code), `"auto"` (official if already on this machine or reachable within 5 s, else
            built-in), a Hub repository `"user/name"` or `"user/name:file"`, or the path of a
            `.pth` in the released layout or of a `.safetensors` of this program.  A path that
            exists wins over a repository of the same name.

    Raises:
        CheckpointError: nothing usable there; the message says what to do.
    """
    if source == "auto":
        return _load_auto()
    if source == "official":
        path = cached_file(OFFICIAL_REPO, RELEASED_FILE) or fetch_file(OFFICIAL_REPO, RELEASED_FILE)
        return _load_file(path, "official", f"the paper's weights ({OFFICIAL_REPO})")
    if source == "builtin":
        return _load_builtin("as asked")
    path = Path(source).expanduser()
    if path.exists():
        path = _file_in(path)
        return _load_file(path, "file", f"weights from {path}")
    match = _HUB_ID.fullmatch(str(source))
    if match is None or (match["file"] is None and path.suffix in _SUFFIXES):
        raise CheckpointError(
            f"There are no weights {str(source)!r}: give 'auto', 'official', 'builtin',"
            " a Hub repository 'user/name', or the path of a .pth or .safetensors file."
        )
    path = _fetch_any(match["repo"], match["file"])
    return _load_file(path, "hub", f"weights from {match['repo']} ({path.name})")


def _load_auto() -> LoadedModel:
    try:
        if cached_file(OFFICIAL_REPO, RELEASED_FILE) is None:
            ask_hub(OFFICIAL_REPO, RELEASED_FILE, timeout=AUTO_SECONDS)
        return load_model("official")
    except CheckpointError as error:
        reason = f"because the paper's cannot be used: {error}"
    try:
        loaded = _load_builtin(reason)
    except CheckpointError as error:
        raise CheckpointError(f"{error} They were wanted {reason}") from error
    _log.warning("Using %s", loaded.weights.description)
    return loaded


def _load_builtin(reason: str) -> LoadedModel:
    if not BUILTIN_WEIGHTS.is_file():
        raise CheckpointError(
            f"The built-in weights {BUILTIN_WEIGHTS} are missing:"
            " run from a clone of the repository, or name other weights."
        )
    return _load_file(BUILTIN_WEIGHTS, "builtin", f"the small built-in weights, {reason}")


def _file_in(path: Path) -> Path:
    """`path` itself, or the weight file in it if it is a folder."""
    if path.is_file():
        return path
    for name in (OWN_FILE, RELEASED_FILE):
        if (path / name).is_file():
            return path / name
    raise CheckpointError(f"The folder {path} holds neither {OWN_FILE} nor {RELEASED_FILE}.")


def _fetch_any(repo_id: str, filename: str | None) -> Path:
    if filename is not None:
        return fetch_file(repo_id, filename)
    for name in (OWN_FILE, RELEASED_FILE):
        try:
            return fetch_file(repo_id, name)
        except HubFileMissingError:
            continue
    raise HubError(
        f"{repo_id} on the Hub holds neither {OWN_FILE} nor {RELEASED_FILE}:"
        f" name the file as '{repo_id}:FILE'."
    )


def _load_file(
    path: Path, name: Literal["official", "builtin", "hub", "file"], description: str
) -> LoadedModel:
    if path.suffix not in _SUFFIXES:
        raise CheckpointError(f"{path} is no weight file: it must end in {', '.join(_SUFFIXES)}.")
    if path.suffix in _RELEASED_SUFFIXES:
        config = AiOSConfig()
        info = WeightsInfo(name, description, path, True, "smplx", RELEASED_THRESHOLD)
        return _build(config, _released_state(path, config), info)
    config, state, metadata = read_own(path)
    convention = metadata.get("body_convention", "standin")
    if convention not in get_args(BodyConvention):
        raise CheckpointError(f"{path} was made for a body unknown here: {convention!r}.")
    placed_by = metadata.get("placed_by", "camera")
    if placed_by not in get_args(Placement):
        raise CheckpointError(f"{path} places people by something unknown here: {placed_by!r}.")
    info = WeightsInfo(
        name,
        description,
        path,
        is_official=False,
        body_convention=cast(BodyConvention, convention),
        threshold=_share(metadata, "threshold", RELEASED_THRESHOLD, path),
        max_overlap=_share(metadata, "max_overlap", 1.0, path),
        placed_by=cast(Placement, placed_by),
    )
    return _build(config, state, info)


def _share(metadata: dict[str, str], name: str, default: float, path: Path) -> float:
    """A number 0-1 that one of our own files comes with."""
    text = metadata.get(name, str(default))
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise CheckpointError(f"{path} comes with a {name} that is not in 0-1: {text!r}.")
    return value


def _released_state(path: Path, config: AiOSConfig) -> dict[str, Tensor]:
    from .official_names import from_official

    return from_official(read_released(path), config)


def _build(config: AiOSConfig, state: dict[str, Tensor], info: WeightsInfo) -> LoadedModel:
    # Only here is the network itself needed; finding and fetching weights goes without.
    from ..network.model import AiOS

    with _Uninitialised():
        model = AiOS(config)
    load_strictly(model, state, info.path, take=True)
    return LoadedModel(model.eval(), config, info)


class _Uninitialised(TorchFunctionMode):
    """Networks made in here are not initialised: a file's numbers take the place of all of theirs.

    Memory never written to costs nothing.  The device "meta" would do without, but there the first
    `arange` imports torch's compiler, which takes a second.
    """

    def __torch_function__(  # noqa: D105
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - whatever torch's function gives
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)
