"""What Intel's documents say of a platform: the rules of `contracts/attestation/TcbLevels.sol`, plainly, and why.

The first level whose demands a part meets is the verdict on it, and a platform is as bad as its worst part: the
processor with its TDX module, that module where it is judged apart, and the quoting enclave. A quote of TDX 1.5 names
two modules, the one that launched the domain and the one that runs now; both are judged. A test compares with the
contract, and with `dcap-qvl`.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntFlag
from typing import Any

from oracle.errors import NoTcbLevel

TDX_PREFIX = "TDX_"
ADVISORY = re.compile(r"INTEL-SA-(\d+)", re.ASCII)
MOST_ADVISORIES = 8
"""That the contract keeps of a platform."""


class Flag(IntFlag):
    """As `IAttestationVerifier` has them."""

    OUT_OF_DATE = 1
    CONFIGURATION_NEEDED = 2
    SW_HARDENING_NEEDED = 4
    REVOKED = 8


UP_TO_DATE = Flag(0)
STATUSES = {
    "UpToDate": UP_TO_DATE,
    "SWHardeningNeeded": Flag.SW_HARDENING_NEEDED,
    "ConfigurationNeeded": Flag.CONFIGURATION_NEEDED,
    "ConfigurationAndSWHardeningNeeded": Flag.CONFIGURATION_NEEDED | Flag.SW_HARDENING_NEEDED,
    "OutOfDate": Flag.OUT_OF_DATE,
    "OutOfDateConfigurationNeeded": Flag.OUT_OF_DATE | Flag.CONFIGURATION_NEEDED,
    "Revoked": Flag.REVOKED,
}
"""By Intel's names."""


@dataclass(frozen=True)
class Parts:
    """The security versions of a platform and of what runs on it."""

    cpu_svn: bytes
    """16 components, from the platform's certificate."""
    pce_svn: int
    qe_svn: int
    modules: Sequence[bytes] = ()
    """16 bytes each: the TDX module that launched the domain, and in TDX 1.5 the one that runs now. None for SGX."""


@dataclass(frozen=True)
class Level:
    """What is wrong with a platform."""

    flags: Flag
    advisories: frozenset[int] = frozenset()
    """Numbers: 615 for INTEL-SA-00615."""
    is_unlistable: bool = False
    """Whether the list is not what a policy could mitigate: longer than the contract keeps, of other names, or empty
    where software must harden against something."""

    def __or__(self, other: "Level") -> "Level":
        advisories = self.advisories | other.advisories
        is_unlistable = self.is_unlistable or other.is_unlistable or len(advisories) > MOST_ADVISORIES
        return Level(self.flags | other.flags, advisories, is_unlistable)

    @property
    def status(self) -> str:
        """Intel has no name for some combinations: what is out of date need not be hardened as well."""
        if self.flags & Flag.REVOKED:
            return "Revoked"
        shown = self.flags & ~Flag.SW_HARDENING_NEEDED if self.flags & Flag.OUT_OF_DATE else self.flags
        return next(name for name, flags in STATUSES.items() if flags == shown)


def judge(tcb_info: Mapping[str, Any], qe_identity: Mapping[str, Any], parts: Parts) -> Level:
    """tcb_info, qe_identity: as Intel signs them, read from JSON. Raises NoTcbLevel."""
    level = _plain(qe_identity["tcbLevels"], parts.qe_svn, "the quoting enclave")
    for identity in tcb_info.get("tdxModuleIdentities", ()):
        _check_plain(identity["tcbLevels"], "a TDX module")
    for module in parts.modules or (bytes(16),):
        for one in _of_module(tcb_info, parts, module):
            level |= one
    return level


def _of_module(tcb_info: Mapping[str, Any], parts: Parts, module: bytes) -> Iterator[Level]:
    version = module[1]
    if version:
        identities = tcb_info.get("tdxModuleIdentities", ())
        found = [one for one in identities if one["id"] == f"{TDX_PREFIX}{version:02X}"]
        if not found:
            raise NoTcbLevel(f"no document judges the TDX module of version {version}")
        yield _plain(found[0]["tcbLevels"], module[0], "the TDX module")
    skipped = 2 if version else 0  # the module's own identity stands for these

    def covers(tcb: Mapping[str, Any]) -> bool:
        return (
            parts.pce_svn >= tcb["pcesvn"]
            and _reaches(parts.cpu_svn, tcb["sgxtcbcomponents"])
            and _reaches(module[skipped:], tcb.get("tdxtcbcomponents", ())[skipped:])
        )

    yield _first(tcb_info["tcbLevels"], covers, "the platform")


def _reaches(svns: bytes, components: Sequence[Mapping[str, Any]]) -> bool:
    return all(svn >= component["svn"] for svn, component in zip(svns, components, strict=False))


def _plain(levels: Sequence[Mapping[str, Any]], svn: int, what: str) -> Level:
    """The level of a module or quoting enclave."""
    _check_plain(levels, what)
    return Level(_first(levels, lambda tcb: svn >= tcb["isvsvn"], what).flags)


def _check_plain(levels: Sequence[Mapping[str, Any]], what: str) -> None:
    """Intel calls these up to date, out of date or revoked; a document with another word is not understood."""
    for level in levels:
        if STATUSES[level["tcbStatus"]] & (Flag.CONFIGURATION_NEEDED | Flag.SW_HARDENING_NEEDED):
            raise NoTcbLevel(f"the documents call {what} {level['tcbStatus']}, which is not understood")


def _first(levels: Sequence[Mapping[str, Any]], covers: Callable[[Mapping[str, Any]], bool], what: str) -> Level:
    for level in levels:
        if covers(level["tcb"]):
            flags, names = STATUSES[level["tcbStatus"]], level.get("advisoryIDs", ())
            numbers = frozenset(int(found[1]) for name in names if (found := ADVISORY.fullmatch(name)))
            is_listed = len(names) <= MOST_ADVISORIES and all(ADVISORY.fullmatch(name) for name in names)
            is_named = numbers or not flags & Flag.SW_HARDENING_NEEDED
            return Level(flags, numbers, not (is_listed and is_named))
    raise NoTcbLevel(f"{what} is older than all that Intel has judged")
