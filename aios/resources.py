"""Paths of the files that come with the program: weights, stand-in body, style sheet, examples.

In a checkout they are `assets/` and `checkpoints/` beside the package. A wheel carries the ones
that the program reads in `aios/bundled/`.
"""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_BUNDLED = _PACKAGE / "bundled"
_ROOT = _BUNDLED if _BUNDLED.is_dir() else _PACKAGE.parent

ASSETS = _ROOT / "assets"
EXAMPLES = ASSETS / "examples"
STANDIN_BODY = ASSETS / "body" / "standin.npz"
BUILTIN_WEIGHTS = _ROOT / "checkpoints" / "builtin.safetensors"
