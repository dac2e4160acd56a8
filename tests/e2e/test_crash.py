"""kill -9 of the whole daemon at every step: the restart loses nothing and repeats nothing.

One daemon operates all five seats and has a dispute key of its own. In the first story it answers and finalizes a
request; in the second the fifth seat is a liar's, and it finds the lie, challenges it, serves on the panel and decides.
A crash may strike any pass of a point: `after_persist:3` is the third transaction.
"""

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from e2e.world import ACCOUNTS, NODES, World, drive, finish, running_node, world
from rig.anvil import CHAIN_ID
from rig.child import KILLED, run_child

from oracle.journal.crashpoints import DAEMON_POINTS, POINTS
from oracle.journal.journal import Journal
from oracle.journal.outbox import Outbox

OPERATOR, LIAR, DISPUTER = NODES[0], NODES[4], ACCOUNTS[8]
ELSEWHERE = {
    "in_rollback",
    "in_migration",
    "after_backup",
    "after_cancel_sign",
    "after_cancel_persist",
}
"""Points of the journal, of reorganisations and of replaced transactions: unit/test_crashpoints.py."""
ANSWER_POINTS = [*(p for p in POINTS if p not in ELSEWHERE), *(p for p in DAEMON_POINTS if p != "after_verdict")]
ANSWERED = ["RequestPosted", "AnswerPosted", "RequestFinalized"]
DISPUTED = ["RequestPosted", "AnswerPosted", "AnswerDisputed", "AnswerRuled"]


@pytest.fixture(scope="module")
def built() -> Iterator[World]:
    with world() as made:
        for seat in range(1, 5):
            made.act(NODES[seat], "setOperator", made.service, seat, OPERATOR.address)
        yield made


def live(earth: World, folder: Path, goal: Callable[[], bool], *, answer: bool) -> None:
    """The whole life of a daemon process, until the goal is reached and its transactions are final."""

    async def main() -> None:
        async with running_node(earth, folder, OPERATOR, disputer=DISPUTER, answer=answer) as node:
            await drive(earth, [node], goal)
            await finish(earth, node)

    asyncio.run(main())


def killed_and_restarted(work: Callable[[], None], point: str, deaths: int) -> None:
    assert run_child(work, {"DIDYMA_CRASH_AT": point}) == KILLED
    if deaths == 2:  # dies there again, unless that step is behind it
        assert run_child(work, {"DIDYMA_CRASH_AT": point}) in (KILLED, 0)
    assert run_child(work) == 0


def signed(earth: World, folder: Path) -> list[str]:
    """Kinds of the intents that were signed. Each once, all final, no gap in the nonces."""
    journal = Journal(folder / "journal.sqlite", f"{CHAIN_ID}:{earth.deployment.oracle}", ballast_bytes=0)
    kinds = []
    with journal.read() as tx:
        for key in (OPERATOR, DISPUTER):
            outbox = Outbox(tx, key.address)
            rows = outbox.nonces("open", "mined", "final")
            assert [row.state for row in rows] == ["final"] * len(rows)
            assert len(rows) == 0 or rows[-1].nonce + 1 == earth.chain.transactions(key.address)
            for row in rows:
                assert row.key is not None
                assert len(outbox.attempts(row.nonce)) == 1
                kinds.append(row.key.split(":")[0])
    journal.close()
    return sorted(kinds)


def test_points__all__have_a_case():
    assert set(ANSWER_POINTS) | {"after_verdict"} | ELSEWHERE == {*POINTS, *DAEMON_POINTS}


@pytest.mark.parametrize("deaths", [1, 2])
@pytest.mark.parametrize("point", ANSWER_POINTS)
def test_crash__while_answering__one_answer_is_signed_and_finalized(earth, tmp_path, point, deaths):
    request = earth.ask()
    work = partial(live, earth, tmp_path, lambda: earth.status(request) == "final", answer=True)
    killed_and_restarted(work, point, deaths)
    assert earth.steps(request) == ANSWERED
    assert signed(earth, tmp_path) == ["answer", "finalize"]


@pytest.mark.parametrize("point", ["after_verdict", *(f"after_persist:{n}" for n in range(1, 6)), "after_send:4"])
def test_crash__while_disputing__each_step_is_taken_once(earth, tmp_path, point):
    earth.act(LIAR, "setOperator", earth.service, 4, LIAR.address)
    request = earth.lied(LIAR)
    work = partial(live, earth, tmp_path, lambda: "AnswerRuled" in earth.steps(request), answer=False)
    killed_and_restarted(work, point, 1)
    assert [step for step in earth.steps(request) if step != "TurnMissed"] == DISPUTED
    assert earth.status(request) == "open"
    assert signed(earth, tmp_path) == ["challenge", "commit", "decide", "draw", "reveal"]
