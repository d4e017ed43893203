"""The program that serves the page: `python app.py` or the command `aios-app`.

Gradio and torch take seconds to import, so they are imported inside `main`.
"""

from __future__ import annotations

import logging
import os
import signal
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from ..cli import (
    OneLineParser,
    StartError,
    add_model_arguments,
    add_page_arguments,
    configure_threads_and_malloc,
    find_port,
    prepare_proxies,
    warm_up_renderer,
)
from ..pipelines.scratch import scratch_folder, stop_on_signals
from .space import load_page_predictor

if TYPE_CHECKING:
    import gradio as gr

    from .availability import Availability

_log = logging.getLogger("aios.app")


def main(arguments: list[str] | None = None) -> int:
    """Serve the page until interrupted; return 0, or 2 if it cannot start."""
    configure_threads_and_malloc()
    parser = OneLineParser(
        prog="app.py", description="Serve a page that recovers a 3D mesh of everyone in a photo."
    )
    add_page_arguments(parser)
    add_model_arguments(parser)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("aios").setLevel(logging.INFO)

    prepare_proxies(options.host)
    # Signals to end clean up like Ctrl-C: uploaded photos must not stay on disk.
    stop_on_signals()
    stopped = False
    with scratch_folder("aios-page-", Path(tempfile.gettempdir())) as folder:
        os.environ["GRADIO_TEMP_DIR"] = str(folder)
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        try:
            port = find_port(options.host, options.port)
            predictor = load_page_predictor(options)
            from ..body.location import find_body_file
            from .availability import Availability
            from .guard import SHARE_DOMAIN
            from .layout import build_page
            from .server import launch, share

            page, availability = build_page(predictor, options.threshold), Availability()
            private = [predictor.weights.path, find_body_file(options.body)]
            address = launch(
                *(page, options.host, port, options.auth, private, options.mcp, availability),
                hosts=[*options.allowed_host, *([SHARE_DOMAIN] if options.share else [])],
            )
            signal.signal(signal.SIGTERM, lambda *_: _stop(page, availability))
            _log.info("Page: %s", address)
            warm_up_renderer()
            if options.share:
                share(page, port)
            # `page.block_thread` would return after a signal, and the end of Python aborts jobs.
            while True:
                time.sleep(1)
        except StartError as error:
            _log.error("%s", error)
            return 2
        except KeyboardInterrupt:
            _log.info("Stopped.")
            stopped = True
    if stopped:
        # Python would wait for the threads of running jobs first, which may take minutes.
        logging.shutdown()
        os._exit(0)
    return 0


def _stop(page: gr.Blocks, availability: Availability) -> NoReturn:
    """Interrupt the program after the events that are running; at once if it is asked again."""
    from .limits import STOP_SECONDS

    if not availability.is_stopping:
        _log.info("Stopping when the running jobs have ended, in %d s at most.", STOP_SECONDS)
        availability.stop(page, STOP_SECONDS)
    raise KeyboardInterrupt
