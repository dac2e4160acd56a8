"""Pruning: what is over goes, whatever may still matter stays, and nothing that was signed is touched."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from oracle.chain.requests import Answer, Request, Round
from oracle.cli import app
from oracle.errors import AlreadyRunning, BadSettings, ConflictingAnswer
from oracle.ids import RequestId, ServiceId
from oracle.journal.journal import BlockRef, Journal, Tx
from oracle.journal.outbox import Attempt, Intent, Outbox
from oracle.journal.schema import attempts, intents, nonces
from oracle.node import ledger, pruning
from oracle.node.operator import manual
from oracle.node.pruning import KEEP_SECONDS
from oracle.node.records import CHAIN_KINDS, PostedAnswer, RequestRecord, batch_key, output_key, verdict_key
from oracle.node.settings import Settings, load

FINALITY, HEAD, DEADLINE = 64, 1_000, 1_000_000
LATER = DEADLINE + KEEP_SECONDS + 3_600
OLD, YOUNG = 100, HEAD - FINALITY + 1
NODE, ORACLE = "0x" + "11" * 20, "0x" + "22" * 20
DEPLOYMENT = {"chain_id": 31337, "block": 1, "oracle": ORACLE} | {
    name: "0x" + digit * 40 for name, digit in {"registry": "1", "seats": "4", "lens": "5", "panel": "3"}.items()
}


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = opened_in(tmp_path)
    yield opened
    opened.close()


def opened_in(folder: Path) -> Journal:
    """A journal that has read up to HEAD."""
    opened = Journal(folder / "journal.sqlite", f"31337:{ORACLE}", ballast_bytes=0)
    with opened.write() as tx:
        tx.add_block(BlockRef(HEAD, b"\x01" * 32, LATER))
    return opened


def put(tx: Tx, number: int, state: str, block: int = OLD, *, closes_at: int = DEADLINE) -> RequestId:
    """A request whose last event came with `block`."""
    request = Request(ServiceId(bytes(32)), number.to_bytes(32, "big"), DEADLINE << 160, 0, 0)
    answer = PostedAnswer(Answer(closes_at << 48, bytes(32), bytes(32), bytes(32)), NODE, b"", 3)
    assert answer.answer.closes_at == closes_at
    record = RequestRecord(request, state, b"", 3, DEADLINE - 600, Round(0, 0), answer)
    tx.put_job("request", record.key, state, record.payload(), block)
    return record.id


def hang(tx: Tx, request: RequestId, mark: str, *, game: str = "over", case: str = "decided", block: int = OLD) -> None:
    """On a request: a case, a game with an opening, a paid reward, and what this node found out."""
    about = {"request": f"{request:064x}"}
    dispute = mark * 64
    tx.put_job("case", f"case:{dispute}", case, about, block)
    tx.put_job("game", f"game:{dispute}", game, {**about, "case": dispute}, block)
    tx.put_job("opening", f"opening:{dispute}", "open", {"case": dispute, "nodes": []}, OLD)
    tx.put_job("move", f"move:{request:064x}:000000000009:000000", "made", {"case": dispute}, OLD)
    tx.put_job("reward", f"reward:{dispute}", "paid", {}, OLD)
    for key in (output_key, verdict_key, batch_key):
        tx.put_job(key.__name__.partition("_")[0], key(request, bytes(32)), "done", {}, None)


def told(tx: Tx) -> list[tuple[str, str]]:
    return [(job.key, job.state) for job in tx.jobs()]


def prune(journal: Journal, **options: Any) -> dict[str, int]:
    with journal.write() as tx:
        keys = pruning.over(tx, FINALITY, **options)
        tx.delete_jobs(keys)
    return pruning.counts(keys)


@pytest.mark.parametrize("state", ["final", "undelivered", "refunded", "cancelled"])
def test_prune__request_is_over__goes_with_all_that_hangs_on_it(journal, state):
    with journal.write() as tx:
        hang(tx, put(tx, 1, state), "a")
        tx.put_job("seat", "seat:00:0", "active", {}, OLD)
        tx.put_job("service", "service:00", "known", {}, OLD)
    assert prune(journal) == {
        "requests": 1,
        "cases": 1,
        "games": 1,
        "openings": 1,
        "moves": 1,
        "rewards": 1,
        "findings": 3,
    }
    with journal.read() as tx:
        assert told(tx) == [("seat:00:0", "active"), ("service:00", "known")]


@pytest.mark.parametrize(
    ("request_is", "on_it"),
    [
        ({"state": "open"}, {}),
        ({"state": "answered"}, {}),
        ({"state": "disputed"}, {}),
        ({"state": "left"}, {}),
        ({"state": "final", "block": YOUNG}, {}),
        ({"state": "final", "closes_at": DEADLINE + 3_601}, {}),
        ({"state": "final"}, {"game": "live"}),
        ({"state": "final"}, {"game": "stranded"}),
        ({"state": "final"}, {"case": "voting"}),
        ({"state": "final"}, {"case": "undrawn"}),
        ({"state": "final"}, {"block": YOUNG}),
    ],
)
def test_prune__anything_may_still_happen__all_of_it_stays(journal, request_is, on_it):
    with journal.write() as tx:
        hang(tx, put(tx, 1, **request_is), "a", **on_it)
        tx.delete_jobs(["reward:" + "a" * 64])
        before = told(tx)
    assert not any(prune(journal).values())
    with journal.read() as tx:
        assert told(tx) == before


def test_prune__by_blocks__does_not_wait_for_the_chain_s_time(journal):
    with journal.write() as tx:
        put(tx, 1, "final", HEAD - 200, closes_at=LATER)
        put(tx, 2, "final", HEAD - 199, closes_at=LATER)
    assert prune(journal)["requests"] == 0
    assert prune(journal, older_than=200)["requests"] == 1
    with pytest.raises(BadSettings, match="63 blocks are less than `finality`"):
        prune(journal, older_than=FINALITY - 1)


def test_prune__waiting_reward_and_other_requests__stay(journal):
    with journal.write() as tx:
        hang(tx, put(tx, 1, "final"), "a")
        hang(tx, put(tx, 2, "answered"), "b")
        tx.put_job("reward", "reward:" + "c" * 64, "waits", {}, OLD)
        kept = [each for each in told(tx) if "b" * 64 in each[0] or "c" * 64 in each[0]]
    prune(journal)
    with journal.read() as tx:
        assert {job.key for job in tx.jobs("reward")} == {"reward:" + "c" * 64}
        assert {each for each in kept if not each[0].startswith("reward:b")} <= set(told(tx))
        assert len(tx.jobs("request")) == 1


def test_prune__again_and_on_an_empty_journal__deletes_nothing(journal, tmp_path):
    with journal.write() as tx:
        hang(tx, put(tx, 1, "final"), "a")
    assert any(prune(journal).values())
    assert not any(prune(journal).values())
    empty = Journal(tmp_path / "empty.sqlite", "x", ballast_bytes=0)
    assert not any(prune(empty).values())
    empty.close()


def test_prune__what_was_signed__stays_to_the_byte_and_refuses_another_answer(journal):
    key = "answer:31337:0x22:1:0:00"
    with journal.write() as tx:
        hang(tx, put(tx, 1, "final"), "a")
        outbox = Outbox(tx, NODE)
        outbox.plan(Intent(key, ORACLE, b"one", 1), 0)
        outbox.add_nonce(0, key, OLD)
        outbox.add_attempt(Attempt(bytes(32), 0, False, b"raw", 21_000, 1, 1, OLD, "accepted"))
        outbox.set_intent(key, "final", nonce=0)

    def signed() -> list[Any]:
        with journal.read() as tx:
            return [tx.connection.execute(sa.select(table)).all() for table in (intents, nonces, attempts)]

    before = signed()
    assert all(before)
    prune(journal)
    assert signed() == before
    with pytest.raises(ConflictingAnswer), journal.write() as tx:
        Outbox(tx, NODE).plan(Intent(key, ORACLE, b"two", 1), 0)


def test_prune__then_a_reorganization_of_any_depth_that_may_come__brings_nothing_back(journal):
    with journal.write() as tx:
        hang(tx, put(tx, 1, "final", HEAD - FINALITY), "a")
        put(tx, 2, "answered", HEAD - FINALITY)
        put(tx, 2, "final", YOUNG)
        tx.add_block(BlockRef(HEAD - FINALITY, b"\x02" * 32, 0))
    prune(journal)
    with journal.write() as tx:
        tx.rollback(HEAD - FINALITY)
        assert [(job.kind, job.state) for job in tx.jobs()] == [("request", "answered")]


def test_digest__does_not_see_what_is_pruned_and_sees_all_that_is_not_over(journal):
    def digest() -> bytes:
        with journal.read() as tx:
            return ledger.digest(tx)

    with journal.write() as tx:
        hang(tx, put(tx, 1, "final"), "a")
        hang(tx, put(tx, 2, "left"), "b", game="live", case="voting")
        put(tx, 3, "open")
        tx.put_job("reward", "reward:" + "c" * 64, "waits", {}, OLD)
        for kind in ("service", "seat", "place", "week"):
            tx.put_job(kind, f"{kind}:00", "known", {"sum": 0}, OLD)
    before = digest()
    assert prune(journal)["requests"] == 1
    assert digest() == before
    with journal.read() as tx:
        stays = [job for job in tx.jobs() if job.kind in CHAIN_KINDS and job.state != "paid"]
    assert {job.kind for job in stays} == set(CHAIN_KINDS)
    for job in stays:
        with journal.write() as tx:
            tx.put_job(job.kind, job.key, job.state, {**job.payload, "more": 1}, None)
        assert digest() != before, job.key
        with journal.write() as tx:
            tx.put_job(job.kind, job.key, job.state, job.payload, None)
        assert digest() == before


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "deployment.json").write_text(json.dumps(DEPLOYMENT))
    (tmp_path / "didyma.toml").write_text(
        'rpc_urls = ["http://127.0.0.1:1"]\ndeployment = "deployment.json"\ndata_dir = "."\n'
        f'services = ["0x{"ab" * 32}"]\n'
    )
    return load(tmp_path / "didyma.toml")


def test_prune__node_runs__is_refused_and_a_dry_run_counts_beside_it(journal, settings):
    with journal.write() as tx:
        hang(tx, put(tx, 1, "final"), "a")
        before = told(tx)
    with pytest.raises(AlreadyRunning):
        manual.prune(settings, None, dry_run=False)
    assert manual.prune(settings, None, dry_run=True)["requests"] == 1
    with journal.read() as tx:
        assert told(tx) == before


def test_prune__command__says_what_it_would_do_does_it_and_says_so(settings, tmp_path):
    journal = opened_in(tmp_path)
    with journal.write() as tx:
        hang(tx, put(tx, 1, "final"), "a")
        put(tx, 2, "open")
    journal.close()

    def run(*words: str) -> str:
        done = CliRunner().invoke(app, ["node", "prune", "--config", str(tmp_path / "didyma.toml"), *words])
        assert done.exit_code == 0, done.output
        return done.output

    found = "1 requests, 1 cases, 1 games, 1 openings, 1 moves, 1 rewards, 3 findings"
    assert run("--dry-run") == f"would delete: {found}\n"
    assert json.loads(run("--dry-run", "--json"))["findings"] == 3
    assert json.loads(run("--older-than", "64", "--json"))["deleted"] is True
    assert run() == "deleted: nothing\n"
    with manual.looking(settings) as tx:
        assert [job.state for job in tx.jobs()] == ["open"]
