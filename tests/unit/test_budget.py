"""The bond budget: no challenge binds more than it allows, and what is not sent is told."""

import pytest

from oracle.chain.types import Block
from oracle.ids import CaseId, GameId, RequestId, ServiceId
from oracle.journal.journal import Journal
from oracle.journal.outbox import Intent, Outbox
from oracle.node.budget import Budget, bonds_out_wei
from oracle.node.plan import View, Wanted
from oracle.node.records import GameRecord

US, OTHER, TO = "0x" + "11" * 20, "0x" + "22" * 20, "0x" + "33" * 20
HEAD = Block(100, b"\1" * 32, bytes(32), 1_000, 1, bytes(32), bytes(256))


@pytest.fixture
def journal(tmp_path):
    opened = Journal(tmp_path / "j.sqlite", "1:x", ballast_bytes=0)
    yield opened
    opened.close()


def game(challenger: str, bond_wei: int) -> GameRecord:
    return GameRecord(
        GameId(1), "live", CaseId(bytes(32)), RequestId(1), challenger, ServiceId(bytes(32)), 0, bond_wei, 60, 0
    )


def view(*games: GameRecord) -> View:
    return View(HEAD, US, US, {}, [], [], {}, {}, games=games)


def challenge(name: str, value_wei: int) -> Wanted:
    return Wanted(name, TO, b"", 10, value_wei=value_wei, urgent=True)


def test_kept__no_limit__everything(journal):
    wanted = [challenge("a", 10**30)]
    assert Budget(journal, None).kept(wanted, view(), 90) == wanted


def test_kept__bonds_out_and_new_ones__up_to_the_budget_and_the_rest_is_told(journal):
    budget, free = Budget(journal, 100), Wanted("move", TO, b"", 10)
    wanted = [challenge("a", 50), challenge("b", 30), free, challenge("c", 20)]
    assert [want.key for want in budget.kept(wanted, view(game(US, 30), game(OTHER, 1000)), 90)] == ["a", "move", "c"]
    assert budget.refused == {"b"}
    assert [want.key for want in budget.kept([free], view(), 90)] == ["move"]
    assert budget.refused == set()


def test_kept__challenge_on_its_way__counts_once_and_is_not_dropped(journal):
    """Before its game is in the journal it counts by its transaction, afterwards by its game."""
    with journal.write() as tx:
        Outbox(tx, US).plan(Intent("a", TO, b"", 10, value_wei=60), 1)
    budget = Budget(journal, 100)
    assert [want.key for want in budget.kept([challenge("a", 60), challenge("b", 60)], view(), 90)] == ["a"]
    assert budget.refused == {"b"}
    with journal.write() as tx:
        Outbox(tx, US).set_intent("a", "mined", mined_block=90)
    assert [want.key for want in budget.kept([challenge("b", 40)], view(game(US, 60)), 90)] == ["b"]


def test_bonds_out__others_games__do_not_count():
    assert bonds_out_wei(view(game(US, 7), game(US.upper().replace("X", "x"), 5), game(OTHER, 100))) == 12
