"""Benchmark of speed and memory: `python -m tests.benchmark`.

Prints seconds by part for each size, device and speed, from the fastest of several runs.  `--pair`
times two implementations in turns: `--pair fast exact`, or `--pair exact plain`, where `plain` is
the network without fast paths.  `--all` measures everything and writes `assets/benchmarks.md`,
`.json` and `.png`.  On a machine with other load, use `--threads 1` and compare CPU seconds.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from aios.cli import configure_threads_and_malloc

ROOT = Path(__file__).resolve().parents[2]
SIZES = ("800", "640", "512", "384", "builtin")
PAIRS = (("fast", "exact"), ("exact", "plain"))
APP_SECONDS = 60


def main() -> None:
    options = _parser().parse_args()
    configure_threads_and_malloc()
    from tests.benchmark import report

    if options.child:
        _run_child(json.loads(options.child))
        return
    results = {"machine": report.machine(options.threads), "load": os.getloadavg()[0]}
    sys.stdout.write(report.head(results) + "\n")
    with tempfile.TemporaryDirectory() as folder:
        options.weights = Path(folder) / "official_layout.safetensors"
        _child("save", options)
        results |= _measure_sizes(options)
        if options.all or options.crowd:
            crowd = {speed: _child("crowd", options, "512", speed) for speed in options.speeds}
            results["crowd"] = crowd
        if options.all or options.others:
            results["others"] = _measure_others(options)
    sys.stdout.write(report.markdown(results))
    if options.json or options.all:
        path = options.json or ROOT / "assets" / "benchmarks.json"
        path.write_text(json.dumps(results, indent=1) + "\n")
    if options.all:
        (ROOT / "assets" / "benchmarks.md").write_text(report.markdown(results))
        report.plot(results, ROOT / "assets" / "benchmarks.png")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmark", description=__doc__)
    parser.add_argument("--sizes", nargs="+", default=["800", "512", "builtin"], choices=SIZES)
    parser.add_argument("--speeds", nargs="+", default=["exact", "fast"])
    parser.add_argument("--devices", nargs="+", default=["cpu"])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--pair", nargs=2, action="append", metavar="WAY", default=[])
    parser.add_argument("--crowd", action="store_true", help="also time by number of people")
    parser.add_argument(
        "--others", action="store_true", help="also time overlays, startup and webcam"
    )
    parser.add_argument("--all", action="store_true", help="measure everything and write assets/")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results to FILE")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser


def _measure_sizes(options: argparse.Namespace) -> dict:
    sizes = SIZES if options.all else options.sizes
    pairs = PAIRS if options.all else options.pair
    results: dict = {"parts": [], "pairs": []}
    for size in sizes:
        for device in options.devices:
            for speed in options.speeds:
                found = _child("parts", options, size, speed, device)
                results["parts"].append({"size": size, "device": device, "wish": speed} | found)
        if size in ("800", "512", "builtin"):
            for first, second in pairs:
                found = _child("pair", options, size, arguments=(first, second))
                results["pairs"].append({"size": size} | found)
    return results


def _measure_others(options: argparse.Namespace) -> dict:
    others: dict = {
        f"overlay {name}": _child("overlay", options, arguments=(name,))
        for name in ("gl", "software")
    }
    for speed in options.speeds:
        others[f"frames {speed}"] = _child("frames", options, "builtin", speed)
        others[f"first photo builtin {speed}"] = _child("first", options, "builtin", speed)
    others["difference"] = _child("difference", options, "builtin")
    others["difference of random weights"] = _child("difference", options, "384")
    others["help"] = _best(_seconds_of_help, options.repeats)
    others["page"] = _best(_seconds_until_app, options.repeats)
    return others


def _child(
    kind: str,
    options: argparse.Namespace,
    size: str = "800",
    speed: str = "exact",
    device: str = "cpu",
    arguments: tuple[str, ...] = (),
) -> dict:
    order = {
        "kind": kind,
        "size": size,
        "speed": speed,
        "device": device,
        "threads": options.threads,
        "repeats": options.repeats,
        "weights": str(options.weights),
        "arguments": arguments,
    }
    command = [sys.executable, "-m", "tests.benchmark", "--child", json.dumps(order)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or ["no error message"])[-1]}
    return json.loads(done.stdout.splitlines()[-1])


def _run_child(order: dict) -> None:
    from tests.benchmark.parts import Case, measure, save_official_layout

    kind, arguments = order.pop("kind"), order.pop("arguments")
    case = Case(**order)
    if kind == "save":
        save_official_layout(Path(case.weights or ""))
        result: dict = {}
    else:
        result = measure(kind, case, *arguments)
    sys.stdout.write(json.dumps(result) + "\n")


# Whole programs.


def _best(measure: Callable[[], float | None], repeats: int) -> float | None:
    return min((s for s in (measure() for _ in range(repeats)) if s is not None), default=None)


def _seconds_of_help() -> float:
    start = time.perf_counter()
    command = [sys.executable, "-m", "aios", "--help"]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def _seconds_until_app() -> float | None:
    """Seconds until the page answers, with the built-in weights; None on failure."""
    port = str(_free_port())
    command = [sys.executable, "app.py", "--port", port, "--weights", "builtin"]
    start = time.perf_counter()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    app = subprocess.Popen(command, cwd=ROOT, **quiet)
    try:
        while time.perf_counter() - start < APP_SECONDS and app.poll() is None:
            if _answers(f"http://127.0.0.1:{port}/"):
                return time.perf_counter() - start
            time.sleep(0.05)
        return None
    finally:
        app.terminate()
        app.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _answers(url: str) -> bool:
    try:
        return urllib.request.urlopen(url, timeout=5).status == 200
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
