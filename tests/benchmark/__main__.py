"""Entry point of `python -m tests.benchmark`."""

from tests.benchmark.run import main

main()
