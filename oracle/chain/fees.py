"""What a transaction may cost: a share of what it protects, rising as its clock runs out. Pure arithmetic.

An answer worth a cent must not burn a dollar in a fee spike, and a dispute move that saves a bond must not be stuck
for a cent. All fees are wei per gas; caps are rounded down, bumps up.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Fees:
    """EIP-1559 fees of one attempt, wei per gas."""

    max_fee_wei: int
    tip_wei: int


@dataclass(frozen=True)
class FeePolicy:
    """The operator's limits."""

    start_percent: int = 10
    """Share of the stake that a new intent may spend."""
    end_percent: int = 50
    """Share at the deadline."""
    urgent_end_percent: int = 100
    """Share at the deadline for dispute moves: up to the bond's whole value."""
    ceiling_wei: int = 2_000 * 10**9
    """Wei per gas that nothing exceeds, self-transfers included."""
    min_tip_wei: int = 1_000_000

    def cap(
        self, stake_wei: int, gas_limit: int, *, planned_at: int, deadline: int | None, now: int, urgent: bool
    ) -> int:
        """Most wei per gas at chain time `now`, all times in Unix seconds."""
        end = self.urgent_end_percent if urgent else self.end_percent
        share = self.start_percent
        if deadline is not None and deadline > planned_at:
            elapsed = min(max(now - planned_at, 0), deadline - planned_at)
            share += (end - self.start_percent) * elapsed // (deadline - planned_at)
        return min(stake_wei * share // 100 // gas_limit, self.ceiling_wei)

    def first(self, base_fee_wei: int, suggested_tip_wei: int, cap_wei: int) -> Fees | None:
        """Fees that bear five full blocks (1.125^5 = 1.8), or what the cap leaves; None if even now is too dear."""
        if base_fee_wei + self.min_tip_wei > cap_wei:
            return None
        tip = min(max(suggested_tip_wei, self.min_tip_wei), cap_wei - base_fee_wei)
        return Fees(min(2 * base_fee_wei + tip, cap_wei), tip)

    def bump(self, last: Fees, base_fee_wei: int, suggested_tip_wei: int, cap_wei: int) -> Fees | None:
        """Both fees at least 12.5 % above `last` (geth and reth ask 10 %); None if the cap forbids it."""
        fresh = self.first(base_fee_wei, suggested_tip_wei, cap_wei)
        if fresh is None:
            return None
        tip = max(raised(last.tip_wei), fresh.tip_wei)
        fee = max(raised(last.max_fee_wei), fresh.max_fee_wei, tip)
        return Fees(fee, tip) if fee <= cap_wei else None


def raised(fee_wei: int) -> int:
    """An eighth more, rounded up; at least one wei more."""
    return max(-(-fee_wei * 9 // 8), fee_wei + 1)
