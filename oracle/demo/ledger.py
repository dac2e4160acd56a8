"""Who gained and lost what, once everything is over: fees, bonds and gas apart, and what is only held at stake.

A party's wealth is what lies in its accounts, its credit with the oracle and the balances of its seats. What a change
is called depends on the party: a payer pays fees and gets them back, a watcher's profit and loss are bonds; a node
loses bonds and fines as the events say, and everything else that it got is fees.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from eth_typing import ChecksumAddress
from rich.table import Table
from web3 import Web3

from oracle.chain.requests import Answer
from oracle.chain.units import BURN, ETHER
from oracle.client import OracleClient


@dataclass(frozen=True)
class Party:
    """One row: everything under one name."""

    name: str
    accounts: tuple[ChecksumAddress, ...]
    earns: str = "fees"
    """fees or bonds: what comes to it that no event takes from its seats."""


@dataclass
class Row:
    """Wei. stake: held in seats at the end; the others: how much came in, negative for what went out."""

    stake: int = 0
    fees: int = 0
    bonds: int = 0
    gas: int = 0

    @property
    def total(self) -> int:
        return self.fees + self.bonds + self.gas


@dataclass
class Ledger:
    """rows: by party. `sums_to_zero` is the check."""

    rows: dict[str, Row] = field(default_factory=dict)

    @property
    def sum(self) -> Row:
        rows = self.rows.values()
        return Row(*(sum(getattr(row, name) for row in rows) for name in ("stake", "fees", "bonds", "gas")))

    @property
    def sums_to_zero(self) -> bool:
        """Each column for itself, to the wei: what one has, another gave."""
        total = self.sum
        return (total.fees, total.bonds, total.gas) == (0, 0, 0)

    def table(self) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0))
        table.add_column("ether")
        for heading in ("held at stake", "fees", "bonds and fines", "gas", "gain or loss"):
            table.add_column(heading, justify="right", no_wrap=True)
        for name, row in self.rows.items():
            table.add_row(name, _plain(row.stake), *map(_signed, (row.fees, row.bonds, row.gas, row.total)))
        total = self.sum
        table.add_section()
        words = [
            "0" if number == 0 else f"{number} wei" for number in (total.fees, total.bonds, total.gas, total.total)
        ]
        table.add_row("[bold]sum", "", *(f"[bold]{word}" for word in words))
        return table


def _plain(wei: int) -> str:
    return f"{wei / ETHER:.3f}" if wei else ""


def _signed(wei: int) -> str:
    return f"{wei / ETHER:+.6f}" if wei else ""


Seat = tuple[bytes, int]
"""Service and number."""


def settle(client: OracleClient, parties: Sequence[Party], initial: Mapping[ChecksumAddress, int]) -> Ledger:
    """The ledger of the whole chain. initial: balances at its first block, in wei; every other account had nothing."""
    w3, end = client.w3, client.w3.eth.block_number
    ledger = Ledger({party.name: Row() for party in parties})
    ledger.rows["burnt"], ledger.rows["block producers"] = Row(), Row()
    _gas(w3, ledger, parties, end)
    seats = _seats(client, parties)
    lost, forfeited = _lost(client), _forfeited(client)
    for party in parties:
        row, own = ledger.rows[party.name], [seat for seat, name in seats.items() if name == party.name]
        row.stake = _held(client, own, end)
        in_accounts = sum(w3.eth.get_balance(account) - initial.get(account, 0) for account in party.accounts)
        rest = in_accounts + _credit(client, party, end) + row.stake - row.gas
        if party.earns == "bonds":
            row.bonds = rest
        else:
            row.bonds = _paid_for_votes(client, party, own) - sum(lost.get(seat, 0) for seat in own)
            row.bonds -= sum(forfeited.get(account, 0) for account in party.accounts)
            row.fees = rest - row.bonds
    ledger.rows["burnt"].bonds = w3.eth.get_balance(BURN) + client.oracle.functions.burnable().call()
    return ledger


def _gas(w3: Web3, ledger: Ledger, parties: Iterable[Party], end: int) -> None:
    """What senders paid by their receipts, and what producers got and the base fee burnt by the blocks."""
    names = {account: party.name for party in parties for account in party.accounts}
    producers = ledger.rows["block producers"]
    miners = set()
    for number in range(1, end + 1):
        block = w3.eth.get_block(number)
        miners.add(block["miner"])
        producers.gas += block["gasUsed"] * block["baseFeePerGas"]
        for tx_hash in block["transactions"]:
            receipt = w3.eth.get_transaction_receipt(tx_hash)  # type: ignore[arg-type]
            ledger.rows[names[receipt["from"]]].gas -= receipt["gasUsed"] * receipt["effectiveGasPrice"]
    producers.gas += sum(w3.eth.get_balance(miner) for miner in miners)


def _seats(client: OracleClient, parties: Iterable[Party]) -> dict[Seat, str]:
    """Whose each seat is."""
    names = {account: party.name for party in parties for account in party.accounts}
    taken = client.oracle.events.SeatTaken().get_logs(from_block=client.deployment.block)
    return {(bytes(log["args"]["service"]), log["args"]["seat"]): names[log["args"]["owner"]] for log in taken}


def _held(client: OracleClient, seats: Iterable[Seat], block: int) -> int:
    views = (client.oracle.functions.seatOf(*seat).call(block_identifier=block) for seat in seats)
    return sum(view[2] for view in views)


def _credit(client: OracleClient, party: Party, block: int) -> int:
    functions = client.oracle.functions
    return sum(functions.credit(account).call(block_identifier=block) for account in party.accounts)


def _lost(client: OracleClient) -> dict[Seat, int]:
    """Bonds slashed, fines for missed turns, and as much from seats that answered late, by seat."""
    events, start = client.oracle.events, client.deployment.block
    services = {
        log["args"]["requestId"]: bytes(log["args"]["service"])
        for log in events.RequestPosted().get_logs(from_block=start)
    }
    answerer, late = {}, {}
    for log in events.AnswerPosted().get_logs(from_block=start):
        answer = Answer.from_abi(log["args"]["answer"])
        answerer[log["args"]["requestId"], answer.turn] = late[log["transactionHash"]] = answer.seat
    lost: dict[Seat, int] = {}
    for log in events.AnswerRuled().get_logs(from_block=start):
        args = log["args"]
        seat = services[args["requestId"]], answerer[args["requestId"], args["turn"]]
        lost[seat] = lost.get(seat, 0) + args["slashedWei"]
    for log in events.TurnMissed().get_logs(from_block=start):
        service, payer_loses = services[log["args"]["requestId"]], log["transactionHash"] not in late
        for number in (log["args"]["seat"], *([] if payer_loses else [late[log["transactionHash"]]])):
            lost[service, number] = lost.get((service, number), 0) + log["args"]["penaltyWei"]
    return lost


def _forfeited(client: OracleClient) -> dict[ChecksumAddress, int]:
    """What payers lost beside the seats that let their turns pass, by payer."""
    events, start = client.oracle.events, client.deployment.block
    refunds = {log["transactionHash"] for log in events.RequestRefunded().get_logs(from_block=start)}
    payers = {
        log["args"]["requestId"]: log["args"]["payer"] for log in events.RequestPosted().get_logs(from_block=start)
    }
    forfeited: dict[ChecksumAddress, int] = {}
    for log in events.TurnMissed().get_logs(from_block=start):
        if log["transactionHash"] in refunds:
            payer = payers[log["args"]["requestId"]]
            forfeited[payer] = forfeited.get(payer, 0) + log["args"]["penaltyWei"]
    return forfeited


def _paid_for_votes(client: OracleClient, party: Party, seats: Sequence[Seat]) -> int:
    """Out of bonds, in the blocks in which panels were decided."""
    paid = 0
    for log in client.panel.events.CaseDecided().get_logs(from_block=client.deployment.block):
        block = log["blockNumber"]
        after = _credit(client, party, block) + _held(client, seats, block)
        paid += after - _credit(client, party, block - 1) - _held(client, seats, block - 1)
    return paid
