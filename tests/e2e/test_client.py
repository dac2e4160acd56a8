"""What a dapp's developer does with the client, and the commands that do the same: every end of a request."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from e2e.world import ACCOUNTS, DAPP, ETHER, NODES, World, drive, settle, step
from eth_account import Account
from rig import asking
from rig.fake_engine import STOP, FakeEngine
from typer.testing import CliRunner
from web3 import Web3

from oracle.chain.requests import Ruling
from oracle.cli import app
from oracle.client.gains import BURNT, Gain
from oracle.client.life import disputes, of_request
from oracle.engines.base import Completion, TokenId
from oracle.engines.exact.text_prompts import text_prompt
from oracle.errors import CallReverted, Refused
from oracle.ids import RequestId, ServiceId
from oracle.merkle.tokens import tokens_root

GAS, GAS_PRICE = 60_000, 2 * 10**9
STRANGER = ACCOUNTS[8]
ANSWER = b"\x1b[2Jwet"


def given(text: bytes = ANSWER) -> Completion:
    tokens = (*(TokenId(byte) for byte in text), STOP)
    return Completion(tokens, text, tokens_root(tokens))


@pytest.fixture
def dapp(earth: World) -> Any:
    """A contract that asks, and stores answers' hashes."""
    earth.chain.rpc("evm_setAutomine", True)
    made = earth.client.deploy("Correspondent", earth.client.oracle.address, earth.service, DAPP.address)
    earth.chain.rpc("evm_setAutomine", False)
    return made


def ask_by(earth: World, dapp: Any, gas: int) -> RequestId:
    """The dapp asks, with that much gas for its callback."""
    client, prompt = earth.client, text_prompt(b"is water wet?")
    params = client.params(16, callback_gas=gas, callback_gas_price_wei=GAS_PRICE)
    cost = client.quote(ServiceId(earth.service), prompt, params)
    assert cost.total_wei == dapp.functions.price(len(prompt), params).call()
    earth.chain.rpc("evm_setAutomine", True)
    request = client.request_in(client.send(dapp.functions.ask(prompt, params), cost.total_wei))
    earth.chain.rpc("evm_setAutomine", False)
    earth.chain.mine(3)
    return request


def final(earth: World, request: RequestId, text: bytes = ANSWER) -> None:
    asking.finalize(earth, request, asking.answer(earth, request, given(text)), text)


def mining(earth: World) -> None:
    """Blocks come by themselves from now on."""
    earth.chain.rpc("evm_setAutomine", True)


@pytest.fixture
def cli(earth: World, tmp_path: Path) -> Callable[..., Any]:
    """Runs a command; `by` pays, or nobody."""
    earth.deployment.save(tmp_path / "deployment.json")
    (tmp_path / "password").write_text("word\n")

    def run(*words: object, by: Any = None) -> Any:
        where = ["--rpc-url", earth.chain.url, "--deployment", tmp_path / "deployment.json"]
        if by is not None:
            key = tmp_path / f"{by.address}.json"
            key.write_text(json.dumps(Account.encrypt(by.key, "word", kdf="pbkdf2", iterations=1000)))
            where += ["--keystore", key, "--password-file", tmp_path / "password"]
        return CliRunner().invoke(app, [str(word) for word in (*words, *where)])

    return run


# FOLLOWING


def test_u6_follow__callback_fails__is_the_last_step(earth, dapp):
    request = ask_by(earth, dapp, gas=1)
    final(earth, request)
    steps = [step.name for step in earth.client.follow(request)]
    assert steps == ["RequestPosted", "AnswerPosted", "RequestFinalized", "CallbackFailed"]


def test_u6_follow__callback_works__ends_with_the_final_answer(earth, dapp):
    request = ask_by(earth, dapp, GAS)
    final(earth, request)
    assert [step.name for step in earth.client.follow(request)][-1] == "RequestFinalized"
    assert dapp.functions.answerHash(request).call() == Web3.keccak(ANSWER)


def test_follow__several_turns_missed_in_one_transaction__each_is_told_once(earth):
    request = earth.ask(lifetime=70)
    earth.chain.mine(3)
    polls: list[float] = []

    def sleep(seconds: float) -> None:
        polls.append(seconds)
        asking.live_until(earth, earth.request(request).deadline + 1)
        earth.act(STRANGER, "refund", earth.request(request).words)

    steps = list(earth.client.follow(request, sleep=sleep))
    missed = [step for step in steps if step.name == "TurnMissed"]
    assert len(missed) > 1
    assert len({step.tx_hash for step in missed}) == 1
    assert len({step.args["turn"] for step in missed}) == len(missed)
    assert (steps[-1].name, len(polls)) == ("RequestRefunded", 1)


def test_follow__nobody_answers__times_out(earth):
    with pytest.raises(TimeoutError, match="still open"):
        list(earth.client.follow(earth.ask(), timeout_seconds=2, poll_seconds=1, sleep=lambda _: None))


# ERRORS HAVE A NAME AND ARGUMENTS


def test_u6_errors__what_a_user_can_cause__is_typed_and_carries_its_arguments(earth):
    client, service = earth.client, ServiceId(earth.service)
    params = client.params(16)
    now, request = client.w3.eth.get_block("latest")["timestamp"], earth.ask()
    stranger = asking.client_of(earth, STRANGER)
    deadline = earth.request(request).deadline
    cases: list[tuple[Callable[[], Any], str, dict[str, Any]]] = [
        (lambda: client.ask(service, b"", params), "EmptyPrompt", {}),
        (lambda: client.ask(service, b"x" * 4097, params), "PromptTooLong", {"lengthBytes": 4097, "mostBytes": 4096}),
        (lambda: client.ask(service, b"x", client.params(65)), "TokensOutOfRange", {"tokens": 65, "most": 64}),
        (lambda: client.quote(ServiceId(b"\7" * 32), 5, params), "UnknownService", {"service": b"\7" * 32}),
        (
            lambda: client.send(client.oracle.functions.request(service, b"x", params), 7),
            "WrongFee",
            {"expectedWei": client.quote(service, 1, params).total_wei, "givenWei": 7},
        ),
        (
            lambda: client.ask(service, b"x", client.params(16, callback_gas=GAS, callback_gas_price_wei=1)),
            "CallbackTargetWithoutCode",
            {"target": DAPP.address},
        ),
        (lambda: stranger.cancel(request), "NotPayer", {"requestId": request, "payer": DAPP.address}),
        (lambda: stranger.refund(request), "DeadlineNotPassed", {"requestId": request, "deadline": deadline}),
        (
            lambda: client.withdraw(amount_wei=5),
            "InsufficientCredit",
            {"account": DAPP.address, "creditWei": 0, "amountWei": 5},
        ),
    ]
    for call, name, arguments in cases:
        with pytest.raises(CallReverted) as caught:
            call()
        assert (caught.value.name, dict(caught.value.arguments)) == (name, arguments)
        assert name in str(caught.value)
    assert client.w3.eth.get_block("latest")["timestamp"] <= now + 1, "nothing was sent"


def test_errors__nothing_to_do__are_refused_with_the_reason(earth):
    request = earth.ask()
    for call, says in (
        (earth.client.withdraw, "no credit"),
        (lambda: earth.client.retry(request), "nothing to repeat"),
        (lambda: earth.client.cancel(RequestId(7)), "no request 0x00"),
        (lambda: earth.client.terms(ServiceId(bytes(32))), "didyma service list"),
    ):
        with pytest.raises(Refused, match=says):
            call()


# SECOND TRIES AND MONEY


def test_u6_retry__with_more_gas__delivers_once(earth, dapp, cli):
    request = ask_by(earth, dapp, gas=1)
    final(earth, request)
    mining(earth)
    assert "CallbackReverted" in cli("request", "retry", f"{request:#066x}", by=STRANGER).output
    done = cli("request", "retry", f"{request:#066x}", "--gas", GAS, by=STRANGER)
    assert done.exit_code == 0, done.output
    assert dapp.functions.answerHash(request).call() == Web3.keccak(ANSWER)
    assert of_request(earth.client, request).callback == "repeated"
    assert "delivered already" in cli("request", "retry", f"{request:#066x}", by=STRANGER).output


def left(earth: World, request: RequestId) -> None:
    """Its node closes it without calling back."""
    given_answer = asking.answer(earth, request, given())
    operator = next(
        n
        for n in NODES
        if n.address == earth.client.oracle.functions.operatorOf(earth.service, given_answer.seat).call()
    )
    asking.pass_until(earth, given_answer.closes_at + 1)
    earth.act(operator, "leaveCallbacks", [(earth.request(request).words, given_answer.words, ANSWER)])


def test_left__anybody_makes_it__is_told_apart_from_one_that_failed(earth, dapp, cli):
    request = ask_by(earth, dapp, GAS)
    left(earth, request)
    assert [step.name for step in earth.client.follow(request)][-1] == "CallbackLeft"
    price = f"{earth.request(request).callback_wei / ETHER:g} ether"
    told = cli("request", "show", f"{request:#066x}").output
    assert "LEFT by the node" in told
    assert f"earns {price}" in told
    assert "FAILED" not in told
    mining(earth)
    done = cli("request", "retry", f"{request:#066x}", by=STRANGER)
    assert done.exit_code == 0, done.output
    assert dapp.functions.answerHash(request).call() == Web3.keccak(ANSWER)
    assert of_request(earth.client, request).callback == "collected"
    assert earth.client.credit(STRANGER.address) == earth.request(request).callback_wei
    assert "delivered already" in cli("request", "retry", f"{request:#066x}", by=STRANGER).output


def test_left__made_by_nobody__payer_has_its_price_back(earth, dapp, cli):
    request = ask_by(earth, dapp, GAS)
    left(earth, request)
    words, answer = earth.request(request).words, asking.said(earth, request, "AnswerPosted")[-1]["answer"]
    asking.pass_until(earth, earth.client.w3.eth.get_block("latest")["timestamp"] + 60 * 86_400)
    before = earth.client.credit(dapp.address)
    earth.act(STRANGER, "reclaim", words, answer)
    assert earth.client.credit(dapp.address) - before == earth.request(request).callback_wei
    assert of_request(earth.client, request).callback == "reclaimed"
    assert "made by nobody" in cli("request", "show", f"{request:#066x}").output


async def test_node__callback_left_by_another__is_made_for_its_price_when_gas_is_cheap(earth, dapp, tmp_path, opened):
    request = ask_by(earth, dapp, GAS)
    left(earth, request)
    node = await opened(tmp_path, STRANGER, watch=False, answer=False)
    dear = 10 * GAS_PRICE
    for _ in range(3):
        earth.chain.rpc("anvil_setNextBlockBaseFeePerGas", hex(dear))
        earth.chain.mine()
        await settle(node)
        assert earth.status(request) == "undelivered"
    await drive(earth, [node], lambda: earth.status(request) == "final")
    assert dapp.functions.answerHash(request).call() == Web3.keccak(ANSWER)
    assert earth.client.credit(STRANGER.address) == earth.request(request).callback_wei
    await step(earth, node, blocks=3)
    with node.journal.read() as tx:
        (job,) = tx.jobs("request")
    assert (job.state, job.payload["posted"]["output"]) == ("final", "")


def test_u6_cancel_and_withdraw__before_anybody_answered__brings_the_fee_back(earth, cli):
    cost = earth.client.quote(ServiceId(earth.service), 13, earth.client.params(16)).total_wei
    request = earth.ask()
    mining(earth)
    assert "NotPayer" in cli("request", "cancel", f"{request:#066x}", by=STRANGER).output
    done = cli("request", "cancel", f"{request:#066x}", by=DAPP)
    assert done.exit_code == 0, done.output
    assert "didyma withdraw" in done.output
    assert earth.client.credit() == cost
    cold = ACCOUNTS[7].address
    before = earth.chain.balance(cold)
    assert cli("withdraw", cold, "--ether", "0.001", by=DAPP).exit_code == 0
    assert cli("withdraw", cold, by=DAPP).exit_code == 0
    assert (earth.chain.balance(cold) - before, earth.client.credit()) == (cost, 0)
    assert "no credit" in cli("withdraw", by=DAPP).output


def test_u6_refund__deadline_passed__anybody_may_and_the_payer_has_it(earth, cli):
    request = earth.ask(lifetime=70)
    asking.pass_until(earth, earth.request(request).deadline + 1)
    mining(earth)
    done = cli("request", "refund", f"{request:#066x}", by=STRANGER)
    assert done.exit_code == 0, done.output
    assert earth.client.credit() == earth.request(request).fee_wei


def test_dry_run__any_of_them__prints_calldata_and_sends_nothing(earth, cli):
    request = earth.ask()
    height = earth.chain.height()
    done = cli("request", "cancel", f"{request:#066x}", "--dry-run")
    assert done.exit_code == 0, done.output
    data = earth.client.oracle.encode_abi("cancel", [earth.request(request).words])
    assert data in done.output
    assert "--ether" in cli("withdraw", "--dry-run").output
    assert cli("withdraw", STRANGER.address, "--ether", "1", "--dry-run").exit_code == 0
    assert earth.chain.height() == height


def test_quote__command__says_what_the_client_says(earth, cli):
    client, prompt = earth.client, "is water wet?"
    params = client.params(24, callback_gas=GAS, callback_gas_price_wei=GAS_PRICE)
    cost = client.quote(ServiceId(earth.service), text_prompt(prompt.encode()), params)
    words = ("--callback-gas", GAS, "--callback-gas-price", "2")
    told = json.loads(cli("quote", prompt, *words, "--json").stdout)
    assert told["total_wei"] == cost.total_wei == told["fee_wei"] + told["callback_wei"]
    assert told["service"] == "0x" + earth.service.hex()
    assert json.loads(cli("quote", "--bytes", 1 + len(prompt), *words, "--json").stdout) == told
    assert str(cost.total_wei) in cli("quote", prompt, *words).output
    assert "--bytes" in cli("quote").output
    assert "PromptTooLong" in cli("quote", "--bytes", 4097).output


# WHAT BECAME OF IT


def test_request_show__answered_and_undelivered__tells_all_of_it(earth, dapp, cli):
    request = ask_by(earth, dapp, gas=1)
    final(earth, request)
    told = cli("request", "show", f"{request:#066x}")
    assert told.exit_code == 0, told.output
    asked = earth.request(request)
    for words in (
        "final", dapp.address, "'is water wet?'", "FAILED", "didyma request retry", "\\x1b[2Jwet",
        f"{asked.callback_wei / ETHER:g} ether for a callback", "back to the payer",
    ):  # fmt: skip
        assert words in told.output, told.output
    assert "\x1b" not in told.output
    life = json.loads(cli("request", "show", f"{request:#066x}", "--json").stdout)
    assert (life["state"], life["callback"], life["payer"]) == ("final", "failed", dapp.address)
    assert life["paid_wei"] + life["refund_wei"] == life["fee_wei"] == asked.fee_wei
    assert bytes.fromhex(life["answers"][0]["output"][2:]) == ANSWER
    assert life["asked"]["block"] == asked.block_number


@pytest.mark.parametrize("identity", ["0x12", "somewhere", "0x" + "f" * 64])
def test_request_show__no_such_request__is_one_line(cli, identity):
    done = cli("request", "show", identity)
    assert done.exit_code == 1
    assert "is not an id" in done.output or "no request 0x" in done.output


def burnable(earth: World, request: RequestId) -> int:
    """What disputes left to be burnt: missed turns are fined too, and late answerers or payers as much."""
    fines = sum(args["penaltyWei"] for args in asking.said(earth, request, "TurnMissed"))
    total: int = earth.client.oracle.functions.burnable().call()
    return total - 2 * fines


async def challenged(earth: World, tmp_path: Path, opened: Callable[..., Any], engine: Any) -> RequestId:
    """An answer, challenged by a watcher with that engine, and judged by a panel of one honest node."""
    if engine is None:
        request = earth.lied(NODES[0], temperature=1 << 16)
    else:
        request = earth.ask(temperature=1 << 16)
        earth.chain.mine(3)
        seed = earth.client.w3.eth.get_block(earth.request(request).seed_block)["mixHash"]
        asked = b"is water wet?"
        right = FakeEngine().generate([TokenId(b) for b in asked], earth.request(request).engine_params(seed, asked))
        asking.answer(earth, request, right)
    watcher = await opened(tmp_path / "watcher", STRANGER, engine)
    others = [await opened(tmp_path / f"{n}", NODES[n], watch=False, answer=False) for n in range(5)]
    nodes = [watcher, *others]
    await drive(earth, nodes, lambda: "AnswerRuled" in earth.steps(request))
    return request


async def test_u10_panel__lie_rejected__who_won_what_is_what_the_contract_paid(earth, tmp_path, cli, opened):
    request = await challenged(earth, tmp_path, opened, None)
    (dispute,) = disputes(earth.client, of_request(earth.client, request))
    assert (dispute.ruling, dispute.votes, dispute.challengers) == (
        Ruling.REJECTED, {"right": 0, "wrong": 1}, (STRANGER.address,),
    )  # fmt: skip
    won = {gain.who: gain.amount_wei for gain in dispute.gains}
    assert won[STRANGER.address] + ETHER // 10 == earth.client.credit(STRANGER.address)  # its bond came back too
    assert won[NODES[0].address] == -ETHER
    assert won[BURNT] == burnable(earth, request)
    assert sum(won.values()) == 0
    told = cli("request", "show", f"{request:#066x}").output
    assert "the challenger won: the answer was rejected" in told
    assert f"{STRANGER.address} won 0.49 ether: of the answer's bond" in told


class Denying(FakeEngine):
    """Finds every answer wrong."""

    def check(self, *about: Any) -> Any:
        verdict = super().check(*about)
        return type(verdict)(False, 0, "denied")


async def test_u10_panel__right_answer_upheld__challenger_s_bond_pays_the_votes(earth, tmp_path, opened):
    request = await challenged(earth, tmp_path, opened, Denying())
    life = of_request(earth.client, request)
    (dispute,) = disputes(earth.client, life)
    assert (dispute.ruling, life.state) == (Ruling.UPHELD, "answered")
    assert Gain(STRANGER.address, -ETHER // 10, "its bond") in dispute.gains
    burnt = [gain.amount_wei for gain in dispute.gains if gain.who == BURNT]
    assert burnt == [burnable(earth, request)] == [ETHER // 10 - ETHER // 100]
    assert sum(gain.amount_wei for gain in dispute.gains) == 0


# SERVICES IN WORDS


def test_service_list__in_words_and_as_json(earth, cli):
    said = " ".join(cli("service", "list").output.split())
    for words in ("fake", "panel", "0.01 ether", "4,096 bytes", "5 of 5 seats", "no answer yet"):
        assert words in said, said
    request = earth.ask()
    earth.chain.mine(3)
    asking.answer(earth, request, given())
    (told,) = json.loads(cli("service", "list", "--json").stdout)
    assert (told["mode"], told["live_seats"], told["max_prompt_bytes"]) == ("panel", 5, 4096)
    assert told["last_answer"]["block"] == earth.client.steps(request)[-1].block
