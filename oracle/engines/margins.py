"""How far a token's perturbed logit lies below the best, for engines whose logits carry rounding noise.

The exact engine picks a token and every other pick is wrong. Floating point gives each machine slightly different
logits, so re-execution asks instead whether a token could have been the best: whether its logit plus its sampling noise
lies within a tolerance of the best such sum. All of it is integer arithmetic on logits rounded to 16 fraction bits.

Of a choice (`answer_types.py`), margin and witness are held to the same tolerance.

In units of 2^-16 logits, with d(t) = best logit - logit of t and G the noise of `sampling`, 24 fraction bits:
    score(t) = (G(t) << 8) - d(t) * invT           # 32 fraction bits; `sampling` picks the largest
    shortfall(t) = floor((best score - score(t)) / invT)
The noise spans less than 2^5, so a token further than 2^5 / T below the best logit can never win: it needs no noise.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from oracle.engines.answer_types import MOST_MARGIN, Contest, Verdict
from oracle.engines.base import Params
from oracle.engines.sampling import inverse_temperature, noise

Logits = npt.NDArray[np.int64]
"""(V,), 16 fraction bits, each within +-2^31."""

LARGEST_LOGIT = (1 << 31) - 1
NOISE_SPAN = 1 << 5  # -ln(-ln u) of a 32-bit u lies in (-3.2, 22.9)
HOPELESS = np.iinfo(np.int64).max
"""The shortfall of a token too far below the best to matter."""


def fixed_point(row: npt.NDArray[np.float32]) -> Logits:
    """Logits rounded to 16 fraction bits, ties to even, and clipped to +-2^15. The caller refuses NaN."""
    scaled = np.rint(row.astype(np.float64) * 65536.0)  # exact: 24 significant bits times a power of two
    logits: Logits = np.clip(scaled, -LARGEST_LOGIT, LARGEST_LOGIT).astype(np.int64)
    return logits


def pick(logits: Logits, params: Params, position: int) -> int:
    """The token that sampling gives at output `position`: the lowest id among those of the largest score."""
    distance = logits.max() - logits
    if params.temperature == 0:
        return int(np.argmin(distance))
    tokens = np.flatnonzero(distance <= _contenders(params, 0))
    return int(tokens[np.argmax(_scores(distance, tokens, params, position))])


def shortfalls(
    logits: Logits, params: Params, position: int, tolerance: int, rivals_logits: Logits | None = None
) -> Logits:
    """(V,) non-negative, 16 fraction bits; HOPELESS where certainly not eligible or more than `tolerance`.

    rivals_logits: of the tokens that each is measured against, with the same largest one unless the temperature is 0;
    `logits` if it is None.
    A token at the edge of the cutoff is eligible on one machine and not on another: within `tolerance` of the edge it
    may be the answer, but no other token is measured against it. With a cutoff below the tolerance that is all of them.
    """
    result: Logits = np.full_like(logits, HOPELESS)
    if params.temperature == 0:
        best_logit = logits.max() if rivals_logits is None else rivals_logits.max()
        distance = np.maximum(best_logit - logits, 0)
        tokens = np.flatnonzero(distance <= tolerance)
        result[tokens] = distance[tokens]
        return result
    distance = logits.max() - logits
    inverse = inverse_temperature(params.temperature)
    rival_distance = distance if rivals_logits is None else rivals_logits.max() - rivals_logits
    rivals = np.flatnonzero(rival_distance <= _contenders(params, -tolerance))
    tokens = np.flatnonzero(distance <= _reach(params, tolerance))
    if not rivals.size:
        result[tokens] = 0
        return result
    best = int(_scores(rival_distance, rivals, params, position).max())
    raised = noise(params.seed, position, tokens) << 8
    short = np.maximum(distance[tokens] + (best - raised) // inverse, 0)
    within = short <= tolerance
    result[tokens[within]] = short[within]
    return result


def choice_fault(
    contests: Sequence[Contest], output: Sequence[int], said: Verdict, tolerance: int
) -> tuple[int, str] | None:
    """At which output token, and why, no machine within `tolerance` can have made a choice; None if one can.

    contests: all before `output`, by the logits of whoever judges. The tokens may lie below the best by the tolerance;
    the margin may be off by as much, and so may the lead over its witness.
    """
    leads: dict[tuple[int, int], int] = {}
    for contest in contests:
        token = output[contest.step]
        if contest.logits[contest.winner] - contest.logits[token] > tolerance:
            return contest.step, f"token {token} lies below the best by more than tolerated"
        for other in contest.logits.keys() - {token}:
            leads[contest.step, other] = min(max(0, contest.logits[token] - contest.logits[other]), MOST_MARGIN)
    margin, (step, _) = min((lead, where) for where, lead in leads.items())
    if abs(said.margin - margin) > tolerance:
        return step, f"the margin is {margin / 65536:.5f}, not {said.margin / 65536:.5f}, by more than tolerated"
    witness = leads.get((said.step, said.other))
    if witness is None:
        return step, f"token {said.other} does not compete before output token {said.step}"
    if abs(said.margin - witness) > tolerance:
        return said.step, f"token {said.other} lies {witness / 65536:.5f} below, not {said.margin / 65536:.5f}"
    return None


def _contenders(params: Params, edge: int) -> int:
    """The largest distance at which a token can win, with the cutoff moved by `edge`."""
    span = (NOISE_SPAN << 32) // inverse_temperature(params.temperature)
    return min(span, params.cutoff + edge) if params.cutoff else span


def _reach(params: Params, tolerance: int) -> int:
    """The largest distance at which a token can come within `tolerance` of winning."""
    span = (NOISE_SPAN << 32) // inverse_temperature(params.temperature) + tolerance
    return min(span, params.cutoff + tolerance) if params.cutoff else span


def _scores(distance: Logits, tokens: npt.NDArray[np.int64], params: Params, position: int) -> Logits:
    """(len(tokens),) with 32 fraction bits; below 2^38 for contenders."""
    raised = noise(params.seed, position, tokens) << 8
    return raised - distance[tokens] * inverse_temperature(params.temperature)
