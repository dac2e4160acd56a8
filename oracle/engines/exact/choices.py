"""Answers that are a choice: found and judged by the logits of the few ids that compete, and by no others.

Where one id alone may follow, nothing is computed: a choice among words that begin differently takes one pass over the
prompt. These are jobs of `batch.py`, whose reads may guess; no guess changes a bit.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from oracle.engines.answer_types import Choice, Contest, Verdict, verdict
from oracle.engines.base import TokenId
from oracle.engines.base import Verdict as Judgement
from oracle.engines.exact.batch import Read, Work
from oracle.engines.exact.lookup import Lookup
from oracle.engines.exact.model import Logits


@dataclass(frozen=True)
class Chosen:
    """An answer's tokens, its stop token included, and what it says."""

    tokens: list[TokenId]
    verdict: Verdict


def choosing(prompt: Sequence[int], choice: Choice, lookup: Lookup | None) -> Work[Chosen]:
    """The model's answer. prompt: ids. lookup: of the prompt; None for no guesses."""
    tokens: list[TokenId] = []
    contests: list[Contest] = []
    read, asked = 0, 0  # of the sequence's tokens those that were read; of the output's those before the first row
    guess, rows = list[int](), list[Logits]()  # what may come then; the logits after that, and after each guess
    while allowed := choice.allowed(tokens):
        token = allowed[0]
        if len(allowed) > 1:
            at = len(tokens) - asked
            if at >= len(rows) or tokens[asked:] != guess[:at]:
                if lookup is not None and rows:
                    tried = min(at, len(rows) - 1)
                    same = [one == two for one, two in zip(guess[:tried], tokens[asked:], strict=False)]
                    lookup.judged((*same, False).index(False), tried)
                fed = [*prompt, *tokens]
                guess = [] if lookup is None else list(lookup.guess())
                rows = list((yield Read(read, fed[read:], 1, guess)))
                read, asked, at = len(fed), len(tokens), 0
            contests.append(_contest(len(tokens), allowed, rows[at]))
            token = contests[-1].winner
        tokens.append(TokenId(token))
        if lookup is not None:
            lookup.add(token)
    index = choice.index(tokens)
    assert index is not None, "what competes is a row's or stops it"
    return Chosen(tokens, verdict(index, contests))


def judging(prompt: Sequence[int], choice: Choice, index: int, said: Verdict) -> Work[Judgement]:
    """Whether the model answers with row `index`, and so clearly; in one pass. said: what the answer's bytes say."""
    output = [*choice.rows[index], choice.stop]
    allowed = [choice.allowed(output[:step]) for step in range(len(output))]
    contested = [step for step, ids in enumerate(allowed) if len(ids) > 1]
    first, last = contested[0], contested[-1]
    logits = yield Read(0, [*prompt, *output[:last]], last - first + 1)
    contests = [_contest(step, allowed[step], logits[step - first]) for step in contested]
    for contest in contests:
        if contest.winner != output[contest.step]:
            reason = f"token {output[contest.step]} where the model gives {contest.winner}"
            return Judgement(False, contest.step, reason)
    right = verdict(index, contests)
    if said == right:
        return Judgement(True, None, "the choice is the model's, and its margin")
    return Judgement(False, _shown_at(said, right, contests), f"it says {_told(said)}; the model: {_told(right)}")


def _shown_at(said: Verdict, right: Verdict, contests: Sequence[Contest]) -> int:
    """The output token whose logits show a verdict wrong: the witness's, unless its lead is the margin; then another
    lead is less, or comes first."""
    witness = next((contest for contest in contests if contest.step == said.step), None)
    if witness is None or said.other == witness.winner or said.other not in witness.logits:
        return right.step
    return right.step if witness.lead(said.other) == said.margin else said.step


def _told(verdict: Verdict) -> str:
    return f"{verdict.margin / 65536:.5f} above token {verdict.other} before output token {verdict.step}"


def _contest(step: int, allowed: Sequence[int], row: Logits) -> Contest:
    """row: (vocabulary,)"""
    return Contest(step, {token: int(row[token]) for token in allowed})
