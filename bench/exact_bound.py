"""How much faster than generating an answer a machine can check it: the cores' products over the memory's bytes.

Whoever generates reads all weights for each token, as fast as memory brings them. Whoever checks reads them once for
all tokens, so that only the cores' products take time. A weight of Q8_0 is 34/32 bytes and one product of 16 bits, or
six of bytes by tiles where there are any: the bound takes what is faster.
"""

import ctypes
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

SOURCE = Path(__file__).with_suffix(".c")
BYTES_A_WEIGHT = 34 / 32  # of Q8_0
ROUNDS = 1 << 24  # of ten instructions each
TILE_ROUNDS = 1 << 22  # of six
READ_BYTES = 1 << 29  # by each thread: beyond any cache
TIMES = 5

Figures = dict[str, float]


def compiled() -> ctypes.CDLL:
    """The C beside this file, for this processor. Raises CalledProcessError where it does not compile."""
    folder = Path(tempfile.mkdtemp(prefix="didyma-bound-"))
    compiler = os.environ.get("CC", "cc")
    try:
        command = [compiler, "-O3", "-march=native", "-shared", "-fPIC", str(SOURCE), "-o", str(folder / "bound.so")]
        subprocess.run(command, check=True)
        library = ctypes.CDLL(str(folder / "bound.so"))
    finally:
        shutil.rmtree(folder)
    library.products.argtypes, library.products.restype = [ctypes.c_int64], ctypes.c_int64
    library.tile_products.argtypes, library.tile_products.restype = [ctypes.c_int64], ctypes.c_int64
    library.read_words.argtypes, library.read_words.restype = [ctypes.c_void_p, ctypes.c_int64], ctypes.c_uint64
    return library


def bound(threads: int) -> Figures:
    """Keys: products_per_ns, tile_products_per_ns (0 without tiles), memory_bytes_per_ns of so many cores together,
    check_bound."""
    library = compiled()
    words = [np.ones(READ_BYTES // 8, np.uint64) for _ in range(threads)]
    multiply = [partial(library.products, ROUNDS)] * threads
    by_tiles = [partial(library.tile_products, TILE_ROUNDS)] * threads
    read = [partial(library.read_words, each.ctypes.data, each.size) for each in words]
    products_per_ns = fastest(multiply)
    tiles_per_ns = fastest(by_tiles)
    bytes_per_ns = 8 * fastest(read)
    return {
        "products_per_ns": products_per_ns,
        "tile_products_per_ns": tiles_per_ns,
        "memory_bytes_per_ns": bytes_per_ns,
        "check_bound": max(products_per_ns, tiles_per_ns) / bytes_per_ns * BYTES_A_WEIGHT,
    }


def fastest(works: Sequence[Callable[[], int]]) -> float:
    """What all of them return, a nanosecond, side by side; the best of several times, since others slow it down."""
    best = 0.0
    with ThreadPoolExecutor(len(works)) as threads:
        for _ in range(TIMES):
            started = time.perf_counter_ns()
            done = sum(threads.map(lambda work: work(), works))
            best = max(best, done / (time.perf_counter_ns() - started))
    return best
