"""What a node last saw and did, in memory, for health, metrics and pages."""

from dataclasses import dataclass, field

import structlog

from oracle.chain.follower import Progress
from oracle.chain.sender import Report
from oracle.chain.types import Block
from oracle.ids import ServiceId
from oracle.node.plan import View

log = structlog.get_logger()


@dataclass
class Status:
    """What the node last saw, for health, metrics and pages. Kept in memory."""

    head: Block | None = None
    head_seen_at: float = 0.0
    progress: Progress | None = None
    last_reorg_depth: int = 0
    view: View | None = None
    reports: dict[str, Report] = field(default_factory=dict)
    """By key: "operator", "dispute"."""
    signed: dict[str, int] = field(default_factory=dict)
    """Transactions signed since the start, by key."""
    failed: dict[str, int] = field(default_factory=dict)
    """Transactions mined that failed since the start, by key."""
    fee_cap_hits: dict[str, int] = field(default_factory=dict)
    credit_wei: dict[str, int] = field(default_factory=dict)
    free_wei: dict[tuple[ServiceId, int], int] = field(default_factory=dict)
    """Free balances of own seats, by service and seat, as of the last housekeeping."""
    broken: dict[ServiceId, str] = field(default_factory=dict)
    """By service: which of its terms this chain cannot keep."""
    trouble: str = ""
    """The transient error of the last round; empty if it went well."""
    clock: str = ""
    """How this machine's clock and the chain's disagree; empty if they do not."""
    stopping: bool = False

    def note_broken(self, broken: dict[ServiceId, str]) -> None:
        """Says once of each service why it is not served."""
        for service, why in broken.items():
            if self.broken.get(service) != why:
                log.error("service not served", service="0x" + service.hex(), reason=why)
        self.broken = broken
