"""Who won what in a dispute, and who lost what: from events and the service's terms alone.

Amounts are in wei, negative where somebody lost. Bonds that come back are no gain. In the dispute game everything paid
stands in an event; what a panel pays its members and the challenger follows from the votes, as `PanelArbiter` reckons
it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from oracle.chain.requests import Ruling, Vote
from oracle.chain.services import PanelTerms
from oracle.chain.units import BURN, ETHER
from oracle.client.client import OracleClient, decode, decoders
from oracle.ids import CaseId, GameId

BURNT = "burnt"
ENDS = ("GameEnded", "GameSettled")


@dataclass(frozen=True)
class Gain:
    """What a dispute brought somebody."""

    who: str
    """An address, a seat of the service ("seat 3"), or BURNT."""
    amount_wei: int
    why: str


def of_case(
    client: OracleClient, case: CaseId, answerer: str, logs: Sequence[Any], game: GameId | None = None
) -> list[Gain]:
    """Gains from one answer's dispute games, or from one of them. answerer: its operator.

    logs: decoded, all of the game's events about the case.
    """
    challengers = {log["args"]["gameId"]: log["args"]["challenger"] for log in logs if log["event"] == "GameOpened"}
    found: list[Gain] = []
    for tx_hash in dict.fromkeys(log["transactionHash"] for log in logs if log["event"] in (*ENDS, "AnswerKilled")):
        said = _decoded(client, client.w3.eth.get_transaction_receipt(tx_hash)["logs"])
        killed, endings = _in_transaction(said, case)
        if killed is not None and game in (None, killed.by):
            found += killed.gains(answerer)
        for ending in endings:
            if game in (None, ending.args["gameId"]):
                found += ending.gains(challengers.get(ending.args["gameId"], "the challenger"), answerer)
    # A game alone may give away what was reckoned as burnt in the one that killed the answer.
    earned = (replace(gain, who=_refuter(client, case, gain.who)) for gain in found)
    return [gain for gain in merged(earned) if gain.who != BURNT or gain.amount_wei > 0]


def _refuter(client: OracleClient, case: CaseId, who: str) -> str:
    """Who gets a reward that was paid to the contract that holds it back; otherwise `who`."""
    if client.deployment.refutations != who:
        return who
    waits = client.history(client.refutations.events.RewardWaits(), caseId=case)
    return str(waits[-1]["args"]["refuter"]) if waits else who


@dataclass
class _Ending:
    """A game that ended, and what the contract paid then."""

    event: str
    args: Mapping[str, Any]
    paid: dict[str, int] = field(default_factory=dict)

    def gains(self, challenger: str, answerer: str) -> Iterator[Gain]:
        if self.event == "GameSettled":
            share_wei = self.args["shareWei"]
            yield Gain(challenger, share_wei, "a share of the answer's bond")
            yield Gain(BURNT, -share_wei, "of the answer's bond")  # it was not burnt after all
        elif not self.args["challengerWon"]:
            burnt_wei, node_wei = self.paid.get(BURN, 0), self.args["toNodeWei"]
            yield Gain(challenger, -(burnt_wei + node_wei), "its bond")
            yield Gain(answerer, node_wei, "for its openings")
            yield Gain(BURNT, burnt_wei, "of the challenger's bond")


@dataclass(frozen=True)
class _Killed:
    """An answer that was shown wrong."""

    by: int
    """The game; 0 where the tokens alone were at fault."""
    prover: str
    reward_wei: int
    slashed_wei: int

    def gains(self, answerer: str) -> Iterator[Gain]:
        yield Gain(self.prover, self.reward_wei, "of the answer's bond")
        yield Gain(answerer, -self.slashed_wei, "its bond")
        yield Gain(BURNT, self.slashed_wei - self.reward_wei, "of the answer's bond")


def _in_transaction(logs: Iterable[Any], case: CaseId) -> tuple[_Killed | None, list[_Ending]]:
    """What a transaction says about a case. After each end of a game come the payments that belong to it."""
    endings: list[_Ending] = []
    killed: _Killed | None = None
    args_of_kill: Mapping[str, Any] | None = None
    is_ours = False
    for log in logs:
        name, args = log["event"], log["args"]
        if name in (*ENDS, "AnswerKilled"):
            is_ours = bytes(args["caseId"]) == case
        if not is_ours:
            continue
        if name in ENDS:
            endings.append(_Ending(name, args))
        elif name == "AnswerKilled":
            args_of_kill = args
        elif name == "AnswerRuled" and args_of_kill is not None:
            of = args_of_kill
            killed = _Killed(of["gameId"], of["prover"], of["rewardWei"], args["slashedWei"])
        elif name == "Deposited" and endings:
            endings[-1].paid[args["account"]] = endings[-1].paid.get(args["account"], 0) + args["amountWei"]
    return killed, endings


def _decoded(client: OracleClient, logs: Iterable[Any]) -> Iterator[Any]:
    """Those of the oracle and the game."""
    known = {contract.address: decoders(contract) for contract in (client.oracle, client.game)}
    for log in logs:
        event = decode(known[log["address"]], log) if log["address"] in known else None
        if event is not None:
            yield event


@dataclass(frozen=True)
class Votes:
    """A panel's case as its events tell it."""

    challenger: str
    members: tuple[int, ...] = ()
    votes: Mapping[int, Vote] = field(default_factory=dict)
    ruling: Ruling | None = None

    @classmethod
    def of(cls, logs: Iterable[Any]) -> "Votes":
        """logs: decoded, of the panel's events about the case."""
        challenger, members, ruling = "", (), None
        votes: dict[int, Vote] = {}
        for log in logs:
            args = log["args"]
            if log["event"] == "CaseOpened":
                challenger = args["challenger"]
            elif log["event"] == "PanelDrawn":
                members = tuple(args["members"])
            elif log["event"] == "VoteRevealed":
                votes[args["seat"]] = Vote(args["vote"])
            elif log["event"] == "CaseDecided":
                ruling = Ruling(args["ruling"])
        return cls(challenger, members, votes, ruling)

    def count(self, vote: Vote) -> int:
        return sum(1 for each in self.votes.values() if each is vote)


def of_panel(votes: Votes, terms: PanelTerms, answerer: str, slashed_wei: int) -> list[Gain]:
    """Gains from a case that is decided. slashed_wei: as `AnswerRuled` says."""
    if votes.ruling is None:
        return []
    fees_wei = len(votes.votes) * terms.vote_fee_wei
    found = [Gain(f"seat {seat}", terms.vote_fee_wei, "for its vote") for seat in votes.votes]
    if votes.votes or votes.ruling is not Ruling.ANNULLED:  # a panel that could not be drawn fines nobody
        absent = [seat for seat in votes.members if seat not in votes.votes]
        found += [Gain(f"seat {seat}", -terms.absence_penalty_wei, "for not voting") for seat in absent]
    match votes.ruling:
        case Ruling.REJECTED:
            won_wei = slashed_wei // 2 - fees_wei
            found.append(Gain(votes.challenger, won_wei, "of the answer's bond, less the votes' fees"))
            found.append(Gain(answerer, -slashed_wei, "its bond"))
            found.append(Gain(BURNT, slashed_wei - slashed_wei // 2, "of the answer's bond"))
        case Ruling.UPHELD:
            found.append(Gain(votes.challenger, -terms.challenge_bond_wei, "its bond"))
            found.append(Gain(BURNT, terms.challenge_bond_wei - fees_wei, "of the challenger's bond"))
        case Ruling.ANNULLED:
            found.append(Gain(votes.challenger, slashed_wei - fees_wei, "its half of the votes' fees"))
            found.append(Gain(answerer, -slashed_wei, "its half of the votes' fees"))
    return merged(found)


def merged(gains: Iterable[Gain]) -> list[Gain]:
    """One for each reason, without those of nothing."""
    sums: dict[tuple[str, str], int] = {}
    for gain in gains:
        sums[gain.who, gain.why] = sums.get((gain.who, gain.why), 0) + gain.amount_wei
    return [Gain(who, amount, why) for (who, why), amount in sums.items() if amount]


def told(gains: Sequence[Gain]) -> list[str]:
    """One line each, winners first."""
    lines = []
    for gain in sorted(gains, key=lambda gain: (gain.who == BURNT, gain.amount_wei < 0)):
        amount = f"{abs(gain.amount_wei) / ETHER:g} ether"
        verb = "" if gain.who == BURNT else "lost " if gain.amount_wei < 0 else "won "
        lines.append(f"{gain.who} {verb}{amount}: {gain.why}")
    return lines
