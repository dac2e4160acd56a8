"""How this node's checks of others' answers came out, service by service: for people, kept as long as the journal.

Findings about single answers are forgotten soon (`findings.py`); these counts are not.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from oracle.ids import ServiceId
from oracle.journal.journal import Job, Journal, Tx


@dataclass(frozen=True)
class Checks:
    """How this node's checks of others' answers in one service came out, since its journal began."""

    right: int = 0
    wrong: int = 0
    unknown: int = 0
    """It cannot tell."""
    late: int = 0
    """Windows that closed before this node had judged."""
    milliseconds: int = 0
    """That checks took, from their beginnings to their ends."""

    @property
    def made(self) -> int:
        """Answers judged right or wrong."""
        return self.right + self.wrong

    @property
    def seconds_each(self) -> float | None:
        """What a check takes; None before the first."""
        tried = self.made + self.unknown
        return self.milliseconds / 1000 / tried if tried else None

    def plus(self, **changes: int) -> "Checks":
        return replace(self, **{name: getattr(self, name) + change for name, change in changes.items()})

    def payload(self) -> dict[str, Any]:
        return dict(vars(self))

    @classmethod
    def of(cls, job: Job) -> "Checks":
        return cls(**job.payload)


def count_checks(tx: Tx, service: ServiceId, **changes: int) -> None:
    """Adds to the service's checks."""
    job = tx.job(checks_key(service))
    checks = (Checks() if job is None else Checks.of(job)).plus(**changes)
    tx.put_job("checks", checks_key(service), "known", checks.payload(), None)


def checks_key(service: ServiceId) -> str:
    return f"checks:{service.hex()}"


def service_of_checks(key: str) -> ServiceId:
    return ServiceId(bytes.fromhex(key.removeprefix("checks:")))


def count_late(journal: Journal, late: Mapping[ServiceId, int]) -> None:
    """Adds answers of others that went by unjudged. late: how many, by service."""
    if late:
        with journal.write() as tx:
            for service, count in late.items():
                count_checks(tx, service, late=count)
