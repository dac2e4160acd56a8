"""What can be said of a typed answer before its model is run, whichever engine serves it.

Of a choice, which tokens its bytes say; of a pattern, which token it does not allow.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from oracle.engines.answer_types import Choice, Malformed, Verdict
from oracle.engines.base import TokenId
from oracle.engines.base import Verdict as Judgement
from oracle.engines.masks import Course


@dataclass(frozen=True)
class Chosen:
    """An answer whose logits decide whether it is right."""

    choice: Choice
    said: Verdict
    """Its index is the row that its tokens are."""


def tokens_said(kind: Choice | Malformed, first_stop: int, text: bytes) -> list[TokenId]:
    """The only tokens whose answer may say `text`, the stop token included; none if none may."""
    if isinstance(kind, Malformed):
        return [] if text else [TokenId(first_stop)]
    said = Verdict.of(text)
    if said is None or said.index >= len(kind.rows):
        return []
    return [TokenId(token) for token in (*kind.rows[said.index], kind.stop)]


def judged_shape(
    kind: Choice | Malformed, first_stop: int, output: Sequence[TokenId], text: bytes
) -> Judgement | Chosen:
    """Whether an answer is right or wrong, as far as its form says it.

    output: token ids. text: what the answer says.
    """
    if isinstance(kind, Malformed):
        if [*output] == [first_stop] and not text:
            return Judgement(True, None, f"nothing answers a malformed type: {kind.reason}")
        return Judgement(False, 0, f"a malformed type is answered: {kind.reason}")
    index, said = kind.index(output), Verdict.of(text)
    if index is None:
        steps = (step for step, token in enumerate(output) if token not in kind.allowed(output[:step]))
        return Judgement(False, next(steps, len(output)), "the tokens are none of the choices, then the stop token")
    if said is None or said.index != index:
        return Judgement(False, 0, f"its bytes do not say choice {index}, which its tokens are")
    return Chosen(kind, said)


def judged_course(course: Course, output: Sequence[TokenId]) -> Judgement:
    """Whether a pattern allows an output; if not, the first token that it does not. course: before any token."""
    for position, token in enumerate(output):
        if course.ended:
            return Judgement(False, position, "goes on after its stop token")
        if not course.allows(token):
            return Judgement(False, position, f"the pattern does not allow token {token}")
        course = course.then(token)
    if not course.ended:
        return Judgement(False, len(output), "ends without its stop token")
    return Judgement(True, None, "the pattern allows it")
