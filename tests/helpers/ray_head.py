"""A local Ray cluster of two CPUs for another process.

Run as `python -m tests.helpers.ray_head`. The first line of the output is the address; the cluster
ends with the input.
"""

import sys

from aios.cluster.run import Resources, ray_cluster


def main() -> None:
    """Keep the cluster until the input ends."""
    with ray_cluster("local", Resources(2)):
        import ray

        sys.stdout.write(f"{ray.get_runtime_context().gcs_address}\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
