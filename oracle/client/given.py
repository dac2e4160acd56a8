"""What callers of the client give it. What no type of the contracts holds is refused by name; the chain is not asked.

js/src/given.ts does the same in the same words; tests/vectors/clients.json holds both to it. What a type can hold and a
contract refuses, only the contract refuses.
"""

import math
from typing import TypeGuard

from eth_typing import ChecksumAddress

from oracle.chain.units import address_of
from oracle.errors import BadArgument
from oracle.ids import RequestId, ServiceId

WORD = 256
MOST_TEMPERATURE = 65_535
ONE = 1 << 16
"""A temperature of 1, as the contracts know it."""
FIELDS = {
    "maxTokens": 24,
    "temperature": 32,
    "cutoff": 32,
    "callbackGas": 32,
    "callbackGasPriceWei": 64,
    "deadline": 48,
    "valueFinney": 24,
}
"""The numbers of `IOracle.Params` in their order, by their bits; after them comes `isPrivate`."""


def service_of(given: object) -> ServiceId:
    """Raises BadArgument."""
    if not isinstance(given, bytes) or len(given) != 32:
        raise BadArgument("service", "is not an id: 32 bytes")
    return ServiceId(given)


def request_of(given: object) -> RequestId:
    """Raises BadArgument."""
    if not _is_whole(given) or not 0 <= given < 1 << WORD:
        raise BadArgument("requestId", "is not an id: a whole number of 256 bits")
    return RequestId(given)


def account_of(name: str, given: object) -> ChecksumAddress:
    """Raises BadArgument."""
    try:
        return address_of(given)
    except ValueError:
        what = "is not an address: 0x and 40 hexadecimal digits, whose capitals are a checksum"
        raise BadArgument(name, what) from None


def prompt_of(given: object) -> bytes:
    """Raises BadArgument."""
    if not isinstance(given, bytes | bytearray):
        raise BadArgument("prompt", "must be bytes")
    return bytes(given)


def whole(name: str, given: object, bits: int) -> int:
    """A number that so many bits hold. Raises BadArgument."""
    if not _is_whole(given) or not 0 <= given < 1 << bits:
        raise BadArgument(name, f"must be a whole number from 0 to 2^{bits} - 1")
    return given


def seconds_of(given: object) -> int:
    """From the latest block to a deadline; negative for one that has passed. Raises BadArgument."""
    if not _is_whole(given):
        raise BadArgument("deadlineSeconds", "must be a whole number")
    return given


def temperature_of(given: object) -> int:
    """With 16 fraction bits. Raises BadArgument."""
    if not isinstance(given, int | float) or isinstance(given, bool) or not 0 <= given <= MOST_TEMPERATURE:
        raise BadArgument("temperature", "must be a number from 0 to 65535")
    return round(given * ONE)


def margin_of(given: object) -> float:
    """In logits. Raises BadArgument."""
    if not isinstance(given, int | float) or isinstance(given, bool) or math.isnan(given) or given < 0:
        raise BadArgument("leastMargin", "must be a number, 0 or more")
    return given


def params_of(given: object) -> tuple[int, ...]:
    """`IOracle.Params`. Raises BadArgument."""
    if not isinstance(given, tuple | list) or len(given) != len(FIELDS) + 1:
        raise BadArgument("params", "must have the fields of IOracle.Params")
    *numbers, is_private = given
    if not isinstance(is_private, bool):
        raise BadArgument("isPrivate", "must be true or false")
    checked = (whole(name, number, bits) for (name, bits), number in zip(FIELDS.items(), numbers, strict=True))
    return (*checked, is_private)


def _is_whole(given: object) -> TypeGuard[int]:
    return isinstance(given, int) and not isinstance(given, bool)
