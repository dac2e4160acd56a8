"""Dispute games of nodes whose passes a fleet's workers trace: won with them, and without them where they fail."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from disputes.test_chunks import Machines
from e2e.test_games import WON, SecondTokenOff, asked_of, built, corrupted, exact, games, store  # noqa: F401
from e2e.world import NODES, drive, team

from oracle.disputes.chunks import Shelf
from oracle.errors import JobCancelled
from oracle.models.store import ModelStore


class Tracing:
    """An engine and, as a fleet's has, two machines that trace."""

    def __init__(self, inner: Any, models: ModelStore, spoil: Callable[..., Any]) -> None:
        self._inner = inner
        (manifest,) = models.manifests()
        self.machines = Machines({name: Shelf(models.file(manifest).path, 1) for name in ("one", "two")})
        self.machines.spoil = spoil
        self.tracers, self.traced = self.machines.tracers, self.machines.traced

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def right(_worker: str, _question: Any, answer: Any) -> Any:
    return answer


def lies(worker: str, question: Any, answer: Any) -> Any:
    return ["00" * 32, *answer[1:]] if (worker, question["of"]) == ("two", "operators") else answer


def withholds(_worker: str, question: Any, answer: Any) -> Any:
    if question["of"] != "steps":
        time.sleep(0.2)
        raise JobCancelled("it took longer than it may")
    return answer


def watched(nodes: Any) -> Callable[[], list[bool]]:
    """From now on: which of the nodes have traced something by themselves."""
    traced = [False for _ in nodes]
    for number, node in enumerate(nodes):
        moves = node._litigant._moves

        def whole(matter: Any, number: int = number, make: Any = moves._whole) -> Any:
            traced[number] = True
            return make(matter)

        moves._whole = whole
    return lambda: traced


@pytest.mark.parametrize("spoil", [right, lies, withholds])
async def test_game__passes_traced_elsewhere__won_by_who_is_right(earth, tmp_path, store, spoil):  # noqa: F811
    """Both sides ask other machines. What these say wrongly, late or not at all costs no game: each computes by itself
    from then on."""
    asking = Tracing(SecondTokenOff(exact(store)), store, right), Tracing(exact(store), store, spoil)
    async with team(earth, tmp_path, *asking, models=store.root) as nodes:
        corrupted(nodes[0], 2, "down")
        request = await asked_of(earth, nodes, NODES[0].address)
        alone = watched(nodes)
        await drive(earth, nodes, lambda: "AnswerRuled" in earth.steps(request), blocks=100)
        assert alone() == [False, spoil is not right]
    assert earth.steps(request)[:4] == WON
    (ended,) = games(earth, "GameEnded")
    assert ended["challengerWon"]
    kinds = {"steps", "operators", "nodes", "leaves"} if spoil is right else {"steps"}
    assert {of for _, of in asking[1].machines.asked} >= kinds
