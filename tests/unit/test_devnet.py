"""The development chain's own means."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest
from rig.anvil import ROOT, anvil, free_port
from rig.child import alive
from web3 import Web3
from web3.types import RPCEndpoint

from oracle.chain.units import ETHER
from oracle.client import OracleClient, devnet
from oracle.errors import Refused


@pytest.mark.parametrize("later", [0, 3])
def test_mine_again__blocks_stand_on_it__that_block_and_they_are_others_and_what_is_before_stays(later):
    with anvil() as chain:
        w3 = chain.w3()
        chain.mine(5 + later)
        before = [bytes(w3.eth.get_block(number)["hash"]) for number in range(6 + later)]
        devnet.mine_again(w3, 5)
        after = [bytes(w3.eth.get_block(number)["hash"]) for number in range(6 + later)]
        assert w3.eth.block_number == 5 + later
        assert after[:5] == before[:5]
        assert not set(after[5:]) & set(before)


def test_mine_again__many_times__is_another_block_each_time():
    with anvil() as chain:
        w3, seen = chain.w3(), set()
        chain.mine(60)
        for _ in range(30):
            devnet.mine_again(w3, 60)
            seen.add(bytes(w3.eth.get_block(60)["hash"]))
        assert len(seen) == 30


@pytest.mark.parametrize("starts", ["didyma dev", "tests"])
def test_anvil__many_blocks__leaves_nothing_on_disk_and_knows_the_last_states(tmp_path, monkeypatch, starts):
    """Anvil's own default leaves half a megabyte a block in the home folder of whoever tries the project."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "log").touch()
    with contextlib.ExitStack() as stack:
        if starts == "tests":
            w3 = stack.enter_context(anvil()).w3()
        else:
            monkeypatch.setenv("PATH", f"{ROOT / 'node_modules/.bin'}:{os.environ['PATH']}")  # as outside a checkout
            w3 = stack.enter_context(devnet.anvil(free_port(), tmp_path / "log"))
        w3.provider.make_request(RPCEndpoint("anvil_mine"), [hex(2 * devnet.KEPT_STATES)])
        head = w3.eth.block_number
        assert head == 2 * devnet.KEPT_STATES
        assert w3.eth.get_balance(devnet.account(0).address, head - devnet.KEPT_STATES + 2) == 10_000 * ETHER
    assert [path.name for path in tmp_path.rglob("*")] == ["log"]


def test_start__starter_is_killed__so_is_all_that_it_started(tmp_path):
    """Also what outlives a polite signal, and children."""
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    parent = f"import os, subprocess, sys; print(os.getpid(), flush=True); c = {stubborn!r}\n"
    parent += "child = subprocess.Popen([sys.executable, '-c', c]); print(child.pid, flush=True); exec(c)"
    starter = "import subprocess, sys, time; from pathlib import Path; from oracle.client import devnodes\n"
    starter += f"held = devnodes.start([sys.executable, '-c', {parent!r}], Path(sys.argv[1]).open('wb'))\n"
    starter += "time.sleep(600)"
    log = tmp_path / "log"
    log.touch()
    process = subprocess.Popen([sys.executable, "-c", starter, str(log)])
    try:
        started = _until(lambda: pids if len(pids := log.read_text().split()) == 2 else None)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    _until(lambda: not any(alive(int(pid)) for pid in started))


def _until(told):
    """What `told` says, once it says something."""
    end = time.monotonic() + 30
    while not (said := told()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return said


def test_load__chain_that_was_kept__goes_on_with_its_blocks_logs_and_clock(tmp_path):
    (tmp_path / "log").touch()
    with devnet.anvil(free_port(), tmp_path / "log") as w3:
        made = devnet.deploy(w3)
        client = OracleClient(w3, made, devnet.account(devnet.ASKER))
        client.send(client.oracle.functions.deposit(client.address), 7)
        devnet.pass_time(w3, 86_400)
        devnet.keep(w3, tmp_path / "chain.bin")
        head = w3.eth.get_block("latest")
    with devnet.anvil(free_port(), tmp_path / "log") as w3:
        devnet.load(w3, tmp_path / "chain.bin")
        client = OracleClient(w3, made, devnet.account(devnet.ASKER))
        assert client.credit() == 7
        assert len(client.history(client.oracle.events.Deposited())) == 1
        assert w3.eth.get_block(head["number"])["hash"] == head["hash"]
        devnet.mine(w3)
        assert w3.eth.get_block("latest")["timestamp"] > head["timestamp"]
        assert devnet.deploy(w3).oracle == made.oracle
    assert not list(tmp_path.glob("*.new"))


@pytest.mark.parametrize("content", [b"", b"{}", b"\x1f\x8bnonsense"])
def test_load__something_else__is_refused(tmp_path, content):
    (tmp_path / "log").touch()
    (tmp_path / "chain.bin").write_bytes(content)
    with (
        devnet.anvil(free_port(), tmp_path / "log") as w3,
        pytest.raises(Refused, match="is no chain that `didyma dev` has kept"),
    ):
        devnet.load(w3, tmp_path / "chain.bin")


def test_anvil__fork__has_what_is_on_the_other_chain(tmp_path):
    (tmp_path / "log").touch()
    with anvil(mining=True) as other:
        other.rpc("anvil_setCode", "0x" + "ab" * 20, "0xfe")
        other.mine(3)
        with devnet.anvil(free_port(), tmp_path / "log", fork=other.url) as w3:
            assert w3.eth.chain_id == devnet.CHAIN_ID
            assert w3.eth.block_number >= 3
            assert w3.eth.get_code(Web3.to_checksum_address("0x" + "ab" * 20)) == b"\xfe"
            assert devnet.deploy(w3).block >= 3
