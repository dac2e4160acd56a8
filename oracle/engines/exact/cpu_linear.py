"""The reference's linear layers by the C kernels: what makes a traced pass of a large model bearable.

All that is not a matrix product stays the reference's own. A matrix is packed when it is used and forgotten after, so
that memory holds one at a time.
"""

import numpy as np

from oracle.engines.exact.constants import INT32, LARGEST_RESIDUAL
from oracle.engines.exact.cpu_kernels import Kernels, Packed, Rows, best_variant, default_threads
from oracle.engines.exact.fixed import Integers
from oracle.engines.exact.operators import Row
from oracle.engines.exact.weights import Matrix


class CpuLinear:
    """A `model.Linear`, equal to `model.plain_linear`."""

    def __init__(self, threads: int | None = None) -> None:
        """threads: None for as many as there are processors."""
        self._threads = default_threads() if threads is None else threads
        self._kernels = Kernels(best_variant(), self._threads)

    def __call__(
        self,
        row: Row,
        matrix: Matrix,
        bits: int,
        to_bits: int,
        bias: Integers | None = None,
        largest: int = INT32,
    ) -> Integers:
        mantissa = row.mantissa.reshape(-1, matrix.columns)
        count = len(mantissa)
        rows = Rows(count, matrix.columns).fill(mantissa, row.shift.reshape(-1))
        out = np.empty((count, matrix.rows), np.int64 if largest == LARGEST_RESIDUAL else np.int32)
        packed = Packed(matrix, self._threads)
        self._kernels.linear(packed, rows, count, matrix.bits + bits - to_bits, bias, out, ())
        return out.astype(np.int64).reshape(*row.shift.shape, matrix.rows)
