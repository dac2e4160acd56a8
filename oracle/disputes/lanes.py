"""Quantized rows in the layout that makes their dot products cheap on chain.

A 256-bit multiplication is a product of polynomials in 2^32. If eight weights lie in the slots of one word and their
eight mantissas in reverse in another's, the top slot of the product is the sum of the eight products. So of every 32
mantissas, number 4i + j goes to slot i from the bottom of word j // 2, to the slot's upper half if j is even, plus 2^15
so that it has no sign. `contracts/disputes/referee/Quants.sol` reads it.
"""

import numpy as np

from oracle.engines.exact.fixed import Integers

BLOCK = 32


def pack(mantissa: Integers) -> bytes:
    """64 bytes for each 32 numbers of one row, which is padded with zeros. mantissa: (N,), within int16."""
    padded = np.zeros(-(-len(mantissa) // BLOCK) * BLOCK, np.int64)
    padded[: len(mantissa)] = mantissa
    lanes = (padded.reshape(-1, 8, 4) + (1 << 15)).astype(">u2")  # [block, i, j]
    words = lanes.reshape(-1, 8, 2, 2)[:, ::-1].transpose(0, 2, 1, 3)  # [block, j // 2, slot from the top, j % 2]
    return words.tobytes()


def unpack(data: bytes) -> Integers:
    """The padded row. Inverse of `pack`."""
    words = np.frombuffer(data, ">u2").astype(np.int64).reshape(-1, 2, 8, 2)
    lanes = words.transpose(0, 2, 1, 3)[:, ::-1].reshape(-1, 8, 4)
    result: Integers = lanes.reshape(-1) - (1 << 15)
    return result
