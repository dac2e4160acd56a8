"""A node's part in panels: drawing them, voting, and seeing cases to their end."""

from collections.abc import Iterator

from oracle.chain.contracts import Contracts
from oracle.chain.requests import Vote, commitment
from oracle.node.plan import LAST_RANK, Judge, Rules, View, Wanted, posted_in
from oracle.node.records import (
    CaseRecord,
    RequestRecord,
)


class Panels:
    """As pure as the planner, which asks it."""

    def __init__(self, contracts: Contracts, rules: Rules) -> None:
        self._panel = contracts.panel
        self._chain_id = contracts.deployment.chain_id
        self._rules = rules

    def steps(self, view: View, record: RequestRecord) -> Iterator[Judge | Wanted]:
        """What this node should do now for a disputed answer."""
        case, posted = view.cases.get(record.id), record.posted
        if case is None or posted is None or case.answer_hash != posted.answer.hash:
            return
        if case.state == "undrawn":
            if view.head.number > case.seed_block and self._my_turn(view, record, case, since=case.opened_at):
                yield self._panel_step(f"draw:{case.id.hex()}:{case.seed_block}", "draw", record, view)
            return
        now, reveal_ends_at = view.head.timestamp, self._reveal_ends_at(view, record, case)
        for seat in sorted(view.own_seats(record.request.service) & set(case.members)):
            if now <= case.commit_ends_at and seat not in case.commitments:
                yield from self._vote(view, record, case, seat)
            elif case.commit_ends_at < now <= reveal_ends_at and seat in case.commitments and seat not in case.votes:
                yield from self._reveal(view, record, case, seat)
        complete = len(case.votes) == len(case.members)
        since = case.voted_at if complete else reveal_ends_at
        if (complete or now > reveal_ends_at) and self._my_turn(view, record, case, since=since):
            yield self._panel_step(f"decide:{case.id.hex()}", "decide", record, view)

    def _vote(self, view: View, record: RequestRecord, case: CaseRecord, seat: int) -> Iterator[Judge | Wanted]:
        posted, seed = posted_in(record), view.seeds.get(record.request.seed_block)
        if not self._rules.vote or view.salt is None or seed is None:
            return
        verdict = view.verdicts.get((record.id, case.answer_hash))
        if verdict is None:
            yield Judge(record, posted, seed, urgent=True)
        elif verdict.correct is not None:
            vote = Vote.RIGHT if verdict.correct else Vote.WRONG
            sealed = self._commitment(view, case, seat, vote)
            panel = view.services[record.request.service].panel
            yield Wanted(
                key=f"commit:{case.id.hex()}:{seat}:{case.answer_hash.hex()}",
                to=self._panel.address,
                data=self._panel.encode("commit", case.id, seat, sealed),
                stake_wei=panel.absence_penalty_wei + panel.vote_fee_wei,
                deadline=case.commit_ends_at + 1,
                urgent=True,
                service=record.request.service,
            )

    def _reveal(self, view: View, record: RequestRecord, case: CaseRecord, seat: int) -> Iterator[Wanted]:
        """The vote is found by its commitment, so that a lost journal cannot change it."""
        for vote in (Vote.RIGHT, Vote.WRONG):
            if view.salt is not None and case.commitments[seat] == self._commitment(view, case, seat, vote):
                panel = view.services[record.request.service].panel
                salt = view.salt(case.id, seat, case.answer_hash)
                yield Wanted(
                    key=f"reveal:{case.id.hex()}:{seat}:{case.commitments[seat].hex()}",
                    to=self._panel.address,
                    data=self._panel.encode("reveal", case.id, seat, int(vote), salt),
                    stake_wei=panel.absence_penalty_wei + panel.vote_fee_wei,
                    deadline=self._reveal_ends_at(view, record, case) + 1,
                    urgent=True,
                    by_disputer=True,
                    service=record.request.service,
                )

    def _commitment(self, view: View, case: CaseRecord, seat: int, vote: Vote) -> bytes:
        assert view.salt is not None
        salt = view.salt(case.id, seat, case.answer_hash)
        return commitment(self._chain_id, self._panel.address, case.id, seat=seat, vote=vote, salt=salt)

    def _panel_step(self, key: str, function: str, record: RequestRecord, view: View) -> Wanted:
        posted = posted_in(record)
        return Wanted(
            key=f"{key}:{posted.answer.hash.hex()}",
            to=self._panel.address,
            data=self._panel.encode(function, record.request.words, posted.answer.words),
            stake_wei=view.services[record.request.service].panel.challenge_bond_wei,
            urgent=True,
            by_disputer=True,
            service=record.request.service,
        )

    def _my_turn(self, view: View, record: RequestRecord, case: CaseRecord, *, since: int) -> bool:
        """Whether it is this node's turn to push a case on: the challenger first, then the answerer, then seats."""
        seats = view.own_seats(record.request.service)
        if case.challenger in (view.operator, view.disputer):
            rank = 0
        elif posted_in(record).answer.seat in seats:
            rank = 1
        elif seats:
            rank = 2 + (min(seats) + record.id) % max(record.request.seat_count, 1)
        else:
            return False
        return view.head.timestamp >= since + min(rank, LAST_RANK) * self._rules.stagger_seconds

    def _reveal_ends_at(self, view: View, record: RequestRecord, case: CaseRecord) -> int:
        return case.commit_ends_at + view.services[record.request.service].panel.reveal_seconds
