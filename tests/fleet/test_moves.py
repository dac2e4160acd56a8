"""What a node says about answers in dispute games, whatever the workers of its fleet tell of their tokens."""

import time
from types import SimpleNamespace

import pytest
from exact.random_model import Shape
from exact.random_store import store_of

from oracle.chain.services import GameTerms
from oracle.disputes.game import Game, Move, Stage
from oracle.disputes.inputs import ModelInputs
from oracle.disputes.passes import Pass, Tracer
from oracle.engines.base import Completion, Params, Verdict, the_job
from oracle.engines.exact.device import Device
from oracle.engines.exact.engine import ExactEngine
from oracle.errors import EngineCrashed, FleetUnavailable, JobCancelled, JobQuarantined, PromptTooLong
from oracle.ids import CaseId, ModelId, RequestId
from oracle.merkle.tokens import Tokens, prompt_bytes
from oracle.node.games.moves import Matter, Moves

PROMPT = prompt_bytes([9, 4, 11, 7])
PARAMS = Params(max_tokens=5)
TERMS = GameTerms(1, 1, 600, 40, 6, queue_seconds=90, ceiling_percent=200)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return store_of(tmp_path_factory.mktemp("models"), Shape(layers=1))


@pytest.fixture(scope="module")
def exact(store):
    (manifest,) = store.manifests()
    return ExactEngine(store.file(manifest), manifest, Device.named("cpu", 1), for_game=True)


class Fleet:
    """A fleet that computes, and says what it likes; nobody traces there."""

    def __init__(self, exact, **lies):
        self._exact, self._lies = exact, lies

    def __getattr__(self, name):
        return self._lies.get(name, getattr(self._exact, name))

    def tracers(self, _of):
        return []

    def traced(self, worker, question, limit_seconds):
        raise EngineCrashed("nobody traces")


def tokens_of(exact, output):
    prompt = exact.tokenize(PROMPT)
    return Tokens.spelled(prompt, output, [len(exact.detokenize([token])) for token in output])


@pytest.fixture(scope="module")
def right(exact):
    """The answer's tokens."""
    return tokens_of(exact, exact.generate(exact.tokenize(PROMPT), PARAMS).tokens)


def matter(store, exact, engine, tokens):
    (manifest,) = store.manifests()
    answer = SimpleNamespace(hash=b"a" * 32, tokens_root=tokens.root, token_count=len(tokens.output), words=("answer",))
    request = SimpleNamespace(engine_params=lambda *_: PARAMS, max_tokens=PARAMS.max_tokens, words=("request",))
    return Matter(
        SimpleNamespace(id=RequestId(7), prompt=PROMPT, request=request),
        SimpleNamespace(answer=answer, output=exact.detokenize(tokens.output), operator="0x1"),
        ModelId(manifest.model_id),
        engine,
        bytes(32),
        b"",
        {},
        TERMS,
    )


def to_open(tokens):
    """A game in which the node must show the roots of a pass."""
    positions = len(tokens.prompt) + 2
    turn = (Stage.STEPS, 0, positions, 0, 0, 0, 0, 0, 600, 600, True)
    return Game("0x2", 1, 1, CaseId(bytes(32)), bytes(32), *turn)


@pytest.fixture
def moves(store, exact, monkeypatch):
    """Whose engine of its own is in this process."""
    made = Moves(store, 1)
    monkeypatch.setattr(made, "_own_engine", lambda _matter: exact, raising=False)
    return made


def opening(store, tokens):
    (manifest,) = store.manifests()
    path = store.file(manifest).path
    return Move("open", (Pass(ModelInputs(path), Tracer(path, 1), tokens, len(tokens.prompt) + 2).roots,))


def refuses(error):
    def refuse(*_args, **_options):
        raise error

    return refuse


def withheld(*_args, **_options):
    while the_job().wanted():
        time.sleep(0.02)
    raise JobCancelled("nobody wants it any more")


def others(exact):
    """Of the right form, and as many."""
    return lambda prompt, text, count, root, params: [token + 7 for token in range(count)]


LIES = {
    "other tokens": lambda exact: {"recover": others(exact)},
    "none": lambda exact: {
        "recover": lambda *_: None,
        "generate": lambda prompt, params: Completion((9,) * params.max_tokens, b"", bytes(32)),
    },
    "tokens beyond the vocabulary": lambda exact: {"recover": lambda prompt, text, count, *_: [1 << 31] * count},
    "garbage": lambda exact: {"recover": refuses(JobQuarantined("this job crashed two workers"))},
    "a refusal": lambda exact: {"recover": refuses(PromptTooLong("no"))},
    "no database": lambda exact: {"recover": refuses(FleetUnavailable("away"))},
    "nothing": lambda exact: {"recover": withheld, "generate": withheld},
    "another prompt": lambda exact: {"tokenize": lambda prompt: exact.tokenize(PROMPT)[:-1]},
    "other lengths": lambda exact: {"detokenize": lambda tokens: b"x" * 9},
}


@pytest.mark.parametrize("lies", LIES.values(), ids=LIES)
def test_defence__fleet_tells_the_answer_s_tokens_wrongly_or_not_at_all__node_finds_them(
    store, exact, moves, right, lies
):
    """The answer commits to them, so nobody needs to be believed."""
    lying = Fleet(exact, **lies(exact))
    since = time.monotonic()
    assert moves.in_game(matter(store, exact, lying, right), to_open(right)) == opening(store, right)
    assert time.monotonic() - since < TERMS.first_move_seconds


def test_defence__no_worker_lives__an_engine_of_the_node_s_own_finds_the_tokens(store, exact, fleet, right):
    """As after a restart of a node whose workers are all gone."""
    moves = Moves(store, 1)
    about = matter(store, exact, fleet(), right)
    assert moves.in_game(about, to_open(right)) == opening(store, right)
    (engine,) = moves._engines.values()
    assert engine.pid is not None
    moves.forget([])
    deadline = time.monotonic() + 10
    while engine.pid is not None:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def wrong(exact, right):
    """With another second token than the model's."""
    first, second, *_ = right.output
    return tokens_of(exact, (first, second + 1, *right.output[2:]))


def telling(exact, tokens, position):
    """A fleet that tells an answer's tokens, and says that one of them is wrong."""
    told = {"recover": lambda *_: list(tokens.output), "check": lambda *_: Verdict(False, position, "wrong")}
    return Fleet(exact, **told)


def test_challenge__fleet_says_that_a_right_token_is_wrong__none_is_made(store, exact, moves, right):
    assert moves.against(matter(store, exact, telling(exact, right, 1), right)) is None


@pytest.mark.parametrize("says", [0, 1, 5])
def test_challenge__fleet_names_a_token_that_is_right_or_none__names_the_wrong_one(store, exact, moves, wrong, says):
    move = moves.against(matter(store, exact, telling(exact, wrong, says), wrong))
    assert move.function == "challenge"
    assert move.arguments[-1] == len(wrong.prompt) + 1


def test_challenge__fleet_has_no_word_of_a_wrong_answer__is_made(store, exact, moves, wrong):
    for check in (refuses(JobQuarantined("this job crashed two workers")), withheld):
        lying = Fleet(exact, recover=lambda *_: list(wrong.output), check=check)
        assert moves.against(matter(store, exact, lying, wrong)).arguments[-1] == len(wrong.prompt) + 1
