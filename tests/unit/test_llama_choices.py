"""Choices by llama.cpp on a small random model: answered with one batch size and thread count, judged with others."""

import random
from dataclasses import replace
from itertools import cycle

import pytest
from rig import tiny_gguf
from rig.tiny_gguf import CONTEXT_LENGTH, END, TURN_END

from oracle.engines.answer_types import MOST_MARGIN, Choice, Verdict, choice_type, heading, type_of, typed_prompt
from oracle.engines.base import Params, TokenId
from oracle.engines.exact.text_prompts import text_prompt
from oracle.engines.exact.vocabulary import entries_of, vocabulary_tree
from oracle.engines.judging import Posted, judge
from oracle.engines.llama import LlamaEngine
from oracle.engines.llama_settings import LlamaSettings, llama_setup
from oracle.engines.worker import Limits, WorkerEngine
from oracle.merkle.tokens import tokens_root
from oracle.models.files import ModelFile
from oracle.models.gguf import read

TOLERANCE = 1 << 14  # a quarter of a logit: batches of 64 and more differ by half of that
ANSWERS, CHANGED = 200, 40
"""Typed answers, and how many of them are changed."""
MACHINES = ((1, 512), (2, 1), (1, 7), (2, 32))
"""Threads and batch; each answer is judged by the next."""
SIZE = len(tiny_gguf.vocabulary()[0])


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "tiny.gguf"
    return path, tiny_gguf.write(path)


def machine(tiny, threads, batch, tolerance=TOLERANCE):
    path, manifest = tiny
    return LlamaEngine(ModelFile.of(manifest, path), manifest, tolerance, LlamaSettings(threads=threads, batch=batch))


@pytest.fixture(scope="module")
def machines(tiny):
    return [machine(tiny, *settings) for settings in MACHINES]


@pytest.fixture(scope="module")
def root(tiny):
    return vocabulary_tree(entries_of(read(tiny[0]))).root


def rows(rng: random.Random) -> list[list[int]]:
    """Of any choice: long and short rows, many that begin alike, some that begin others."""
    made: list[list[int]] = []
    while len(made) < rng.randrange(2, 17):
        begin = rng.choice(made)[: rng.randrange(4)] if made and rng.random() < 0.6 else []
        row = [*begin, *(rng.randrange(5, SIZE) for _ in range(rng.randrange(0 if begin else 1, 5)))]
        if row and row not in made:
            made.append(row)
    return made


def question(rng: random.Random, root: bytes) -> bytes:
    return typed_prompt(choice_type(rows(rng), root), text_prompt(rng.randbytes(rng.randrange(1, 80))))


def asked(prompt: bytes, **more) -> Params:
    return Params(24, answer_type=heading(prompt), **more)


def kind(prompt: bytes, root: bytes) -> Choice:
    found = type_of(prompt, root, SIZE, (END, TURN_END), 24)
    assert isinstance(found, Choice)
    return found


def posted(completion) -> Posted:
    return Posted(completion.text, len(completion.tokens), completion.root)


def lie(choice: Choice, said: Verdict) -> Posted:
    tokens = (*choice.rows[said.index], choice.stop)
    return Posted(bytes(said), len(tokens), tokens_root(tokens))


def tried(machines, root, count):
    """Honest answers, with the engine that gave each and the one that judges it."""
    rng, pairs = random.Random(7), cycle(zip(machines, machines[1:] + machines[:1], strict=True))
    for _ in range(count):
        giver, judging = next(pairs)
        prompt = question(rng, root)
        yield prompt, giver.generate(giver.tokenize(prompt), asked(prompt)), judging


def test_judge__two_hundred_honest_choices_across_threads_and_batches__no_false_alarm(machines, root):
    for prompt, completion, judging in tried(machines, root, ANSWERS):
        choice, said = kind(prompt, root), Verdict.of(completion.text)
        assert choice.index(completion.tokens) == said.index
        found = judge(judging, prompt, posted(completion), asked(prompt))
        assert found.correct, found.reason
        assert found.tokens == completion.tokens


def test_judge__choice_changed_in_one_place__is_wrong(machines, root):
    """Unless the change stays within tolerance: the second choice at a small margin, or a like margin."""
    changes = dict.fromkeys(("index", "margin", "step", "other", "tokens"), 0)
    for prompt, completion, judging in tried(machines, root, CHANGED):
        choice, said, params = kind(prompt, root), Verdict.of(completion.text), asked(prompt)
        others = {
            "margin": lie(choice, replace(said, margin=said.margin + TOLERANCE * 2)),
            "step": lie(choice, replace(said, step=len(completion.tokens))),
            "other": lie(choice, replace(said, other=completion.tokens[said.step])),
            "tokens": replace(posted(completion), tokens_root=tokens_root([*completion.tokens[:-1], 9])),
        }
        if said.margin > TOLERANCE * 2:
            others["index"] = lie(choice, replace(said, index=(said.index + 1) % len(choice.rows)))
        for what, false in others.items():
            assert judge(judging, prompt, false, params).correct is False, what
            changes[what] += 1
    assert all(count >= 10 for count in changes.values()), changes


def test_judge__second_choice_at_a_margin_within_tolerance__may_be_another_machine_s(tiny, root):
    """With a margin that is about zero, as that machine's is."""
    giver, generous = machine(tiny, 1, 512), machine(tiny, 1, 512, MOST_MARGIN)
    prompt = question(random.Random(3), root)
    choice, said = kind(prompt, root), Verdict.of(giver.generate(giver.tokenize(prompt), asked(prompt)).text)
    second = (said.index + 1) % len(choice.rows)
    own, better = ((*choice.rows[index], END) for index in (second, said.index))
    step = next(at for at in range(len(own)) if own[at] != better[at])
    claim = Verdict(second, 0, step, better[step])
    assert judge(generous, prompt, lie(choice, claim), asked(prompt)).correct
    assert judge(giver, prompt, lie(choice, claim), asked(prompt)).correct is False


@pytest.mark.parametrize("text", [b"", b"yes", bytes(9), bytes(11), bytes([255, *bytes(9)])])
def test_judge__what_is_no_verdict_of_the_type__is_wrong(machines, root, text):
    prompt = question(random.Random(3), root)
    assert judge(machines[0], prompt, Posted(text, 2, tokens_root([9, END])), asked(prompt)).correct is False


@pytest.mark.parametrize("made", ["another root", "cut", "too long"])
def test_malformed_type__one_answer__and_no_other_is_right(machines, root, made):
    engine = machines[0]
    prompt = typed_prompt(
        choice_type([[9, 10], [11]], bytes(32) if made == "another root" else root), text_prompt(b"?")
    )
    prompt = prompt[:12] if made == "cut" else prompt
    params = replace(asked(prompt), max_tokens=2 if made == "too long" else 24)
    ids = engine.tokenize(prompt)
    completion = engine.generate(ids, params)
    assert (completion.tokens, completion.text) == ((END,), b"")
    assert judge(engine, prompt, posted(completion), params).correct
    for other in ([TURN_END], [11, END], [9, 10, END]):
        false = Posted(b"", len(other), tokens_root(other))
        assert judge(engine, prompt, false, params).correct is False
        assert engine.check(ids, [TokenId(token) for token in other], params, b"").correct is False


def test_choice__temperature_and_cutoff__change_nothing(machines, root):
    prompt = question(random.Random(5), root)
    warm = asked(prompt, temperature=5 << 16, cutoff=1, seed=bytes(range(32)))
    ids = machines[0].tokenize(prompt)
    assert machines[0].generate(ids, warm) == machines[0].generate(ids, asked(prompt))


def test_choice__answer_that_does_not_fit_the_context__is_malformed(machines, root):
    made = choice_type([[9], [10, 11, 12, 13]], root)
    room = CONTEXT_LENGTH - 3 - 5
    for words, fits in ((room, True), (room + 1, False)):
        prompt = typed_prompt(made, text_prompt(b"~" * words))
        completion = machines[0].generate(machines[0].tokenize(prompt), asked(prompt))
        assert (Verdict.of(completion.text) is not None) == fits


def test_worker__choice__as_in_process(tiny, machines, root):
    path, manifest = tiny
    prompt = question(random.Random(9), root)
    worker = WorkerEngine(llama_setup(manifest, path, TOLERANCE, LlamaSettings(threads=1)), Limits(job=60))
    try:
        completion = worker.generate(worker.tokenize(prompt), asked(prompt))
        assert completion.tokens == machines[0].generate(machines[0].tokenize(prompt), asked(prompt)).tokens
        assert judge(worker, prompt, posted(completion), asked(prompt)).correct
    finally:
        worker.close()
