"""Amounts of ether in wei, and the addresses that nobody holds a key of."""

from decimal import Decimal
from typing import Final

from eth_typing import ChecksumAddress, HexAddress, HexStr

GWEI: Final = 10**9
FINNEY: Final = 10**15
ETHER: Final = 10**18
NOBODY: Final = ChecksumAddress(HexAddress(HexStr("0x" + "00" * 20)))
"""What contracts hold where there is no address: no attester, no challenger, no key."""
BURN: Final = ChecksumAddress(HexAddress(HexStr("0x000000000000000000000000000000000000dEaD")))
"""Where contracts send slashed ether."""


def ether(wei: int) -> str:
    """An amount in ether, exactly."""
    text = f"{Decimal(wei) / ETHER:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def amount(wei: int) -> str:
    """The same for people, with its unit: gwei where ether would be all zeros."""
    if abs(wei) >= FINNEY // 1000 or not wei:
        return f"{ether(wei)} ether"
    return f"{ether(wei * GWEI)} gwei"
