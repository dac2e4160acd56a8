"""The exact engine as nodes use it: answers, checks by equality, recovery, and the start-up test."""

import random
from dataclasses import replace
from types import SimpleNamespace

import gguf
import numpy as np
import pytest
from exact import random_model
from rig import tiny_gguf
from rig.tiny_gguf import CONTEXT_LENGTH, END, TURN_END

from oracle.chain.services import PanelTerms
from oracle.cli.dev import SHIPPED_MODEL
from oracle.client import devnet
from oracle.engines.base import Params, TokenId
from oracle.engines.exact import engine as engine_module
from oracle.engines.exact import self_test
from oracle.engines.exact.cpu import CpuForward
from oracle.engines.exact.device import Device
from oracle.engines.exact.engine import ExactEngine
from oracle.engines.exact.model import Chunk, Reference
from oracle.engines.exact.text_prompts import text_prompt
from oracle.engines.exact.worker_setup import exact_setup
from oracle.engines.margins import pick
from oracle.engines.prompts import longest_prompt
from oracle.engines.worker import WorkerEngine
from oracle.engines.worker_pool import WorkerPool
from oracle.errors import BadModelFile, NotServed, PromptTooLong, WrongNumbers
from oracle.merkle.tokens import marked, prompt_bytes, tokens_root, unmarked
from oracle.models.download import file_sha256
from oracle.models.files import ModelFile
from oracle.models.manifest import Manifest
from oracle.models.store import ModelStore
from oracle.node.engines import llama_engines
from oracle.node.settings import Settings
from oracle.node.workshop import _answer, _judge

GREEDY = Params(max_tokens=24)
SAMPLED = Params(max_tokens=24, temperature=1 << 16, seed=bytes(range(32)))
CUT = replace(SAMPLED, temperature=2 << 16, cutoff=3 << 16)
ALL_PARAMS = pytest.mark.parametrize("params", [GREEDY, SAMPLED, CUT], ids=["greedy", "sampled", "cut"])
PROMPT = text_prompt(b"the answer is in here")
REPLACEMENT = tiny_gguf.vocabulary()[0].index("?")
PANEL, GAME = "0xaa", "0xbb"


def manifest_for(path):
    return Manifest(*(path.name, file_sha256(path), path.stat().st_size, "", 64), (1,), (5,), (2,), 3)


def plays(arbiter):
    return arbiter == GAME


def service_of(manifest, arbiter, tolerance):
    terms = SimpleNamespace(model=manifest.model_id, turn_seconds=60, window_seconds=60, arbiter=arbiter)
    return SimpleNamespace(terms=terms, panel=PanelTerms(1, 1, 1, 1, 1, 3, tolerance))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "tiny.gguf"
    return path, tiny_gguf.write(path)


@pytest.fixture(scope="module")
def engine(tiny):
    path, manifest = tiny
    return ExactEngine(ModelFile.of(manifest, path), manifest, Device.named("cpu", 2))


# WHAT IS REFUSED


def test_engine__device_that_computes_otherwise__is_refused(tiny):
    """One wrong bit of one logit."""

    class Flawed(CpuForward):
        def run(self, chunks):
            results = super().run(chunks)
            results[-1][-1, -1] ^= 1
            return results

    path, manifest = tiny
    device = replace(Device.named("cpu", 1), forward=lambda weights: Flawed(weights, 1))
    with pytest.raises(WrongNumbers, match="known-answer test"):
        ExactEngine(ModelFile.of(manifest, path), manifest, device)


def test_worker__device_that_computes_otherwise__says_so_to_its_parent(tiny, tmp_path):
    path, manifest = tiny
    (tmp_path / "flawed.py").write_text(
        "from oracle.engines.exact import engine, self_test\nself_test.KNOWN['llama'] = '00'\nload = engine.load\n"
    )
    setup = replace(exact_setup(manifest, path, 1), factory="flawed:load", python_path=(tmp_path,))
    worker = WorkerEngine(setup)
    with pytest.raises(WrongNumbers):
        worker.start()
    assert worker.pid is None


def test_engine__file_of_another_manifest__is_refused(tiny):
    path, manifest = tiny
    other = replace(manifest, file_sha256=bytes(31) + b"\x01")
    with pytest.raises(BadModelFile, match="SHA-256"):
        ExactEngine(ModelFile.of(other, path), other, Device.named("cpu", 1))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"prefix_tokens": (99_999,)}, "wrapper names token 99999"),
        ({"stop_tokens": (100_000,)}, "stop names token 100000"),
        ({"replacement_token": 377}, "replacement names token 377, the file has 377"),
        ({"context_length": 4096}, "context of 4096"),
    ],
)
def test_engine__manifest_that_does_not_fit_the_file__is_refused(tiny, change, word):
    path, manifest = tiny
    other = replace(manifest, **change)
    with pytest.raises(BadModelFile, match=word):
        ExactEngine(ModelFile.of(other, path), other, Device.named("cpu", 1))


def test_tokenize__longer_than_the_context__is_refused(engine):
    for prompt in (b"x" * CONTEXT_LENGTH, b"x" * 100_000):
        with pytest.raises(PromptTooLong):
            engine.tokenize(prompt)


# ANSWERS


@ALL_PARAMS
def test_generate__any_params__is_what_reference_and_sampling_say(engine, tiny, params):
    weights = engine_module.load_weights(tiny[0])
    reference = Reference(weights)
    cache = reference.cache(CONTEXT_LENGTH)
    fed, expected = engine.tokenize(PROMPT), []
    while True:
        (logits,) = reference.run([Chunk(fed, cache, 1)])
        expected.append(pick(logits[0].astype(np.int64), params, len(expected)))
        if expected[-1] in (END, TURN_END) or len(expected) == params.max_tokens:
            break
        fed = expected[-1:]
    completion = engine.generate(engine.tokenize(PROMPT), params)
    assert list(completion.tokens) == expected
    assert completion.text == engine.detokenize(completion.tokens)


@ALL_PARAMS
def test_check__honest_answers__are_correct(engine, params, monkeypatch):
    monkeypatch.setattr(engine_module, "JUDGED_TOGETHER", 5)
    for prompt in prompts(engine, 8):
        assert engine.check(prompt, engine.generate(prompt, params).tokens, params).correct


@ALL_PARAMS
def test_check__one_token_changed__names_the_place(engine, params):
    rng = random.Random(3)
    for prompt in prompts(engine, 8):
        tokens = list(engine.generate(prompt, params).tokens)
        place = rng.randrange(len(tokens))
        tokens[place] = TokenId((tokens[place] + 1 + rng.randrange(300)) % 350)
        verdict = engine.check(prompt, tokens, params)
        assert not verdict.correct
        assert verdict.position == place


def test_check__cut_or_drawn_out__is_wrong(engine):
    prompt = engine.tokenize(PROMPT)
    tokens = engine.generate(prompt, GREEDY).tokens
    assert tokens[-1] not in (END, TURN_END), "this prompt is to run to its limit"
    assert engine.check(prompt, tokens[:-1], GREEDY).position == len(tokens) - 1
    assert engine.check(prompt, (), GREEDY).position == 0
    assert engine.check(prompt, (*tokens, tokens[-1]), GREEDY).position == len(tokens)
    assert engine.check(prompt, (*tokens[:-1], TokenId(1 << 20)), GREEDY).position == len(tokens) - 1


@ALL_PARAMS
def test_recover__honest_text__gives_the_tokens(engine, params):
    for prompt in prompts(engine, 8):
        completion = engine.generate(prompt, params)
        root, count = tokens_root(completion.tokens), len(completion.tokens)
        assert engine.recover(prompt, completion.text, count, root, params) == list(completion.tokens)
        assert engine.recover(prompt, completion.text, count, bytes(32), params) is None
        assert engine.recover(prompt, completion.text + b"!", count, root, params) is None
        assert engine.recover(prompt, completion.text, 10_000, root, params) is None


def test_recover__usual_tokens_the_model_would_not_give__are_found(engine):
    prompt = engine.tokenize(PROMPT)
    tokens = [*engine._tokenizer.encode(b"something else"), END]
    assert engine.recover(prompt, b"something else", len(tokens), tokens_root(tokens), GREEDY) == tokens
    assert not engine.check(prompt, tokens, GREEDY).correct


@pytest.mark.parametrize("kind", [gguf.GGMLQuantizationType.Q4_0, gguf.GGMLQuantizationType.F16])
def test_worker__other_tensor_types__answers_and_checks(tmp_path, kind):
    manifest = tiny_gguf.write(tmp_path / "tiny.gguf", kind)
    worker = WorkerEngine(exact_setup(manifest, tmp_path / "tiny.gguf", 2))
    try:
        prompt = worker.tokenize(PROMPT)
        completion = worker.generate(prompt, SAMPLED)
        assert worker.check(prompt, completion.tokens, SAMPLED).correct
    finally:
        worker.close()


# THE START-UP TEST AND THE CHOICE OF ENGINE


@pytest.mark.parametrize("family", self_test.KNOWN)
def test_known_answer__by_the_reference__is_the_one_recorded(family):
    assert self_test.digest(Reference(self_test.model(family))) == self_test.KNOWN[family]


@pytest.mark.parametrize(
    ("arbiter", "tolerance", "module", "for_game"),
    [(PANEL, 0, "exact.engine", False), (PANEL, 1, "llama", None), (GAME, 1, "exact.engine", True)],
)
def test_factory__by_arbiter_and_tolerance__picks_the_engine(
    tiny, tmp_path, monkeypatch, arbiter, tolerance, module, for_game
):
    path, manifest = tiny
    store = SimpleNamespace(manifest=lambda model: manifest, file=lambda manifest: SimpleNamespace(path=path))
    monkeypatch.setattr("oracle.node.engines.ModelStore", lambda folder: store)
    settings = Settings(rpc_urls=["http://127.0.0.1:1"], deployment=tmp_path / "d.json", services=["0x" + "ab" * 32])
    pool = llama_engines(settings, plays)(service_of(manifest, arbiter, tolerance))
    assert isinstance(pool, WorkerPool)
    assert [worker.setup.factory for worker in pool.workers] == [f"oracle.engines.{module}:load"]
    assert [worker.setup.arguments.get("for_game") for worker in pool.workers] == [for_game]


def test_weigh__in_a_worker_and_here__says_the_same_and_llama_cpp_refuses(tmp_path):
    manifest = devnet.add_model(tmp_path / "models", SHIPPED_MODEL)
    settings = Settings(
        rpc_urls=["http://127.0.0.1:1"],
        deployment=tmp_path / "d.json",
        services=["0x" + "ab" * 32],
        models=tmp_path / "models",
        threads=1,
    )
    here = ExactEngine(ModelStore(tmp_path / "models").file(manifest), manifest, Device.named("cpu", 1), for_game=True)
    there = llama_engines(settings, plays)(service_of(manifest, GAME, 0))
    other = llama_engines(settings, plays)(service_of(manifest, PANEL, 65536))
    try:
        prompt = here.tokenize(text_prompt(b"The soup was cold."))
        output = here.generate(prompt, Params(6)).tokens
        told = there.weigh(prompt, output, 3)
        assert told == here.weigh(prompt, output, 3)
        assert [weighed.text for weighed in told] == [here.detokenize([token]) for token in output]
        assert all(weighed.log_probability == weighed.likeliest[0][1] for weighed in told), "greedy: the likeliest"
        assert all(len(weighed.likeliest) == 3 for weighed in told)
        with pytest.raises(NotServed, match="no log-probabilities"):
            other.weigh(other.tokenize(text_prompt(b"x")), output, 3)
    finally:
        there.close()
        other.close()


@pytest.mark.parametrize(
    ("arbiter", "tolerance"), [(PANEL, 0), (PANEL, 65536), (GAME, 0)], ids=["exact", "panel", "game"]
)
def test_service__in_each_mode__shipped_model_answers_and_watchers_judge(tmp_path, arbiter, tolerance):
    """The node's own steps, with engines in workers: a watcher accepts the answer and no other."""
    manifest = devnet.add_model(tmp_path / "models", SHIPPED_MODEL)
    settings = Settings(
        rpc_urls=["http://127.0.0.1:1"],
        deployment=tmp_path / "d.json",
        services=["0x" + "ab" * 32],
        models=tmp_path / "models",
        threads=1,
    )
    service = service_of(manifest, arbiter, tolerance)
    node, watcher = (llama_engines(settings, plays)(service) for _ in range(2))
    params = Params(24, 1 << 16, seed=bytes(range(32)))
    request = SimpleNamespace(is_private=False, engine_params=lambda prev_randao, prompt: params)
    prompt, other = text_prompt(b"The soup was cold."), text_prompt(b"x")
    record = SimpleNamespace(request=request, prompt=prompt)
    block = SimpleNamespace(prev_randao=bytes(range(32)))

    def judged(output):
        answer = SimpleNamespace(token_count=output.token_count, tokens_root=output.tokens_root)
        posted = SimpleNamespace(answer=answer, output=output.text)
        return _judge(watcher, SimpleNamespace(record=record, posted=posted, seed_block=block)).correct

    try:
        output = _answer(node, SimpleNamespace(record=record, seed_block=block))
        assert judged(output)
        lie = unmarked(watcher.tokenize(other))
        assert not judged(replace(output, text=b"x", token_count=len(lie), tokens_root=tokens_root(lie)))
    finally:
        node.close()
        watcher.close()


IDS_AND_MARKS = {
    "ids": (prompt_bytes([4, 5]), [marked(4, 3, begins=False), marked(5, 6, begins=False)]),
    "a rest": (b"\x01ab", []),
    "beyond and a rest": (
        b"\x01\xff\xff\xff\0\0\x04\0",
        [marked(REPLACEMENT, 3, begins=False), marked(4, 6, begins=False)],
    ),
    "the first beyond": (b"\x01\0\x01\x79", [marked(REPLACEMENT, 3, begins=False)]),
    "a byte that no token spells": (b"\0\xff", [marked(5 + 255, 1, begins=False)]),
    "another kind": (b"x\xff", [marked(5 + 255, 1, begins=False)]),
    "parts": (
        b"\x02\0\0\0\x01\xff\x01\0\0\x03\0\0\x04",
        [marked(5 + 255, 1, begins=False), marked(4, 4, begins=False)],
    ),
}


@pytest.mark.parametrize(("prompt", "read"), IDS_AND_MARKS.values(), ids=IDS_AND_MARKS)
def test_tokenize__for_the_game__reads_any_bytes_with_their_marks(tiny, prompt, read):
    path, manifest = tiny
    engine = ExactEngine(ModelFile.of(manifest, path), manifest, Device.named("cpu", 1), for_game=True)
    assert engine.tokenize(prompt) == [*manifest.prefix_tokens, *read, *manifest.suffix_tokens]


def test_tokenize__for_the_game__vocabulary_that_reads_no_text__reads_ids_whatever_the_kind(tmp_path):
    path = random_model.write(tmp_path / "ids.gguf", random_model.Shape())
    manifest = manifest_for(path)
    engine = ExactEngine(ModelFile.of(manifest, path), manifest, Device.named("cpu", 1), for_game=True)
    for kind in (b"\0", b"\x01", b"\x02", b"x"):
        assert engine.tokenize(kind + b"\0\0\x09\xff\xff\xff\x07") == [1, 9, 3, 5]


def test_generate_and_check__for_the_game__root_commits_to_the_marks(tiny):
    path, manifest = tiny
    engine = ExactEngine(ModelFile.of(manifest, path), manifest, Device.named("cpu", 1), for_game=True)
    asked = engine.tokenize(b"\0the answer")
    assert any(token >> 32 for token in asked)
    made = engine.generate(asked, GREEDY)
    assert engine.check(asked, made.tokens, GREEDY).correct
    assert engine.recover(asked, made.text, len(made.tokens), made.root, GREEDY) == list(made.tokens)
    plain = unmarked(asked)
    assert engine.generate(plain, GREEDY).tokens == made.tokens
    assert engine.recover(plain, made.text, len(made.tokens), made.root, GREEDY) is None


@pytest.mark.parametrize("for_game", [False, True], ids=["panel", "game"])
def test_longest_prompt__that_arbiters_take__leaves_room_for_one_token(tiny, for_game):
    """Of bytes that are a token each; one more does not fit. Answers then end with the context."""
    path, manifest = tiny
    engine = ExactEngine(ModelFile.of(manifest, path), manifest, Device.named("cpu", 1), for_game=for_game)
    longest = b"\xff" * longest_prompt(manifest)
    asked = engine.tokenize(longest)
    assert len(asked) == CONTEXT_LENGTH - 2  # one is kept for the space that other vocabularies add
    completion = engine.generate(asked, Params(8))
    assert len(completion.tokens) <= CONTEXT_LENGTH - len(asked)
    assert engine.check(asked, completion.tokens, Params(8)).correct
    with pytest.raises(PromptTooLong):
        engine.tokenize(longest + b"\xff\xff")


@pytest.mark.parametrize("wrapper", [(), (5,)], ids=["none", "prefix"])
@pytest.mark.parametrize(("for_game", "prompt"), [(True, b"\x01"), (True, b"\0"), (True, b""), (False, b"")])
def test_nothing_left__of_prompt_and_wrapper__reads_as_the_replacement_token(tiny, wrapper, for_game, prompt):
    path, manifest = tiny
    bare = replace(manifest, prefix_tokens=wrapper, suffix_tokens=())
    engine = ExactEngine(ModelFile.of(bare, path), bare, Device.named("cpu", 1), for_game=for_game)
    asked = engine.tokenize(prompt)
    assert asked == list(wrapper or (REPLACEMENT,))
    assert engine.check(asked, engine.generate(asked, Params(2)).tokens, Params(2)).correct


def test_output__full__ends_with_the_token_that_fills_it(tiny, monkeypatch):
    """The referee counts to the same number: `test_readings.py`."""
    path, manifest = tiny
    unending = replace(manifest, stop_tokens=(0,))
    engine = ExactEngine(ModelFile.of(unending, path), unending, Device.named("cpu", 1))
    asked, params = engine.tokenize(PROMPT), Params(40)
    long = engine.generate(asked, params)
    assert len(long.tokens) == 40
    full = len(engine.detokenize(long.tokens[:12]))
    for module in ("oracle.engines.base", "oracle.engines.exact.engine"):
        monkeypatch.setattr(f"{module}.FULL_OUTPUT_BYTES", full)
    short = engine.generate(asked, params)
    assert short.tokens == long.tokens[: len(short.tokens)]
    assert len(short.text) == full
    assert engine.check(asked, short.tokens, params).correct
    assert engine.recover(asked, short.text, len(short.tokens), short.root, params) == list(short.tokens)
    assert engine.check(asked, short.tokens[:-1], params).reason == "ends without a stop token"
    assert "fill an output" in engine.check(asked, [*short.tokens, long.tokens[len(short.tokens)]], params).reason


def prompts(engine, count, seed=1):
    rng = random.Random(seed)
    return [engine.tokenize(rng.randbytes(rng.randrange(1, 40))) for _ in range(count)]
