"""What a daemon keeps of its journal is what the journal says, whatever happened to it."""

import contextlib
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.ids import CaseId, GameId, RequestId, ServiceId
from oracle.journal.journal import BlockRef, Journal
from oracle.node.records import GameRecord, Judgement, verdict_key
from oracle.node.working_set import WorkingSet

KINDS = ("requests", "verdicts", "games", "openings", "rewards")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("verdict"), st.integers(0, 4), st.booleans()),
        st.tuples(st.just("game"), st.integers(0, 4), st.sampled_from(["live", "stranded", "over"])),
        st.tuples(st.just("opening"), st.integers(0, 4), st.sampled_from(["00", "11"])),
        st.tuples(st.just("forget"), st.integers(0, 4)),
        st.tuples(st.just("roll back"), st.integers(0, 3)),
        st.tuples(st.just("fail"), st.integers(0, 4)),
        st.tuples(st.just("look")),
    ),
    max_size=30,
)


class Cut(Exception):
    """A transaction does not get to its end."""


def play(journal: Journal, block: int, step: tuple[object, ...]) -> None:
    key = verdict_key(int(step[1]) if len(step) > 1 else 0, bytes(32))  # type: ignore[call-overload]
    match step:
        case ("verdict", int(), bool(correct)):
            with journal.write() as tx:
                tx.put_job("verdict", key, "done", Judgement(correct, "").payload(), None)
        case ("game", int(number), str(state)):
            case_and_service = CaseId(bytes(32)), RequestId(0), "0x", ServiceId(bytes(32))
            payload = GameRecord(GameId(number), state, *case_and_service, 0, 1, 60, 0).payload()
            with journal.write() as tx:
                tx.put_job("game", f"game:{number:064x}", state, payload, block)
        case ("opening", int(place), str(case)):
            payload = {"case": case * 32, "nodes": [f"{block:064x}"]}
            with journal.write() as tx:
                tx.put_job("opening", f"opening:{place:064x}", "open", payload, block)
        case ("forget", int()):
            with journal.write() as tx:
                tx.delete_jobs([key])
        case ("roll back", int(depth)):
            with journal.write() as tx:
                tx.rollback(block - depth)
                if tx.cursor() is None:
                    tx.add_block(BlockRef(0, bytes(32), 0))
        case ("fail", int()):
            try:
                with journal.write() as tx:
                    tx.put_job("verdict", key, "done", Judgement(None, "lost").payload(), None)
                    raise Cut
            except Cut:
                pass


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_refresh__after_any_changes__is_what_a_fresh_reader_finds(steps):
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / "journal.sqlite", "test", ballast_bytes=0)
        try:
            kept = WorkingSet(journal)
            for block, step in enumerate(steps, 1):
                with journal.write() as tx:
                    if tx.cursor() is None or tx.cursor().number < block:
                        tx.add_block(BlockRef(block, block.to_bytes(32, "big"), block))
                play(journal, block, step)
                if step == ("look",):
                    kept.refresh()
                    assert len(kept.openings) <= 5
            kept.refresh()
            read = WorkingSet(journal)
            read.refresh()
            for name in KINDS:
                assert getattr(kept, name) == getattr(read, name), name
        finally:
            journal.close()


def test_openings__nothing_new__are_not_read_again(tmp_path, monkeypatch):
    journal = Journal(tmp_path / "journal.sqlite", "test", ballast_bytes=0)
    kept = WorkingSet(journal)
    play(journal, 1, ("game", 0, "live"))
    play(journal, 1, ("opening", 3, "00"))
    kept.refresh()
    assert list(kept.openings) == [bytes(31) + b"\3"]
    with monkeypatch.context() as broken:
        broken.setattr(journal, "read", lambda: (_ for _ in ()).throw(Cut))
        kept.refresh()
        assert len(kept.openings) == 1
    play(journal, 2, ("opening", 4, "00"))
    kept.refresh()
    assert len(kept.openings) == 2
    journal.close()


def test_refresh__a_read_that_fails__is_made_good_by_the_next(tmp_path, monkeypatch):
    journal = Journal(tmp_path / "journal.sqlite", "test", ballast_bytes=0)
    kept = WorkingSet(journal)
    kept.refresh()
    play(journal, 1, ("verdict", 1, True))
    with monkeypatch.context() as broken:
        broken.setattr(journal, "read", lambda: (_ for _ in ()).throw(Cut))
        with contextlib.suppress(Cut):
            kept.refresh()
    assert kept.verdicts == {}
    kept.refresh()
    assert list(kept.verdicts.values()) == [Judgement(True, "")]
    journal.close()
