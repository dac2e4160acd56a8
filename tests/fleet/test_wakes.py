"""A new job wakes a few free workers, and is found by another should all of these miss it."""

import random

from rig.fake_engine import FakeEngine

from oracle.engines.base import Params, TokenId
from oracle.fleet import wakes
from oracle.fleet.board import Offer
from oracle.fleet.wakes import AWAKE

HELLO = [TokenId(byte) for byte in b"hello"]


def test_wakes__hundred_free__a_few_look():
    chance = random.Random(1)
    woken = [sum(wakes.wakes(100, chance.random()) for _ in range(100)) for _ in range(1000)]
    assert abs(sum(woken) / 1000 - AWAKE) < 0.2
    assert woken.count(0) < 10


def test_wakes__few_free_or_nobody_knows__all_look():
    assert all(wakes.wakes(free, 0.999) for free in (-1, 0, 1, AWAKE))


def test_offer__of_a_queue__tells_how_many_jobs_its_workers_could_take(board, url):
    assert board.offer("one", [Offer("q", 3, "")]) == 0, "it counts who was there before it"
    assert board.offer("two", [Offer("q", 2, ""), Offer("r", 9, "")]) == 0
    assert board.offer("one", [Offer("q", 3, "")]) == 5
    board._post("q", {}, 0)
    board._rows("UPDATE procrastinate_jobs SET status = 'doing'")
    assert board.offer("two", [Offer("q", 2, ""), Offer("r", 9, "")]) == 4


def test_job__of_which_nobody_is_told__is_found_all_the_same(fleet, inside, monkeypatch):
    from fleet.conftest import proven  # noqa: PLC0415

    monkeypatch.setattr(wakes, "wakes", lambda _free, _chance: False)
    inside()
    engine = proven(fleet())
    assert engine.generate(HELLO, Params(max_tokens=16)) == FakeEngine().generate(HELLO, Params(max_tokens=16))
