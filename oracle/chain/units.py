"""Amounts of ether in wei, and the addresses that nobody holds a key of."""

from typing import Final

from eth_typing import ChecksumAddress, HexAddress, HexStr

GWEI: Final = 10**9
FINNEY: Final = 10**15
ETHER: Final = 10**18
NOBODY: Final = ChecksumAddress(HexAddress(HexStr("0x" + "00" * 20)))
"""What contracts hold where there is no address: no attester, no challenger, no key."""
BURN: Final = ChecksumAddress(HexAddress(HexStr("0x000000000000000000000000000000000000dEaD")))
"""Where contracts send slashed ether."""
