"""What running a question again says about an answer."""

from dataclasses import dataclass
from typing import Any

import pytest
from rig.fake_engine import STOP, FakeEngine

from oracle.engines.base import Params, Verdict
from oracle.engines.judging import Finding, Posted, judge
from oracle.errors import BadModelFile, EngineCrashed, JobQuarantined
from oracle.merkle.tokens import tokens_root

PARAMS = Params(max_tokens=16)
PROMPT = b"is water wet?"


def posted(engine: FakeEngine) -> Posted:
    done = engine.generate(engine.tokenize(PROMPT), PARAMS)
    return Posted(done.text, len(done.tokens), done.root)


@dataclass
class Forgetful(FakeEngine):
    """Recovers tokens at a later try only; tells how often it was asked."""

    misses: int
    tries: int = 0

    def __post_init__(self) -> None:
        super().__init__()

    def recover(self, *about: Any) -> Any:
        self.tries += 1
        return None if self.tries <= self.misses else super().recover(*about)


class Raising(FakeEngine):
    """Raises in one of its methods."""

    def __init__(self, method: str, error: Exception) -> None:
        super().__init__()

        def strike(*_: object) -> None:
            raise error

        setattr(self, method, strike)


class Doubting(FakeEngine):
    """Finds another wrong token each time."""

    checks = 0

    def check(self, *about: Any) -> Verdict:
        self.checks += 1
        return Verdict(False, self.checks, "perhaps")


def test_judge__tokens_not_to_be_recovered__is_wrong_after_two_tries():
    engine = Forgetful(misses=2)
    finding = judge(engine, PROMPT, posted(engine), PARAMS)
    assert (finding.correct, finding.position, finding.tokens) == (False, None, None)
    assert engine.tries == 2


def test_judge__tokens_recovered_at_the_second_try__is_right():
    assert judge(Forgetful(misses=1), PROMPT, posted(FakeEngine()), PARAMS).correct


def test_judge__another_token__is_wrong_and_named():
    tokens = (*b"lies", STOP)
    finding = judge(FakeEngine(), PROMPT, Posted(b"lies", 5, tokens_root(tokens)), PARAMS)
    assert finding == Finding(False, "token 0: not the token that the fake engine gives", 0, tokens)


def test_judge__two_checks_disagree__cannot_tell():
    finding = judge(Doubting(), PROMPT, posted(FakeEngine()), PARAMS)
    assert finding.correct is None
    assert "two checks disagree" in finding.reason


@pytest.mark.parametrize("method", ["tokenize", "recover", "check"])
@pytest.mark.parametrize("error", [BadModelFile("changed"), JobQuarantined("crashed twice")])
def test_judge__engine_refuses__cannot_tell(method, error):
    finding = judge(Raising(method, error), PROMPT, posted(FakeEngine()), PARAMS)
    assert finding == Finding(None, f"{type(error).__name__}: {error}")


def test_judge__engine_crashes__is_to_be_tried_again():
    with pytest.raises(EngineCrashed):
        judge(Raising("check", EngineCrashed("killed")), PROMPT, posted(FakeEngine()), PARAMS)
