"""Reads what people type: ids, addresses, amounts."""

from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated

import typer
from eth_typing import ChecksumAddress

from oracle.chain.units import ETHER, address_of
from oracle.errors import Refused, printable
from oracle.ids import RequestId, ServiceId

MOST_WEI = 1 << 128
MOST_SHOWN = 80
ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", help="Settings file (TOML); $DIDYMA_CONFIG by default.")
]
ServiceArgument = Annotated[str, typer.Argument(help="The service's id.")]


def bytes32(text: str) -> ServiceId:
    """32 bytes in hexadecimal. Raises Refused."""
    try:
        value = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        value = b""
    if len(value) != 32:
        raise Refused(f"{shown(text)} is not an id (32 bytes in hexadecimal: 0x and 64 digits)")
    return ServiceId(value)


def request_id(text: str) -> RequestId:
    """Raises Refused."""
    return RequestId(int.from_bytes(bytes32(text), "big"))


def address(text: str) -> ChecksumAddress:
    """Raises Refused."""
    try:
        return address_of(text)
    except ValueError:
        what = "0x and 40 hexadecimal digits, of which capitals among small letters are a checksum"
        raise Refused(f"{shown(text)} is not an address ({what})") from None


def wei(ether: str) -> int:
    """An amount of ether in wei. Raises Refused."""
    try:
        amount = Decimal(ether)
    except InvalidOperation:
        amount = Decimal(-1)
    if not amount.is_finite() or not 0 <= amount < MOST_WEI // ETHER or amount * ETHER != int(amount * ETHER):
        raise Refused(f"{shown(ether)} is not an amount of ether, such as 0.05")
    return int(amount * ETHER)


def shown(text: str) -> str:
    """What somebody typed, fit to be quoted."""
    return repr(printable(text if len(text) <= MOST_SHOWN else text[:MOST_SHOWN] + "..."))
