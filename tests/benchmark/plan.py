"""Plan of a large job from measured figures: `python -m tests.benchmark.plan`.

Prints hours, bytes and the first bottleneck as arithmetic, each line with its numbers.
"""

import argparse
import sys
from dataclasses import dataclass

from aios.cli import positive_number

GB, TB = 1e9, 1e12


@dataclass(frozen=True)
class Job:
    """What is planned, and what was measured.

    Attributes:
        photos: number of photos.
        gpus: number of GPUs, one worker each.
        rate: photos a second of a GPU in batches; 183 was measured on an H200 with `--speed fast`.
        share: of `rate` that a worker reaches with decoding and writing; not measured on a GPU.
        people: in a photo.
        person_bytes: of a row of the table `people`, compressed; measured on the example photos.
        photo_bytes: of an input photo.
        decode_ms: of a CPU core for a photo; measured on the example photos, 0.3-0.7 megapixels.
        cpus_per_gpu: CPU cores of a worker.
        photos_per_part: photos in one file.
    """

    photos: int = 100_000_000
    gpus: int = 64
    rate: float = 183.0
    share: float = 0.8
    people: float = 2.5
    person_bytes: int = 1_500
    photo_bytes: int = 300_000
    decode_ms: float = 20.0
    cpus_per_gpu: int = 16
    photos_per_part: int = 8_192


def plan(job: Job) -> str:
    """The plan as text."""
    worker = job.rate * job.share
    total = worker * job.gpus
    seconds = job.photos / total
    people = job.photos * job.people
    out = people * job.person_bytes
    inbound = job.photos * job.photo_bytes
    network = total * job.photo_bytes
    cores = worker * job.decode_ms / 1000
    parts = job.photos / job.photos_per_part
    cpu_rate = job.cpus_per_gpu / job.decode_ms * 1000
    vertices = people * 10_475 * 3 * 4
    lines = [
        f"{job.photos:,} photos on {job.gpus} GPUs",
        f"worker: {job.rate:g} photos/s x {job.share:g} = {worker:.0f} photos/s",
        f"all: {worker:.0f} x {job.gpus} = {total:,.0f} photos/s",
        f"time: {job.photos:,} / {total:,.0f} = {seconds:,.0f} s = {seconds / 3600:.1f} h",
        f"GPU hours: {seconds / 3600:.1f} x {job.gpus} = {seconds / 3600 * job.gpus:,.0f}",
        f"read: {job.photos:,} x {job.photo_bytes / 1000:g} kB = {_size(inbound)},"
        f" {network / GB:.2f} GB/s",
        f"people: {job.photos:,} x {job.people:g} = {people:,.0f} rows",
        f"written: {people:,.0f} x {job.person_bytes:,} bytes = {_size(out)}",
        f"with vertices: {people:,.0f} x 0.126 MB more = {_size(vertices)}",
        f"files: {job.photos:,} / {job.photos_per_part:,} = {parts:,.0f} in each table",
        f"decoding: {worker:.0f} photos/s x {job.decode_ms:g} ms = {cores:.1f} cores of a worker,"
        f" which has {job.cpus_per_gpu}: enough for {cpu_rate:,.0f} photos/s",
        f"a lost worker costs at most {job.photos_per_part / worker:.0f} s of one GPU",
        "breaks first: " + _first_to_break(job, cpu_rate, network),
    ]
    return "\n".join(lines) + "\n"


def _size(count: float) -> str:
    """Bytes in a unit that fits."""
    return f"{count / TB:.3g} TB" if count >= TB / 10 else f"{count / GB:.3g} GB"


def _first_to_break(job: Job, cpu_rate: float, network: float) -> str:
    if cpu_rate < job.rate * job.share:
        return "decoding, since the cores of a worker do not keep up with its GPU"
    return (
        f"the store of the photos, which must deliver {network / GB:.1f} GB/s;"
        " then the list of single photos in the memory of the first process: use archives"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmark.plan", description=__doc__)
    defaults = vars(Job())
    for name, value in defaults.items():
        kind = int if isinstance(value, int) else positive_number
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=value)
    sys.stdout.write(plan(Job(**vars(parser.parse_args()))))


if __name__ == "__main__":
    main()
