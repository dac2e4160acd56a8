"""Pictures of a node at work: how many requests become final a second, by how many are open, and its memory over time.

    python -m bench.node_plots --requests 2000

Runs `node_speed` on this machine and writes docs/node-throughput.svg and docs/node-memory.svg. The node shares its
process with whoever asks, so memory is that of both.
"""

import argparse
from collections.abc import Sequence
from itertools import pairwise

from bench.node_speed import REQUESTS, Sample, run
from bench.plots import DOCS, svg

SMOOTHED = 5
"""Samples over which a rate is taken."""


def throughput(samples: Sequence[Sample], requests: int) -> list[tuple[float, float]]:
    """Open requests, and how many became final a second meanwhile."""
    apart = samples[::SMOOTHED]
    return [
        (requests - (a.finals + b.finals) / 2, (b.finals - a.finals) / (b.seconds - a.seconds))
        for a, b in pairwise(apart)
    ]


def memory(samples: Sequence[Sample]) -> list[tuple[float, float]]:
    """Seconds, and MiB."""
    return [(sample.seconds, sample.memory_mib) for sample in samples]


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--requests", type=int, default=REQUESTS)
    given = parser.parse_args()
    samples: list[Sample] = []
    run(given.requests, samples=samples)
    for name, title, across, up, points in (
        ("throughput", "Requests answered and final", "open requests", "a second", throughput(samples, given.requests)),
        ("memory", "Memory of a node at work", "seconds", "MiB", memory(samples)),
    ):
        path = DOCS / f"node-{name}.svg"
        path.write_text(svg(title, across, up, {"": points}))
        print(f"written to {path.relative_to(DOCS.parent)}")


if __name__ == "__main__":
    main()
