"""The question that a loaded model answers before it is believed: what it finds, and that healthy engines pass."""

from dataclasses import replace

import gguf
import numpy as np
import pytest
from rig import tiny_gguf
from rig.fake_engine import KNOWN_QUESTION

from oracle.client.devnet import read_description
from oracle.engines import llama, proof
from oracle.engines.base import Params, TokenId
from oracle.engines.exact import engine as exact_engine
from oracle.engines.exact.device import Device
from oracle.engines.exact.engine import ExactEngine
from oracle.engines.llama import LlamaEngine
from oracle.engines.llama_settings import LlamaSettings
from oracle.errors import BadModelFile, ProofFailed
from oracle.models.files import ModelFile
from oracle.models.shipped import SHIPPED_MODEL, KnownAnswer, known_answer

VOCABULARY, CONTEXT = 50, 64
KNOWN = KnownAnswer((1, 2, 3), (4, 5))


class Model:
    """Logits that are a function of what was read, by one path or by two."""

    def __init__(self, **faults):
        self.faults, self.seen, self.passes = faults, [], 0

    def forget(self):
        self.seen = []
        self.passes += 1

    def read(self, tokens, rows):
        self.seen += tokens
        found = [self.after(self.seen[: len(self.seen) - rows + index + 1]) for index in range(rows)]
        if "dies" in self.faults and len(self.seen) == self.faults["dies"]:
            raise BadModelFile("the model computes values that are not numbers")
        return found

    def after(self, read):
        logits = np.random.default_rng(read).integers(0, 1 << 20, VOCABULARY)
        if "same" in self.faults:
            logits[:] = 7
        if "known" in self.faults and len(read) >= 3:
            logits[self.faults["known"][len(read) - 3]] = 1 << 21
        if self.passes == 2 and len(read) == self.faults.get("off at"):
            logits[int(logits.argmin())] = int(logits.max()) + self.faults["by"]
        return logits


def proven(model, known=None, slack=0, context=CONTEXT):
    return proof.prove(model, VOCABULARY, context, known, slack, lambda *event: None)


@pytest.mark.parametrize("slack", [None, 0, 1 << 14])
def test_prove__model_that_computes_the_same_twice__passes(slack):
    assert "one at a time and in one pass" in proven(Model(), slack=slack)


@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_prove__one_pass_gives_another_token__fails_at_every_place(place):
    for slack in (None, 0, 1 << 10):
        with pytest.raises(ProofFailed):
            proven(Model(**{"off at": proof.READ + place, "by": 1 << 11}), slack=slack)


def test_prove__last_bit_differs__fails_where_bits_count_and_passes_within_slack():
    off = {"off at": proof.READ, "by": 1}
    with pytest.raises(ProofFailed, match="other logits in one pass"):
        proven(Model(**off), slack=None)
    with pytest.raises(ProofFailed, match=r"0\.0000 logits below"):
        proven(Model(**off), slack=0)
    proven(Model(**off), slack=1)


def test_prove__engine_that_computes_nothing__fails():
    with pytest.raises(ProofFailed, match="computes nothing"):
        proven(Model(same=True), slack=1 << 16)


def test_prove__known_answer__is_compared_token_by_token():
    assert "known of this file" in proven(Model(known=[4, 5]), KNOWN, None)
    for wrong in ([4, 6], [6, 5]):
        with pytest.raises(ProofFailed, match="known of this file, lies"):
            proven(Model(known=wrong), KNOWN, None)


@pytest.mark.parametrize("known", [None, KNOWN])
@pytest.mark.parametrize("context", [1, 2, 3, 4, 16, 17, 19, 20])
def test_prove__small_context__is_never_exceeded(context, known):
    class Counting(Model):
        longest = 0

        def read(self, tokens, rows):
            found = super().read(tokens, rows)
            self.longest = max(self.longest, len(self.seen))
            return found

    model = Counting(known=[4, 5]) if known else Counting()
    proven(model, known, context=context)
    assert model.longest <= context


def test_prove__engine_raises__its_own_error_goes_on():
    with pytest.raises(BadModelFile, match="not numbers"):
        proven(Model(dies=proof.READ))


def test_spread__tokens__are_of_the_vocabulary_and_differ():
    for vocabulary in (2, 377, 151_936):
        ids = proof.spread(vocabulary, CONTEXT)
        assert all(0 <= token < vocabulary for token in ids)
        assert len(set(ids)) == min(vocabulary, proof.READ)


# ENGINES


def shipped(kind):
    manifest, path = read_description(SHIPPED_MODEL)
    return engine_of(kind, manifest, path)


def engine_of(kind, manifest, path, **settings):
    file = ModelFile.of(manifest, path)
    if kind == "exact":
        return ExactEngine(file, manifest, Device.named("cpu", 1))
    return LlamaEngine(file, manifest, 1 << 14, LlamaSettings(threads=1, **settings))


@pytest.mark.parametrize("kind", ["exact", "llama"])
def test_engine__shipped_model__gives_the_committed_tokens(kind):
    assert "known of this file" in shipped(kind).prove()


def test_known_answer__other_wrapper_same_file__is_the_file_s():
    manifest, _ = read_description(SHIPPED_MODEL)
    assert known_answer(manifest.file_sha256).tokens[-1] in manifest.stop_tokens
    assert known_answer(bytes(32)) is None


@pytest.mark.parametrize("kind", ["exact", "llama"])
def test_engine__committed_tokens_are_others__is_not_believed(kind, monkeypatch):
    true = known_answer(read_description(SHIPPED_MODEL)[0].file_sha256)
    other = KnownAnswer(true.prompt, (*true.tokens[:-2], true.tokens[-2] + 1, true.tokens[-1]))
    monkeypatch.setattr(exact_engine if kind == "exact" else llama, "known_answer", lambda sha256: other)
    with pytest.raises(ProofFailed, match="known of this file"):
        shipped(kind).prove()


@pytest.mark.parametrize("quantization", ["F16", "Q8_0", "Q4_0"])
@pytest.mark.parametrize("kind", ["exact", "llama"])
def test_engine__other_models__give_the_same_in_small_batches(tmp_path, kind, quantization):
    path = tmp_path / "tiny.gguf"
    manifest = tiny_gguf.write(path, gguf.GGMLQuantizationType[quantization])
    assert engine_of(kind, manifest, path).prove().endswith("the same" if kind == "llama" else "with the same bits")


def test_llama__large_batches__may_differ_within_the_tolerance(tmp_path):
    path = tmp_path / "tiny.gguf"
    manifest = tiny_gguf.write(path)
    assert engine_of("llama", manifest, path, batch=64).prove().endswith("within 0.25 logits")


def test_exact__one_weight_changes_between_the_passes__is_found(tmp_path, monkeypatch):
    path = tmp_path / "tiny.gguf"
    manifest = tiny_gguf.write(path)
    engine = engine_of("exact", manifest, path)
    true, passes = exact_engine.Reader.read, []

    def read(reader, tokens, rows):
        passes.append(len(tokens))
        logits = true(reader, tokens, rows)
        if len(tokens) > 1:
            logits[0] = logits[0].copy()
            logits[0][3] += 1
        return logits

    monkeypatch.setattr(exact_engine.Reader, "read", read)
    with pytest.raises(ProofFailed, match="other logits"):
        engine.prove()
    assert passes == [1] * (proof.READ + proof.CHOSEN - 1) + [proof.READ + proof.CHOSEN - 1]


def test_prove__after_and_before_jobs__changes_no_answer(tmp_path):
    path = tmp_path / "tiny.gguf"
    manifest = tiny_gguf.write(path)
    for kind in ("exact", "llama"):
        engine = engine_of(kind, replace(manifest, name=kind), path)
        prompt = [TokenId(token) for token in engine.tokenize(KNOWN_QUESTION)]
        before = engine.generate(prompt, Params(max_tokens=8))
        engine.prove()
        assert engine.generate(prompt, Params(max_tokens=8)) == before
