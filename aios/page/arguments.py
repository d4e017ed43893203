"""Check of the file arguments of every function of the page, before Gradio reads them.

Gradio checks only arguments in one of several equivalent forms, downloads web addresses, and opens
any path for the others.
"""

from __future__ import annotations

import logging
import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import gradio as gr
from gradio.utils import get_upload_folder

from .limits import MAX_UPLOAD_FILE_MB

NOT_UPLOADED = "Send the photo or video as an uploaded file."
_FAILED = "This request could not be processed: check the number and types of its arguments."
_TOO_MANY = "This call has too many arguments."
_GONE = "{name} is no longer on the server: send it again."
_log = logging.getLogger(__name__)

_MAX_NODES = 20_000
_MAX_DEPTH = 10
_UPLOAD_FOLDER = re.compile(r"[0-9a-f]{64}")
_SERVED = "/gradio_api/file="


def check_arguments(page: gr.Blocks) -> None:
    """Make every function of `page`, named or not, accept uploaded files only.

    An uploaded file lies in a folder whose name only its sender knows, see `own_folders`, so a
    path is accepted if it has this form and is a regular file. Example photos have this form too.
    """
    usual = page.preprocess_data

    async def preprocess_data(
        block_fn: Any,  # noqa: ANN401
        inputs: list[Any],
        *more: Any,  # noqa: ANN401
        **options: Any,  # noqa: ANN401
    ) -> list[Any]:
        return await usual(block_fn, checked(inputs, block_fn.inputs), *more, **options)

    page.preprocess_data = preprocess_data  # type: ignore[method-assign]


def answer_in_sentences(page: gr.Blocks) -> None:
    """Make every failure of a function of `page` a sentence; Gradio answers `null` to some."""
    usual = page.process_api

    async def process_api(*arguments: Any, **options: Any) -> dict[str, Any]:  # noqa: ANN401
        try:
            return await usual(*arguments, **options)
        except gr.Error:
            raise
        except Exception as error:
            _log.exception("A request failed")
            raise gr.Error(_FAILED, print_exception=False) from error

    page.process_api = process_api  # type: ignore[method-assign]


def checked(values: Sequence[Any], blocks: Sequence[Any]) -> list[Any]:
    """Arguments whose files are all uploaded, reduced to what the page needs.

    Args:
        values: arguments from a visitor.
        blocks: component of each.

    Raises:
        gr.Error: a file that was not uploaded, or too many values.
    """
    left = [_MAX_NODES]
    # Gradio reports a wrong number of arguments later.
    takers = [getattr(block, "takes_frames", False) for block in blocks]
    return [
        value
        if index < len(takers) and takers[index] and _is_frame(value)
        else _checked(value, left, 0)
        for index, value in enumerate(values)
    ]


def _checked(value: Any, left: list[int], depth: int) -> Any:  # noqa: ANN401
    left[0] -= 1
    if left[0] < 0 or depth > _MAX_DEPTH:
        raise gr.Error(_TOO_MANY, print_exception=False)
    if isinstance(value, list):
        return [_checked(part, left, depth + 1) for part in value]
    if not isinstance(value, dict):
        return value
    if value.get("path") is not None or value.get("url") is not None:
        path = _uploaded_path(value.get("path"))
        return {"path": path, "meta": {"_type": "gradio.FileData"}}
    return {key: _checked(part, left, depth + 1) for key, part in value.items()}


def _uploaded_path(text: object) -> str:
    """Path of an uploaded file from a path, or from its address on this page."""
    if not isinstance(text, str) or not text or "\0" in text:
        raise gr.Error(NOT_UPLOADED, print_exception=False)
    if text.startswith(("http://", "https://")):
        _, found, text = urlsplit(text).path.partition(_SERVED)
        text = unquote(text) if found else ""
    path = Path(text)
    if str(path) != text or path.parent.parent != Path(get_upload_folder()):
        raise gr.Error(NOT_UPLOADED, print_exception=False)
    if path.name == ".." or not _UPLOAD_FOLDER.fullmatch(path.parent.name):
        raise gr.Error(NOT_UPLOADED, print_exception=False)
    try:
        status = os.lstat(path)  # a link is not followed
    except OSError as error:
        raise gr.Error(_GONE.format(name=path.name), print_exception=False) from error
    if not stat.S_ISREG(status.st_mode):
        raise gr.Error(NOT_UPLOADED, print_exception=False)
    if status.st_size > MAX_UPLOAD_FILE_MB * 1024 * 1024:
        raise gr.Error(
            f"{path.name} is too large: send at most {MAX_UPLOAD_FILE_MB} MB.",
            print_exception=False,
        )
    return text


def _is_frame(value: object) -> bool:
    """Whether `value` is a camera frame, sent as text instead of a file."""
    if not isinstance(value, dict) or value.get("path") is not None:
        return False
    url = value.get("url")
    return isinstance(url, str) and url.startswith("data:image/")
