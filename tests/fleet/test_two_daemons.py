"""Two daemons with one key: one signs, the other takes over within ten seconds, and no turn is signed for twice; both
are upgraded one after the other.

Real processes on Anvil, each with its own journal and its own way to a real Postgres.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import psycopg
import pytest
from e2e.world import MANIFEST, NODES, world
from eth_account import Account
from rig.anvil import CHAIN_ID
from rig.fake_engine import FakeEngine

from oracle.fleet.engine import queue_of
from oracle.journal.journal import Journal
from oracle.journal.signed import signed_of

ROOT = Path(__file__).resolve().parents[2]
TOLERANCE = 1 << 16
"""Of the panel of `world`."""
TAKEOVER_SECONDS = 10.0
BLOCK_SECONDS = 0.25
OPERATOR = NODES[0]


class Wire:
    """One daemon's way to the database. Cut, it swallows everything and closes nothing, as a broken network does."""

    def __init__(self, port):
        self._to, self._is_cut = port, threading.Event()
        self._ear = socket.create_server(("127.0.0.1", 0))
        self.port = self._ear.getsockname()[1]
        self._open = [self._ear]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                near = self._ear.accept()[0]
                far = socket.create_connection(("127.0.0.1", self._to))
                self._open += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    def _carry(self, one, other):
        with contextlib.suppress(OSError):
            while data := one.recv(1 << 16):
                if not self._is_cut.is_set():
                    other.sendall(data)
        if not self._is_cut.is_set():
            for each in (one, other):
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def cut(self):
        self._is_cut.set()

    def mend(self):
        """Sessions from before are dead, and their two ends learn of it now."""
        for each in self._open[1:]:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._is_cut.clear()

    def close(self):
        for each in self._open:
            each.close()


class Daemon:
    """`didyma node run` on a host of its own."""

    def __init__(self, folder, earth, wire):
        folder.mkdir()
        self.folder, self.wire, self.events, self.process = folder, wire, [], None
        earth.deployment.save(folder / "deployment.json")
        keystore = Account.encrypt(OPERATOR.key, "pw", kdf="pbkdf2", iterations=1)
        for name, text in (("key.json", json.dumps(keystore)), ("password", "pw\n")):
            (folder / name).write_text(text)
            (folder / name).chmod(0o600)
        (folder / "didyma.toml").write_text(
            f'rpc_urls = ["{earth.chain.url}"]\nservices = ["0x{earth.service.hex()}"]\nballast_mib = 1\n'
            'deployment = "deployment.json"\n'
            'keystore = "key.json"\npassword_file = "password"\ndata_dir = "data"\nmodels = "models"\napi_port = 0\n'
            'log_format = "json"\npoll_seconds = 0.2\nconfirmations = 1\nfinality = 8\nreserve_wei = 0\n'
            f'standby = true\nfleet_url = "postgresql://didyma@127.0.0.1:{wire.port}/postgres"\n'
        )

    def start(self, **more):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("DIDYMA_")} | more
        command = [sys.executable, "-c", "from oracle.cli.node import app; app()", "run", "--config"]
        self.events = []
        self.process = subprocess.Popen(
            [*command, str(self.folder / "didyma.toml")], cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True
        )
        threading.Thread(target=self._listen, args=(self.process, self.events), daemon=True).start()

    @staticmethod
    def _listen(process, events):
        for line in process.stderr:
            with contextlib.suppress(ValueError):
                events.append(json.loads(line))

    def said(self, event):
        return sum(each["event"] == event for each in self.events)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0

    def lose(self):
        self.process.kill()
        self.process.wait()

    def journal(self):
        """What it has signed or taken over; it must not be running."""
        deployment = json.loads((self.folder / "deployment.json").read_text())
        journal = Journal(self.folder / "data/journal.sqlite", f"{CHAIN_ID}:{deployment['oracle']}", ballast_bytes=0)
        with journal.read() as tx:
            found = signed_of(tx, OPERATOR.address, "open", "mined", "final")
        journal.close()
        return found


class Blocks:
    """Mines at a steady pace, and asks."""

    def __init__(self, earth):
        self.earth, self._lock, self._ends = earth, threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._mine)
        self._thread.start()

    def _mine(self):
        while not self._ends.wait(BLOCK_SECONDS):
            with self._lock:
                self.earth.chain.mine()

    def ask(self):
        with self._lock:
            return self.earth.ask()

    def close(self):
        self._ends.set()
        self._thread.join()


def wait_for(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@pytest.fixture(scope="module")
def earth():
    with world() as made:
        for seat in range(1, 5):
            made.act(NODES[seat], "setOperator", made.service, seat, OPERATOR.address)
        yield made


@pytest.fixture
def pair(earth, postgres, url, inside, tmp_path):
    """Two daemons, a worker of the fleet, and a chain that goes on."""
    inside(FakeEngine(), queue_of(MANIFEST.model_id, TOLERANCE))
    wires = [Wire(postgres.port) for _ in range(2)]
    daemons = [Daemon(tmp_path / name, earth, wire) for name, wire in zip(("one", "two"), wires, strict=True)]
    blocks = Blocks(earth)
    yield (*daemons, blocks)
    blocks.close()
    for daemon in daemons:
        if daemon.process is not None:
            daemon.lose()
    for wire in wires:
        wire.close()


def test_leader__killed_or_frozen_or_cut_off__the_other_goes_on_and_signs_nothing_twice(pair, url, earth):
    one, two, blocks = pair
    asked = []

    def answered(who):
        """A question that is asked now is answered, by `who` alone."""
        before = {each: each.said("transaction signed") for each in (one, two)}
        asked.append(blocks.ask())
        wait_for(lambda: earth.status(asked[-1]) in ("answered", "final"), 30, "nobody answers")
        other = two if who is one else one
        assert who.said("transaction signed") > before[who]
        assert other.said("transaction signed") == before[other]

    led = Counter()

    def takes_over(who):
        wait_for(lambda: who.said("leads") > led[who], TAKEOVER_SECONDS, "nobody takes over")
        led[who] = who.said("leads")

    def comes_back(who):
        who.start()
        wait_for(lambda: who.said("what another daemon signed is in the journal"), 60, "it does not come back")

    one.start(DIDYMA_CRASH_AT="after_sign:3")
    wait_for(lambda: one.said("leads"), 60, "nobody leads")
    answered(one)
    comes_back(two)
    wait_for(lambda: earth.status(asked[0]) == "final", 30, "the first does not finish")

    asked.append(blocks.ask())  # the third transaction is its answer: written down, and not sent
    wait_for(lambda: one.process.poll() is not None, 30, "the first does not die")
    takes_over(two)
    wait_for(lambda: earth.status(asked[-1]) in ("answered", "final"), 30, "what was signed is lost")
    answered(two)

    comes_back(one)
    two.wire.cut()
    takes_over(one)
    wait_for(lambda: two.said("leads no longer"), TAKEOVER_SECONDS, "it does not notice")
    answered(one)

    two.wire.mend()
    wait_for(lambda: two.said("what another daemon signed is in the journal") > 1, 30, "it does not come back")
    one.process.send_signal(signal.SIGSTOP)
    takes_over(two)
    answered(two)
    one.process.send_signal(signal.SIGCONT)
    wait_for(lambda: one.said("leads no longer"), TAKEOVER_SECONDS, "it does not notice")
    answered(two)

    one.stop()  # an upgrade: the one that stands by, then the other
    comes_back(one)
    led[one] = 0
    two.stop()
    takes_over(one)
    answered(one)
    comes_back(two)

    wait_for(lambda: all(earth.status(each) == "final" for each in asked), 60, "not all become final")
    for daemon in (one, two):
        daemon.stop()
    nothing_twice(url, earth, asked, (one, two))


def nothing_twice(url, earth, asked, daemons):
    """Of all that was written down before it was sent: one nonce and one payload for a turn; and nothing else was
    sent, or stands in a journal."""
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT nonce, hash, entry FROM didyma_signed ORDER BY number").fetchall()
    places = {(entry["key"], nonce) for nonce, _, entry in rows}
    assert max(Counter(nonce for _, nonce in places).values()) == 1
    assert max(Counter(key for key, _ in places).values()) == 1
    payloads = {(entry["key"], entry["intent"]["data"]) for _, _, entry in rows if entry["intent"]}
    answers = [key for key, _ in payloads if key.startswith("answer:")]
    assert len(answers) == len(set(answers)) == len(asked)
    told = {hash for _, hash, _ in rows}
    assert all({each.attempt.hash for each in daemon.journal()} <= told for daemon in daemons)
    w3 = earth.client.w3
    blocks = [w3.eth.get_block(n, full_transactions=True) for n in range(w3.eth.block_number + 1)]
    mined = [bytes(tx["hash"]) for block in blocks for tx in block["transactions"] if tx["from"] == OPERATOR.address]
    own = [each for each in mined if each in told]
    assert mined[-len(own) :] == own, "what the daemons have sent is what they wrote down"
    assert all(w3.eth.get_transaction_receipt(each)["status"] == 1 for each in own)
