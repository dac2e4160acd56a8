"""How well the panel's check tells honest answers from wrong ones: false alarms, misses, and a tolerance that serves.

Honest answers are generated with one batch size and number of threads and checked with another. What floating point
costs is the largest shortfall that any of their tokens shows, or the largest difference of two machines' margins of a
choice if that is larger: a token's shortfall shows noise at near ties alone, a margin everywhere. Tokens of answers
that follow a pattern count too, beside what it allows. The tolerance recommended is twice that. At this tolerance wrong
answers of several kinds are checked; the liar is clever and goes on from its wrong token as the model would.

`python -m bench.llama_check` measures the shipped model and random weights at two shapes. The figures hold for the
machine they were measured on; a service whose nodes mix GPUs and CPUs needs its own (`--gpu-layers -1`).
"""

import argparse
import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import llama_cpp.llama_cpp as api
import numpy as np
from gguf import GGMLQuantizationType, GGUFReader
from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench import gguf_random
from models.language import TASKS, Writer
from oracle.client.devnet import read_description
from oracle.engines.answer_types import Verdict, choice_type, heading, pattern_type, typed_prompt
from oracle.engines.base import Completion, Params, TokenId
from oracle.engines.exact.text_prompts import text_prompt
from oracle.engines.llama import LlamaEngine
from oracle.engines.llama_settings import COARSE_BATCH, LlamaSettings
from oracle.engines.margins import pick, shortfalls
from oracle.models.download import file_sha256
from oracle.models.files import ModelFile
from oracle.models.manifest import Manifest
from oracle.models.shipped import SHIPPED_MODEL

ONE_LOGIT = 1 << 16
WIDEST = 8 * ONE_LOGIT  # larger shortfalls are not told apart
GRAIN = ONE_LOGIT // 16
HONEST = [(1, 512), (2, 1), (1, 32), (2, 512), (1, 1), (2, 32)]  # (threads, batch); each checked by the next
TEMPERATURES = [0, ONE_LOGIT // 2, ONE_LOGIT]
LIES_OF_A_KIND = 200
WEIGHT_CHANGE = 0.02  # of every block scale, for "a model trained a little further"
LARGE_FILE = 100 << 20
CHOICES, MOST_ROWS, MOST_IDS = 200, 6, 3
"""Questions with a few possible answers; how many these are, and how long."""
PATTERNS, PATTERN_BYTES, PATTERN_TOKENS = 200, 24, 16
"""Questions for a text of so many bytes at most, each of which is one of a random half; and its tokens."""


@dataclass(frozen=True)
class Subject:
    """A model to measure."""

    name: str
    path: Path
    manifest: Manifest
    prompt: Callable[[LlamaEngine, random.Random], list[TokenId]]


@dataclass(frozen=True)
class Case:
    prompt: list[TokenId]
    params: Params
    tokens: list[TokenId]


@dataclass(frozen=True)
class Result:
    model: str
    answers: int
    tokens: int
    agreeing: int
    """Answers that the checking machine would have given token for token."""
    largest_shortfall: int
    largest_in_small_batches: int
    """The same where both machines used batches below COARSE_BATCH."""
    tolerance: int
    false_alarms: int
    misses: dict[str, tuple[int, int]]
    """Kind of wrong answer -> (not noticed, tried)."""
    choices: int
    """Answers that are one of a few rows of token ids."""
    largest_difference: int
    """Between two machines' margins of a choice."""
    choices_alarmed: int
    patterns: int
    """Answers that follow a pattern."""
    largest_in_patterns: int
    """The largest shortfall of one of their tokens, among those that the pattern allows."""
    patterns_alarmed: int


@dataclass(frozen=True)
class Chosen:
    """A machine's answer to a choice."""

    prompt: list[TokenId]
    params: Params
    given: Completion
    difference: int
    """Between its margin and another machine's, where both choose the same row."""


class Liar(LlamaEngine):
    """Gives a wrong token at one place and goes on from there as the model would."""

    def lie(self, case: Case, position: int, choose: Callable[[list[int]], int]) -> list[TokenId]:
        """choose: from the ids ordered by how well they would pass, the best first, to the wrong one."""
        limit = self._begin(case.prompt, case.params)
        logits = self._after([*case.prompt, *case.tokens[:position]], lambda row: row.logits)
        order = np.argsort(shortfalls(logits, case.params, position, WIDEST), kind="stable")
        tokens = [*case.tokens[:position], TokenId(choose([int(token) for token in order]))]
        while tokens[-1] not in self._manifest.stop_tokens and len(tokens) < limit:
            logits = self._after(tokens[-1:], lambda row: row.logits)
            tokens.append(TokenId(pick(logits, case.params, len(tokens))))
        return tokens


@dataclass(frozen=True)
class Patterned:
    """A machine's answer that follows a pattern."""

    prompt: list[TokenId]
    params: Params
    given: Completion
    shortfall: int
    """The largest, on another machine."""


def machine(subject: Subject, tolerance: int, threads: int = 1, batch: int = 512, gpu_layers: int = 0) -> Liar:
    settings = LlamaSettings(gpu_layers, threads, batch)
    return Liar(ModelFile.of(subject.manifest, subject.path), subject.manifest, tolerance, settings)


def measure(
    subject: Subject,
    impostors: dict[str, Subject],
    *,
    answers: int,
    max_tokens: int,
    gpu_layers: int = 0,
    show: bool = False,
) -> Result:
    """impostors: kind of wrong answer -> a model with the same vocabulary."""
    rng = random.Random(1)
    machines = [machine(subject, WIDEST, threads, batch) for threads, batch in HONEST]
    if gpu_layers:
        machines[1::2] = [machine(subject, WIDEST, gpu_layers=gpu_layers)] * (len(machines) // 2)
    cases: list[Case] = []
    worst: list[int] = []
    in_small: list[int] = []
    for number in track(range(answers), f"{subject.name}: honest", disable=not show, transient=True):
        pair = [(number + shift) % len(machines) for shift in (0, 1)]
        generator, checker = (machines[index] for index in pair)
        prompt = subject.prompt(generator, rng)
        params = Params(max_tokens, TEMPERATURES[number % len(TEMPERATURES)], seed=rng.randbytes(32))
        cases.append(Case(prompt, params, list(generator.generate(prompt, params).tokens)))
        worst.append(max(checker.shortfalls(prompt, cases[-1].tokens, params)))
        if all(HONEST[index][1] < COARSE_BATCH for index in pair):
            in_small.append(worst[-1])
    typed = list(chosen(machines, [case.prompt for case in (cases * CHOICES)[:CHOICES]], rng))
    difference = max(choice.difference for choice in typed)
    followed = list(patterned(machines, [case.prompt for case in (cases * PATTERNS)[:PATTERNS]], rng))
    in_patterns = max(answer.shortfall for answer in followed)
    tolerance = max(1, -(-2 * max(*worst, difference, in_patterns) // GRAIN)) * GRAIN
    judge = machine(subject, tolerance, gpu_layers=gpu_layers)
    misses = {}
    for kind, lies in wrong_answers(machines[0], impostors, cases[:LIES_OF_A_KIND], rng).items():
        verdicts = [
            judge.check(lie.prompt, lie.tokens, lie.params).correct
            for lie in track(list(lies), f"{subject.name}: {kind}", disable=not show, transient=True)
        ]
        misses[kind] = (sum(verdicts), len(verdicts))
    alarms, alarms_in_patterns = (
        sum(not judge.check(each.prompt, each.given.tokens, each.params, each.given.text).correct for each in answers_)
        for answers_ in (typed, followed)
    )
    return Result(
        model=subject.name,
        answers=answers,
        tokens=sum(len(case.tokens) for case in cases),
        agreeing=sum(short == 0 for short in worst),
        largest_shortfall=max(worst),
        largest_in_small_batches=max(in_small, default=0),
        tolerance=tolerance,
        false_alarms=sum(not judge.check(case.prompt, case.tokens, case.params).correct for case in cases),
        misses=misses,
        choices=len(typed),
        largest_difference=difference,
        choices_alarmed=alarms,
        patterns=len(followed),
        largest_in_patterns=in_patterns,
        patterns_alarmed=alarms_in_patterns,
    )


def chosen(machines: Sequence[LlamaEngine], prompts: Sequence[list[TokenId]], rng: random.Random) -> Iterator[Chosen]:
    """Each machine's answers to choices among random rows of token ids, beside the next machine's."""
    first = machines[0]
    for number, prompt in enumerate(prompts):
        ids = rng.sample(range(4, first._model.vocabulary), MOST_ROWS * MOST_IDS)
        rows = [ids[at * MOST_IDS :][: rng.randrange(1, MOST_IDS + 1)] for at in range(rng.randrange(2, MOST_ROWS + 1))]
        params = Params(MOST_IDS + 1, answer_type=heading(typed_prompt(choice_type(rows, first._root), b"")))
        given, own = (machines[(number + shift) % len(machines)].generate(prompt, params) for shift in (0, 1))
        said, other = (Verdict.of(answer.text) for answer in (given, own))
        assert said is not None
        assert other is not None
        yield Chosen(prompt, params, given, abs(said.margin - other.margin) if said.index == other.index else 0)


def patterned(
    machines: Sequence[LlamaEngine], prompts: Sequence[list[TokenId]], rng: random.Random
) -> Iterator[Patterned]:
    """Each machine's answers that follow random tables, judged by the next machine."""
    root = machines[0]._root
    for number, prompt in enumerate(prompts):
        head = heading(typed_prompt(pattern_type(_table(rng), root), b""))
        params = Params(PATTERN_TOKENS, answer_type=head)
        giver, judging = (machines[(number + shift) % len(machines)] for shift in (0, 1))
        given = giver.generate(prompt, params)
        course = judging.course(prompt, params)
        yield Patterned(prompt, params, given, max(judging.shortfalls(prompt, given.tokens, params, course)))


def _table(rng: random.Random) -> bytes:
    """States in a row, an output may end in each; of the bytes each takes eight ranges."""
    heads = b"".join(bytes([rng.randrange(ROWS), 0, 0]) for _ in range(PATTERN_BYTES))
    at, places, bodies = 3 + len(heads) + 2 * ROWS, b"", b""
    for _ in range(ROWS):
        places += (at + len(bodies)).to_bytes(2, "big")
        bounds = sorted(rng.sample(range(256), 16))
        ends = zip(bounds[::2], bounds[1::2], strict=True)
        bodies += bytes([8]) + b"".join(bytes([low, high]) + NEXT_STATE for low, high in ends)
    return PATTERN_BYTES.to_bytes(2, "big") + bytes([ROWS]) + heads + places + bodies


ROWS, NEXT_STATE = 4, (0x8001).to_bytes(2, "big")


def wrong_answers(
    liar: Liar, impostors: dict[str, Subject], cases: Sequence[Case], rng: random.Random
) -> dict[str, Iterator[Case]]:
    """Each kind's wrong answers; an impostor's that happens to be the honest one is none."""
    stops = liar._manifest.stop_tokens

    def somewhere(case: Case) -> int:
        return rng.randrange(len(case.tokens))

    def lies(choose: Callable[[list[int]], int]) -> Iterator[Case]:
        for case in cases:
            yield replace(case, tokens=liar.lie(case, somewhere(case), choose))

    def stopped_early() -> Iterator[Case]:
        for case in cases:
            position = somewhere(case)
            if case.tokens[position] not in stops:
                yield replace(case, tokens=[*case.tokens[:position], TokenId(stops[0])])

    def from_another(engine: LlamaEngine, change: Callable[[Params], Params] = lambda params: params) -> Iterator[Case]:
        for case in cases:
            tokens = list(engine.generate(case.prompt, change(case.params)).tokens)
            if tokens != case.tokens:
                yield replace(case, tokens=tokens)

    kinds = {
        "a random token": lies(lambda order: rng.choice(order[1:])),
        "the runner-up token": lies(lambda order: order[1]),
        "truncated": (replace(case, tokens=case.tokens[: somewhere(case)]) for case in cases),
        "stopped early": stopped_early(),
        "another seed": from_another(liar, lambda params: replace(params, seed=rng.randbytes(32))),
    }
    for kind, impostor in impostors.items():
        kinds[kind] = from_another(machine(impostor, 0))
    return kinds


def of_file(
    name: str, path: Path, like: Manifest, prompt: Callable[[LlamaEngine, random.Random], list[TokenId]]
) -> Subject:
    """`path` under a manifest that differs from `like` in the file alone."""
    return Subject(name, path, replace(like, file_sha256=file_sha256(path), file_bytes=path.stat().st_size), prompt)


def requantized(subject: Subject, folder: Path) -> Subject:
    """The same model in Q4_0, as llama.cpp makes it."""
    path = folder / f"{subject.path.stem}-q4_0.gguf"
    params = api.llama_model_quantize_default_params()
    params.ftype, params.allow_requantize, params.nthread = api.LLAMA_FTYPE_MOSTLY_Q4_0, True, 1
    if api.llama_model_quantize(str(subject.path).encode(), str(path).encode(), params) != 0:
        raise RuntimeError("llama.cpp cannot requantize this file")
    return of_file("Q4_0", path, subject.manifest, subject.prompt)


def trained_further(subject: Subject, folder: Path) -> Subject:
    """The same model with every Q8_0 block scale changed by some `WEIGHT_CHANGE`: what a little fine-tuning does."""
    path = folder / f"{subject.path.stem}-changed.gguf"
    path.write_bytes(subject.path.read_bytes())
    rng = np.random.default_rng(1)
    for tensor in GGUFReader(str(path), "r+").tensors:
        if tensor.tensor_type == GGMLQuantizationType.Q8_0:
            blocks = tensor.data.reshape(-1, 34)  # fp16 scale, 32 quants
            scales = np.ascontiguousarray(blocks[:, :2]).view(np.float16)
            changed = scales * (1 + WEIGHT_CHANGE * rng.standard_normal(scales.shape)).astype(np.float16)
            blocks[:, :2] = changed.astype(np.float16).view(np.uint8)
    return of_file("changed", path, subject.manifest, subject.prompt)


def random_ids(engine: LlamaEngine, rng: random.Random) -> list[TokenId]:
    vocabulary = len(engine._model.pieces)
    return [TokenId(rng.randrange(4, vocabulary)) for _ in range(rng.randrange(4, 150))]


def random_shape(shape: gguf_random.Shape) -> Subject:
    path = gguf_random.cached(shape)
    manifest = Manifest(shape.name, file_sha256(path), path.stat().st_size, "", 256, (), (), tuple(range(4)), 0)
    return Subject(shape.name, path, manifest, random_ids)


def print_results(results: Sequence[Result], console: Console) -> None:
    table = Table("", *(result.model for result in results), title="The panel's check (tolerances in logits)")
    logits = "{:.3f}".format
    table.add_row("honest answers (tokens)", *(f"{r.answers} ({r.tokens})" for r in results))
    table.add_row("same on the other machine", *(f"{r.agreeing / r.answers:.1%}" for r in results))
    table.add_row("largest shortfall", *(logits(r.largest_shortfall / ONE_LOGIT) for r in results))
    table.add_row("... in batches below 64", *(logits(r.largest_in_small_batches / ONE_LOGIT) for r in results))
    table.add_row("tolerance recommended", *(logits(r.tolerance / ONE_LOGIT) for r in results))
    table.add_row("false alarms", *(str(r.false_alarms) for r in results))
    table.add_row("choices", *(str(r.choices) for r in results))
    table.add_row("... largest difference of margins", *(logits(r.largest_difference / ONE_LOGIT) for r in results))
    table.add_row("... false alarms", *(str(r.choices_alarmed) for r in results))
    table.add_row("patterns", *(str(r.patterns) for r in results))
    table.add_row("... largest shortfall", *(logits(r.largest_in_patterns / ONE_LOGIT) for r in results))
    table.add_row("... false alarms", *(str(r.patterns_alarmed) for r in results))
    for kind in results[0].misses:
        shares = (r.misses.get(kind, (0, 0)) for r in results)
        table.add_row(f"missed: {kind}", *(f"{missed} of {tried}" for missed, tried in shares))
    console.print(table)


def shipped() -> Subject:
    """The model in `models/`, asked for what it was made for, with sentences it has not seen."""
    manifest, file = read_description(SHIPPED_MODEL)

    def prompt(engine: LlamaEngine, rng: random.Random) -> list[TokenId]:
        item = next(Writer(rng.randrange(1 << 30)).held_out_items(rng.choice(TASKS), (1, 3)))
        return engine.tokenize(text_prompt(item.prompt.encode()))

    return Subject("shipped model", file, manifest, prompt)


SUBJECTS: dict[str, Callable[[], Subject]] = {
    "shipped": shipped,
    "tiny": lambda: random_shape(gguf_random.TINY),
    "135m": lambda: random_shape(gguf_random.LLAMA_135M),
}


def measure_all(
    names: Sequence[str], answers: int, max_tokens: int, gpu_layers: int = 0, show: bool = True
) -> list[Result]:
    """names: keys of SUBJECTS. A large model gives a tenth of the answers."""
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            subject = SUBJECTS[name]()
            impostors = {
                "Q4_0 instead of Q8_0": requantized(subject, Path(folder)),
                "weights changed by 2 %": trained_further(subject, Path(folder)),
            }
            count = answers // 10 if subject.manifest.file_bytes > LARGE_FILE else answers
            results.append(
                measure(subject, impostors, answers=count, max_tokens=max_tokens, gpu_layers=gpu_layers, show=show)
            )
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("models", nargs="*", default=list(SUBJECTS), help=f"of {', '.join(SUBJECTS)}; all by default")
    parser.add_argument("--answers", type=int, default=1000, help="honest answers; a tenth for a large model")
    parser.add_argument("--max-tokens", type=int, default=24)
    parser.add_argument("--gpu-layers", type=int, default=0, help="check every other answer on the GPU")
    given = parser.parse_args()
    print_results(measure_all(given.models, given.answers, given.max_tokens, given.gpu_layers), Console())


if __name__ == "__main__":
    main()
