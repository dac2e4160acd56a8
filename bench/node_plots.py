"""Pictures of a node at work: how many requests become final a second, by how many are open, and its memory over time.

    python -m bench.node_plots --requests 2000

Runs `node_speed` on this machine and writes docs/node-throughput.svg and docs/node-memory.svg. The node shares its
process with whoever asks, so memory is that of both.
"""

import argparse
import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from xml.sax.saxutils import escape

from bench.node_speed import REQUESTS, Sample, run

DOCS = Path(__file__).resolve().parent.parent / "docs"
WIDTH, HEIGHT, MARGIN = 720, 320, 56
TICKS = 5
"""At most, beside zero."""
SMOOTHED = 5
"""Samples over which a rate is taken."""

Points = Sequence[tuple[float, float]]


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


def round_ticks(most: float) -> list[float]:
    """Multiples of the least 1, 2 or 5 times a power of ten, from zero to the first at or beyond `most`; a few."""
    power = 10.0 ** (math.floor(math.log10(most / TICKS)) if most > 0 else 0)
    step = next(step for step in (power, 2 * power, 5 * power, 10 * power) if TICKS * step >= most)
    return [step * count for count in range(max(math.ceil(most / step), 1) + 1)]


def svg(title: str, across: str, up: str, points: Points) -> str:
    """A line through points, both axes from zero to a round number."""
    ticks = [round_ticks(max((point[i] for point in points), default=0)) for i in (0, 1)]
    most_x, most_y = (each[-1] for each in ticks)
    wide, high = WIDTH - 2 * MARGIN, HEIGHT - 2 * MARGIN

    def at(x: float, y: float) -> tuple[float, float]:
        return MARGIN + wide * x / most_x, HEIGHT - MARGIN - high * y / most_y

    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*point) for point in sorted(points)))
    words = [(WIDTH / 2, MARGIN / 2, title), (WIDTH / 2, HEIGHT - 8, across), (MARGIN, MARGIN - 10, up)]
    words += [(at(x, 0)[0], HEIGHT - MARGIN + 18, f"{x:g}") for x in ticks[0]]
    words += [(MARGIN - 24, at(0, y)[1] + 4, f"{y:g}") for y in ticks[1]]
    texts = "".join(
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle">{escape(text)}</text>\n' for x, y, text in words
    )
    axes = f"M{MARGIN},{MARGIN} V{HEIGHT - MARGIN} H{WIDTH - MARGIN}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="12">\n<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>\n'
        f'<path d="{axes}" fill="none" stroke="black"/>\n'
        f'<polyline points="{line}" fill="none" stroke="#0b61a4" stroke-width="2"/>\n{texts}</svg>\n'
    )


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
        path.write_text(svg(title, across, up, points))
        print(f"written to {path.relative_to(DOCS.parent)}")


if __name__ == "__main__":
    main()
