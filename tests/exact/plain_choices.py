"""Choices as their format says and no cleverer, and rows to choose from."""

from oracle.engines.answer_types import Verdict
from oracle.engines.exact.model import Chunk


def plainly(forward, prompt, rows, stop):
    """Tokens and verdict, as the format says and no cleverer: every step reads everything, and looks at every row."""
    output, leads = [], []
    whole = [(*row, stop) for row in rows]
    while tuple(output) not in whole:
        (logits,) = forward.run([Chunk([*prompt, *output], forward.cache(len(prompt) + len(output)), 1)])
        able = {row[len(output)] for row in whole if list(row[: len(output)]) == output}
        best = max(able, key=lambda token: (logits[0][token], -token))
        leads += [(int(logits[0][best]) - int(logits[0][each]), len(output), each) for each in able - {best}]
        output.append(best)
    return output, Verdict(whole.index(tuple(output)), *min(leads))


def any_rows(rng, size, stops):
    """Rows with every kind of beginning in common. size: of the vocabulary. stops: tokens that no row holds."""
    known = [token for token in range(size) if token not in stops]
    ids = rng.sample(known, 3)
    rows = set()
    while len(rows) < rng.choice((2, 2, 3, 5, 16)):
        length = rng.choice((1, 1, 2, 3, 16))
        rows.add(tuple(rng.choice(ids) if rng.random() < 0.9 else rng.choice(known) for _ in range(length)))
    return tuple(rng.sample(sorted(rows), len(rows)))
