"""Who of several daemons may sign, and what the next one learns of what the last one signed."""

import asyncio
import time
from dataclasses import replace

import psycopg
import pytest
from eth_account import Account
from fleet.conftest import wait_for
from psycopg.types.json import Jsonb
from rig import contract
from rig.anvil import CHAIN_ID, KEYS

from oracle.chain.keys import LocalSigner, UnsignedTx
from oracle.errors import BadRecord, ConflictingAnswer, FleetUnavailable, NotLeading
from oracle.fleet import leader as leading
from oracle.fleet.leader import Leader
from oracle.journal.journal import Journal
from oracle.journal.outbox import Attempt, Intent, Outbox
from oracle.journal.signed import Signed, signed_of
from oracle.node.standby import Standby

SIGNER, OTHER = (LocalSigner(Account.from_key(key)) for key in KEYS[:2])
KEY = SIGNER.address
INTENT = Intent("answer:1", contract.ADDRESS, contract.call(1), stake_wei=10**18, deadline=900, service=b"\1" * 32)


def signed(nonce=0, intent=INTENT, tip_wei=1, key=INTENT.key, by=SIGNER, **changes):
    """As a daemon with the key writes it down. changes: of the attempt, after signing."""
    fields = {"nonce": nonce, "gas_limit": 50_000, "max_fee_wei": 10**9, "tip_wei": tip_wei}
    to, value_wei, data = (KEY, 0, b"") if intent is None else (intent.to, intent.value_wei, intent.data)
    tx = UnsignedTx(chain_id=CHAIN_ID, to=to, value_wei=value_wei, data=data, **fields)
    made = asyncio.run(by.sign(tx))
    attempt = Attempt(hash=made.hash, raw=made.raw, cancels=intent is None, block=7, outcome="", **fields)
    return Signed(KEY, key, intent, 5, replace(attempt, **changes))


@pytest.fixture
def quick(monkeypatch):
    """Leases that end soon."""
    monkeypatch.setattr(leading, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(leading, "LEASE_SECONDS", 1.0)


@pytest.fixture
def daemon(url, quick):
    """Opens what decides whether a daemon may sign."""
    made = []

    def start(*keys):
        made.append(Leader(url, keys or [KEY]))
        made[-1].open()
        return made[-1]

    yield start
    for each in made:
        each.close()


def rows(url, statement="SELECT entry FROM didyma_signed ORDER BY number", *values):
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


# -- who leads


def test_leader__two_with_a_key__one_leads_and_the_other_when_that_one_goes(daemon):
    one = daemon()
    wait_for(lambda: one.epoch == 1)
    two = daemon()
    time.sleep(0.3)
    assert (one.epoch, two.epoch, two.trouble) == (1, None, "")
    one.close()
    wait_for(lambda: two.epoch == 2)


def test_leader__of_another_key__leads_beside_it(daemon):
    one, two = daemon(), daemon(OTHER.address)
    wait_for(lambda: one.epoch == two.epoch == 1)


def test_leader__that_stands_still__its_session_is_ended_and_it_signs_nothing_when_it_wakes(daemon, url):
    one = daemon()
    wait_for(lambda: one.epoch == 1)
    one._beat = lambda: None  # frozen, with its session open
    two = daemon()
    wait_for(lambda: two.epoch == 2)
    one._until = time.monotonic() + 60  # it believes that no time has passed
    with pytest.raises(FleetUnavailable):
        one.record(1, signed())
    with pytest.raises(NotLeading):
        one.record(1, signed())
    assert rows(url) == []


def test_record__epoch_that_is_over__is_refused_even_in_the_session_that_held_the_lock(daemon, url):
    """As where something between daemon and database lends one session to several."""
    one = daemon()
    wait_for(lambda: one.epoch == 1)
    rows(url, "UPDATE didyma_leader SET epoch = 2")
    with pytest.raises(NotLeading):
        one.record(1, signed())
    assert rows(url) == []


def test_record__again__stands_once(daemon, url):
    one = daemon()
    wait_for(lambda: one.epoch == 1)
    one.record(1, signed())
    one.record(1, signed())
    assert len(rows(url)) == 1
    assert one.signed_after(0, KEY, 0) == [(1, signed())]
    assert one.signed_after(0, KEY, 1) == one.signed_after(0, OTHER.address, 0) == []


def test_leader__database_away_and_back__leads_again_under_another_epoch(daemon, postgres):
    one = daemon()
    wait_for(lambda: one.epoch == 1)
    postgres.stop()
    try:
        wait_for(lambda: one.epoch is None)
        assert "fleet's database" in one.trouble
        assert str(postgres.port) not in one.trouble
    finally:
        postgres.start()
    wait_for(lambda: one.epoch == 2, 20)


# -- what the next one learns


@pytest.fixture
def part(daemon, tmp_path):
    """A daemon with a journal; returns its part and the journal."""
    journals = []

    def make(name, epoch=None):
        journals.append(Journal(tmp_path / name / "journal.sqlite", "1:x", ballast_bytes=0))
        leader = daemon()
        wait_for(lambda: leader.epoch == epoch and not leader.trouble)
        return Standby(journals[-1], leader, [KEY], CHAIN_ID), journals[-1]

    yield make
    for journal in journals:
        journal.close()


def look(standby):
    return asyncio.run(standby.look())


def tell(standby, *told):
    assert look(standby)
    for each in told:
        asyncio.run(standby.record(each))


def known(journal):
    with journal.read() as tx:
        return [(each.key, each.attempt) for each in signed_of(tx, KEY, "open", "mined", "final")]


def state(journal, key=INTENT.key):
    with journal.read() as tx:
        row = Outbox(tx, KEY).require(key)
    return row.state, row.nonce


def test_follower__what_the_leader_signed__stands_in_its_journal(part):
    one, _ = part("one", 1)
    two, journal = part("two")
    told = [signed(), signed(tip_wei=2), signed(1, replace(INTENT, key="move:1", urgent=True), key="move:1")]
    tell(one, *told)
    assert look(two) is False
    assert known(journal) == [(each.key, each.attempt) for each in told]
    assert state(journal) == ("sent", 0)
    with pytest.raises(NotLeading):
        asyncio.run(two.record(signed(2)))


def test_follower__what_was_given_up_and_signed_anew__is_so_in_its_journal(part):
    one, _ = part("one", 1)
    two, journal = part("two")
    tell(one, signed(), signed(0, None, tip_wei=3))
    look(two)
    assert state(journal) == ("replacing", 0)
    tell(one, signed(1))
    look(two)
    assert state(journal) == ("sent", 1)


def test_follower__planned_something_itself__what_was_signed_counts(part):
    one, _ = part("one", 1)
    two, journal = part("two")
    with journal.write() as tx:
        Outbox(tx, KEY).plan(replace(INTENT, data=b"other"), 1)
    tell(one, signed())
    look(two)
    assert state(journal) == ("sent", 0)


def test_leader__before_it_signs__has_what_the_last_one_signed(part):
    one, _ = part("one", 1)
    two, journal = part("two")
    tell(one, signed())
    one.close()
    wait_for(lambda: two._leader.epoch == 2)
    with pytest.raises(NotLeading):
        asyncio.run(two.record(signed(1)))  # it has not looked yet
    assert look(two)
    assert known(journal) == [(INTENT.key, signed().attempt)]


def test_leader__with_a_journal_from_before__hands_in_what_is_not_final(part, url):
    one, journal = part("one", 1)
    with journal.write() as tx:
        outbox = Outbox(tx, KEY)
        outbox.plan(INTENT, 5)
        outbox.add_nonce(0, INTENT.key, 7)
        outbox.add_attempt(signed().attempt)
        outbox.set_intent(INTENT.key, "sent", nonce=0, gas_limit=50_000)
    assert look(one)
    assert [entry["nonce"] for (entry,) in rows(url)] == [0]


def test_look__database_away__nobody_knows_and_nothing_is_signed(part, postgres):
    one, _ = part("one", 1)
    assert look(one)
    postgres.stop()
    try:
        assert look(one) is None
        assert one.trouble
        with pytest.raises(NotLeading):
            asyncio.run(one.record(signed()))
    finally:
        postgres.start()


# -- a database that lies


@pytest.mark.parametrize(
    "told",
    [
        signed(by=OTHER),
        replace(signed(), attempt=signed(0, None).attempt),
        replace(signed(), intent=replace(INTENT, to="0x" + "22" * 20)),
        replace(signed(), intent=replace(INTENT, value_wei=1)),
        signed(hash=b"\1" * 32),
        signed(raw=b"no transaction"),
        replace(signed(3), attempt=replace(signed(2).attempt, nonce=3)),
        replace(signed(), intent=None),
        replace(signed(), key=None),
    ],
    ids=["key", "a cancelling one", "receiver", "value", "hash", "bytes", "nonce", "no intent", "no name"],
)
def test_follower__told_what_its_key_has_not_signed__stops_and_its_journal_is_as_it_was(part, url, told):
    two, journal = part("two", 1)
    insert(url, told.to_json())
    with pytest.raises(BadRecord):
        look(two)
    assert known(journal) == []


@pytest.mark.parametrize(
    "entry",
    [{}, [], None, 7, {"key": 1}, {**signed().to_json(), "raw": 7}, {**signed().to_json(), "x": "y" * (1 << 20)}],
)
def test_follower__told_nonsense__stops_and_says_so(part, url, entry):
    two, _ = part("two", 1)
    insert(url, entry)
    with pytest.raises(BadRecord, match="something else than signed transactions"):
        look(two)


def test_follower__told_by_a_daemon_of_another_version__stops_and_names_both(part, url):
    two, journal = part("two", 1)
    insert(url, signed().to_json() | {"record": 2})
    with pytest.raises(BadRecord, match="its records are of version 2, this one's of 1"):
        look(two)
    assert known(journal) == []


def test_follower__another_transaction_for_a_nonce_or_a_gap__stops(part, url):
    two, journal = part("two", 1)
    tell(two, signed(4))
    look_again = part("three")[0]
    look(look_again)
    insert(url, signed(4, replace(INTENT, key="answer:2"), 9, key="answer:2").to_json())
    with pytest.raises(BadRecord, match=r"nonce 4 serves answer:1 in this journal"):
        look(look_again)
    rows(url, "DELETE FROM didyma_signed")
    insert(url, signed(9).to_json())
    with pytest.raises(BadRecord, match="older than what the fleet's database tells"):
        look(look_again)
    assert known(journal) == []


def test_follower__another_payload_for_a_turn__stops(part, url):
    two, _ = part("two", 1)
    other = replace(INTENT, data=contract.call(2))
    for told in (signed(), signed(1, other)):
        insert(url, told.to_json())
    with pytest.raises(ConflictingAnswer):
        look(two)


def insert(url, entry):
    hashed = bytes.fromhex(entry["hash"]) if isinstance(entry, dict) and "hash" in entry else b"\2" * 32
    nonce = entry.get("nonce", 0) if isinstance(entry, dict) else 0
    statement = "INSERT INTO didyma_signed (signer, nonce, epoch, hash, entry) VALUES (%s, %s, 1, %s, %s)"
    rows(url, statement, KEY, nonce, hashed, Jsonb(entry))
