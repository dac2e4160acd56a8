"""Pictures of measurements for the pages: a few lines between two axes."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

DOCS = Path(__file__).resolve().parent.parent / "docs"
WIDTH, HEIGHT, MARGIN = 720, 320, 56
TICKS = 5
"""At most, beside zero."""
COLOURS = ("#0b61a4", "#b35806")
"""Of lines, of which there are no more."""

Points = Sequence[tuple[float, float]]


def round_ticks(most: float) -> list[float]:
    """Multiples of the least 1, 2 or 5 times a power of ten, from zero to the first at or beyond `most`; a few."""
    power = 10.0 ** (math.floor(math.log10(most / TICKS)) if most > 0 else 0)
    step = next(step for step in (power, 2 * power, 5 * power, 10 * power) if TICKS * step >= most)
    return [step * count for count in range(max(math.ceil(most / step), 1) + 1)]


def svg(title: str, across: str, up: str, lines: Mapping[str, Points], least: float = 0) -> str:
    """Lines by name through points, both axes to a round number; from zero, but upwards from `least`."""
    every = [point for points in lines.values() for point in points]
    ticks = [round_ticks(max((point[i] for point in every), default=0) - low) for i, low in enumerate((0, least))]
    ticks[1] = [least + tick for tick in ticks[1]]
    most_x, most_y = (each[-1] for each in ticks)
    wide, high = WIDTH - 2 * MARGIN, HEIGHT - 2 * MARGIN

    def at(x: float, y: float) -> tuple[float, float]:
        return MARGIN + wide * x / most_x, HEIGHT - MARGIN - high * (y - least) / (most_y - least)

    words = [(WIDTH / 2, MARGIN / 2, title), (WIDTH / 2, HEIGHT - 8, across), (MARGIN, MARGIN - 10, up)]
    words += [(at(x, least)[0], HEIGHT - MARGIN + 18, f"{x:g}") for x in ticks[0]]
    words += [(MARGIN - 24, at(0, y)[1] + 4, f"{y:g}") for y in ticks[1]]
    drawn = ""
    for (name, points), colour in zip(lines.items(), COLOURS, strict=False):
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*point) for point in sorted(points)))
        drawn += f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>\n'
        if points:
            x, y = at(*max(points))
            words.append((x - 40, y - 8, name))
    texts = "".join(
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle">{escape(text)}</text>\n' for x, y, text in words
    )
    axes = f"M{MARGIN},{MARGIN} V{HEIGHT - MARGIN} H{WIDTH - MARGIN}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="12">\n<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>\n'
        f'<path d="{axes}" fill="none" stroke="black"/>\n'
        f"{drawn}{texts}</svg>\n"
    )
