"""Searches for moves in two threads: prefills beside moves, and of the moves the one whose deadline comes first."""

import asyncio
from collections.abc import Callable
from functools import partial
from threading import Event
from types import SimpleNamespace
from typing import Any, cast

from oracle.engines.base import the_job
from oracle.node.games.moves import Matter
from oracle.node.games.searches import Search, Searches
from oracle.node.in_hand import InHand


def searches(prefill: Callable[[Matter], None] = lambda about: None) -> Searches:
    return Searches(prefill, lambda: None, InHand())


def matter(number: int) -> Matter:
    return cast(Matter, SimpleNamespace(key=(number, b"\xaa"), record=SimpleNamespace(id=number)))


async def made_by(made: list[Any], count: int) -> None:
    async with asyncio.timeout(10):
        while len(made) < count:
            await asyncio.sleep(0.01)


async def test_moves__many_asked_for__are_made_in_order_of_deadline_after_one_prefill():
    made, answer = [], matter(1)
    all_asked = Event()

    def prefill(about):
        all_asked.wait(10)
        made.append("prefill")

    player = searches(prefill)
    for deadline in (50, 20, 40, 10, 30):
        player.move(f"move {deadline}", answer, Search(deadline, partial(made.append, deadline)))
    all_asked.set()
    await made_by(made, 6)
    assert made == ["prefill", 10, 20, 30, 40, 50]
    player.close()


async def test_move__that_another_game_wants_sooner__comes_sooner():
    player, made, answer = searches(), [], matter(1)
    player._traced.add(answer.key)
    player._busy.add("next")
    for deadline in (10, 20, 30):
        player.move(f"move {deadline}", answer, Search(deadline, partial(made.append, deadline)))
    assert player.move("move 30", answer, Search(5, partial(made.append, "the other game's"))) is None
    player._busy.clear()
    player._start()
    await made_by(made, 3)
    assert made == [30, 10, 20]
    player.close()


async def test_search__in_hand__says_for_which_request_and_how_far_it_is():
    in_hand, go, answer = InHand(), Event(), matter(1)
    told = asyncio.Event()
    loop = asyncio.get_running_loop()

    def prefill(about):
        the_job().told("prefill", 3, 12)
        loop.call_soon_threadsafe(told.set)
        go.wait(10)

    made = []
    player = Searches(prefill, lambda: None, in_hand)
    player.move("move:aa:node", answer, Search(10, partial(made.append, "found")))
    async with asyncio.timeout(10):
        await told.wait()
    (work,) = in_hand.now()  # the move waits for it, and is not in hand yet
    assert (work.request, work.doing) == (1, "reads an answer for its disputes")
    assert work.far == "prefill: 3 of 12 layers"
    go.set()
    await made_by(made, 1)
    await asyncio.sleep(0.01)
    assert in_hand.now() == []
    player.close()


async def test_prefill__of_another_answer__holds_no_move_up():
    made = []
    slow, quick = matter(1), matter(2)
    release = asyncio.Event()
    loop = asyncio.get_running_loop()

    def prefill(about):
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result(10)

    player = searches(prefill)
    player._traced.add(quick.key)
    player.move("slow", slow, Search(10, partial(made.append, "slow")))
    player.move("quick", quick, Search(99, partial(made.append, "quick")))
    await made_by(made, 1)
    assert made == ["quick"]
    release.set()
    await made_by(made, 2)
    assert made == ["quick", "slow"]
    player.close()


async def test_move__disk_fails__is_looked_for_again_with_the_next_block():
    woken, answer = [], matter(1)
    player = Searches(lambda about: None, lambda: woken.append(True), InHand())
    player._traced.add(answer.key)

    def fails():
        raise OSError(5, "Input/output error")

    async def looked_for(find) -> None:
        player.move("move", answer, Search(10, find))
        await asyncio.wait(player._running.values(), timeout=10)
        await asyncio.sleep(0)
        player.begin()

    await looked_for(fails)
    assert "move" not in player._found
    assert woken == []
    await looked_for(lambda: None)
    assert "move" in player._found
    assert woken == [True]
    player.close()
