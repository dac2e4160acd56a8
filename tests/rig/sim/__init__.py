"""A chain in this process: the contracts' real bytecode under Osaka's rules, without a node and without sockets.

py-evm raises Python's limit of recursion for the whole process when it is imported, beyond what CPython's own C code
can stand: a hostile JSON document would then end the process that reads it. Here it is raised only while the EVM runs.

Of the two programs for Keccak that come with Ape the other one is used here: it takes a tenth of the time.
"""

import contextlib
import sys
from collections.abc import Iterator

_ORDINARY = sys.getrecursionlimit()

import eth  # noqa: E402
from eth_hash.auto import keccak  # noqa: E402
from eth_hash.backends import pysha3  # noqa: E402

keccak.hasher = pysha3.keccak256

_DEEP = max(_ORDINARY, eth.EVM_RECURSION_LIMIT)
sys.setrecursionlimit(_ORDINARY)


@contextlib.contextmanager
def deep_calls() -> Iterator[None]:
    """Room for the EVM's 1,024 calls within each other."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, _DEEP))
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)
