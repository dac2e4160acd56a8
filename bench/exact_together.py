"""Many jobs at once, beside one, beside llama.cpp, and beside the same without what is remembered or guessed.

    python -m bench.exact_together

On a 1B model's shape and, where it is installed, on SmolLM2. Both sides of a ratio take turns within every round; the
figures are medians of the rounds' ratios. A loaded machine makes them meaningless.
"""

import statistics
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench import gguf_random
from bench.exact_speed import CONTEXT, THREADS, Figures, Report, print_table, ratio, timed
from oracle.client.devnet import read_description
from oracle.engines.answer_types import MOST_IDS, choice_type, heading, pattern_type, typed_prompt
from oracle.engines.base import Params, TokenId
from oracle.engines.exact.cpu import CpuForward
from oracle.engines.exact.device import Device
from oracle.engines.exact.engine import ExactEngine
from oracle.engines.exact.model import Chunk
from oracle.engines.exact.text_prompts import text_prompt
from oracle.engines.exact.weights import load
from oracle.errors import BadModelFile
from oracle.models.download import file_sha256
from oracle.models.files import ModelFile
from oracle.models.manifest import Manifest
from oracle.models.shipped import SMOLLM2

STREAMS, STEPS, BEFORE = 8, 16, 64
CACHED, CHECKED = 2048, 510  # tokens of prompts
ROUNDS = 5
PATTERNED = 24  # tokens of an answer that follows a pattern, its stop token included
QUOTED = b"""Repeat this text word for word: The harbour master keeps a list of all ships that lie in the bay, with
their names, their flags, the day of their arrival and the name of the captain. Who wants to leave must ask him."""


def run(
    report: Report, shape: gguf_random.Shape = gguf_random.LLAMA_1B, rounds: int = ROUNDS, *, real: bool = True
) -> Figures:
    """Keys: batch8_throughput, batch8_ratio, first_token_cached_2048, self_check_share, mask_cost, mask_cost_pattern,
    speculation_extract; of SmolLM2 with its name after them. real: SmolLM2 too, which alone quotes."""
    path = gguf_random.cached(shape)
    manifest = _manifest(path, shape)
    figures = streams(path, rounds) | remembered(path, manifest, rounds) | masked(path, manifest, rounds)
    report(f"Many jobs at once, {shape.name}, Q8_0, {THREADS} threads", figures)
    if not real:
        return figures
    try:
        manifest, file = read_description(SMOLLM2)
    except BadModelFile:
        return figures
    found = streams(file, rounds) | remembered(file, manifest, rounds) | masked(file, manifest, rounds)
    named = {f"{key}_smollm2": value for key, value in found.items()} | quoting(file, manifest, rounds)
    report(f"Many jobs at once, SmolLM2, {THREADS} threads", named)
    return figures | named


def streams(path: Path, rounds: int) -> Figures:
    """Eight sequences that are decoded together, beside one, and beside llama.cpp's eight."""
    model = CpuForward(load(path), THREADS)
    prompts = random_prompts(model, STREAMS)
    decode = exact_streams(model, prompts)
    theirs = llama_streams(path, prompts)
    works: list[Callable[[], None]] = [lambda: decode(1), lambda: decode(STREAMS), theirs]
    seconds = [[timed(work) for work in works] for _ in range(rounds + 1)][1:]  # the first warms up
    one, all_together, llama = zip(*seconds, strict=True)
    return {
        "batch8_tokens_per_s": STREAMS * STEPS / statistics.median(all_together),
        "batch8_throughput": STREAMS * ratio(one, all_together),
        "batch8_ratio": ratio(llama, all_together),
    }


def random_prompts(model: CpuForward, count: int) -> list[list[int]]:
    """Tokens before and of the steps that are measured."""
    most = min(model.architecture.vocabulary, 40_000)
    prompts: list[list[int]] = np.random.default_rng(2).integers(4, most, (count, BEFORE + STEPS)).tolist()
    return prompts


def exact_streams(model: CpuForward, prompts: Sequence[Sequence[int]]) -> Callable[[int], None]:
    """Takes the first so many prompts, already read, through STEPS tokens together."""
    caches = [model.cache(BEFORE + STEPS) for _ in prompts]
    for prompt, cache in zip(prompts, caches, strict=True):
        model.run([Chunk(prompt[:BEFORE], cache, 0)])

    def decode(count: int) -> None:
        for cache in caches:
            cache.truncate(BEFORE)
        for step in range(BEFORE, BEFORE + STEPS):
            model.run([Chunk([prompts[n][step]], caches[n], 1) for n in range(count)])

    return decode


def llama_streams(path: Path, prompts: Sequence[Sequence[int]]) -> Callable[[], None]:
    """The same by llama.cpp: one context with as many sequences as prompts, a batch of a token of each a step."""
    import llama_cpp.llama_cpp as api  # noqa: PLC0415  other parts run where it is not installed

    from oracle.engines import llama_native  # noqa: PLC0415

    count = len(prompts)
    model = llama_native.load(path, 0, lambda done: None, vocabulary_only=False)
    params: Any = api.llama_context_default_params()
    params.n_ctx = CONTEXT * count
    params.n_batch = params.n_ubatch = count * BEFORE
    params.n_seq_max = count
    params.n_threads = params.n_threads_batch = THREADS
    params.no_perf = True
    context = api.llama_init_from_model(model, params)
    memory = api.llama_get_memory(context)
    batch: Any = api.llama_batch_init(count * BEFORE, 0, 1)

    def evaluate(start: int, end: int) -> None:
        batch.n_tokens = count * (end - start)
        for index in range(batch.n_tokens):
            number, at = divmod(index, end - start)
            batch.token[index], batch.pos[index] = prompts[number][start + at], start + at
            batch.n_seq_id[index] = 1
            batch.seq_id[index][0] = number
            batch.logits[index] = start + at == end - 1
        if api.llama_decode(context, batch):
            raise RuntimeError("llama_decode failed")

    evaluate(0, BEFORE)

    def decode() -> None:
        for number in range(count):
            api.llama_memory_seq_rm(memory, number, BEFORE, -1)
        for step in range(BEFORE, BEFORE + STEPS):
            evaluate(step, step + 1)
            api.llama_get_logits_ith(context, count - 1)

    return decode


def remembered(path: Path, manifest: Manifest, rounds: int) -> Figures:
    """The first token of a long prompt that was read before; what the self-check adds to an answer of one token."""
    engine = ExactEngine(ModelFile.of(manifest, path), manifest, Device.named("cpu", THREADS))
    rng = np.random.default_rng(3)
    sooner, shares = [], []
    for _ in range(max(1, rounds // 2)):
        prompt = [TokenId(token) for token in rng.integers(4, 400, CACHED - 2).tolist()]
        first, again = (timed(partial(_generate, engine, prompt, Params(1))) for _ in range(2))
        sooner.append(first / again)
        asked = prompt[-CHECKED:]
        answered = timed(partial(_generate, engine, asked, Params(1)))
        tokens = engine.generate(asked, Params(1)).tokens
        shares.append(timed(partial(_check, engine, asked, tokens)) / answered)
    return {
        f"first_token_cached_{CACHED}": statistics.median(sooner),
        "self_check_share": statistics.median(shares),
    }


def quoting(path: Path, manifest: Manifest, rounds: int) -> Figures:
    """Tokens a second of an answer that quotes its prompt, beside the same without guesses."""
    file, device = ModelFile.of(manifest, path), Device.named("cpu", THREADS)
    guessing, plain = (ExactEngine(file, manifest, device, guesses=guesses) for guesses in (True, False))
    prompt, params = guessing.tokenize(text_prompt(QUOTED)), Params(64)
    assert guessing.generate(prompt, params) == plain.generate(prompt, params)
    seconds = [[timed(partial(_generate, each, prompt, params)) for each in (plain, guessing)] for _ in range(rounds)]
    return {"speculation_extract": ratio(*zip(*seconds, strict=True))}


def masked(path: Path, manifest: Manifest, rounds: int) -> Figures:
    """Decoding a choice, of which two rows compete before each token, beside the same tokens as free text."""
    engine = ExactEngine(ModelFile.of(manifest, path), manifest, Device.named("cpu", THREADS), guesses=False)
    prompt = [TokenId(token) for token in np.random.default_rng(4).integers(4, 400, BEFORE).tolist()]
    free = Params(MOST_IDS - 1)
    tokens = engine.generate(prompt, free).tokens
    others = [next(other for other in range(4, 7) if other not in (token, *manifest.stop_tokens)) for token in tokens]
    rows = [*((*tokens[:at], other) for at, other in enumerate(others)), tokens]
    typed = Params(MOST_IDS, answer_type=heading(typed_prompt(choice_type(rows, engine.vocabulary_root), b"")))
    assert engine.generate(prompt, typed).tokens[:-1] == tokens
    plain, typed_work = (partial(_generate, engine, prompt, params) for params in (free, typed))
    seconds = [[timed(work) for work in (plain, typed_work, typed_work, plain)] for _ in range(2 * rounds)]
    cost = statistics.median((b + c) / (a + d) for a, b, c, d in seconds)
    return {"mask_cost": cost} | patterned(engine, manifest, prompt, rounds)


def patterned(engine: ExactEngine, manifest: Manifest, prompt: Sequence[TokenId], rounds: int) -> Figures:
    """Decoding what a pattern allows, once its states are known, beside as much free text: of two patterns, one that
    allows nearly everything and one that leaves little, the dearer."""
    costs = []
    for table in (_pattern([[(0, 255, 0)]]), LITTLE):
        head = heading(typed_prompt(pattern_type(table, engine.vocabulary_root), b""))
        typed = Params(PATTERNED + 1, answer_type=head)
        assert len(engine.generate(prompt, typed).tokens) == PATTERNED
        free = Params(PATTERNED)
        assert engine.generate(prompt, free).tokens[-1] not in manifest.stop_tokens[:1]
        plain, typed_work = (partial(_generate, engine, prompt, params) for params in (free, typed))
        seconds = [[timed(work) for work in (plain, typed_work, typed_work, plain)] for _ in range(2 * rounds)]
        costs.append(statistics.median((b + c) / (a + d) for a, b, c, d in seconds))
    return {"mask_cost_pattern": max(costs)}


def _pattern(rows: Sequence[Sequence[tuple[int, int, int]]]) -> bytes:
    """A table of a state for each row of ranges (lowest byte, highest, target), that never ends before its limit."""
    heads = b"".join(bytes([state, 0, 1]) for state in range(len(rows)))
    at, places, bodies = 3 + len(heads) + 2 * len(rows), b"", b""
    for row in rows:
        places += (at + len(bodies)).to_bytes(2, "big")
        bodies += bytes([len(row)]) + b"".join(bytes([low, high]) + to.to_bytes(2, "big") for low, high, to in row)
    return len(rows).to_bytes(2, "big") + bytes([len(rows)]) + heads + places + bodies


LITTLE = _pattern(
    [
        [(ord("a"), ord("z"), 0), (ord(" "), ord(" "), 0), (ord("<"), ord("<"), 1)],
        [(ord("1"), ord("3"), 2)],
        [(ord("0"), ord("9"), 2), (ord(">"), ord(">"), 0)],
    ]
)
"""Small letters and spaces, and the tokens of made-up vocabularies that begin with one of three digits."""


def _generate(engine: ExactEngine, prompt: Sequence[TokenId], params: Params) -> None:
    engine.generate(prompt, params)


def _check(engine: ExactEngine, prompt: Sequence[TokenId], tokens: Sequence[TokenId]) -> None:
    assert engine.check(prompt, tokens, Params(1)).correct


def _manifest(path: Path, shape: gguf_random.Shape) -> Manifest:
    stop = (shape.vocabulary - 1,)
    return Manifest(shape.name, file_sha256(path), path.stat().st_size, "", CACHED, (), (), stop, 0)


if __name__ == "__main__":
    run(print_table)
