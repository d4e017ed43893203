"""Report of `tests.benchmark`: Markdown tables and a plot."""

import datetime
import os
import platform
from pathlib import Path

import torch

from tests.benchmark.parts import PARTS, PEOPLE

NETWORK = {"builtin": "built-in"}
RELEASED = (
    "The released program, measured once on two cores of an Intel Xeon with the same torch: 10.0 s"
    " at 800 x 1333 (backbone 1.4, encoder 5.7, decoder 2.3, body model 0.3), 3.1 GB. `plain` below"
    " is the network without fast paths, measured in turns with this program."
)


def machine(threads: int) -> dict:
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "threads": threads,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def head(results: dict) -> str:
    found = results["machine"]
    gpu = f", {found['gpu']}" if found["gpu"] else ""
    return (
        f"{found['cpu']}, {found['cores']} cores{gpu}, {found['threads']} threads, torch"
        f" {found['torch']}, {found['date']}; load average before the start:"
        f" {results['load']:.1f}."
    )


def markdown(results: dict) -> str:
    text = [
        "# Speed and memory",
        "",
        f"`python -m tests.benchmark --all`. {head(results)}",
        "",
        "Networks of the official layout have random weights (speed does not depend on values) and"
        " are named by the short side of the input in pixels. Seconds are from the fastest of"
        " several runs.",
        "",
        "## Released program",
        "",
        RELEASED,
        "",
        "## By part",
        "",
        f"Seconds for a photo of 1920 x 1152 with {PEOPLE} people.",
        "",
        _row("network", "input", "device", "speed", *PARTS, "total", "CPU s", "peak GB"),
        _rule(7 + len(PARTS)),
    ]
    text += [_part_row(entry) for entry in results["parts"]]
    if results["pairs"]:
        text += _pair_table(results["pairs"])
    if "crowd" in results:
        text += _crowd_table(results["crowd"])
    if "others" in results:
        text += _others_table(results["others"])
    return "\n".join(text) + "\n"


def _row(*cells: object) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def _rule(count: int) -> str:
    return _row(*["---"] * count)


def _part_row(entry: dict) -> str:
    network = NETWORK.get(entry["size"], f"official {entry['size']}")
    if "failed" in entry:
        return _row(network, entry["failed"], entry["device"], entry["wish"])
    parts = (f"{entry['parts'][part]:.3f}" for part in PARTS)
    total, cpu, peak = f"{entry['total']:.2f}", f"{entry['cpu']:.2f}", f"{entry['peak_gb']:.2f}"
    return _row(network, entry["input"], entry["device"], entry["speed"], *parts, total, cpu, peak)


def _pair_table(pairs: list[dict]) -> list[str]:
    text = [
        "",
        "## Two implementations in turns",
        "",
        "From network input to posed people; `plain` is the network without fast paths.",
        "",
        _row("network", "compared", "seconds", "CPU seconds", "speedup", "by CPU seconds"),
        _rule(6),
    ]
    for entry in pairs:
        network = NETWORK.get(entry["size"], f"official {entry['size']}")
        if "failed" in entry:
            text.append(_row(network, entry["failed"]))
            continue
        text.append(
            _row(
                network,
                " / ".join(entry["ways"]),
                " / ".join(f"{s:.2f}" for s in entry["seconds"]),
                " / ".join(f"{s:.2f}" for s in entry["cpu_seconds"]),
                f"{entry['ratio_of_seconds']:.2f}",
                f"{entry['ratio_of_cpu_seconds']:.2f}",
            )
        )
    return text


def _crowd_table(crowd: dict) -> list[str]:
    text = ["", "## By number of people", "", "Seconds, official layout at 512.", ""]
    good = {speed: found for speed, found in crowd.items() if "failed" not in found}
    for index, (speed, found) in enumerate(good.items()):
        if index == 0:
            text += [_row("people", *found["people"]), _rule(1 + len(found["people"]))]
        text.append(_row(speed, *(f"{s:.2f}" for s in found["seconds"])))
    return text


def _others_table(others: dict) -> list[str]:
    text = [
        "",
        "## Overlay, startup, webcam, differences",
        "",
        _row("measurement", "result"),
        _rule(2),
    ]
    for name, value in others.items():
        if isinstance(value, dict):
            parts = (f"{k.replace('_', ' ')} {_number(v)}" for k, v in value.items())
            text.append(_row(name, ", ".join(parts)))
        else:
            text.append(_row(f"{name}, seconds", _number(value)))
    return [
        *text,
        "",
        f"Overlay: {PEOPLE} people at 1280 x 720. Frames: Webcam tab, 640 pixels wide, from JPEG to"
        " JPEG, median and best. Difference: int8 to exact on the example photos; mean vertex"
        " distance in millimetres with aligned pelvis; with random weights only the change of the"
        " image tokens is meaningful.",
    ]


def _number(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def plot(results: dict, path: Path) -> None:
    """Plot seconds by input pixels and by number of people."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    entries = [e for e in results["parts"] if "failed" not in e and e["size"] != "builtin"]
    for device, speed in dict.fromkeys((e["device"], e["wish"]) for e in entries):
        line = sorted(
            (e["pixels"] / 1e6, e["total"])
            for e in entries
            if (e["device"], e["wish"]) == (device, speed)
        )
        left.plot(*zip(*line, strict=True), "o-", label=f"{device} {speed}")
    left.set(xlabel="network input (megapixels)", ylabel="seconds per photo")
    for speed, found in results.get("crowd", {}).items():
        if "failed" not in found:
            right.plot(found["people"], found["seconds"], "o-", label=f"cpu {speed}")
    right.set(xlabel="people", ylabel="seconds per photo, short side 512")
    for axes in (left, right):
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
