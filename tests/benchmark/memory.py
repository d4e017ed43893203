"""Memory of the command line over many photos: `python -m tests.benchmark.memory`.

Runs `python -m aios` on small copies of the example photos and prints the memory of its processes
by tenths of the photos.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from aios.cli import positive_integer

ROOT = Path(__file__).resolve().parents[2]
_SIDE_PX = 320


def main(arguments: list[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        photos, out = Path(folder) / "photos", Path(folder) / "out"
        small_copies(photos, options.photos)
        command = [sys.executable, "-m", "aios", str(photos), "--out", str(out)]
        command += ["--weights", options.weights, "--processes", str(options.processes)]
        running = subprocess.Popen(command, cwd=ROOT)
        found = samples(running, out / "finished.jsonl")
        if running.returncode:
            raise SystemExit(running.returncode)
        sys.stdout.write(report(found, options.photos))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmark.memory", description=__doc__)
    parser.add_argument("--weights", default="builtin")
    parser.add_argument("--photos", type=positive_integer, default=2000)
    parser.add_argument("--processes", type=positive_integer, default=2)
    return parser


def small_copies(folder: Path, count: int) -> None:
    """Write `count` copies of the example photos with a long side of 320 pixels."""
    from PIL import Image

    from aios.resources import EXAMPLES

    folder.mkdir(parents=True)
    contents = []
    for path in sorted(EXAMPLES.glob("*.jpg")):
        with Image.open(path) as photo:
            photo.thumbnail((_SIDE_PX, _SIDE_PX))
            photo.save(folder / path.name)
        contents.append((folder / path.name).read_bytes())
        (folder / path.name).unlink()
    for index in range(count):
        (folder / f"{index:06d}.jpg").write_bytes(contents[index % len(contents)])


def samples(running: subprocess.Popen, manifest: Path) -> list[tuple[int, list[int]]]:
    """Finished photos, and MB of the process and of each of its children, about twice a second."""
    found, lines, place = [], 0, 0
    while running.poll() is None:
        time.sleep(0.5)
        if manifest.exists():
            with manifest.open("rb") as file:
                file.seek(place)
                content = file.read()
            lines, place = lines + content.count(b"\n"), place + len(content)
        found.append((lines, [memory_mb(pid) for pid in [running.pid, *children(running.pid)]]))
    return [sample for sample in found if sample[0]]


def children(pid: int) -> list[int]:
    """Processes that a process has started, and those started by them."""
    try:
        own = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:  # it has ended
        return []
    return [process for child in map(int, own) for process in [child, *children(child)]]


def memory_mb(pid: int) -> int:
    """Resident memory of a process; 0 if it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) // 1000
    except (OSError, IndexError):
        return 0


def report(found: list[tuple[int, list[int]]], photos: int) -> str:
    """A Markdown table of the highest values in each tenth of the photos."""
    lines = ["| photos | command | largest other process | all together |", "|---|---|---|---|"]
    for tenth in range(10):
        first, last = photos * tenth // 10, photos * (tenth + 1) // 10
        part = [memory for lines_, memory in found if first < lines_ <= last and len(memory) > 1]
        if part:
            command, other = max(m[0] for m in part), max(max(m[1:]) for m in part)
            total = max(sum(m) for m in part)
            lines.append(f"| {first + 1}-{last} | {command} MB | {other} MB | {total} MB |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
