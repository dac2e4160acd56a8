"""The exact engine's speed beside llama.cpp's, on the same Q8_0 file of a 1B model's shape, with two threads.

Other work on the machine slows both, so they take turns within every round and the figures are medians of the rounds'
ratios. Each side is measured alone: the other's threads sleep meanwhile.

    python -m bench.exact_speed
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from bench import gguf_random
from bench.exact_bound import bound
from oracle.engines.base import Params, TokenId
from oracle.engines.exact.cpu import CpuForward
from oracle.engines.exact.device import Device
from oracle.engines.exact.engine import ExactEngine
from oracle.engines.exact.model import Chunk
from oracle.engines.exact.weights import load
from oracle.models.download import file_sha256
from oracle.models.files import ModelFile
from oracle.models.manifest import Manifest

THREADS = 2
ROUNDS = 5
PROMPT, LONG, DECODED, ANSWER = 512, 2048, 24, 128
CONTEXT = 1024

Figures = dict[str, float]
Report = Callable[[str, Figures], None]
"""Shows a table: title, then figure -> value."""


def run(report: Report, shape: gguf_random.Shape = gguf_random.LLAMA_1B, rounds: int = ROUNDS) -> Figures:
    """Keys: exact_decode_ratio, exact_prefill_ratio (to llama.cpp), check_speedup_128, check_share_of_bound,
    exact_memory_ratio and more."""
    path = gguf_random.cached(shape)
    figures = side_by_side(path, rounds) | checking(path, shape) | memory(path) | bound(THREADS)
    figures["check_share_of_bound"] = figures[f"check_speedup_{ANSWER}"] / figures["check_bound"]
    long = side_by_side(path, max(1, rounds // 2), LONG)
    figures |= {f"{name}_{LONG}": value for name, value in long.items() if name.endswith("_ratio")}
    report(f"The exact engine on {shape.name}, Q8_0, {THREADS} threads", figures)
    on_gpu = gpu_decoding(path) if Path("/dev/nvidia0").exists() else {}
    if on_gpu:
        report(f"The exact engine on a GPU, {shape.name}, Q8_0", on_gpu)
    return figures | on_gpu


def side_by_side(path: Path, rounds: int, length: int = PROMPT) -> Figures:
    """Prefill of so many tokens and decoding after them, in tokens/s and as ratios to llama.cpp's."""
    from oracle.engines.llama_native import NativeModel  # noqa: PLC0415  the memory measurement must not load it

    model = CpuForward(load(path), THREADS)
    context = 2 * length
    llama = NativeModel(path).sequence(context, batch=PROMPT, threads=THREADS)
    rng = np.random.default_rng(1)
    prompt = rng.integers(4, model.architecture.vocabulary, length).tolist()
    cache = model.cache(context)

    def llama_eval(tokens: Sequence[int]) -> None:
        llama.extend(tokens, len(tokens) - 1, lambda *_: None)

    def llama_prefill() -> None:
        llama.truncate(0)
        llama_eval(prompt)

    def exact_prefill() -> None:
        cache.truncate(0)
        model.run([Chunk(prompt, cache, 1)])

    def llama_decode() -> None:
        for token in prompt[:DECODED]:
            llama_eval([token])

    def exact_decode() -> None:
        for token in prompt[:DECODED]:
            model.run([Chunk([token], cache, 1)])

    works = [llama_prefill, exact_prefill, llama_decode, exact_decode]
    seconds = [[timed(work) for work in works] for _ in range(rounds + 1)][1:]  # the first warms up
    columns = list(zip(*seconds, strict=True))
    median = [statistics.median(column) for column in columns]
    return {
        "llama_prefill_tokens_per_s": length / median[0],
        "exact_prefill_tokens_per_s": length / median[1],
        "llama_decode_tokens_per_s": DECODED / median[2],
        "exact_decode_tokens_per_s": DECODED / median[3],
        "exact_prefill_ratio": ratio(columns[0], columns[1]),
        "exact_decode_ratio": ratio(columns[2], columns[3]),
    }


def checking(path: Path, shape: gguf_random.Shape, rounds: int = 3) -> Figures:
    """How much faster the engine checks an answer of 128 tokens than it generated it, greedy and sampled."""
    manifest = Manifest(
        shape.name, file_sha256(path), path.stat().st_size, "", CONTEXT, (), (), (shape.vocabulary - 1,), 0
    )
    engine = ExactEngine(ModelFile.of(manifest, path), manifest, Device.named("cpu", THREADS))
    prompt = [TokenId(i) for i in range(10, 26)]
    figures = {}
    for name, temperature in ((f"check_speedup_{ANSWER}", 0), (f"check_speedup_{ANSWER}_sampled", 1 << 16)):
        ratios = []
        for number in range(rounds):
            params = Params(ANSWER, temperature, 0, number.to_bytes(32, "big"))
            started = time.perf_counter()
            tokens = engine.generate(prompt, params).tokens
            generated = time.perf_counter()
            verdict = engine.check(prompt, tokens, params)
            ratios.append((generated - started) / (time.perf_counter() - generated))
            assert verdict.correct
            assert len(tokens) == ANSWER
        figures[name] = statistics.median(ratios)
    return figures


def memory(path: Path) -> Figures:
    """Peak resident memory of a process that loads the model and fills its context, over file and cache."""
    command = [sys.executable, "-m", "bench.exact_speed", "--memory", str(path)]
    used, cached = map(int, subprocess.run(command, capture_output=True, check=True, text=True).stdout.split())
    return {"exact_memory_ratio": used / (path.stat().st_size + cached)}


def fill(path: Path) -> None:
    """Prints the peak resident bytes of this process after filling a context, and the bytes of the cache."""
    model = CpuForward(load(path), THREADS)
    cache = model.cache(CONTEXT)
    model.run([Chunk(list(range(CONTEXT)), cache, 1)])
    status = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    peak = int(status["VmHWM"].split()[0]) * 1024  # getrusage would count the parent before exec, too
    print(peak, cache.keys.nbytes + cache.key_shift.nbytes + cache.values.nbytes)


def gpu_decoding(path: Path, device: str = "cuda") -> Figures:
    """Share of the device's copy bandwidth that decoding reaches, counting each weight's bytes in the file once."""
    import torch  # noqa: PLC0415  it would count as the engine's memory

    from oracle.engines.exact.triton_forward import TritonForward, captured  # noqa: PLC0415

    model = TritonForward(load(path), device, captured)
    cache = model.cache(CONTEXT)
    model.run([Chunk(list(range(PROMPT)), cache, 1)])

    def decode() -> None:
        for token in range(DECODED):
            model.run([Chunk([token], cache, 1)])  # its logits come back, so the device is done

    source = torch.empty(1 << 28, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)

    def copy() -> None:
        for _ in range(10):
            target.copy_(source)
        target[:1].cpu()

    tokens_per_s = DECODED / statistics.median(timed(decode) for _ in range(ROUNDS))
    bandwidth = 10 * 2 * source.nbytes / statistics.median(timed(copy) for _ in range(ROUNDS))
    return {
        "gpu_decode_tokens_per_s": tokens_per_s,
        "gpu_decode_bandwidth_share": tokens_per_s * path.stat().st_size / bandwidth,
    }


def timed(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def ratio(theirs: Sequence[float], ours: Sequence[float]) -> float:
    """Ratio of speeds: the median over rounds."""
    return statistics.median(a / b for a, b in zip(theirs, ours, strict=True))


def print_table(title: str, figures: Figures) -> None:
    print(title)
    for name, value in figures.items():
        print(f"  {name:32} {value:10.4g}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--memory"]:
        fill(Path(sys.argv[2]))
    else:
        run(print_table)
