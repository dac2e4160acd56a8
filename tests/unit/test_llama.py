"""The llama.cpp engine on a small random model: real native code, no network.

Answers are generated with one batch size and thread count and checked with others.
"""

import hashlib
import os
import random
import signal
import subprocess
import sys
from dataclasses import replace

import gguf
import pytest
from rig import tiny_gguf
from rig.tiny_gguf import CONTEXT_LENGTH, END, START, TURN_END, USER

from oracle.engines.base import Params, TokenId
from oracle.engines.exact.device import Device
from oracle.engines.exact.engine import ExactEngine
from oracle.engines.exact.text_prompts import PromptKind, parts_prompt, text_prompt
from oracle.engines.llama import LlamaEngine
from oracle.engines.llama_settings import LlamaSettings, llama_setup
from oracle.engines.prompts import readable
from oracle.engines.worker import Limits, WorkerEngine
from oracle.errors import BadModelFile, EngineCrashed, PromptTooLong
from oracle.merkle.tokens import tokens_root
from oracle.models.files import ModelFile

TOLERANCE = 1 << 14  # a quarter of a logit: batches of 64 and more differ by half of that
GREEDY = Params(max_tokens=24)
SAMPLED = Params(max_tokens=24, temperature=1 << 16, seed=bytes(range(32)))
CUT = replace(SAMPLED, temperature=2 << 16, cutoff=3 << 16)
ALL_PARAMS = pytest.mark.parametrize("params", [GREEDY, SAMPLED, CUT], ids=["greedy", "sampled", "cut"])


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "tiny.gguf"
    return path, tiny_gguf.write(path)


def engine_of(tiny, batch=512, threads=1, tolerance=TOLERANCE):
    path, manifest = tiny
    settings = LlamaSettings(threads=threads, batch=batch)
    return LlamaEngine(ModelFile.of(manifest, path), manifest, tolerance, settings)


@pytest.fixture(scope="session")
def generator(tiny):
    return engine_of(tiny)


@pytest.fixture(scope="session", params=[(1, 1), (7, 1)], ids=["batch 1", "batch 7"])
def checker(tiny, request):
    return engine_of(tiny, *request.param)


def prompts(engine, count, seed=1):
    rng = random.Random(seed)
    return [engine.tokenize(rng.randbytes(rng.randrange(1, 40))) for _ in range(count)]


def seeded(params, number):
    return replace(params, seed=number.to_bytes(32, "big"))


def answers(engine, params, count=10):
    """(prompt, params, completion) of honest jobs."""
    jobs = [(prompt, seeded(params, n)) for n, prompt in enumerate(prompts(engine, count))]
    return [(prompt, own, engine.generate(prompt, own)) for prompt, own in jobs]


@ALL_PARAMS
def test_check__token_swapped__wrong_there(generator, checker, params):
    rng = random.Random(3)
    for prompt, own, completion in answers(generator, params):
        tokens = list(completion.tokens)
        position = rng.randrange(len(tokens))
        tokens[position] = TokenId(rng.choice([t for t in range(5, 261) if t != tokens[position]]))
        verdict = checker.check(prompt, tokens, own)
        assert (verdict.correct, verdict.position) == (False, position)


@ALL_PARAMS
def test_check__another_seed_prompt_or_temperature__wrong(generator, params):
    other = replace(params, temperature=params.temperature * 4 or 1 << 16, seed=bytes([7]) * 32)
    found = [
        (generator.check(prompt, completion.tokens, other), generator.check(prompt[::-1], completion.tokens, own))
        for prompt, own, completion in answers(generator, params)
        if len(completion.tokens) > 8
    ]
    assert len(found) > 5
    assert not any(verdict.correct for pair in found for verdict in pair)


def test_check__answer_of_another_quantization__nearly_all_are_wrong(generator, tmp_path):
    path = tmp_path / "other.gguf"
    other = engine_of((path, tiny_gguf.write(path, gguf.GGMLQuantizationType.Q4_0)))
    jobs = answers(other, SAMPLED, 20)
    assert sum(generator.check(prompt, c.tokens, own).correct for prompt, own, c in jobs) <= 2


def test_check__answer_of_another_model__wrong(generator, tmp_path):
    path = tmp_path / "other.gguf"
    other = engine_of((path, tiny_gguf.write(path, seed=2)))
    for prompt, own, completion in answers(other, SAMPLED):
        assert not generator.check(prompt, completion.tokens, own).correct


def long_answer(engine, params=SAMPLED):
    """An honest answer cut off by its token limit, so that no stop token was due."""
    return next(job for job in answers(engine, params) if len(job[2].tokens) == params.max_tokens)


def short_answer(engine, params=SAMPLED):
    """An honest answer that ends with a stop token of its own accord."""
    many = replace(params, max_tokens=150)
    return next(job for job in answers(engine, many, 40) if 1 < len(job[2].tokens) < 150)


@ALL_PARAMS
def test_check__truncated__wrong_after_its_last_token(generator, params):
    prompt, own, completion = long_answer(generator, params)
    for length in (0, 1, params.max_tokens - 1):
        verdict = generator.check(prompt, completion.tokens[:length], own)
        assert (verdict.correct, verdict.position) == (False, length)
        assert "without a stop token" in verdict.reason


@pytest.mark.parametrize("stop", [END, TURN_END])
def test_check__stopped_early__wrong_at_the_stop_token(generator, stop):
    prompt, own, completion = long_answer(generator)
    verdict = generator.check(prompt, [*completion.tokens[:5], TokenId(stop)], own)
    assert (verdict.correct, verdict.position) == (False, 5)


def test_check__too_long__wrong_at_the_first_token_too_many(generator):
    prompt, own, completion = long_answer(generator)
    verdict = generator.check(prompt, [*completion.tokens, TokenId(9)], own)
    assert (verdict.correct, verdict.position) == (False, len(completion.tokens))


def test_check__goes_on_after_a_stop_token__wrong_after_it(generator):
    prompt, own, completion = short_answer(generator)
    verdict = generator.check(prompt, [*completion.tokens, TokenId(9)], own)
    assert (verdict.correct, verdict.position) == (False, len(completion.tokens))
    assert "after a stop token" in verdict.reason


@pytest.mark.parametrize("token", [-1, 1 << 31, 100_000])
def test_check__no_such_token__wrong_there(generator, token):
    prompt, own, completion = long_answer(generator)
    verdict = generator.check(prompt, [*completion.tokens[:3], TokenId(token), *completion.tokens[4:]], own)
    assert (verdict.correct, verdict.position) == (False, 3)


def test_check__wrong_token_and_wrong_end__names_the_first(generator):
    prompt, own, completion = long_answer(generator)
    tokens = [TokenId(completion.tokens[0] ^ 1), *completion.tokens[1:-1]]
    assert generator.check(prompt, tokens, own).position == 0


@ALL_PARAMS
def test_check__honest_answer__correct_on_every_machine(generator, checker, params):
    for prompt, own, completion in answers(generator, params, 10):
        assert checker.check(prompt, completion.tokens, own).correct
    for prompt, own, completion in answers(checker, params, 2):
        assert generator.check(prompt, completion.tokens, own).correct


def test_generate__batches_below_64_on_one_cpu__same_logits(tiny):
    """What the default batch size rests on: then nothing is left to tolerate between like machines."""
    prompt = [TokenId(5 + i % 250) for i in range(150)]
    output = engine_of(tiny, 1).generate(prompt, SAMPLED).tokens
    for batch, threads in ((32, 1), (63, 1), (7, 2)):
        assert not any(engine_of(tiny, batch, threads).shortfalls(prompt, output, SAMPLED))


def test_recover__wrong_root__none(generator):
    prompt, own, completion = long_answer(generator)
    assert generator.recover(prompt, completion.text, len(completion.tokens), bytes(32), own) is None


def test_recover__wrong_count__none(generator):
    prompt, own, completion = long_answer(generator)
    root = tokens_root(completion.tokens)
    for count in (0, 1, len(completion.tokens) - 1, len(completion.tokens) + 1, 1 << 30):
        assert generator.recover(prompt, completion.text, count, root, own) is None


def test_recover__text_of_another_answer__none(generator):
    (prompt, own, one), (_, _, other) = answers(generator, SAMPLED, 2)
    assert generator.recover(prompt, other.text, len(one.tokens), tokens_root(one.tokens), own) is None


def test_recover__dishonest_but_usual_spelling__found_so_that_it_can_be_judged(generator):
    prompt, own, _ = long_answer(generator)
    lie = [*generator.tokenize(text_prompt(b"yes the thing"))[2:-1], TokenId(END)]
    found = generator.recover(prompt, b"yes the thing", len(lie), tokens_root(lie), own)
    assert found == lie
    assert not generator.check(prompt, found, own).correct


def test_recover__everything_within_tolerance__gives_up_in_bounded_time(tiny):
    engine = engine_of(tiny, tolerance=(1 << 32) - 1)
    prompt = engine.tokenize(b"hello")
    assert engine.recover(prompt, b" the the the the the", 12, bytes(32), GREEDY) is None


@ALL_PARAMS
def test_recover__honest_answer__found_whatever_its_spelling(generator, checker, params):
    unusual = 0
    for prompt, own, completion in answers(generator, params, 6):
        tokens = list(completion.tokens)
        assert checker.recover(prompt, completion.text, len(tokens), tokens_root(tokens), own) == tokens
        usual = generator.tokenize(text_prompt(completion.text))[2:-1]
        unusual += tokens[: len(usual)] != usual
    assert unusual > 0, "no answer needed the guided search"


def test_tokenize__longer_than_the_context__refused(generator):
    room = CONTEXT_LENGTH - 3 - 1  # wrapper, and one token to answer with
    assert len(generator.tokenize(text_prompt(b"~" * room))) == CONTEXT_LENGTH - 1
    for size in (room + 1, 1_000_000, 50_000_000):
        with pytest.raises(PromptTooLong):
            generator.tokenize(text_prompt(b"~" * size))


def test_tokenize__text_of_special_tokens__stays_text(generator):
    text = b"<|end|></s><s>"
    tokens = generator.tokenize(text_prompt(text))
    assert not {START, END, TURN_END, USER} & set(tokens[2:-1])
    assert generator.detokenize(tokens) == text


@pytest.mark.parametrize("text", [b"", b"\xff\xfe", b"a\x00b", "é\u202e\x1b[31m".encode(), b" the  thing "])
def test_tokenize__any_bytes__wrapped_and_spelled_back(generator, text):
    tokens = generator.tokenize(text_prompt(text))
    assert (tokens[:2], tokens[-1]) == ([START, USER], TURN_END)
    assert generator.detokenize(tokens) == readable(text)


ENVELOPES = {
    "nothing": (b"", []),
    "words": (b"\0~", [b"~"]),
    "another kind": (b"\x09~", [b"~"]),
    "ids, one of them of no token, and a rest": (b"\x01\0\0\x04\xff\xff\xff\0\0", [USER, b"?"]),
    "parts": (parts_prompt([(PromptKind.TEXT, b"\x01~"), (PromptKind.IDS, b"\0\0\x03")]), [b"\x01", b"~", TURN_END]),
    "a part that says it is longer": (b"\x02\0\0\0\x09~", [b"~"]),
    "a typed prompt that is cut short": (b"\x03~~", []),
    "a typed prompt": (b"\x03rootF\0\0\x01~\0@", [b"@"]),
    "typed again": (b"\x03rootF\0\0\0\x03@", [b"@"]),
}


@pytest.mark.parametrize("name", ENVELOPES)
def test_tokenize__envelope_of_any_kind__has_one_reading(generator, name):
    """As the exact engine reads it before the same panel."""
    prompt, said = ENVELOPES[name]
    read = generator.tokenize(prompt)
    assert (read[:2], read[-1]) == ([START, USER], TURN_END)
    for token, what in zip(read[2:-1], said, strict=True):
        assert what in (token, generator.detokenize([token]))


def test_tokenize__hostile_envelopes__as_the_exact_engine_and_at_most_a_token_a_byte(generator, tiny):
    path, manifest = tiny
    exact, random_ = ExactEngine(ModelFile.of(manifest, path), manifest, Device.named("cpu", 1)), random.Random(4)
    for _ in range(300):
        prompt = random_.choice([b"", b"\0", b"\x01", b"\x02", b"\x02\0\0\0", b"\x03", b"\x03rootF\0\0\0\x02\x01\0\0"])
        prompt += random_.randbytes(random_.randrange(40))
        read = generator.tokenize(prompt)
        assert read == exact.tokenize(prompt)
        assert len(read) <= len(prompt) + manifest.wrapper_tokens


def test_generate__context_nearly_full__fewer_tokens_than_asked_for(generator):
    prompt = generator.tokenize(text_prompt(b"~" * (CONTEXT_LENGTH - 3 - 5)))
    completion = generator.generate(prompt, replace(GREEDY, max_tokens=100))
    assert len(completion.tokens) == 5
    assert generator.check(prompt, completion.tokens, replace(GREEDY, max_tokens=100)).correct
    assert not generator.check(prompt, completion.tokens[:4], replace(GREEDY, max_tokens=100)).correct


@ALL_PARAMS
def test_generate__twice__same_answer(generator, params):
    prompt = generator.tokenize(b"hello")
    first = generator.generate(prompt, params)
    generator.generate(generator.tokenize(b"something else"), params)
    assert generator.generate(prompt, params) == first
    assert generator.detokenize(first.tokens) == first.text


def test_engine__other_file_than_the_manifest_names__refused(tiny, tmp_path):
    path, manifest = tiny
    copy = tmp_path / "copy.gguf"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    copy.write_bytes(data)
    with pytest.raises(BadModelFile, match="SHA-256"):
        engine_of((copy, manifest))
    copy.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BadModelFile, match="bytes"):
        engine_of((copy, manifest))


@pytest.mark.parametrize("how", ["edited", "truncated", "replaced", "removed"])
def test_engine__file_changes_after_loading__no_more_answers(tiny, tmp_path, how):
    path, manifest = tiny
    copy = tmp_path / "copy.gguf"
    copy.write_bytes(path.read_bytes())
    engine = engine_of((copy, manifest))
    prompt = engine.tokenize(b"hello")
    engine.generate(prompt, GREEDY)
    if how == "edited":
        with copy.open("r+b") as file:
            file.seek(300_000)
            file.write(b"x")
    elif how == "truncated":
        os.truncate(copy, 400_000)
    elif how == "removed":
        copy.unlink()
    else:
        other = tmp_path / "other.gguf"
        tiny_gguf.write(other, seed=2)
        other.replace(copy)
    with pytest.raises(BadModelFile):
        engine.generate(prompt, GREEDY)


def test_engine__same_file_copied_over_itself__hashed_again_and_served(tiny, tmp_path):
    path, manifest = tiny
    copy = tmp_path / "copy.gguf"
    copy.write_bytes(path.read_bytes())
    seen = []
    engine = LlamaEngine(
        ModelFile.of(manifest, copy), manifest, TOLERANCE, LlamaSettings(1), lambda *event: seen.append(event)
    )
    prompt = engine.tokenize(b"hello")
    first = engine.generate(prompt, GREEDY)
    again = tmp_path / "again.gguf"
    again.write_bytes(path.read_bytes())
    again.replace(copy)
    seen.clear()
    assert engine.generate(prompt, GREEDY) == first
    assert ("hash", manifest.file_bytes, manifest.file_bytes) in seen


def test_engine__wrapper_token_outside_the_vocabulary__refused(tiny):
    path, manifest = tiny
    with pytest.raises(BadModelFile, match="token 70000"):
        engine_of((path, replace(manifest, suffix_tokens=(70_000,))))


def test_engine__weights_that_are_not_numbers__refused(tmp_path):
    path = tmp_path / "nan.gguf"
    manifest = tiny_gguf.write(path, gguf.GGMLQuantizationType.F32)
    data = bytearray(path.read_bytes())
    data[-4:] = b"\x00\x00\xc0\x7f"
    path.write_bytes(data)
    digest = hashlib.sha256(data).digest()
    with pytest.raises(BadModelFile):
        engine_of((path, replace(manifest, file_sha256=digest)))


def test_engine__in_a_worker__same_answers_and_verdicts(tiny, generator):
    path, manifest = tiny
    seen = []
    setup = llama_setup(manifest, path, TOLERANCE, LlamaSettings(threads=1))
    worker = WorkerEngine(setup, on_progress=lambda what, done, total: seen.append(what))
    try:
        prompt = worker.tokenize(b"hello")
        assert prompt == generator.tokenize(b"hello")
        completion = worker.generate(prompt, SAMPLED)
        assert completion == generator.generate(prompt, SAMPLED)
        assert worker.check(prompt, completion.tokens, SAMPLED).correct
        assert not worker.check(prompt, completion.tokens[:-1], SAMPLED).correct
        count, root = len(completion.tokens), tokens_root(completion.tokens)
        assert worker.recover(prompt, completion.text, count, root, SAMPLED) == list(completion.tokens)
    finally:
        worker.close()
    assert {"hash", "load", "generate", "check"} <= set(seen)


def test_worker__killed_in_the_middle_of_an_answer__crash_reported_and_the_next_try_agrees(tiny, generator):
    path, manifest = tiny
    killed = []

    def kill_once(what, done, total):
        if what == "generate" and not killed:
            killed.append(worker.pid)
            os.killpg(worker.pid, signal.SIGKILL)

    setup = llama_setup(manifest, path, TOLERANCE, LlamaSettings(threads=1))
    worker = WorkerEngine(setup, Limits(first_pause=0), on_progress=kill_once)
    prompt, params = generator.tokenize(b"hello"), replace(SAMPLED, max_tokens=150)
    try:
        with pytest.raises(EngineCrashed, match="SIGKILL"):
            worker.generate(prompt, params)
        assert worker.generate(prompt, params) == generator.generate(prompt, params)
        assert worker.pid not in killed
    finally:
        worker.close()


def test_worker__crafted_file__refused_or_lost_but_the_node_lives(tiny, tmp_path):
    _, manifest = tiny
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(b"GGUF" + b"\xff" * 1000)
    named = replace(manifest, file_bytes=1004, file_sha256=hashlib.sha256(bad.read_bytes()).digest())
    worker = WorkerEngine(llama_setup(named, bad, TOLERANCE, LlamaSettings(threads=1)))
    with pytest.raises(BadModelFile):
        worker.start()
    assert worker.pid is None


def test_package__the_daemon_describes_a_worker__without_native_code():
    code = "import sys, oracle.engines.llama_settings; sys.exit('llama_cpp' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
