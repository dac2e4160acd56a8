"""The clock of what this node owes: the next of its votes, reveals and moves that can still be made."""

import pytest
from unit.test_node_planner import COMMIT, ME, MINE, OPEN, REVEAL, START, TURN_SEATS, answered, seat, view

from oracle.api.scrape import least_left
from oracle.chain.requests import Vote
from oracle.node.games.litigant import OpenGame
from oracle.node.records import CaseRecord

FOREIGN = next(number for number in TURN_SEATS if number != MINE)


def drawn(record, commit_ends=COMMIT, members=(MINE,), **changes):
    """A panel over that answer; times in seconds since the start."""
    fields = {"id": bytes(32), "state": "voting", "request": record.id, "turn": 0, "challenger": "0x" + "4" * 40}
    fields |= {"answer_hash": record.posted.answer.hash, "seed_block": 1, "opened_at": START}
    fields |= {"members": members, "commit_ends_at": START + commit_ends, "commitments": {}, "votes": {}}
    return CaseRecord(**{**fields, **changes})


def game(seconds):
    return OpenGame("challenger", None if seconds is None else START + seconds, OPEN.id)


def test_least_left__nothing_due__is_minus_one():
    assert least_left(view(), []) == -1
    assert least_left(view(), [game(None)]) == -1


def test_least_left__vote_missed__hides_no_move_that_is_due():
    record = answered()
    seen = view(COMMIT + 100, record, cases={record.id: drawn(record)})
    assert least_left(seen, []) == -1
    assert least_left(seen, [game(COMMIT + 140), game(COMMIT + 130), game(COMMIT + 50)]) == 30


@pytest.mark.parametrize(("seconds", "left"), [(COMMIT - 5, 5), (COMMIT, 0), (COMMIT + 1, -1)])
def test_least_left__vote_not_committed__is_due_until_committing_ends(seconds, left):
    record = answered()
    assert least_left(view(seconds, record, cases={record.id: drawn(record)}), []) == left


@pytest.mark.parametrize(
    ("seconds", "left"), [(COMMIT, -1), (COMMIT + 1, REVEAL - 1), (COMMIT + REVEAL, 0), (COMMIT + REVEAL + 1, -1)]
)
def test_least_left__vote_committed__is_to_be_revealed_when_committing_has_ended(seconds, left):
    record = answered()
    case = drawn(record, commitments={MINE: bytes(32)})
    assert least_left(view(seconds, record, cases={record.id: case}), []) == left


def test_least_left__revealed_or_anothers_seat__is_none_of_ours():
    record = answered()
    done = drawn(record, commitments={MINE: bytes(32)}, votes={MINE: Vote.RIGHT})
    assert least_left(view(COMMIT + 1, record, cases={record.id: done}), []) == -1
    others = drawn(record, members=(FOREIGN,))
    assert least_left(view(1, record, cases={record.id: others}), []) == -1
    assert least_left(view(1, record, cases={record.id: others}, seats=[seat(FOREIGN, ME)]), []) == COMMIT - 1
