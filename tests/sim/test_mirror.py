"""The simulated chain and Anvil say the same of the same transactions: receipts, logs, fees, states, refusals."""

import asyncio
import json
import random
from functools import partial
from pathlib import Path

import httpx
import pytest
from e2e.world import ACCOUNTS, NODES, World, drive, make_node, world
from rig.anvil import CHAIN_ID, anvil
from rig.sim import noise
from rig.sim.mirror import Mirror
from rig.sim.rpc import RpcError

from oracle.chain.rpc_errors import SendOutcome, classify_send

RULES = ("--hardfork", "osaka", "--enable-tx-gas-limit")
STRANGER = ACCOUNTS[7]
PLACES = {"ModelRegistry": "registry", "PanelArbiter": "panel", "DisputeGame": "game", "AttestedAnswers": "attester"}
"""Names of contracts in a deployment, where they are others than in their files."""
ABIS = Path(__file__).resolve().parents[2] / "oracle/abi"


def osaka():
    return anvil(*RULES)


def signed(nonce, data, *, to=None, account=STRANGER, **changes):
    """A raw transaction."""
    tx = {
        "type": 2,
        "chainId": CHAIN_ID,
        "nonce": nonce,
        "to": to or "",
        "value": 0,
        "data": data,
        "gas": noise.GAS,
        "maxFeePerGas": 20 * 10**9,
        "maxPriorityFeePerGas": 10**9,
    }
    return "0x" + account.sign_transaction(tx | changes).raw_transaction.hex()


def push(chain, data, **changes):
    """Signs and sends."""
    nonce = int(chain.rpc("eth_getTransactionCount", STRANGER.address, "pending"), 16)
    chain.rpc("eth_sendRawTransaction", signed(nonce, data, **changes))


async def live(earth: World, folder: Path) -> None:
    """An answer and its end, a lie, a panel and its ruling, withdrawals: by a real daemon with four seats."""
    for seat in range(2, 5):
        earth.act(NODES[seat], "setOperator", earth.service, seat, NODES[1].address)
    node = await make_node(earth, folder, NODES[1])
    answered = earth.ask()
    await drive(earth, [node], lambda: earth.status(answered) == "final")
    lied = earth.ask(b"is it true?", max_tokens=9)
    earth.chain.mine(3)
    while not earth.lie(lied, NODES[0]):
        earth.chain.mine(5)
    await drive(earth, [node], lambda: "AnswerRuled" in earth.steps(lied))
    await drive(earth, [node], lambda: earth.status(lied) == "final")
    await node.workshop.close(1)
    await node.close()
    for node in NODES[:2]:
        credit = earth.client.oracle.functions.credit(node.address).call()
        if credit:
            earth.act(node, "withdraw", node.address, credit)


def contracts(earth):
    """Address and ABI of each."""
    for file in sorted(ABIS.glob("*.json")):
        address = vars(earth.deployment).get(PLACES.get(file.stem, file.stem.lower()))
        if address:
            yield address, json.loads(file.read_text())["abi"]


@pytest.fixture(scope="module")
def lived(tmp_path_factory):
    """A world on Anvil in which much has happened, and its mirror before it has looked at anything."""
    chance = random.Random(1)
    with world(made=osaka) as earth:
        mirror = Mirror(earth.chain, CHAIN_ID)
        asyncio.run(live(earth, tmp_path_factory.mktemp("node")))
        for address, abi in contracts(earth):
            for data, wei in noise.calls(chance, abi, noise.CHANGING):
                push(earth.chain, data, to=address, value=wei)
            earth.chain.mine()
        for _ in range(2):
            push(earth.chain, noise.every_instruction(chance), gas=5_000_000)
        programs = [
            noise.ENDLESS,
            noise.EARLIER_HASH,
            noise.EARLIER_HASH,
            *noise.precompile_calls(chance),
            *(noise.code(chance) for _ in range(25)),
        ]
        for n, program in enumerate(programs):
            push(earth.chain, program, maxPriorityFeePerGas=chance.randrange(1, 10) * 10**8)
            if n % 7 == 0:
                earth.chain.mine()
        earth.chain.mine()
        yield earth, mirror


@pytest.fixture(scope="module")
def mirrored(lived):
    """Both, and what differs."""
    earth, mirror = lived
    return earth, mirror, [*mirror.follow(), *mirror.compare_states()]


def test_mirror__daemon_and_noise__nothing_differs(mirrored):
    _, mirror, found = mirrored
    assert found == [], "\n".join(found[:20])
    outcomes = [mined.outcome for _, mined in mirror.transactions.values()]
    assert any(outcome.gas_used > 2_000_000 for outcome in outcomes if outcome.succeeded), "every instruction"
    failed = [outcome for outcome in outcomes if not outcome.succeeded]
    assert 40 < len(failed) < len(outcomes) - 60
    assert {"Revert", "OutOfGas", "InsufficientStack"} <= {outcome.reason for outcome in failed}


def both(mirrored, method, *params):
    """What the two say: results, or errors as code and data."""
    earth, mirror, _ = mirrored
    said = []
    for ask in (mirror.serve, lambda method, params: _asked(earth.chain, method, params)):
        try:
            said.append(ask(method, list(params)))
        except RpcError as error:
            said.append((error.code, error.data))
    return said


def _asked(chain, method, params):
    """As `Anvil.rpc`, with the error's code and data."""
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    reply = httpx.post(chain.url, json=body, timeout=20).json()
    if "error" in reply:
        raise RpcError(reply["error"]["code"], reply["error"]["message"], reply["error"].get("data"))
    return reply["result"]


def test_calls__any_view_with_any_arguments__say_the_same_at_every_block(mirrored):
    chance = random.Random(2)
    earth, mirror, _ = mirrored
    blocks = ["latest", *({"blockHash": "0x" + chance.choice(mirror.blocks).hash.hex()} for _ in range(2))]
    reverted = 0
    for address, abi in contracts(earth):
        for data, _ in noise.calls(chance, abi, noise.READING):
            ours, theirs = both(mirrored, "eth_call", {"to": address, "data": "0x" + data.hex()}, chance.choice(blocks))
            assert ours == theirs
            reverted += isinstance(ours, tuple)
    assert reverted > 4


def test_logs__by_place_and_topic__are_the_same(mirrored):
    earth, mirror, _ = mirrored
    head, block = hex(earth.chain.height()), mirror.blocks[-20]
    every = mirror.serve("eth_getLogs", [{"fromBlock": "0x0", "toBlock": head}])
    topics = sorted({topic for log in every for topic in log["topics"]})
    assert len(every) > 30
    for query in (
        {"fromBlock": "0x0", "toBlock": head},
        {"fromBlock": "0x0", "toBlock": head, "address": earth.deployment.oracle},
        {"fromBlock": "0x5", "toBlock": "0x40", "address": [earth.deployment.oracle, earth.deployment.panel]},
        {"fromBlock": "0x0", "toBlock": head, "topics": [topics[:5]]},
        {"fromBlock": "0x0", "toBlock": head, "topics": [None, topics[5:50]]},
        {"blockHash": "0x" + block.hash.hex()},
    ):
        ours, theirs = both(mirrored, "eth_getLogs", query)
        assert ours == [{name: log[name] for name in ours[0]} for log in theirs] if ours else theirs == []


def test_receipts__of_a_block__are_the_same(mirrored):
    _, mirror, _ = mirrored
    for block in [block for block in mirror.blocks if block.mined][-5:]:
        ours, theirs = both(mirrored, "eth_getBlockReceipts", "0x" + block.hash.hex())
        assert [receipt["transactionHash"] for receipt in ours] == [receipt["transactionHash"] for receipt in theirs]
        for mine, other in zip(ours, theirs, strict=True):
            logs = [{name: log[name] for name in mine["logs"][0]} for log in other["logs"]] if mine["logs"] else []
            assert {**mine, "logs": logs} == {**{name: other[name] for name in mine}, "logs": mine["logs"]}


def test_estimate__of_a_request__is_enough_and_not_much_more(mirrored):
    _, mirror, _ = mirrored
    sent = [m for _, m in mirror.transactions.values() if m.outcome.succeeded and m.outcome.logs and m.signed.tx.to]
    for mined in sent[-12:]:
        tx, block = mined.signed.tx, mirror.transactions[mined.signed.hash][0]
        call = {"from": "0x" + tx.sender.hex(), "to": "0x" + tx.to.hex(), "data": "0x" + tx.data.hex()}
        before = {"blockHash": "0x" + block.header.parent_hash.hex()}
        ours, theirs = both(mirrored, "eth_estimateGas", {**call, "value": hex(tx.value)}, before)
        if isinstance(theirs, str):
            assert int(theirs, 16) * 0.99 <= int(ours, 16) <= int(theirs, 16) * 1.05


def refused(mirrored, raw):
    """What both have against a transaction."""
    earth, mirror, _ = mirrored
    with pytest.raises(RpcError) as ours:
        mirror.serve("eth_sendRawTransaction", [raw])
    with pytest.raises(RpcError) as theirs:
        _asked(earth.chain, "eth_sendRawTransaction", [raw])
    return classify_send(ours.value.message), classify_send(theirs.value.message)


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"nonce": 0}, SendOutcome.NONCE_TOO_LOW),
        ({"value": 10**30}, SendOutcome.INSUFFICIENT_FUNDS),
        ({"gas": 20_000}, SendOutcome.GAS_LIMIT),
        ({"gas": (1 << 24) + 1}, SendOutcome.GAS_LIMIT),
        ({"chainId": 5}, SendOutcome.WRONG_CHAIN),
    ],
)
def test_pool__bad_transaction__is_refused_by_both(mirrored, changes, outcome):
    nonce = mirrored[0].chain.transactions(STRANGER.address)
    raw = signed(**{"nonce": nonce, "data": b"", "to": STRANGER.address, **changes})
    assert refused(mirrored, raw) == (outcome, outcome)


def test_pool__same_bytes_twice__are_known_to_both(mirrored):
    earth, mirror, _ = mirrored
    raw = signed(earth.chain.transactions(STRANGER.address), b"", to=STRANGER.address)
    for ask in (mirror.serve, partial(_asked, earth.chain)):
        ask("eth_sendRawTransaction", [raw])
    assert refused(mirrored, raw) == (SendOutcome.KNOWN, SendOutcome.KNOWN)


def test_method__that_nobody_knows__is_refused_with_the_same_code(mirrored):
    ours, theirs = both(mirrored, "eth_guess")
    assert ours == theirs


def test_hostile_json__beside_the_simulated_chain__ends_no_process():
    """py-evm's own limit of recursion lets Python's reader of JSON run over its stack."""
    with pytest.raises(RecursionError):
        json.loads("[" * 100_000)
