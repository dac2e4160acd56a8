"""The C kernels of `kernels/`, called through ctypes: loading them, packing weights for them, their plain structures.

The extension is built when the package is installed (`setup.py`). Without it `available` is false, and `cpu.py` is
not used. A variant is the same operators for one instruction set: 0 is plain C, those above it are faster (`variants`).
"""

import ctypes
import functools
import importlib.util
import mmap
import os
from collections import Counter
from ctypes import Structure, byref, c_char_p, c_int, c_int64, c_void_p
from typing import Any

import numpy as np
import numpy.typing as npt

from oracle.engines.exact.constants import INT32, LARGEST_RESIDUAL, RESIDUAL_BITS
from oracle.engines.exact.fixed import Integers
from oracle.engines.exact.operators import UNIT_BITS
from oracle.engines.exact.weights import Matrix, Norm

MODULE = "oracle.engines.exact._kernels"
INTERFACE = 5
"""kernels.c has the same."""
GROUP, HALF, TILE, DEPTH = 16, 16, 8, 64  # kernels.h
ATTENDED = ("q_norm", "q_rope", "k_norm", "k_rope", "v", "score")  # attention.c, `enum count`
Saturated = Counter[str]  # as `model.Saturated`
CHOICE = "DIDYMA_KERNELS"
NO_TILES = {
    -1: "the operating system does not keep AMX's tiles",
    -2: "the operating system refuses AMX's tiles to this process",
}  # kernels.c, `didyma_tiles`
PACKED_AT_ONCE = 16 << 20  # bytes of the file that lie in memory a second time while they are being packed

Array = npt.NDArray[Any]


def available() -> bool:
    return importlib.util.find_spec(MODULE) is not None


@functools.cache
def library() -> ctypes.CDLL:
    spec = importlib.util.find_spec(MODULE)
    if spec is None or spec.origin is None:
        raise RuntimeError("the exact engine's kernels were not built; install the package where a C compiler is")
    loaded = ctypes.CDLL(spec.origin)
    if not hasattr(loaded, "didyma_interface") or c_int.in_dll(loaded, "didyma_interface").value != INTERFACE:
        raise RuntimeError("the exact engine's kernels are of another version; run: pip install --no-deps --editable .")
    loaded.didyma_packed_bytes.restype = c_int64
    return loaded


@functools.cache
def variants() -> tuple[str, ...]:
    """Names of those that were built, the fastest last: of x86 (the last by tiles of AMX), or of ARM."""
    named, names = library().didyma_variant_name, list[str]()
    named.restype = c_char_p
    while (name := named(c_int(len(names)))) is not None:
        names.append(name.decode())
    return tuple(names)


def best_variant() -> int:
    """The fastest that this processor runs, or the one that $DIDYMA_KERNELS names; those below it run as well.

    Raises ValueError where that names none that runs here.
    """
    best, wanted = int(library().didyma_best_variant()), os.environ.get(CHOICE)
    if not wanted:
        return best
    runs = variants()[: best + 1]
    if wanted not in runs:
        raise ValueError(f"{CHOICE}={wanted}: this processor runs {', '.join(runs)}")
    return runs.index(wanted)


def _tiles() -> int:
    """What `didyma_tiles` of kernels.c says; 0 of kernels that were built before there were any."""
    return int(library().didyma_tiles()) if hasattr(library(), "didyma_tiles") else 0


def has_tiles() -> bool:
    """Whether this process may use tiles of Intel's AMX."""
    return _tiles() == 1


def in_words() -> str:
    """The variant in use, and why it is not AMX's where the processor has that."""
    name = variants()[best_variant()]
    refusal = NO_TILES.get(_tiles())
    return name if refusal is None else f"{name}, since {refusal}"


def pointer(array: Array | None) -> c_void_p:
    """Pointer to a contiguous array, which must outlive the call."""
    if array is None:
        return c_void_p()
    assert array.flags.c_contiguous
    return c_void_p(array.ctypes.data)


def paired(powers: Integers) -> Integers:
    """(256,): each entry of the table below its difference to the next, so that one look-up finds both."""
    return (np.diff(powers) << 32) + powers[:-1]


class _Matrix(Structure):
    _fields_ = [(name, c_int64) for name in ("kind", "wide", "rows", "columns", "bits")] + [
        ("data", c_void_p),
    ]


class _Rows(Structure):
    _fields_ = (
        [("stride", c_int64)] + [(name, c_void_p) for name in ("x", "sums", "shift", "bytes")] + [("split", c_int64)]
    )


class Heads(Structure):
    """One layer's heads, as `attention.c` has them."""

    _fields_ = [
        (name, c_int64)
        for name in (
            "layer",
            "heads",
            "kv_heads",
            "width",
            "pairs",
            "interleaved",
            "half",
            "padded",
            "scale",
            "epsilon",
            "window",
            "q_down",
            "k_down",
        )
    ] + [(name, c_void_p) for name in ("q_norm", "k_norm")]


class Extension(Structure):
    """How many tokens a pass adds to a sequence, and its cache; `attention.c` has the shapes."""

    _fields_ = [(name, c_int64) for name in ("tokens", "start", "capacity")] + [
        (name, c_void_p) for name in ("keys", "key_shift", "values")
    ]


class Packed:
    """A weight matrix rearranged for the kernels, as large as in the file."""

    def __init__(self, matrix: Matrix, threads: int) -> None:
        lib = library()
        self.rows, self.columns, self.bits = matrix.rows, matrix.columns, matrix.bits
        size = lib.didyma_packed_bytes(c_int64(matrix.kind), c_int64(matrix.rows), c_int64(matrix.columns))
        self._data = np.empty(size, np.uint8)
        self._struct = _Matrix(matrix.kind, 0, matrix.rows, matrix.columns, matrix.bits, self._data.ctypes.data)
        step = max(GROUP, PACKED_AT_ONCE // matrix.raw.shape[1] // GROUP * GROUP)
        for first in range(0, matrix.rows, step):
            part = matrix.raw[first : first + step]
            count = c_int64(len(part))
            lib.didyma_pack(byref(self._struct), pointer(part), c_int64(first), count, c_int(threads))
            _forget(part)

    @property
    def wide(self) -> bool:
        """Some scale does not fit 32 bits, so only the plain variant multiplies it."""
        return bool(self._struct.wide)

    @property
    def reference(self) -> Any:
        return byref(self._struct)


def _forget(part: Array) -> None:
    """Lets the kernel drop a file's pages from this process; they are read again when touched."""
    base: Any = part
    while base is not None and not isinstance(base, mmap.mmap):
        base = getattr(base, "base", None)
    if base is None or not hasattr(mmap, "MADV_DONTNEED"):
        return
    start = part.ctypes.data - np.frombuffer(base, np.uint8).ctypes.data
    first = start // mmap.PAGESIZE * mmap.PAGESIZE
    base.madvise(mmap.MADV_DONTNEED, first, start + part.nbytes - first)


class Rows:
    """Quantized rows of activations in the forms that the kernels read; reused from call to call."""

    def __init__(self, capacity: int, columns: int) -> None:
        stride = -(-columns // 32) * 32
        capacity = -(-capacity // TILE) * TILE
        self.x = np.zeros((capacity, stride), np.int16)
        self._sums = np.zeros((capacity, stride // HALF), np.int32)
        self.shift = np.zeros(capacity, np.int32)
        size = -(-capacity // GROUP) * GROUP * -(-stride // DEPTH) * DEPTH * 2 if has_tiles() else 0
        room = np.empty(size + DEPTH, np.uint8)  # memory is taken when it is written
        self._bytes = room[-room.ctypes.data % DEPTH :]  # a tile's rows are cache lines
        fields: list[Array] = [self.x, self._sums, self.shift, *([self._bytes] if size else [])]
        self._struct = _Rows(stride, *(array.ctypes.data for array in fields))

    def fill(self, mantissa: Integers, shift: Integers) -> "Rows":
        """Takes rows that were quantized elsewhere. mantissa: (rows, columns); shift: (rows,)."""
        count, columns = mantissa.shape
        self.x[:count, :columns] = mantissa
        self.shift[:count] = shift
        self._sums[:count] = self.x[:count].reshape(count, -1, HALF).sum(axis=-1, dtype=np.int32)
        self._struct.split = 0
        return self

    @property
    def reference(self) -> Any:
        return byref(self._struct)


class Kernels:
    """The operators under one variant and number of threads. x, y, ...: contiguous int32 of (tokens, columns).

    saturated: `model.Saturated`, of all that was computed.
    """

    def __init__(self, variant: int, threads: int) -> None:
        if not 0 <= variant <= best_variant():
            raise ValueError(f"this processor has no variant {variant}")
        self._how = c_int(variant), c_int(threads)
        self._lib = library()
        self.saturated = Saturated()

    def linear(
        self,
        w: Packed,
        rows: Rows,
        tokens: int,
        down: int,
        bias: Integers | None,
        into: Array,
        names: tuple[str, ...],
        add: bool = False,
    ) -> Array:
        """`operators.linear` with down = w.bits + bits - to_bits; `add`: then `operators.add` to what `into` holds.

        into: int32, or int64 for what the residual stream takes. names: what the product, and the sum, are counted as.
        """
        wide = into.dtype == np.int64
        counts = np.zeros(2, np.int64)
        self._lib.didyma_linear(
            *self._how,
            w.reference,
            rows.reference,
            c_int64(tokens),
            c_int(down),
            pointer(bias),
            c_int64(LARGEST_RESIDUAL if wide else INT32),
            c_int(add),
            pointer(None if wide else into),
            pointer(into if wide else None),
            pointer(counts),
        )
        self._count(names, counts)
        return into

    def normalize(self, x: Array, norm: Norm, epsilon: int, to_bits: int, rows: Rows, name: str) -> Rows:
        """x: int64."""
        tokens, columns = map(c_int64, x.shape)
        down, counts = c_int(UNIT_BITS + norm.bits - to_bits), np.zeros(1, np.int64)
        sizes = tokens, columns, pointer(norm.weight), c_int64(epsilon), down, c_int64(LARGEST_RESIDUAL)
        _done(self._lib.didyma_normalize(*self._how, pointer(x), *sizes, rows.reference, pointer(counts)))
        self._count((name,), counts)
        return rows

    def add_normalized(self, x: Array, norm: Norm, epsilon: int, into: Array, names: tuple[str, str]) -> None:
        """Adds the norm of x to the residual stream. x, into: int64. names: what norm and sum are counted as."""
        tokens, columns = map(c_int64, x.shape)
        down, counts = c_int(UNIT_BITS + norm.bits - RESIDUAL_BITS), np.zeros(2, np.int64)
        sizes = tokens, columns, pointer(norm.weight), c_int64(epsilon), down, c_int64(LARGEST_RESIDUAL)
        _done(self._lib.didyma_add_normalized(*self._how, pointer(x), *sizes, pointer(into), pointer(counts)))
        self._count(names, counts)

    def quantize(self, x: Array, rows: Rows) -> Rows:
        tokens, columns = map(c_int64, x.shape)
        self._lib.didyma_quantize(*self._how, pointer(x), tokens, columns, rows.reference)
        return rows

    def gate(self, gate: Array, up: Array, powers: Integers, rows: Rows, is_gelu: bool) -> Rows:
        """`operators.gated` or `operators.gated_gelu`, quantized. powers: `paired`."""
        tokens, columns = map(c_int64, gate.shape)
        inputs, counts = (pointer(gate), pointer(up), tokens, columns, c_int(is_gelu)), np.zeros(1, np.int64)
        _done(self._lib.didyma_gate(*self._how, *inputs, pointer(powers), rows.reference, pointer(counts)))
        self._count(("act",), counts)
        return rows

    def attend(
        self,
        heads: Heads,
        extensions: "ctypes.Array[Extension]",
        inputs: tuple[Array, ...],
        tables: tuple[Integers, ...],
        out: Array,
    ) -> None:
        """Extends the sequences' caches and attends. inputs: q, k, v of all their tokens, one sequence after another;
        tables: cosines and sines of each token, and `paired`."""
        counts = np.zeros(len(ATTENDED), np.int64)
        arrays = [pointer(array) for array in (*inputs, *tables, out, counts)]
        _done(self._lib.didyma_attend(*self._how, byref(heads), extensions, c_int64(len(extensions)), *arrays))
        self._count(ATTENDED, counts)

    def _count(self, names: tuple[str, ...], counts: npt.NDArray[np.int64]) -> None:
        self.saturated.update({name: int(count) for name, count in zip(names, counts, strict=False) if count})

    def draws(self, seed: bytes, position: int, tokens: int) -> npt.NDArray[np.uint32]:
        """The 32-bit draws of `sampling` for token ids below `tokens`."""
        eights = -(-tokens // 64)
        digests = np.empty(eights * 256, np.uint8)
        head = np.frombuffer(seed + position.to_bytes(32, "big"), np.uint8)
        self._lib.didyma_draws(*self._how, pointer(head), c_int64(eights), pointer(digests))
        return digests.view(">u4")[:tokens]


def _done(status: int) -> None:
    if status != 0:
        raise MemoryError("no memory for a step of the exact engine")


def default_threads() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
