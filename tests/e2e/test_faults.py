"""What a whole daemon does when engine, endpoint, money or another process fail it."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence

import pytest
from e2e.world import ACCOUNTS, ETHER, NODES, drive, settle, step, team
from eth_account import Account
from pydantic import SecretStr
from rig.anvil import ROOT
from rig.fake_engine import FakeEngine
from rig.fault_rpc import fault_rpc

from oracle.chain.deployment import Deployment
from oracle.engines.base import Completion, Params, TokenId, Verdict
from oracle.errors import (
    AlreadyRunning,
    BadModelFile,
    BadSettings,
    ContractVersionMismatch,
    EngineCrashed,
    JobQuarantined,
    RpcUnavailable,
    UnknownModel,
    WrongChain,
)
from oracle.node.daemon import Node


class CrashingEngine(FakeEngine):
    """Crashes as a worker does: twice, then the job is quarantined."""

    crashes = 0

    def generate(self, prompt: Sequence[TokenId], params: Params) -> Completion:
        self.crashes += 1
        if self.crashes <= 2:
            raise EngineCrashed("the worker was killed")
        raise JobQuarantined("this job crashed the engine twice")


class OnceCrashingEngine(FakeEngine):
    """Loses its worker once in every second call of a kind, as the pool reports it."""

    calls = 0

    def generate(self, prompt: Sequence[TokenId], params: Params) -> Completion:
        self.calls += 1
        if self.calls == 1:
            raise EngineCrashed("the worker was killed")
        return super().generate(prompt, params)


class DoubtingEngine(FakeEngine):
    """Finds every answer wrong the first time it looks, and right the second."""

    looks = 0

    def check(self, prompt: Sequence[TokenId], output: Sequence[TokenId], params: Params, text: bytes = b"") -> Verdict:
        self.looks += 1
        return Verdict(self.looks % 2 == 0, None if self.looks % 2 == 0 else 0, f"look {self.looks}")


async def retries(node: Node) -> None:
    """Makes the pause after a crash pass at once."""
    node.workshop._not_before.clear()
    node.again()
    await settle(node)


async def test_engine__crashes_twice__turn_is_passed_and_another_answers(earth, tmp_path):
    engines = [CrashingEngine(), None, None, None, None]
    async with team(earth, tmp_path, *engines) as nodes:
        for n in range(40):
            request = earth.ask(b"question %d" % n)
            await step(earth, *nodes, blocks=4)
            if engines[0].crashes:
                break
        for _ in range(4):
            await retries(nodes[0])
        assert engines[0].crashes == 3
        await drive(earth, nodes, lambda: earth.status(request) == "final")
        assert engines[0].crashes == 3
    assert "TurnMissed" in earth.steps(request)


async def test_engine__crashes_once__the_job_is_repeated_within_the_turn(earth, tmp_path):
    engines = [OnceCrashingEngine() for _ in range(5)]
    request = earth.ask()
    async with team(earth, tmp_path, *engines) as nodes:
        await step(earth, *nodes, blocks=4)
        for node in nodes:
            await retries(node)
        await drive(earth, nodes, lambda: earth.status(request) == "final")
    assert earth.steps(request) == ["RequestPosted", "AnswerPosted", "RequestFinalized"]


async def test_engine__rejects_its_own_answer__posts_nothing_and_is_given_up(earth, tmp_path):
    engines = [FakeEngine({"water": "wrong token"}) for _ in range(5)]
    request = earth.ask()
    async with team(earth, tmp_path, *engines) as nodes:
        await step(earth, *nodes, blocks=8)
        broken = [node for node in nodes if node.workshop.counters.selfcheck_failures]
        assert len(broken) == 1
        assert any("rejects its own answer" in reason for reason in broken[0].troubles())
    assert earth.status(request) == "open"


async def test_engine__two_checks_disagree__is_not_sure_and_challenges_nobody(earth, tmp_path, opened):
    request = earth.lied(NODES[0])
    node = await opened(tmp_path, ACCOUNTS[8], DoubtingEngine())
    await step(earth, node, blocks=4)
    with node.journal.read() as tx:
        assert [job.state for job in tx.jobs("verdict")] == ["unknown"]
    assert earth.status(request) == "answered"


@pytest.mark.parametrize("error", [UnknownModel("not in the store"), BadModelFile("hash differs")])
async def test_engine__cannot_be_made__node_says_so_and_goes_on(earth, tmp_path, error, opened):
    request = earth.ask()
    node = await opened(tmp_path, NODES[0])

    def refuse(_service: object) -> FakeEngine:
        raise error

    node.workshop._factory = refuse
    await step(earth, node, blocks=30)
    assert any(str(error) in reason for reason in node.troubles())
    assert earth.status(request) == "open"


async def test_balance__below_the_reserve__takes_no_turns_but_still_disputes(earth, tmp_path, opened):
    request = earth.lied(NODES[0])
    earth.chain.rpc("anvil_setBalance", NODES[1].address, hex(ETHER // 2))
    node = await opened(tmp_path, NODES[1], reserve_wei=ETHER)
    await step(earth, node, blocks=2)
    assert any("reserve" in reason for reason in node.troubles())
    await drive(earth, [node], lambda: earth.status(request) == "disputed", blocks=15)
    second = earth.ask(b"another question")
    await step(earth, node, blocks=100)
    assert earth.steps(second) == ["RequestPosted"]


@pytest.mark.parametrize("kind", ["drop", "status", "html", "truncate"])
async def test_rpc__down__round_fails_softly_and_the_work_is_done_after(earth, tmp_path, kind):
    request = earth.ask()
    with fault_rpc(earth.chain.url) as faulty:
        urls = {"rpc_urls": [SecretStr(faulty.url)]}
        async with team(earth, tmp_path, *[None] * 5, **urls) as nodes:
            await step(earth, *nodes, blocks=2)
            faulty.script("*", kind, 503)
            nodes[0].again()
            with pytest.raises(RpcUnavailable):
                await nodes[0].round()
            assert "no RPC endpoint is fresh" in nodes[0].troubles()
            faulty.heal()
            await drive(earth, nodes, lambda: earth.status(request) == "final")
            assert nodes[0].troubles() == []


async def test_rpc__reply_to_a_send_is_lost__one_answer_is_mined(earth, tmp_path):
    request = earth.ask()
    with fault_rpc(earth.chain.url) as faulty:
        urls = {"rpc_urls": [SecretStr(faulty.url)]}
        async with team(earth, tmp_path, *[None] * 5, **urls) as nodes:
            faulty.script("eth_sendRawTransaction", "lose_reply", times=1)
            await drive(earth, nodes, lambda: earth.status(request) == "final")
    assert earth.steps(request) == ["RequestPosted", "AnswerPosted", "RequestFinalized"]


async def test_rpc__in_steady_state__is_asked_little(earth, tmp_path, opened):
    with fault_rpc(earth.chain.url) as counted:
        node = await opened(tmp_path, NODES[0], rpc_urls=[SecretStr(counted.url)])
        await step(earth, node, blocks=5)
        before = sum(counted.calls.values())
        for _ in range(10):
            await node.round()
            earth.chain.mine()
        assert (sum(counted.calls.values()) - before) / 10 <= 6


async def test_start__endpoint_of_another_chain__is_fatal(earth, tmp_path, opened):
    with fault_rpc(earth.chain.url) as faulty:
        faulty.script("eth_chainId", "result", "0x1")
        node = await opened(tmp_path, NODES[0], rpc_urls=[SecretStr(faulty.url)])
        with pytest.raises(WrongChain, match="serves chain 1, configured is 31337"):
            await node.run()


async def test_start__other_code_at_the_address__is_fatal(earth, tmp_path, opened):
    earth.chain.rpc("anvil_setCode", earth.deployment.panel, "0x60016000")
    node = await opened(tmp_path, NODES[0])
    with pytest.raises(ContractVersionMismatch, match=f"{earth.deployment.panel} holds no PanelArbiter"):
        await node.run()


async def test_start__service_that_does_not_exist__is_fatal(earth, tmp_path, opened):
    node = await opened(tmp_path, NODES[0], services=["0x" + "77" * 32])
    with pytest.raises(BadSettings, match="does not exist"):
        await node.run()


async def test_start__second_daemon_on_the_journal__is_refused(tmp_path, opened):
    await opened(tmp_path, NODES[0])
    with pytest.raises(AlreadyRunning, match="this journal"):
        await opened(tmp_path, NODES[1])


async def test_run__chain_absent_at_start__waits_for_it(earth, tmp_path, opened):
    with fault_rpc(earth.chain.url) as faulty:
        faulty.script("*", "drop")
        node = await opened(tmp_path, NODES[0], rpc_urls=[SecretStr(faulty.url)])
        running = asyncio.create_task(node.run())
        await asyncio.sleep(0.2)
        assert "no head seen yet" in node.troubles()
        faulty.heal()
        for _ in range(300):
            if not node.troubles():
                break
            await asyncio.sleep(0.05)
        assert node.troubles() == []
        node.stop()
        await asyncio.wait_for(running, 10)


# -- as a process --------------------------------------------------------------------------------------------------


@pytest.fixture
def config(earth, tmp_path):
    """A settings file with a keystore beside it."""
    Deployment.save(earth.deployment, tmp_path / "deployment.json")
    keystore = Account.encrypt(NODES[0].key, "pw", kdf="pbkdf2", iterations=1)
    for name, text in (("key.json", json.dumps(keystore)), ("password", "pw\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    path = tmp_path / "didyma.toml"
    path.write_text(
        f'rpc_urls = ["{earth.chain.url}"]\ndeployment = "deployment.json"\nservices = ["0x{earth.service.hex()}"]\n'
        'keystore = "key.json"\npassword_file = "password"\ndata_dir = "data"\nmodels = "models"\napi_port = 0\n'
        'log_format = "json"\npoll_seconds = 0.1\n'
    )
    return path


def start(config, *command):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DIDYMA_")}
    code = "from oracle.cli.node import app; app()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *command, "--config", str(config)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(process, words):
    """Reads its log until a line holds `words`."""
    lines = []
    for line in process.stderr:
        lines.append(line)
        if words in line:
            return lines
    raise AssertionError("".join(lines))


def test_process__second_one_with_the_key__is_refused_and_sigterm_ends_the_first_cleanly(config):
    first = start(config, "run")
    wait_for(first, "node started")
    second = start(config, "run")
    _, complaint = second.communicate(timeout=60)
    assert second.returncode == 1
    assert "AlreadyRunning: another process" in complaint
    first.send_signal(signal.SIGTERM)
    _, rest = first.communicate(timeout=30)
    assert first.returncode == 0, rest
    assert "stopping" in rest
    events = [json.loads(line)["event"] for line in rest.splitlines()]
    assert "pw" not in " ".join(events)


def test_process__keystore_readable_by_others__is_refused(config):
    (config.parent / "key.json").chmod(0o644)
    process = start(config, "run")
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "chmod 600" in complaint


def test_check__model_missing__names_it_and_fails(config):
    process = start(config, "check")
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    # The chain of these tests was rewound and stands still, which may be long enough for a remark on clocks.
    lines = [line for line in said.splitlines() if line.split()[:2] != ["look", "clock"]]
    assert [line.split()[:2] for line in lines[:5]] == [
        ["right", "chain"],
        ["right", "contracts"],
        ["right", "services"],
        ["right", "key"],
        ["right", "promises"],
    ]
    assert "too few blocks to say" in lines[4]
    assert lines[5].startswith("WRONG model")
    assert "didyma model add" in lines[5]


def test_rebuild__damaged_journal__is_moved_away_and_made_again(config):
    process = start(config, "rebuild")
    good, _ = process.communicate(timeout=60)
    journal = config.parent / "data" / "journal.sqlite"
    raw = bytearray(journal.read_bytes())
    raw[4096:8192] = os.urandom(4096)
    journal.write_bytes(raw)
    process = start(config, "run")
    _, complaint = process.communicate(timeout=60)
    assert "JournalCorrupt" in complaint
    process = start(config, "rebuild")
    again, _ = process.communicate(timeout=60)
    assert again == good
    assert (config.parent / "data" / "journal.sqlite.damaged").exists()
