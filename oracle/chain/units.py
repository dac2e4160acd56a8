"""Amounts of ether in wei, and addresses: as people write them, and those that nobody holds a key of."""

import re
from decimal import Decimal
from typing import Final

from eth_typing import ChecksumAddress, HexAddress, HexStr
from eth_utils.address import to_checksum_address

GWEI: Final = 10**9
FINNEY: Final = 10**15
ETHER: Final = 10**18
NOBODY: Final = ChecksumAddress(HexAddress(HexStr("0x" + "00" * 20)))
"""What contracts hold where there is no address: no attester, no challenger, no key."""
BURN: Final = ChecksumAddress(HexAddress(HexStr("0x000000000000000000000000000000000000dEaD")))
"""Where contracts send slashed ether."""


def address_of(text: object) -> ChecksumAddress:
    """An address as people write it: 0x and 40 digits. Capitals among small letters are its checksum (ERC-55), or it is
    mistyped. Raises ValueError."""
    if not isinstance(text, str) or not re.fullmatch("0x[0-9a-fA-F]{40}", text):
        raise ValueError("not an address")
    found = to_checksum_address(text)
    if text != found and text[2:] not in (text[2:].lower(), text[2:].upper()):
        raise ValueError("an address whose capitals are not its checksum: it is mistyped, or not copied whole")
    return found


def ether(wei: int) -> str:
    """An amount in ether, exactly."""
    text = f"{Decimal(wei) / ETHER:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def amount(wei: int) -> str:
    """The same for people, with its unit: gwei where ether would be all zeros."""
    if abs(wei) >= FINNEY // 1000 or not wei:
        return f"{ether(wei)} ether"
    return f"{ether(wei * GWEI)} gwei"
