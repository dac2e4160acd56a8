"""Products of many tokens by tiles of bytes: the reference's bits, from Intel's AMX and from its instructions in C.

The C is compiled here, so any machine with a compiler runs what surrounds the tiles; one with AMX runs them, too.
"""

import ctypes
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
from exact.extremes import extreme

from oracle.engines.exact import cpu_kernels, self_test
from oracle.engines.exact import operators as ops
from oracle.engines.exact.constants import INT32, LARGEST_MANTISSA, LARGEST_RESIDUAL
from oracle.engines.exact.cpu import CpuForward
from oracle.engines.exact.cpu_kernels import Kernels, Packed, Rows
from oracle.engines.exact.quants import F16, F32, MATRIX_TYPES, Q4_K, Q8_0
from oracle.engines.exact.weights import Matrix, check_bound
from oracle.models.gguf import BLOCKS

ROOT = Path(__file__).resolve().parents[2]
KERNELS = ROOT / "oracle" / "engines" / "exact" / "kernels"
CC = os.environ.get("CC", "cc")
EVERY_KIND = pytest.mark.parametrize("kind", MATRIX_TYPES, ids=MATRIX_TYPES.values())
ROWS = 69  # five groups, the last of five rows: two calls of tiles, neither full


@pytest.fixture(scope="session")
def emulated(tmp_path_factory):
    """The kernels, plain but for tiles in C."""
    if shutil.which(CC) is None:
        pytest.skip("needs a C compiler")
    target = tmp_path_factory.mktemp("tiles") / "emulated.so"
    flags = [
        "-O1",
        "-std=gnu11",
        "-fvisibility=hidden",
        "-ffp-contract=off",
        "-pthread",
        "-shared",
        "-fPIC",
        "-Wno-psabi",
    ]
    sources = sorted(map(str, KERNELS.glob("*.c")))
    headers = sysconfig.get_path("include")
    subprocess.run([CC, *flags, "-DEMULATED_TILES", "-I", headers, "-o", target, *sources, "-lm"], check=True)
    library = ctypes.CDLL(str(target))
    library.didyma_packed_bytes.restype = ctypes.c_int64
    return library


@pytest.fixture(params=["emulated", "amx"])
def tiles(request, monkeypatch):
    """The variant's number, and how many groups tiles have multiplied so far; every number of tokens goes to tiles."""
    if request.param == "emulated":
        library = request.getfixturevalue("emulated")
        monkeypatch.setattr(cpu_kernels, "library", lambda: library)
    elif not (cpu_kernels.available() and cpu_kernels.has_tiles()):
        pytest.skip("this processor has no AMX, or the system does not let this process use it")
    library = cpu_kernels.library()
    limits = [ctypes.c_int.in_dll(library, name) for name in ("didyma_tiles_from", "didyma_tiles_from_floats")]
    before = [limit.value for limit in limits]
    for limit in limits:
        limit.value = 1
    yield int(library.didyma_best_variant()), lambda: ctypes.c_int64.in_dll(library, "didyma_by_tiles").value
    for limit, value in zip(limits, before, strict=True):
        limit.value = value


def numbers(tokens, columns, seed):
    """Activations of every size, the first ones at their limits and 0."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-(2**31) + 1, 2**31, (tokens, columns)) >> rng.integers(0, 31, (tokens, 1))
    x[:3] = np.array([[2**31 - 1], [-(2**31) + 1], [0]])[:tokens]
    return x


def assert_same(matrix, x, variant, threads=2):
    """Two outputs of one product: with a bias and limits, and added to the residual stream."""
    tokens, columns = x.shape
    rng = np.random.default_rng(tokens)
    kernels, packed, quantized = Kernels(variant, threads), Packed(matrix, threads), ops.quantize(x)
    rows = kernels.quantize(x.astype(np.int32), Rows(tokens, columns))
    weights, down, bias = matrix.integers(), matrix.bits + 2, rng.integers(-(2**31), 2**31, matrix.rows)
    want = ops.linear(quantized, weights, 20, 18, bias, INT32, matrix.bits)
    got = kernels.linear(packed, rows, tokens, down, bias, np.empty(want.shape, np.int32), ("y",))
    assert (got == want).all()
    assert kernels.saturated["y"] == (np.abs(want) == INT32).sum()
    residual = rng.integers(-(2**47) + 1, 2**47, want.shape)
    want = ops.add(residual, ops.linear(quantized, weights, 20, 18, None, LARGEST_RESIDUAL, matrix.bits))
    assert (kernels.linear(packed, rows, tokens, down, None, residual, ("y", "sum"), add=True) == want).all()


@EVERY_KIND
@pytest.mark.parametrize("tokens", [1, 15, 17, 40])
def test_linear__every_kind__as_the_reference(tiles, kind, tokens):
    """Three chunks of columns; the last ends within a tile, or at a super block's end."""
    variant, multiplied = tiles
    columns = 1280 if BLOCKS[kind][0] == 256 else 1056
    matrix, before = self_test.matrix("of any kind", kind, ROWS, columns), multiplied()
    assert_same(matrix, numbers(tokens, columns, tokens), variant)
    assert multiplied() - before == 2 * -(-ROWS // 16)


@pytest.mark.parametrize("kind", [Q8_0, F16], ids=MATRIX_TYPES.get)
@pytest.mark.parametrize("tokens", range(1, 41))
def test_linear__any_number_of_tokens__as_the_reference(tiles, kind, tokens):
    variant, _ = tiles
    columns = 96 if kind == Q8_0 else 83
    assert_same(self_test.matrix("few", kind, 21, columns), numbers(tokens, columns, tokens), variant)


@pytest.mark.parametrize("tokens", [256, 257, 531])
def test_linear__more_tokens_than_tiles_take_at_once__as_the_reference(tiles, tokens):
    variant, _ = tiles
    for kind in (Q8_0, F16):
        assert_same(self_test.matrix("many", kind, 37, 64), numbers(tokens, 64, tokens), variant)


@EVERY_KIND
@pytest.mark.parametrize("seed", range(2))
def test_linear__extreme_weights__as_the_reference(tiles, kind, seed):
    """Some groups fit tiles, others do not: their scales may be as large as a file's."""
    variant, _ = tiles
    matrix = extreme(kind, ROWS, 1024, seed)
    check_bound(matrix)
    assert_same(matrix, numbers(19, 1024, seed), variant)


@pytest.mark.parametrize("largest", [2**23 - 1, 2**23, 2**24, 2**31 - 2**7])
@pytest.mark.parametrize("sign", [1, -1])
def test_linear__weights_at_a_bytes_end__as_the_reference(tiles, largest, sign):
    """In the second chunk alone, so that sums of three bytes go on with four."""
    variant, multiplied = tiles
    weights = np.random.default_rng(5).integers(-(2**20), 2**20, (16, 1100)).astype(np.float32)
    weights[:, 600:608] = sign * largest
    raw = np.ascontiguousarray(weights * np.float32(2.0**-24)).view(np.uint8)
    matrix, before = Matrix("ends", F32, 16, 1100, raw, 24), multiplied()
    assert np.abs(matrix.integers()).max() == np.abs(np.float32(largest))
    assert_same(matrix, numbers(18, 1100, 1), variant)
    assert multiplied() - before == 2


def test_linear__largest_sums__fit_int32(tiles):
    """As many columns as sums may have, every byte of weights and mantissas at its largest."""
    variant, multiplied = tiles
    raw = np.full((16, 16384), np.float32((2**31 - 2**7) * 2.0**-24)).view(np.uint8)
    matrix, before = Matrix("largest", F32, 16, 16384, raw, 24), multiplied()
    x = np.stack([np.full(16384, value) for value in (LARGEST_MANTISSA, -LARGEST_MANTISSA, 255, -1, 0x7EFF)])
    assert_same(matrix, x, variant)
    assert multiplied() - before == 2


def test_linear__more_columns_than_sums_may_have__are_not_for_tiles(tiles):
    variant, multiplied = tiles
    matrix, before = self_test.matrix("wide", Q8_0, 16, 16384 + 32), multiplied()
    assert_same(matrix, numbers(3, matrix.columns, 1), variant)
    assert multiplied() == before


def test_linear__scales_that_tiles_cannot_hold__are_not_for_tiles(tiles):
    variant, multiplied = tiles
    raw = np.zeros((32, 34), np.uint8)
    raw[:, 2:] = 1
    raw[:, 1] = 0x3C  # 1.0: 2^24, which times 128 would not fit; in the second group a half
    raw[16:, 1] = 0x34  # 1/4
    before = multiplied()
    assert_same(Matrix("two groups", Q8_0, 32, 32, raw), numbers(20, 32, 1), variant)
    assert multiplied() - before == 2


def test_linear__rows_that_were_filled_anew__are_split_anew(tiles):
    variant, _ = tiles
    matrix = self_test.matrix("again", Q4_K, 16, 256)
    kernels, packed, rows = Kernels(variant, 1), Packed(matrix, 1), Rows(20, 256)
    for seed in range(3):
        quantized = ops.quantize(numbers(20, 256, seed))
        rows.fill(quantized.mantissa, quantized.shift)
        got = kernels.linear(packed, rows, 20, 26, None, np.empty((20, 16), np.int32), ())
        assert (got == ops.linear(quantized, matrix.integers(), 20, 18, None, INT32, 24)).all()


@pytest.mark.parametrize("family", self_test.KNOWN)
def test_forward__known_answer__is_given(tiles, family):
    variant, multiplied = tiles
    before = multiplied()
    digest = self_test.digest(CpuForward(self_test.model(family), 2, variant))
    assert digest == self_test.KNOWN[family]
    assert multiplied() > before


# WHICH VARIANT


@pytest.fixture
def has_amx():
    if not (cpu_kernels.available() and cpu_kernels.has_tiles()):
        pytest.skip("this processor has no AMX, or the system does not let this process use it")


REFUSED = """
import ctypes, struct
libc = ctypes.CDLL(None, use_errno=True)
program = b"".join(struct.pack("HBBI", *line) for line in (
    (0x20, 0, 0, 0),            # the system call's number
    (0x15, 0, 1, 158),          # arch_prctl
    (0x06, 0, 0, 0x00050001),   # is not permitted
    (0x06, 0, 0, 0x7FFF0000),   # others are
))
lines = ctypes.create_string_buffer(program)
given = ctypes.create_string_buffer(struct.pack("HxxxxxxP", 4, ctypes.addressof(lines)))
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, given, 0, 0) == 0
from oracle.engines.exact import cpu_kernels, self_test
from oracle.engines.exact.cpu import CpuForward
self_test.check(lambda weights: CpuForward(weights, 2))
print(cpu_kernels.in_words())
"""


def test_best_variant__the_system_refuses_tiles__the_next_one_serves_and_says_why(has_amx):
    done = subprocess.run([sys.executable, "-c", REFUSED], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "avx512, since the operating system refuses AMX's tiles to this process\n"


@pytest.mark.parametrize("state", [-1, -2])
def test_in_words__processor_with_tiles_that_may_not_be_used__says_why(emulated, monkeypatch, state):
    class Refusing:
        didyma_tiles = staticmethod(lambda: state)
        didyma_best_variant = staticmethod(lambda: 0)

    monkeypatch.setattr(cpu_kernels, "library", Refusing)
    monkeypatch.setattr(cpu_kernels, "variants", lambda: ("plain", "amx"))
    assert cpu_kernels.in_words() == f"plain, since {cpu_kernels.NO_TILES[state]}"
    assert not cpu_kernels.has_tiles()


def test_best_variant__one_is_named__is_that(monkeypatch):
    best = cpu_kernels.best_variant()
    monkeypatch.setenv("DIDYMA_KERNELS", "plain")
    assert (cpu_kernels.best_variant(), cpu_kernels.in_words()[:5]) == (0, "plain")
    monkeypatch.setenv("DIDYMA_KERNELS", cpu_kernels.variants()[best])
    assert cpu_kernels.best_variant() == best


def test_best_variant__none_of_that_name_runs_here__is_refused(monkeypatch):
    monkeypatch.setenv("DIDYMA_KERNELS", "avx1024")
    with pytest.raises(ValueError, match="DIDYMA_KERNELS=avx1024: this processor runs plain"):
        cpu_kernels.best_variant()
