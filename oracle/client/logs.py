"""Reading logs over any range of blocks: endpoints refuse ranges that are too long or hold too many logs.

A range that is refused is asked for in halves. One whose single block is refused is refused for another reason.
"""

from collections.abc import Callable
from typing import Any

import requests
from web3.exceptions import Web3RPCError

from oracle.errors import RpcRefused

TOO_MUCH = frozenset([400, 413, 422, 500, 502, 503, 504])
"""HTTP statuses with which endpoints turn down a range, of a Web3 that is not `chain.connect`'s."""


def in_halves(read: Callable[[int, int], Any], first: int, last: int) -> list[Any]:
    """What `read` gives from block `first` to block `last`, both included, in order. Raises as `read`."""
    if first > last:
        return []
    try:
        return list(read(first, last))
    except (RpcRefused, Web3RPCError, requests.HTTPError) as error:
        if first == last or not _may_be_too_much(error):
            raise
    middle = (first + last) // 2
    return in_halves(read, first, middle) + in_halves(read, middle + 1, last)


def _may_be_too_much(error: Exception) -> bool:
    if isinstance(error, requests.HTTPError):
        return error.response is not None and error.response.status_code in TOO_MUCH
    return True
