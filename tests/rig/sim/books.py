"""That the books add up when everything has ended: each ether that a contract holds is somebody's."""

from collections.abc import Sequence

from e2e.world import ACCOUNTS

from rig.sim.play import Earth
from rig.sim.strangers import Strangers

BURN = "0x000000000000000000000000000000000000dEaD"
SEATS = range(5)


def every_ether_is_somebodys(earth: Earth, sides: Sequence[Strangers]) -> None:
    """When no request and no game is open. Raises AssertionError."""
    oracle, contracts = earth.contracts.oracle, earth.contracts
    credits = [earth.view(oracle, "credit", address) for address in (BURN, *(each.address for each in ACCOUNTS))]
    services = [side.earth.service for side in sides]
    stakes = [earth.view(oracle, "seatOf", service, seat)["balanceWei"] for service in services for seat in SEATS]
    held, owed = earth.chain.balance(oracle.address), sum(credits) + sum(stakes)
    assert held == owed, f"the oracle holds {held} wei and owes {owed}"
    arbiters = [contracts.panel.address, contracts.playing("DisputeGame").address]
    arbiters.append(contracts.playing("Refutations").address)
    kept = {address: earth.chain.balance(address) for address in arbiters}
    assert not any(kept.values()), f"nothing is in dispute, and arbiters hold {kept}"
