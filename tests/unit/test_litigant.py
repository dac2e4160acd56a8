"""The litigant's two threads: prefills beside moves, and of the moves the one whose deadline comes first."""

import asyncio
from functools import partial
from threading import Event
from types import SimpleNamespace
from typing import Any, cast

from oracle.node.litigant import Litigant, _Matter, _Task


def litigant() -> Litigant:
    nothing = cast(Any, None)
    return Litigant(nothing, nothing, nothing, nothing, lambda: None)


def matter(number: int) -> _Matter:
    return cast(_Matter, SimpleNamespace(key=(number, b"\xaa"), record=SimpleNamespace(id=number)))


async def made_by(made: list[Any], count: int) -> None:
    async with asyncio.timeout(10):
        while len(made) < count:
            await asyncio.sleep(0.01)


async def test_moves__many_asked_for__are_made_in_order_of_deadline_after_one_prefill(monkeypatch):
    player, made, answer = litigant(), [], matter(1)
    all_asked = Event()

    def prefilled(of):
        all_asked.wait(10)
        made.append("prefill")
        player._traced.add(of.key)

    monkeypatch.setattr(player, "_prefilled", prefilled)
    asked: set[str] = set()
    for deadline in (50, 20, 40, 10, 30):
        player._move(f"move {deadline}", asked, answer, _Task(deadline, partial(made.append, deadline), answer.key))
    all_asked.set()
    await made_by(made, 6)
    assert made == ["prefill", 10, 20, 30, 40, 50]
    player.close()


async def test_move__that_another_game_wants_sooner__comes_sooner(monkeypatch):
    player, made, answer = litigant(), [], matter(1)
    player._traced.add(answer.key)
    player._busy.add("next")
    for deadline in (10, 20, 30):
        player._move(f"move {deadline}", set(), answer, _Task(deadline, partial(made.append, deadline), answer.key))
    player._sooner("move 30", 5)
    player._busy.clear()
    player._start()
    await made_by(made, 3)
    assert made == [30, 10, 20]
    player.close()


async def test_prefill__of_another_answer__holds_no_move_up(monkeypatch):
    player, made = litigant(), []
    slow, quick = matter(1), matter(2)
    release = asyncio.Event()
    loop = asyncio.get_running_loop()

    def prefilled(of):
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result(10)
        player._traced.add(of.key)

    monkeypatch.setattr(player, "_prefilled", prefilled)
    player._traced.add(quick.key)
    player._move("slow", set(), slow, _Task(10, partial(made.append, "slow"), slow.key))
    player._move("quick", set(), quick, _Task(99, partial(made.append, "quick"), quick.key))
    await made_by(made, 1)
    assert made == ["quick"]
    release.set()
    await made_by(made, 2)
    assert made == ["quick", "slow"]
    player.close()


async def test_move__disk_fails__is_looked_for_again_with_the_next_block(monkeypatch):
    player, woken, answer = litigant(), [], matter(1)
    monkeypatch.setattr(player, "_wake", lambda: woken.append(True))
    player._traced.add(answer.key)

    def fails():
        raise OSError(5, "Input/output error")

    async def looked_for(find) -> None:
        player._move("move", set(), answer, _Task(10, find, answer.key))
        await asyncio.wait(player._running.values(), timeout=10)
        await asyncio.sleep(0)
        player._collect()

    await looked_for(fails)
    assert "move" not in player._found
    assert woken == []
    await looked_for(lambda: None)
    assert "move" in player._found
    assert woken == [True]
    player.close()
