"""Patterns by the exact engine: every answer is the plain version's, whatever the table, the batch and the guesses."""

import os
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from exact import random_model
from exact.plain_patterns import allowed, any_table, digits_table, plainly, table_of, words_table
from rig import tiny_gguf
from rig.tiny_gguf import CONTEXT_LENGTH, END, TURN_END

from oracle.engines.answer_types import (
    MOST_TEXT,
    Malformed,
    Pattern,
    choice_type,
    heading,
    pattern_type,
    type_of,
    typed_prompt,
)
from oracle.engines.base import GUEST, Job, Params, TokenId, as_job
from oracle.engines.exact.device import Device
from oracle.engines.exact.engine import ExactEngine
from oracle.engines.exact.model import Chunk, Reference
from oracle.engines.exact.text_prompts import text_prompt
from oracle.engines.exact.weights import load
from oracle.engines.exact.worker_setup import exact_setup
from oracle.engines.judging import Posted, judge
from oracle.engines.worker import WorkerEngine
from oracle.merkle.tokens import Tokens, prompt_bytes, unmarked
from oracle.models.download import file_sha256
from oracle.models.files import ModelFile
from oracle.models.manifest import Manifest
from oracle.node.guests import PIECE, Guests, Offer
from oracle.node.workshop import _answer

PROMPTS = int(os.environ.get("DIDYMA_TYPED", "300"))
SEED = int(os.environ.get("DIDYMA_SEED", "0"))
STOPS = (END, TURN_END)
GREEDY = Params(max_tokens=24)
QUESTION = text_prompt(b"the answer")
DIGITS, WORDS = digits_table(4), words_table([b"yes", b"no", b"nothing", b" the"])
LETTERS = table_of([(0, 0)], [[(ord("a"), ord("z"), 0)]])


def engine_of(path, manifest, **options):
    return ExactEngine(ModelFile.of(manifest, path), manifest, Device.named("cpu", 2), for_game=True, **options)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """The tiny one and one of another family, whose prompts are ids."""
    folder = tmp_path_factory.mktemp("models")
    tiny = folder / "tiny.gguf"
    manifest = tiny_gguf.write(tiny)
    other = random_model.write(folder / "other.gguf", random_model.Shape("qwen3", spare_tokens=7), 3)
    named = (other.name, file_sha256(other), other.stat().st_size, "", 64)
    return (tiny, manifest), (other, Manifest(*named, (1,), (5,), STOPS, 3))


@pytest.fixture(scope="module")
def engines(models):
    return [engine_of(*model) for model in models]


@pytest.fixture(scope="module")
def engine(engines):
    return engines[0]


def asked(engine, table, prompt=QUESTION, params=GREEDY):
    """Prompt, tokens and parameters as a node has them."""
    whole = typed_prompt(pattern_type(table, engine.vocabulary_root), prompt)
    return whole, engine.tokenize(whole), replace(params, answer_type=heading(whole))


def kind_of(engine, ids, params):
    limit = min(params.max_tokens, engine._manifest.context_length - len(ids))
    return type_of(params.answer_type, engine.vocabulary_root, engine._vocabulary, STOPS, limit)


def spelled(engine, tokens):
    return b"".join(engine._tokenizer.pieces[token] for token in tokens if token not in STOPS)


def posted(made):
    return Posted(made.text, len(made.tokens), made.root)


# THE SAME AS THE PLAIN VERSION


def test_engine__random_prompts_on_two_models__is_the_plain_version_and_never_outside_the_type(engines, models):
    """Sixteen at a time. A share of the answers is compared with the plain version, all with the pattern's table."""
    references, seen = [Reference(load(path)) for path, _ in models], dict.fromkeys(("malformed", "long", "short"), 0)

    def answered(number):
        rng = random.Random(SEED * 1_000_000 + number)
        engine = engines[number % 2]
        table = any_table(rng, engine._tokenizer.pieces)
        prompt = prompt_bytes([rng.randrange(engine._vocabulary) for _ in range(rng.randint(0, 40))])
        most = rng.choice((1, 2, 5, 12, 24, 24, 90))
        params = Params(most, rng.choice((0, 1 << 16)), rng.choice((0, 1)), seed=rng.randbytes(32))
        _, ids, params = asked(engine, table, prompt, params)
        made, kind = engine.generate(ids, params), kind_of(engine, ids, params)
        if isinstance(kind, Malformed):
            assert (made.tokens, made.text) == ((END,), b"")
        else:
            assert made.text == spelled(engine, made.tokens)
            assert (made.tokens[-1], END in made.tokens[:-1]) == (END, False)
            assert len(made.tokens) <= kind.limit
            for step, token in enumerate(made.tokens[:-1]):
                before = spelled(engine, made.tokens[:step])
                piece = engine._tokenizer.pieces[token]
                assert kind.allows(kind.walk(before), len(before), step, token, piece)
            if kind.need(kind.walk(made.text)):
                assert allowed(kind, engine._tokenizer.pieces, made.tokens[:-1]) == [END]
        lengths = [len(spelled(engine, [token])) for token in made.tokens]
        assert made.root == Tokens.spelled(ids, made.tokens, lengths).root
        assert engine.check(ids, made.tokens, params, made.text).correct
        assert engine.recover(ids, made.text, len(made.tokens), made.root, params) == list(made.tokens)
        return ids, kind, made.tokens

    with ThreadPoolExecutor(16) as threads:
        for number, (ids, kind, tokens) in enumerate(threads.map(answered, range(PROMPTS))):
            seen["malformed" if isinstance(kind, Malformed) else "long" if len(tokens) > 4 else "short"] += 1
            if isinstance(kind, Pattern) and (number < 60 or number % 50 == 0):
                pieces = engines[number % 2]._tokenizer.pieces
                assert list(tokens) == plainly(references[number % 2], unmarked(ids), kind, pieces)
    assert min(seen.values()) > PROMPTS // 50, seen


class Drawn:
    """A model whose logits are drawn from three values, by sequence alone."""

    def __init__(self, seed, size):
        self.seed, self.size = seed, size

    def cache(self, capacity):
        return SimpleNamespace(tokens=[])

    def run(self, chunks):
        (chunk,) = chunks
        found = []
        for token in chunk.tokens:
            chunk.cache.tokens.append(token)
            drawn = random.Random(str((self.seed, chunk.cache.tokens)))
            found.append([drawn.randrange(3) for _ in range(self.size)])
        return [np.array(found[-chunk.rows :], np.int32)]


def played(model, work, rng):
    """What a job comes to, of whose guesses any number are read."""
    cache, rows = model.cache(0), None
    while True:
        try:
            read = work.send(rows)
        except StopIteration as end:
            return end.value
        del cache.tokens[read.start :]
        guess = read.guess[: rng.randrange(len(read.guess) + 1)]
        (rows,) = model.run([Chunk([*read.tokens, *guess], cache, read.rows + len(guess))])


def test_generate__few_logits_and_many_ties__lowest_id_that_fits(engine, monkeypatch):
    """The engine's own model is replaced by one that hardly tells tokens apart."""
    pieces, tried = engine._tokenizer.pieces, 0
    for seed in range(40):
        rng, drawn = random.Random(seed), Drawn(seed, len(pieces))
        _, ids, params = asked(engine, any_table(rng, pieces), text_prompt(rng.randbytes(6)))
        kind = kind_of(engine, ids, params)
        if isinstance(kind, Malformed):
            continue
        expected = plainly(drawn, unmarked(ids), kind, pieces)
        work = engine._generating(unmarked(ids), engine._course(ids, params, kind), None, kind.limit)
        assert played(drawn, work, rng) == expected
        tried += 1
    assert tried > 20


@pytest.mark.parametrize("guesses", [True, False], ids=["guessing", "plain"])
def test_engine__any_mix_of_patterns_choices_and_texts__answers_of_each_alone(models, guesses):
    """Half begin alike, some wait for memory, some are guests', some ask again."""
    path, manifest = models[0]
    together = engine_of(path, manifest, cache_bytes=1 << 20, guesses=guesses)
    alone = engine_of(path, manifest, cache_bytes=0, guesses=False)
    rng, jobs = random.Random(11), []
    for number in range(48):
        prompt = prompt_bytes([*[9, 10, 11] * rng.randrange(14), 20 + number % 9])
        table = any_table(rng, together._tokenizer.pieces)
        _, ids, params = asked(together, table, prompt, Params(rng.choice((3, 24, 60)), rng.choice((0, 1 << 16))))
        choice = typed_prompt(choice_type([[9, 10], [11]], together.vocabulary_root), b"")
        heads = (params.answer_type, params.answer_type, b"", heading(choice))
        jobs.append((ids, replace(params, answer_type=rng.choice(heads))))
    jobs += jobs[:8]
    expected = [alone.generate(*job) for job in jobs]

    def generated(numbered):
        number, job = numbered
        with as_job(Job(number % 3, anew=number % 5 == 0)):
            return together.generate(*job)

    with ThreadPoolExecutor(32) as threads:
        assert list(threads.map(generated, enumerate(jobs))) == expected
        told = list(zip(jobs, expected, strict=True))
        checks = threads.map(lambda each: together.check(each[0][0], each[1].tokens, each[0][1], each[1].text), told)
        assert all(verdict.correct for verdict in checks)


def test_engine__guesses_that_the_pattern_does_not_allow__are_not_read(engine, models, monkeypatch):
    """The prompt repeats what the pattern forbids, and the answer repeats itself."""
    plain = engine_of(*models[0], guesses=False)
    passes, run = {"all": 0, "plain": 0}, engine._forward.run

    def counted(chunks):
        passes["all"] += 1
        return run(chunks)

    monkeypatch.setattr(engine._forward, "run", counted)
    tokens = 0
    for number in range(6):
        _, ids, params = asked(engine, LETTERS, prompt_bytes([4 + number] * 30), Params(60))
        made = engine.generate(ids, params)
        assert made == plain.generate(ids, params)
        tokens += len(made.tokens)
    assert passes["all"] < tokens


def test_engine__temperature_and_cutoff__change_nothing(engine):
    _, ids, params = asked(engine, LETTERS)
    sampled = replace(params, temperature=5 << 16, cutoff=1, seed=bytes(range(32)))
    assert engine.generate(ids, sampled) == engine.generate(ids, params)


def test_engine__in_pieces_as_for_guests__the_same_tokens(engine):
    for table in (LETTERS, DIGITS, WORDS):
        _, ids, params = asked(engine, table)
        whole, tokens = engine.generate(ids, params), []
        while not tokens or tokens[-1] != END:
            room = params.max_tokens - len(tokens)
            piece = min(3, room)
            with as_job(Job(GUEST)):
                asks = replace(params, max_tokens=piece, said=len(tokens), later=room - piece)
                made = engine.generate([*ids, *tokens], asks)
            assert 0 < len(made.tokens) <= piece
            tokens += made.tokens
        assert tuple(tokens) == whole.tokens


async def test_guests__pattern__comes_in_pieces_and_is_the_whole_answer(engine, models):
    class Workshop:
        async def beside(self, service, work):
            with as_job(Job(GUEST)):
                return work(engine)

    offer = Offer(SimpleNamespace(id=b"service"), models[0][1], for_game=True)
    for table in (LETTERS, DIGITS, table_of([(0, 9)], [[]])):
        _, ids, params = asked(engine, table)
        whole = engine.generate(ids, params)
        found = [each async for each in Guests(Workshop(), None, None).answer(offer, ids, params)]
        answer, pieces = found.pop(), found
        assert len(pieces) == -(-len(whole.tokens) // PIECE)
        assert b"".join(piece.text for piece in pieces) == answer.text == whole.text
        assert (answer.tokens, answer.root, answer.ended) == (whole.tokens, whole.root, True)


def test_engine__context_is_shorter_than_was_asked_for__answer_ends_within_it(engine):
    """What the context leaves bounds the pattern as `maxTokens` does."""
    for room, answers in ((1, False), (2, True), (5, True)):
        words = b"~" * (CONTEXT_LENGTH - 3 - room)
        _, ids, params = asked(engine, digits_table(9), text_prompt(words), Params(200))
        assert len(ids) + room == CONTEXT_LENGTH
        made = engine.generate(ids, params)
        assert bool(made.text) == answers
        assert len(made.tokens) <= room
        assert made.tokens[-1] == END
        assert engine.check(ids, made.tokens, params).correct


def test_engine__text_of_the_most_bytes__stops_there(engine, monkeypatch):
    """With a bound that a small context reaches."""
    monkeypatch.setattr("oracle.engines.masks.MOST_TEXT", 20)
    monkeypatch.setattr("oracle.engines.answer_types.MOST_TEXT", 20)
    assert MOST_TEXT == 8192
    _, ids, params = asked(engine, table_of([(0, 0), (1, 1)], [[(97, 122, 0)], []]), params=Params(90))
    kind = kind_of(engine, ids, params)
    made = engine.generate(ids, params)
    assert list(made.tokens) == plainly(engine._forward, unmarked(ids), kind, engine._tokenizer.pieces)
    assert len(made.text) <= 20
    long = [TokenId(engine._tokenizer.pieces.index(b"a"))] * 21
    assert engine.check(ids, [*long, END], params).position <= 20


def test_worker__pattern__as_the_engine_itself(engine, models):
    path, manifest = models[0]
    worker = WorkerEngine(exact_setup(manifest, path, 1, for_game=True))
    try:
        _, ids, params = asked(engine, WORDS)
        made = worker.generate(ids, params)
        assert made == engine.generate(ids, params)
        assert worker.check(ids, made.tokens, params, made.text).correct
        assert worker.recover(ids, made.text, len(made.tokens), made.root, params) == list(made.tokens)
        piece = replace(params, max_tokens=1, later=23)
        assert worker.generate(ids, piece).tokens == made.tokens[:1]
    finally:
        worker.close()


# LIES


def lie(engine, ids, tokens):
    lengths = [len(spelled(engine, [token])) for token in tokens]
    return Posted(spelled(engine, tokens), len(tokens), Tokens.spelled(ids, tokens, lengths).root)


@pytest.mark.parametrize("table", [DIGITS, WORDS, LETTERS], ids=["digits", "words", "letters"])
def test_check__any_other_tokens__are_wrong_at_the_first_that_differs(engine, table):
    """Whether the pattern allows them or not."""
    whole, ids, params = asked(engine, table, params=Params(9))
    made, kind = engine.generate(ids, params), kind_of(engine, ids, params)
    pieces, rng = engine._tokenizer.pieces, random.Random(2)
    for step in range(len(made.tokens)):
        able = set(allowed(kind, pieces, made.tokens[:step])) - {made.tokens[step]}
        others = [*rng.sample(sorted(able), min(2, len(able))), rng.randrange(len(pieces)), rng.randrange(len(pieces))]
        for other in {*others, END, TURN_END} - {made.tokens[step]}:
            for rest in ([], list(made.tokens[step + 1 :]), [END]):
                tokens = [*made.tokens[:step], TokenId(other), *rest]
                found = engine.check(ids, tokens, params)
                assert not found.correct
                assert found.position == step
            assert judge(engine, whole, lie(engine, ids, tokens), params).correct is False
    for tokens in ([], made.tokens[:-1], [*made.tokens, END], [*made.tokens, made.tokens[0]]):
        found = engine.check(ids, [*tokens], params)
        assert found.position == min(len(tokens), len(made.tokens))
        assert not found.correct


def test_judge__right_tokens_and_other_bytes__is_wrong(engine):
    whole, ids, params = asked(engine, DIGITS)
    made = engine.generate(ids, params)
    assert judge(engine, whole, posted(made), params).correct
    for text in (b"", made.text + b"0", made.text[:-1] + b"x"):
        assert judge(engine, whole, replace(posted(made), text=text), params).correct is False


# NODES


@pytest.mark.parametrize("reply_key", [None, bytes(32)], ids=["reply in clear", "reply sealed"])
def test_node__private_prompt_that_asks_for_a_pattern__answers_what_is_inside_the_seal(engine, reply_key):
    whole, ids, params = asked(engine, DIGITS)
    named = lambda prev_randao, prompt: replace(params, answer_type=heading(prompt))  # noqa: E731
    record = SimpleNamespace(request=SimpleNamespace(is_private=True, engine_params=named), prompt=b"\x03sealed")
    enclave = SimpleNamespace(
        opened=lambda record: SimpleNamespace(prompt=whole, reply_key=reply_key),
        sealed=lambda record, key, text: b"sealed " + text,
    )
    output = _answer(engine, SimpleNamespace(record=record, seed_block=SimpleNamespace(prev_randao=bytes(32))), enclave)
    said = engine.generate(ids, params)
    assert said.text.isdigit()
    assert output.token_count == len(said.tokens)
    sealed = (b"sealed " + said.text, bytes(32))
    assert (output.text, output.tokens_root) == ((said.text, said.root) if reply_key is None else sealed)
