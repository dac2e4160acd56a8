"""Patterns by llama.cpp on a small random model: answered with one batch size and thread count, judged with others."""

import random
from dataclasses import replace
from itertools import cycle

import pytest
from exact.plain_patterns import allowed, any_table, digits_table, table_of, words_table
from rig import tiny_gguf
from rig.tiny_gguf import CONTEXT_LENGTH, END, TURN_END

from oracle.engines.answer_types import Malformed, Pattern, heading, pattern_type, type_of, typed_prompt
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
ANSWERS, CHANGED = 200, 20
"""Typed answers, and how many of them are changed."""
RECOVERED = 5
"""Of so many one is judged by its bytes alone, from which its tokens must be found."""
MACHINES = ((1, 512), (2, 1), (1, 7), (2, 32))
"""Threads and batch; each answer is judged by the next."""
MOST = 12
"""Tokens of an answer."""
LETTERS = table_of([(0, 0)], [[(ord("a"), ord("z"), 0)]])
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


def question(table: bytes, root: bytes, text: bytes = b"the answer") -> bytes:
    return typed_prompt(pattern_type(table, root), text_prompt(text))


def asked(prompt: bytes, **more) -> Params:
    return Params(MOST, answer_type=heading(prompt), **more)


def kind(prompt: bytes, root: bytes) -> Pattern | None:
    found = type_of(prompt, root, SIZE, (END, TURN_END), MOST)
    assert found is not None
    return found if isinstance(found, Pattern) else None


def posted(engine, tokens) -> Posted:
    return Posted(engine.detokenize(tokens), len(tokens), tokens_root(tokens))


def tried(machines, root, count):
    """Prompts, honest answers, and the engine that judges each."""
    rng, pairs = random.Random(7), cycle(zip(machines, machines[1:] + machines[:1], strict=True))
    while count:
        giver, judging = next(pairs)
        prompt = question(any_table(rng, giver._model.pieces), root, rng.randbytes(rng.randrange(1, 80)))
        if kind(prompt, root) is None:
            continue
        count -= 1
        warm = asked(prompt, temperature=rng.choice((0, 1 << 16)), seed=rng.randbytes(32))
        yield prompt, warm, giver.generate(giver.tokenize(prompt), warm), judging


def test_judge__two_hundred_honest_patterns_across_threads_and_batches__no_false_alarm(machines, root):
    lengths = []
    for number, (prompt, params, completion, judging) in enumerate(tried(machines, root, ANSWERS)):
        checked = judging.check(judging.tokenize(prompt), completion.tokens, params, completion.text)
        assert checked.correct, checked.reason
        if number % RECOVERED == 0:
            found = judge(judging, prompt, Posted(completion.text, len(completion.tokens), completion.root), params)
            assert found.correct, found.reason
            assert found.tokens == completion.tokens
        pattern = kind(prompt, root)
        able = allowed(pattern, judging._model.pieces, completion.tokens[:-1])
        assert completion.tokens[-1] == END
        assert END in able
        lengths.append(len(completion.tokens))
    assert sum(length > 3 for length in lengths) > ANSWERS // 4


def test_generate__small_batch__the_best_by_its_own_logits_of_what_the_pattern_allows(machines, root):
    """Token by token from the whole text each time; these batches give the same logits however a text is cut."""
    engine, rng = machines[1], random.Random(5)
    for table in (
        LETTERS,
        digits_table(4),
        words_table([b"yes", b"no", b"nothing"]),
        any_table(rng, engine._model.pieces),
    ):
        prompt = question(table, root)
        ids, pattern = engine.tokenize(prompt), kind(prompt, root)
        tokens = engine.generate(ids, asked(prompt)).tokens
        for step, token in enumerate(tokens):
            engine.forget()
            (logits,) = engine.read([*ids, *tokens[:step]], 1)
            able = allowed(pattern, engine._model.pieces, tokens[:step])
            assert token == max(able, key=lambda each: (logits[each], -each))


def test_judge__pattern_changed_in_one_token__is_wrong(machines, root):
    """Unless another token lies within tolerance."""
    changes, rng = dict.fromkeys(("not allowed", "allowed", "cut", "bytes"), 0), random.Random(3)
    for prompt, params, completion, judging in tried(machines, root, CHANGED):
        ids, pattern, tokens = judging.tokenize(prompt), kind(prompt, root), list(completion.tokens)
        step = rng.randrange(len(tokens))
        able = allowed(pattern, judging._model.pieces, tokens[:step])
        judging.forget()
        (logits,) = judging.read([*ids, *tokens[:step]], 1)
        best = max(logits[each] for each in able)
        outside = next(each for each in rng.sample(range(SIZE), SIZE) if each not in able)
        lies = {"not allowed": [*tokens[:step], TokenId(outside), END], "cut": tokens[:-1]}
        worse = [each for each in able if best - logits[each] > TOLERANCE]
        if worse:
            lies["allowed"] = [*tokens[:step], TokenId(rng.choice(worse)), END]
        for what, false in lies.items():
            found = judging.check(ids, false, params)
            assert not found.correct, what
            assert found.position == (len(false) if what == "cut" else step)
            changes[what] += 1
            if false and changes[what] % RECOVERED == 0:
                assert judge(judging, prompt, posted(judging, false), params).correct is False, what
        other_bytes = replace(posted(judging, tokens), text=completion.text + b"~")
        if changes["cut"] % RECOVERED == 0:
            assert judge(judging, prompt, other_bytes, params).correct is False
            changes["bytes"] += 1
    assert all(count >= CHANGED // RECOVERED for count in changes.values()), changes


def test_judge__another_spelling_within_tolerance__may_be_another_machine_s(tiny, root):
    """The search goes through tokens that the pattern allows."""
    giver, generous = machine(tiny, 1, 32), machine(tiny, 1, 32, 64 << 16)
    prompt = question(words_table([b"then"]), root)
    pieces = giver._model.pieces
    for spelling in ((b"th", b"en"), (b"t", b"h", b"en"), (b"th", b"e", b"n")):
        tokens = [*(TokenId(pieces.index(piece)) for piece in spelling), TokenId(END)]
        found = judge(generous, prompt, posted(giver, tokens), asked(prompt))
        assert found.correct
        assert found.tokens == tuple(tokens)
    outside = [TokenId(pieces.index(b"th")), TokenId(pieces.index(b"an")), TokenId(END)]
    assert judge(generous, prompt, posted(giver, outside), asked(prompt)).correct is False


def test_pattern__no_room_for_what_it_needs__is_malformed(machines, root):
    room = CONTEXT_LENGTH - 3 - 5
    for words, fits in ((room, True), (room + 3, True), (room + 4, False)):
        prompt = question(digits_table(4), root, b"~" * words)
        completion = machines[0].generate(machines[0].tokenize(prompt), asked(prompt))
        assert completion.text.isdigit() == fits
        assert completion.tokens[-1] == END
        posting = Posted(completion.text, len(completion.tokens), completion.root)
        assert judge(machines[1], prompt, posting, asked(prompt)).correct
    made = type_of(question(digits_table(4), bytes(32)), root, SIZE, (END,), MOST)
    assert isinstance(made, Malformed)


def test_pattern__temperature_and_cutoff__change_nothing(machines, root):
    prompt = question(LETTERS, root)
    warm, ids = asked(prompt, temperature=5 << 16, cutoff=1, seed=bytes(range(32))), machines[0].tokenize(prompt)
    completion = machines[0].generate(ids, warm)
    assert completion == machines[0].generate(ids, asked(prompt))
    assert machines[1].check(ids, completion.tokens, warm).correct


def test_worker__pattern__as_in_process(tiny, machines, root):
    path, manifest = tiny
    prompt = question(LETTERS, root)
    worker = WorkerEngine(llama_setup(manifest, path, TOLERANCE, LlamaSettings(threads=1)), Limits(job=60))
    try:
        completion = worker.generate(worker.tokenize(prompt), asked(prompt))
        assert completion.tokens == machines[0].generate(machines[0].tokenize(prompt), asked(prompt)).tokens
        posting = Posted(completion.text, len(completion.tokens), completion.root)
        assert judge(worker, prompt, posting, asked(prompt)).correct
    finally:
        worker.close()
