"""Report of the folder benchmark and the plan of a large job; nothing is timed here."""

import re
from dataclasses import replace
from pathlib import Path

from tests.benchmark.folder import copies_of_examples, report
from tests.benchmark.plan import Job, plan

ROOT = Path(__file__).resolve().parents[2]


def test_table_has_the_median_of_the_ratios_of_each_turn():
    text = report("rows", {"one": [2.0, 1.0, 4.0], "two": [4.0, 3.0, 4.0]})
    assert "| one | 2.00 | 1.00 | 1.00-1.00 |" in text
    assert "| two | 4.00 | 2.00 | 1.00-3.00 |" in text


def test_copies_repeat_the_examples(tmp_path):
    paths = copies_of_examples(tmp_path / "photos", 9)
    assert len({path.read_bytes() for path in paths}) < 9 == len(paths)


def test_plan_adds_up():
    job = Job(photos=1000, gpus=2, rate=10.0, share=0.5, person_bytes=1000, people=2.0)
    text = plan(job)
    assert "all: 5 x 2 = 10 photos/s" in text
    assert "time: 1,000 / 10 = 100 s" in text
    assert "= 2,000 rows" in text and "= 0.3 GB," in text
    assert "breaks first: the store" in text
    assert "breaks first: decoding" in plan(replace(job, decode_ms=900.0, cpus_per_gpu=4))


def test_readme_shows_the_plan_as_printed():
    readme = (ROOT / "aios" / "cluster" / "README.md").read_text("utf-8")
    [shown] = re.findall(r"^```text\n(.*?)^```", readme, re.S | re.M)
    assert shown == plan(Job())
