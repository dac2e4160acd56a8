"""Whole daemons on a chain: an answer to the end, a lie found out, a request nobody answers, money brought home."""

import asyncio
import json

import pytest
from e2e.world import ACCOUNTS, ETHER, NODES, WINDOW, LyingEngine, drive, running_node, settle, step, team
from eth_account import Account
from pydantic import SecretStr
from rig.fake_engine import FakeEngine
from typer.testing import CliRunner

from oracle.cli import app
from oracle.engines.base import Params
from oracle.node import ledger
from oracle.node.money import own_seats
from oracle.node.operator.manual import list_jobs
from oracle.node.records import CHAIN_KINDS

SPARE = ACCOUNTS[8]


async def test_request__nobody_answers__is_refunded_after_the_payer_had_its_time(earth, tmp_path):
    request = earth.ask(lifetime=60)
    async with team(earth, tmp_path, None, None, answer=False) as nodes:
        await drive(earth, nodes, lambda: earth.status(request) == "refunded")
    assert earth.steps(request).count("RequestRefunded") == 1


@pytest.mark.parametrize("prompt", [b"x" * 4096, b"\xff\xfe\x00\x1b[2J</script>" + bytes(range(256))])
async def test_request__longest_prompt_or_no_text__is_answered_and_nobody_is_fined(earth, tmp_path, prompt):
    request = earth.ask(prompt, lifetime=60)
    async with team(earth, tmp_path, *[None] * 5) as nodes:
        await drive(earth, nodes, lambda: earth.status(request) == "final")
    assert "TurnMissed" not in earth.steps(request)


async def test_request__honest_nodes__is_answered_by_one_checked_by_all_and_finalized(earth, tmp_path):
    before = [earth.seat(n)[2] for n in range(5)]
    request = earth.ask()
    async with team(earth, tmp_path, *[None] * 5) as nodes:
        await drive(earth, nodes, lambda: earth.status(request) == "final")
        verdicts = [job.state for node in nodes for job in findings(node, "verdict")]
    assert earth.steps(request) == ["RequestPosted", "AnswerPosted", "RequestFinalized"]
    assert verdicts == ["right"] * 4
    earned = sorted(earth.seat(n)[2] - before[n] for n in range(5))
    assert earned[:4] == [0] * 4
    assert earned[4] == ETHER // 100 + 13 * 10**12 + 8 * 10**13


async def test_answer__computed_by_the_node__is_the_one_for_the_chain_s_seed(earth, tmp_path):
    request = earth.ask()
    async with team(earth, tmp_path, *[None] * 5) as nodes:
        await drive(earth, nodes, lambda: earth.status(request) == "answered")
    output = next(s for s in earth.client.steps(request, 1) if s.name == "AnswerPosted").args["output"]
    block = earth.client.w3.eth.get_block(earth.request(request).seed_block)
    seed = earth.request(request).seed(bytes(block["mixHash"]))
    engine = FakeEngine()
    assert output == engine.generate(engine.tokenize(b"is water wet?"), Params(16, seed=seed)).text


async def test_run__heads_announced_by_websocket__answers_long_before_the_next_poll(earth, tmp_path, opened):
    for seat, account in enumerate(NODES):
        earth.act(account, "setOperator", earth.service, seat, NODES[0].address)
    socket = SecretStr(earth.chain.url.replace("http", "ws"))
    node = await opened(tmp_path, NODES[0], poll_seconds=600.0, ws_urls=[socket])
    running = asyncio.create_task(node.run())
    request = await asyncio.to_thread(earth.ask)
    try:
        async with asyncio.timeout(120):
            while await asyncio.to_thread(earth.status, request) == "open":
                await asyncio.to_thread(earth.chain.mine)
                await asyncio.sleep(0.1)
    finally:
        node.stop()
        await running


async def test_many_answers__window_over__are_finalized_in_few_transactions(earth, tmp_path):
    requests = [earth.ask(b"question %d" % n) for n in range(6)]
    async with team(earth, tmp_path, *[None] * 5, finalize_wait_seconds=30) as nodes:
        await drive(earth, nodes, lambda: all(earth.status(r) == "final" for r in requests))
    final = [s.tx_hash for r in requests for s in earth.client.steps(r, 1) if s.name == "RequestFinalized"]
    assert len(final) == 6
    assert len(set(final)) < 6


async def test_lie__others_re_execute__liar_is_slashed_and_the_next_turn_answers(earth, tmp_path):
    async with team(earth, tmp_path, LyingEngine(), *[None] * 4) as nodes:
        for n in range(40):
            request = earth.ask(b"question %d" % n)
            await step(earth, *nodes, blocks=6)
            posted = [s for s in earth.client.steps(request, 1) if s.name == "AnswerPosted"]
            if posted and posted[0].args["operator"] == NODES[0].address:
                break
        else:
            raise AssertionError("the liar was never drawn")
        await drive(earth, nodes, lambda: earth.status(request) == "final", blocks=200)
        files = [path for node in nodes for path in (node.settings.data_dir / "wrong_answers").glob("*.json")]
    steps = [name for name in earth.steps(request) if name != "TurnMissed"]
    ruled = ["AnswerPosted", "AnswerDisputed", "AnswerRuled"]
    assert steps[:4] == ["RequestPosted", *ruled]
    assert steps[-2:] == ["AnswerPosted", "RequestFinalized"]
    assert (len(steps) - 3) % 3 == 0  # the next turn may be the liar's again
    last = [s for s in earth.client.steps(request, 1) if s.name == "AnswerPosted"][-1]
    assert last.args["operator"] != NODES[0].address
    lost = steps.count("AnswerRuled") * ETHER
    assert 3 * ETHER - lost <= earth.seat(0)[2] <= 3 * ETHER - lost + 40 * ETHER // 50
    assert files
    saved = json.loads(files[0].read_text())
    assert bytes.fromhex(saved["output"]) == LyingEngine.LIE
    assert files[0].stat().st_mode & 0o077 == 0


async def test_lie__watcher_without_a_seat__challenges_and_takes_half_the_bond(earth, tmp_path, opened):
    request = earth.lied(NODES[0])
    watcher = await opened(tmp_path / "watcher", SPARE)
    others = [await opened(tmp_path / f"{n}", NODES[n], watch=False, answer=False) for n in range(1, 5)]
    nodes = [watcher, *others]
    await drive(earth, nodes, lambda: "AnswerRuled" in earth.steps(request))
    credit = earth.client.oracle.functions.credit(SPARE.address).call()
    assert credit == ETHER // 10 + ETHER // 2 - ETHER // 100  # its bond and half the liar's, less one vote's fee


async def test_credit__above_the_threshold__goes_to_the_cold_owner(earth, tmp_path, opened):
    cold = ACCOUNTS[7].address
    earth.act(SPARE, "deposit", NODES[0].address, value_wei=ETHER)
    before = earth.chain.balance(cold)
    node = await opened(tmp_path, NODES[0], withdraw_to=cold, withdraw_above_wei=ETHER)
    await step(earth, node, blocks=3)
    assert earth.chain.balance(cold) == before + ETHER


@pytest.fixture
def withdraw(earth, tmp_path):
    """`didyma node withdraw` by the node of the first seat's key; blocks come by themselves."""
    password = tmp_path / "password"
    password.write_text("word\n")
    (tmp_path / "key.json").write_text(json.dumps(Account.encrypt(NODES[0].key, "word", "pbkdf2", 1)))
    for file in (password, tmp_path / "key.json"):
        file.chmod(0o600)
    earth.deployment.save(tmp_path / "deployment.json")
    settings = {
        "rpc_urls": [earth.chain.url],
        "deployment": str(tmp_path / "deployment.json"),
        "services": [f"0x{earth.service.hex()}"],
        "data_dir": str(tmp_path / "data"),
        "ballast_mib": 1,
        "poll_seconds": 0.2,
        "keystore": str(tmp_path / "key.json"),
        "password_file": str(password),
        "withdraw_to": ACCOUNTS[7].address,
    }
    lines = [f"{name} = {json.dumps(value)}\n" for name, value in settings.items()]
    (tmp_path / "didyma.toml").write_text("".join(lines))

    def run(*words):
        earth.chain.rpc("evm_setIntervalMining", 1)
        done = CliRunner().invoke(app, ["node", "withdraw", "--config", str(tmp_path / "didyma.toml"), *words])
        assert done.exit_code == 0, done.output
        return done.stdout

    yield run
    earth.chain.rpc("evm_setIntervalMining", 0)


def test_withdraw__by_hand__sends_the_credit_once_and_says_so_to_people_and_scripts(earth, withdraw):
    assert withdraw() == f"{NODES[0].address} has no credit\n"
    earth.act(SPARE, "deposit", NODES[0].address, value_wei=ETHER)
    before = earth.chain.balance(ACCOUNTS[7].address)
    [dry] = json.loads(withdraw("--dry-run", "--json"))
    assert (dry["state"], dry["credit_wei"], dry["oracle"]) == ("dry", ETHER, earth.deployment.oracle)
    assert earth.chain.balance(ACCOUNTS[7].address) == before
    [sent] = json.loads(withdraw("--json"))
    assert (sent["account"], sent["receiver"], sent["state"]) == (NODES[0].address, ACCOUNTS[7].address, "mined")
    assert earth.chain.balance(ACCOUNTS[7].address) == before + ETHER
    [nothing] = json.loads(withdraw("--json"))
    assert (nothing["state"], nothing["credit_wei"]) == ("none", 0)


async def test_dry_run__no_key__watches_and_sends_nothing(earth, tmp_path, opened):
    earth.lied(NODES[0])
    node = await opened(tmp_path)
    await step(earth, node, blocks=4)
    assert [job.state for job in findings(node, "verdict")] == ["wrong"]
    blocks = range(earth.chain.height() - 3, earth.chain.height() + 1)
    assert all(not earth.client.w3.eth.get_block(n)["transactions"] for n in blocks)


async def test_seat__joined_with_the_node_s_key__is_activated_when_due(earth, tmp_path, opened):
    earth.act(SPARE, "join", earth.service, SPARE.address, value_wei=3 * ETHER)
    node = await opened(tmp_path, SPARE)
    await step(earth, node, blocks=2)
    assert earth.seat(5)[4] == 1
    earth.chain.rpc("evm_setNextBlockTimestamp", earth.seat(5)[5])
    earth.chain.mine()
    await step(earth, node, blocks=3)
    assert earth.seat(5)[4] == 2


async def test_rebuild__from_the_chain_alone__gives_the_same_ledger(earth, tmp_path, opened):
    request = earth.ask()
    async with team(earth, tmp_path, *[None] * 5) as nodes:
        await drive(earth, nodes, lambda: earth.status(request) == "final")
        await step(earth, *nodes, blocks=3)
        await settle(nodes[0])
        fresh = await opened(tmp_path / "fresh", SPARE)
        await settle(fresh)

        def told(node):
            with node.journal.read() as tx:
                jobs = [(job.key, job.state, job.payload) for kind in CHAIN_KINDS for job in tx.jobs(kind)]
                return sorted(jobs, key=lambda job: job[0]), ledger.digest(tx)

        before = told(nodes[0])
        assert told(fresh) == before
        with nodes[0].journal.write() as tx:
            ledger.restart(tx)
        nodes[0].again()
        await settle(nodes[0])
        assert told(nodes[0]) == before


async def test_service__added_to_the_settings_later__is_read_from_the_start(earth, tmp_path):
    async with running_node(earth, tmp_path, NODES[0], services=["0x" + "77" * 32]) as node:
        await settle(node)
        assert node.status.view.services == {}
    async with running_node(earth, tmp_path, NODES[0]) as node:
        await settle(node)
        assert list(node.status.view.services) == [earth.service]


async def test_findings__request_closed_for_good__are_forgotten(earth, tmp_path):
    request = earth.ask()
    async with team(earth, tmp_path, *[None] * 5) as nodes:
        await drive(earth, nodes, lambda: earth.status(request) == "final")
        assert all(findings(node, "verdict") or findings(node, "output") for node in nodes)
        earth.chain.mine(60)
        await step(earth, *nodes, blocks=2)
        assert not any(findings(node, kind) for node in nodes for kind in ("verdict", "output", "batch"))


async def test_looking__beside_a_running_node__shows_jobs_and_seats(earth, tmp_path):
    request = earth.ask()
    async with team(earth, tmp_path, *[None] * 5) as nodes:
        await drive(earth, nodes, lambda: earth.status(request) == "answered")
        await step(earth, *nodes, blocks=2)
        rows = list_jobs(nodes[0].settings)
        assert (rows[0]["key"], rows[0]["state"]) == (f"request:{request:064x}", "answered")
        node = nodes[0]
        with node.journal.read() as tx:
            assert [seat.seat for seat in own_seats(tx)] == [0]
        await step(earth, *nodes, blocks=WINDOW + 4)
        assert [row["kind"] for row in list_jobs(nodes[0].settings, "final")][:1] == ["request"]


def findings(node, kind):
    with node.journal.read() as tx:
        return tx.jobs(kind)
