"""A new job wakes a few free workers, and is found by another should all of these miss it."""

import random

import psycopg
import pytest
from fleet.conftest import QUEUE, proven
from rig.fake_engine import FakeEngine

from oracle.engines.base import Params, TokenId
from oracle.errors import FleetUnavailable
from oracle.fleet import board as boards
from oracle.fleet import work
from oracle.fleet.board import Offer
from oracle.fleet.wakes import AWAKE, SLOTS, channel, told_of

HELLO = [TokenId(byte) for byte in b"hello"]


def test_told_of__hundred_and_sixty_free__a_few_hear_of_a_job():
    chance = random.Random(1)
    listening = [chance.randrange(SLOTS) for _ in range(160)]
    woken = [sum(slot in slots for slot in listening) for slots in (told_of(160, chance) for _ in range(1000))]
    assert AWAKE <= sum(woken) / 1000 < 2 * AWAKE
    assert woken.count(0) < 10


def test_told_of__few_free_or_nobody_knows__everybody_hears_of_a_job():
    assert all(sorted(told_of(free, random.Random(1))) == [*range(SLOTS)] for free in (-1, 0, 1, AWAKE))


def test_channel__of_the_longest_name_of_a_queue__is_a_name_that_postgres_does_not_cut():
    assert len(channel(QUEUE, SLOTS - 1).encode()) < 64


def test_free__workers_of_which_some_compute__are_the_places_left(board):
    board.beat("one", [Offer("q", 3, "")], [])
    board.beat("two", [Offer("q", 2, ""), Offer("r", 9, "")], [])
    assert board.free("q", board.offers("q")) == 5
    board._post("q", {}, 0)
    board._rows("UPDATE procrastinate_jobs SET status = 'doing'")
    assert board.free("q", board.offers("q")) == 4


def test_post__many_free__tells_fewer_slots_than_there_are(board, url):
    board.beat("one", [Offer("q", 160, "")], [])
    board.free("q", board.offers("q"))
    with psycopg.connect(url, autocommit=True) as ear:
        for slot in range(SLOTS):
            ear.execute(psycopg.sql.SQL("LISTEN {}").format(psycopg.sql.Identifier(channel("q", slot))))
        board._post("q", {}, 0)
        heard = {notice.channel for notice in ear.notifies(timeout=0.5)}
    assert len(heard) == 2


def test_job__of_which_nobody_is_told__is_found_all_the_same(fleet, inside, monkeypatch):
    monkeypatch.setattr(boards, "told_of", lambda _free, _chance: [])
    monkeypatch.setattr(work, "POLL_SECONDS", 2.0)
    inside()
    engine = proven(fleet())
    assert engine.generate(HELLO, Params(max_tokens=16)) == FakeEngine().generate(HELLO, Params(max_tokens=16))


def test_tell__database_does_not_answer__the_sweep_says_what_it_moved(board, monkeypatch):
    def away(*_statement):
        raise FleetUnavailable("away")

    job, _ = board._post("q", {}, 0)
    board._rows("UPDATE procrastinate_jobs SET status = 'doing'")
    monkeypatch.setattr(board, "_rows", away)
    assert board.sweep(lease_seconds=0) == [job]


def test_post__database_is_gone_before_all_is_written__raises_and_waits_for_nothing(board, monkeypatch):
    """The job is done for nobody: who asked asks again."""

    def away(statement, *_values):
        raise FleetUnavailable("away")

    board._post("q", {}, 0)
    waited = {**board._waited_for}
    monkeypatch.setattr(board, "_rows", away)
    with pytest.raises(FleetUnavailable):
        board._post("q", {}, 0)
    assert board._waited_for == waited


def test_beat__again_with_jobs_in_hand__one_offer_a_queue_and_the_leases_that_are_its_own(board):
    (job, _), (other, _) = board._post("q", {}, 0), board._post("q", {}, 0)
    assert board.take(job, "one")
    assert board.take(other, "two")
    for saturated in (0, 5):
        offers = [Offer("q", 3, "", saturated), Offer("r", 1, "shown")]
        assert board.beat("one", offers, [job, other]) == {other}
        assert board.offers() == offers
