"""Choices: what may answer, how clearly, and how little is computed for it; all as a plain version says."""

import os
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from exact import random_model
from exact.plain_choices import any_rows, plainly
from rig import tiny_gguf
from rig.tiny_gguf import END, TURN_END

from oracle.engines.answer_types import MOST_MARGIN, Choice, Contest, Verdict, choice_type, heading, typed_prompt
from oracle.engines.base import Params, TokenId
from oracle.engines.exact.batch import alone
from oracle.engines.exact.choices import choosing, judging
from oracle.engines.exact.device import Device
from oracle.engines.exact.engine import ExactEngine
from oracle.engines.exact.lookup import Lookup
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
from oracle.node.workshop import _answer

PROMPTS = int(os.environ.get("DIDYMA_TYPED", "60"))
SEED = int(os.environ.get("DIDYMA_SEED", "0"))
STOPS = (END, TURN_END)
YES, NO, THE, A = (tiny_gguf.vocabulary()[0].index(word) for word in ("▁yes", "▁no", "▁the", "▁a"))
WORDS = ((YES,), (NO,), (THE, YES))
PREFIXES = ((YES,), (YES, NO), (YES, NO, THE))
GREEDY = Params(max_tokens=24)
QUESTION = text_prompt(b"the answer")


def engine_of(path, manifest, **options):
    return ExactEngine(ModelFile.of(manifest, path), manifest, Device.named("cpu", 2), for_game=True, **options)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """The tiny one and one of another family, whose prompts are ids."""
    folder = tmp_path_factory.mktemp("models")
    tiny = folder / "tiny.gguf"
    manifest = tiny_gguf.write(tiny)
    other = random_model.write(folder / "other.gguf", random_model.Shape("qwen3"), 3)
    named = (other.name, file_sha256(other), other.stat().st_size, "", 64)
    return (tiny, manifest), (other, Manifest(*named, (1,), (5,), STOPS, 3))


@pytest.fixture(scope="module")
def engines(models):
    return [engine_of(*model) for model in models]


@pytest.fixture(scope="module")
def engine(engines):
    return engines[0]


def asked(engine, rows, prompt=QUESTION, params=GREEDY):
    """Prompt, tokens and parameters as a node has them."""
    whole = typed_prompt(choice_type(rows, engine.vocabulary_root), prompt)
    return whole, engine.tokenize(whole), replace(params, answer_type=heading(whole))


# THE RULE


def test_contest__equal_logits__lowest_id_wins_over_the_lowest_other():
    contest = Contest(4, {9: 5, 7: 5, 8: 5, 2: 1})
    assert contest.winner == 7
    assert contest.closest == (0, 4, 8)


def test_contest__logits_as_far_apart_as_can_be__margin_is_the_most():
    assert Contest(0, {1: 2**40, 2: 0}).closest == (MOST_MARGIN, 0, 2)


def test_choosing__few_logits_and_many_ties__is_the_plain_version():
    """Logits are drawn from three values, by sequence alone."""

    class Drawn:
        def cache(self, capacity):
            return Sequence()

        def run(self, chunks):
            (chunk,) = chunks
            found = []
            for token in chunk.tokens:
                chunk.cache.tokens.append(token)
                drawn = random.Random(str((seed, chunk.cache.tokens)))
                found.append([drawn.randrange(3) for _ in range(20)])
            return [np.array(found[-chunk.rows :], np.int32)]

    class Sequence:
        def __init__(self):
            self.tokens = []

        def truncate(self, length):
            del self.tokens[length:]

    for seed in range(300):
        rng = random.Random(seed)
        rows = any_rows(rng, 20, (END,))
        choice, prompt = Choice(rows, END), [rng.randrange(20) for _ in range(rng.randint(1, 9))]
        output, verdict = plainly(Drawn(), prompt, rows, END)
        for lookup in (None, Lookup(prompt)):
            chosen = alone(Drawn(), choosing(prompt, choice, lookup), 64)
            assert (chosen.tokens, chosen.verdict) == (output, verdict)
        for index in range(len(rows)):
            for said in (verdict, replace(verdict, index=index)):
                if said.index == index:
                    found = alone(Drawn(), judging(prompt, choice, index, said), 64)
                    assert found.correct == (index == verdict.index)


# ENGINES


def test_engine__random_prompts_on_two_models__is_the_plain_version_and_never_outside_the_type(engines, models):
    """Sixteen at a time. A share of the answers is compared with the plain version, all with the choices."""
    references = [Reference(load(path)) for path, _ in models]

    def answered(number):
        rng = random.Random(SEED * 1_000_000 + number)
        engine, (_, manifest) = engines[number % 2], models[number % 2]
        rows = any_rows(rng, engine._vocabulary, STOPS)
        prompt = prompt_bytes([rng.randrange(engine._vocabulary) for _ in range(rng.randint(0, 40))])
        params = Params(24, rng.choice((0, 1 << 16)), rng.choice((0, 1)), seed=rng.randbytes(32))
        _, ids, params = asked(engine, rows, prompt, params)
        made = engine.generate(ids, params)
        said = Verdict.of(made.text)
        assert list(made.tokens) == [*rows[said.index], manifest.stop_tokens[0]]
        assert made.root == Tokens.spelled(ids, made.tokens, [0] * len(made.tokens)).root
        assert engine.check(ids, made.tokens, params, made.text).correct
        assert engine.recover(ids, made.text, len(made.tokens), made.root, params) == list(made.tokens)
        return ids, rows, made.tokens, said

    with ThreadPoolExecutor(16) as threads:
        for number, (ids, rows, tokens, said) in enumerate(threads.map(answered, range(PROMPTS))):
            if number < 40 or number % 50 == 0:
                expected = plainly(references[number % 2], unmarked(ids), rows, tokens[-1])
                assert (list(tokens), said) == expected


def test_engine__words_that_begin_differently__one_pass_over_the_prompt(engine, monkeypatch):
    read, run = [], engine._forward.run

    def counted(chunks):
        read.extend(len(chunk.tokens) for chunk in chunks)
        return run(chunks)

    monkeypatch.setattr(engine._forward, "run", counted)
    _, ids, params = asked(engine, WORDS, text_prompt(b"another one"))
    made = engine.generate(ids, params)
    assert read == [len(ids)]
    read.clear()
    assert engine.check(ids, made.tokens, params, made.text).correct
    assert sum(read) <= len(ids)


def test_engine__temperature_and_cutoff__change_nothing(engine):
    _, ids, params = asked(engine, PREFIXES)
    sampled = replace(params, temperature=5 << 16, cutoff=1, seed=bytes(range(32)))
    assert engine.generate(ids, sampled) == engine.generate(ids, params)


def test_engine__many_threads_typed_and_not__answers_of_each_alone(engine, models):
    plain = engine_of(*models[0], cache_bytes=0, guesses=False)
    rng = random.Random(7)
    jobs = []
    for number in range(32):
        prompt = prompt_bytes([*[9] * rng.randrange(30), 20 + number])
        _, ids, params = asked(engine, any_rows(rng, engine._vocabulary, STOPS), prompt)
        jobs.append((ids, params if number % 2 else replace(params, answer_type=b"")))
    expected = [plain.generate(*job) for job in jobs]
    with ThreadPoolExecutor(32) as threads:
        assert list(threads.map(lambda job: engine.generate(*job), jobs)) == expected
        told = list(zip(jobs, expected, strict=True))
        checks = threads.map(lambda each: engine.check(each[0][0], each[1].tokens, each[0][1], each[1].text), told)
        assert all(verdict.correct for verdict in checks)


def test_worker__typed_prompt__as_the_engine_itself(engine, models):
    path, manifest = models[0]
    worker = WorkerEngine(exact_setup(manifest, path, 1, for_game=True))
    try:
        _, ids, params = asked(engine, WORDS)
        made = worker.generate(ids, params)
        assert made == engine.generate(ids, params)
        assert worker.check(ids, made.tokens, params, made.text).correct
        assert not worker.check(ids, made.tokens, params).correct
        assert worker.recover(ids, made.text, len(made.tokens), made.root, params) == list(made.tokens)
    finally:
        worker.close()


# LIES


def lies(choice, tokens, said):
    """Verdicts that differ from a right one in one thing, and the output token that shows it."""
    yield replace(said, margin=said.margin + 1), said.step
    yield replace(said, margin=max(0, said.margin - 1) if said.margin else 7), said.step
    contested = [step for step in range(len(tokens)) if len(choice.allowed(tokens[:step])) > 1]
    for step in contested:
        for other in choice.allowed(tokens[:step]):
            if other != tokens[step] and (step, other) != (said.step, said.other):
                yield replace(said, step=step, other=other), step


@pytest.mark.parametrize("rows", [WORDS, PREFIXES, ((YES, NO, A), (YES, NO, THE), (YES, A, A), (NO, A))])
def test_check__verdict_differs_in_one_thing__is_wrong_where_it_shows(engine, rows):
    whole, ids, params = asked(engine, rows)
    made = engine.generate(ids, params)
    said, choice = Verdict.of(made.text), Choice(rows, END)
    found = list(lies(choice, list(made.tokens), said))
    assert len(found) > 2
    for lie, position in found:
        assert engine.check(ids, made.tokens, params, bytes(lie)).position == position, lie
        posted = Posted(bytes(lie), len(made.tokens), made.root)
        assert judge(engine, whole, posted, params).position == position
    posted = Posted(made.text, len(made.tokens), made.root)
    assert judge(engine, whole, posted, params).correct


def test_check__other_lead_is_less_than_the_one_shown__is_wrong_where_it_is(engine):
    """The margin is the difference at its witness, but not the least."""
    _, ids, params = asked(engine, WORDS)
    made = engine.generate(ids, params)
    said = Verdict.of(made.text)
    leads = {}
    (row,) = engine._forward.run([Chunk(unmarked(ids), engine._forward.cache(len(ids)), 1)])
    for other in {YES, NO, THE} - {made.tokens[0], said.other}:
        leads[other] = int(row[0][made.tokens[0]]) - int(row[0][other])
    for other, lead in leads.items():
        verdict = engine.check(ids, made.tokens, params, bytes(replace(said, margin=lead, other=other)))
        assert not verdict.correct
        assert verdict.position == said.step


def test_check__second_choice_at_margin_0__is_wrong(engine):
    whole, ids, params = asked(engine, WORDS)
    right = engine.generate(ids, params)
    for index in {0, 1, 2} - {Verdict.of(right.text).index}:
        tokens = [TokenId(token) for token in (*WORDS[index], END)]
        text = bytes(Verdict(index, 0, 0, right.tokens[0]))
        root = Tokens.spelled(ids, tokens, [0] * len(tokens)).root
        assert engine.recover(ids, text, len(tokens), root, params) == tokens
        assert judge(engine, whole, Posted(text, len(tokens), root), params).position == 0


def test_judge__bytes_that_do_not_say_the_tokens__is_wrong(engine):
    whole, ids, params = asked(engine, WORDS)
    made = engine.generate(ids, params)
    said = Verdict.of(made.text)
    others = (replace(said, index=index) for index in (3, (said.index + 1) % 3))
    for text in (b"", made.text[:-1], made.text + b"\0", *map(bytes, others)):
        assert not engine.check(ids, made.tokens, params, text).correct
        assert judge(engine, whole, Posted(text, len(made.tokens), made.root), params).correct is False
    spelled = Tokens.spelled(ids, made.tokens, [len(engine.detokenize([token])) for token in made.tokens]).root
    assert judge(engine, whole, Posted(made.text, len(made.tokens), spelled), params).correct is False


def test_check__tokens_that_are_no_choice__are_wrong_at_the_first(engine):
    _, ids, params = asked(engine, PREFIXES)
    made = engine.generate(ids, params)
    for output, position in (
        ([YES, TURN_END], 1),
        ([A, END], 0),
        ([YES], 1),
        ([], 0),
        ([YES, NO, END, END], 3),
        ([YES, NO, NO], 2),
    ):
        assert engine.check(ids, [TokenId(token) for token in output], params, made.text).position == position


# TYPES THAT NOTHING ANSWERS


def hostile(engine):
    """Headings of typed prompts."""
    whole = typed_prompt(choice_type(WORDS, engine.vocabulary_root), b"")
    yield from (whole[:length] for length in range(1, len(whole)))
    beyond = engine._vocabulary
    for rows in (((YES,),), ((YES,), (YES,)), ((YES,), (END,)), ((YES,), (TURN_END, NO)), ((YES,), (beyond,))):
        yield typed_prompt(choice_type(rows, engine.vocabulary_root), b"")
    yield typed_prompt(choice_type(WORDS, bytes(32)), b"")


def test_engine__malformed_type__one_answer_that_says_nothing(engine):
    for which in hostile(engine):
        ids, params = engine.tokenize(which), replace(GREEDY, answer_type=heading(which))
        made = engine.generate(ids, params)
        assert (made.tokens, made.text) == ((END,), b"")
        assert engine.check(ids, made.tokens, params, made.text).correct
        assert engine.recover(ids, b"", 1, made.root, params) == [END]
        assert engine.recover(ids, b"yes", 1, made.root, params) is None
        lies = (((TURN_END,), b""), ((END,), b"\0"), ((END, END), b""), ((), b""), ((YES, END), bytes(10)))
        for tokens, text in lies:
            assert engine.check(ids, tokens, params, text).position == 0


@pytest.mark.parametrize(("most", "fits"), [(4, True), (3, False), (1, False)])
def test_engine__longest_choice_and_max_tokens__fits_or_is_malformed(engine, most, fits):
    _, ids, params = asked(engine, PREFIXES)
    made = engine.generate(ids, replace(params, max_tokens=most))
    assert (made.tokens != (END,)) == fits


def test_engine__longest_choice_and_the_context__fits_or_is_malformed(engine):
    room = engine._manifest.context_length - engine._manifest.wrapper_tokens
    for left, fits in ((3, False), (4, True)):
        _, ids, params = asked(engine, PREFIXES, prompt_bytes([9] * (room - left)))
        made = engine.generate(ids, params)
        assert (made.tokens != (END,)) == fits
        assert engine.check(ids, made.tokens, params, made.text).correct


# NODES


@pytest.mark.parametrize("reply_key", [None, bytes(32)], ids=["reply in clear", "reply sealed"])
def test_node__private_prompt_that_is_typed__answers_what_is_inside_the_seal(engine, reply_key):
    whole, ids, params = asked(engine, WORDS)
    named = lambda prev_randao, prompt: replace(params, answer_type=heading(prompt))  # noqa: E731
    record = SimpleNamespace(request=SimpleNamespace(is_private=True, engine_params=named), prompt=b"\x03sealed")
    enclave = SimpleNamespace(
        opened=lambda record: SimpleNamespace(prompt=whole, reply_key=reply_key),
        sealed=lambda record, key, text: b"sealed " + text,
    )
    output = _answer(engine, SimpleNamespace(record=record, seed_block=SimpleNamespace(prev_randao=bytes(32))), enclave)
    said = engine.generate(ids, params)
    assert output.token_count == len(said.tokens)
    if reply_key is None:
        assert (output.text, output.tokens_root) == (said.text, said.root)
    else:
        assert (output.text, output.tokens_root) == (b"sealed " + said.text, bytes(32))
