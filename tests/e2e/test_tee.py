"""Nodes in the dev TEE: keys that the daemon registers, answers final at once, prompts that one node reads."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from e2e.browsing import chromium, facts, opened, rows, watched_page
from e2e.dashboard import served
from e2e.world import ACCOUNTS, DAPP, ETHER, NODES, World, by_panel, drive, running_node, step, world
from fastapi.testclient import TestClient
from rig.anvil import CHAIN_ID
from rig.fake_engine import FakeEngine

from oracle.api.prompts import create_prompts_app
from oracle.api.scrape import Scraper
from oracle.api.server import listen, serve_app
from oracle.attestation import private
from oracle.attestation.dev import MACHINE, DevTee, Level
from oracle.attestation.identity import measurement_id, platform_id
from oracle.attestation.keeper import DevSource
from oracle.attestation.private import SEAL_BYTES
from oracle.chain.contracts import Contracts
from oracle.chain.deployment import Deployment
from oracle.chain.services import PanelTerms
from oracle.client import OracleClient, devnet
from oracle.client.private import PrivateQuestion, question, readers
from oracle.client.trust import Trust
from oracle.errors import BadSettings, NotTrusted, Refused, SourceUnavailable, Unreadable
from oracle.ids import ServiceId
from oracle.node import assembly
from oracle.node.daemon import Node
from oracle.node.operator.check import everything
from oracle.node.records import Output
from oracle.node.tee.documents import RETRY_SECONDS
from oracle.node.tee.enclave import Enclave

DAY = 86_400
REVOKER = ACCOUNTS[8]  # not the daemon's key, whose nonces are its own
CAP, GRACE_CAP = ETHER, ETHER // 10  # the world's value cap
AT_ONCE = ["RequestPosted", "AnswerPosted", "AnswerAttested", "RequestFinalized"]


def attested(deployment: Deployment) -> dict[str, Any]:
    """A service that believes the dev machine."""
    policy = replace(devnet.dev_policy(), guardian=NODES[4].address, grace_cap_wei=GRACE_CAP)
    exact = replace(PanelTerms.decoded(by_panel(deployment)["arbiter_terms"]), tolerance=0)
    terms = {"attester": deployment.attester, "attester_terms": policy.encoded()}
    return {**by_panel(deployment), "arbiter_terms": exact.encoded(), **terms}


@pytest.fixture(scope="module")
def built() -> Iterator[World]:
    with world(judged=attested) as made:
        for seat in range(1, 4):
            made.act(NODES[seat], "setOperator", made.service, seat, NODES[0].address)
        yield made


class Vendor(DevSource):
    """Documents that a test changes, or holds back."""

    def __init__(self) -> None:
        super().__init__(MACHINE)
        self.is_down = False

    def become(self, tee: DevTee, *others: DevTee) -> None:
        object.__setattr__(self, "tee", tee)
        object.__setattr__(self, "others", others)

    async def fetch(self, quote: Any, least: int = 0) -> Any:
        if self.is_down:
            raise SourceUnavailable("nobody answers")
        return await super().fetch(quote, least)


@asynccontextmanager
async def in_tee(
    earth: World, folder: Any, account: Any = NODES[0], vendor: Vendor | None = None, **changes: Any
) -> AsyncIterator[Node]:
    """A node whose keys are made in the dev TEE."""
    async with running_node(earth, folder, account, FakeEngine(), **changes) as node:
        source = vendor or Vendor()
        enclave = Enclave(Contracts.at(earth.deployment), node.rpc, source.tee, source, REVOKER.address)
        node.enclave = node.workshop._enclave = enclave
        yield node


@pytest.fixture
async def node(earth, tmp_path):
    async with in_tee(earth, tmp_path / "tee") as made:
        yield made


async def admitted(earth: World, node: Node) -> None:
    await drive(earth, [node], lambda: earth.service in node.enclave.admitted, blocks=40)


def pass_time(earth: World, seconds: int) -> None:
    """Mines one block, so much later than the newest."""
    now = earth.client.w3.eth.get_block("latest")["timestamp"]
    earth.chain.rpc("evm_setNextBlockTimestamp", now + seconds)
    earth.chain.mine()


def expected(earth: World, request: int, prompt: bytes) -> bytes:
    """What the model says."""
    seed = earth.client.w3.eth.get_block(earth.request(request).seed_block)
    params = earth.request(request).engine_params(bytes(seed["mixHash"]), prompt)
    return FakeEngine().generate(FakeEngine().tokenize(prompt), params).text


async def answered(earth: World, node: Node, **asked: Any) -> int:
    """A request whose turns fall to the node in time."""
    request = earth.ask(**asked)
    await drive(earth, [node], lambda: earth.status(request) not in ("none", "open"), blocks=120)
    return request


def signer_of(node: Node) -> str:
    (keys,) = node.enclave._signing.values()
    return keys.signer


async def test_key__of_a_fresh_node__is_registered_admitted_and_answers_at_once(earth, node):
    await admitted(earth, node)
    request = await answered(earth, node)
    assert earth.status(request) == "final"
    assert [name for name in earth.steps(request) if name != "TurnMissed"] == AT_ONCE
    assert earth.client.attester.functions.isAdmitted(earth.service, signer_of(node)).call()
    lines = Scraper(node).text().decode().splitlines()
    figures = {name: float(value) for name, _, value in (line.partition(" ") for line in lines) if "_tee_" in name}
    assert 6 * DAY < figures["didyma_tee_key_seconds"] <= 7 * DAY
    assert figures["didyma_tee_documents_seconds"] > 7 * DAY


async def test_dashboard__key_registered_and_admitted_on_the_chain__shows_its_end_and_its_documents(earth, node):
    """From the node's own page, in a browser."""
    await admitted(earth, node)

    def look() -> Any:
        with served(node) as site, chromium() as browser, watched_page(browser) as watched:
            page = opened(watched, site, "#/keys", health="")
            return rows(page, "Each service counts"), facts(page), watched.complaints

    (row,), known, complaints = await asyncio.to_thread(look)
    ends = earth.client.attester.functions.admissionOf(earth.service, signer_of(node)).call()[0]  # until when

    def shown(seconds: int) -> str:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"

    assert row["Ends"]["text"] == shown(ends)
    assert row["Service"]["title"] == f"0x{earth.service.hex()}"
    assert known["The first of them ends"]["text"] == shown(node.enclave.documents_end)
    assert complaints == []


async def test_answer__above_the_cap__has_its_window_and_is_finalized_after_it(earth, node):
    await admitted(earth, node)
    request = await answered(earth, node, value_wei=CAP + 10**15)
    assert earth.status(request) == "answered"
    assert earth.steps(request)[-1] == "AnswerAttested"
    await drive(earth, [node], lambda: earth.status(request) == "final")


async def test_answer__before_the_key_is_admitted__is_one_like_any_other(earth, tmp_path):
    vendor = Vendor()
    vendor.is_down = True
    async with in_tee(earth, tmp_path / "tee", vendor=vendor) as made:
        request = await answered(earth, made)
        assert earth.status(request) == "answered"
        assert "nobody answers" in made.enclave.trouble
        vendor.is_down = False
        pass_time(earth, RETRY_SECONDS)
        await admitted(earth, made)
        assert made.enclave.trouble == ""


async def test_documents__source_that_hangs__holds_nothing_else_up(earth, tmp_path):
    """Turns and dispute moves do not wait for a vendor."""
    vendor = Vendor()
    vendor.fetch = lambda quote, least: asyncio.sleep(3600)  # type: ignore[method-assign]
    async with in_tee(earth, tmp_path / "tee", vendor=vendor) as made:
        request = earth.ask()
        for _ in range(120):
            await asyncio.wait_for(made.round(), 10)
            await asyncio.sleep(0.01)
            earth.chain.mine()
            if earth.status(request) == "answered":
                break
        assert earth.status(request) == "answered"
        assert made.enclave.running == ["documents from 17"]
        await made.enclave.close()


async def test_documents__dated_anew_and_saying_the_same__are_posted_only_near_the_end(earth, tmp_path):
    vendor = Vendor()
    vendor.become(replace(MACHINE, until=earth.client.w3.eth.get_block("latest")["timestamp"] + 30 * DAY))
    async with in_tee(earth, tmp_path / "tee", vendor=vendor) as made:
        await admitted(earth, made)
        end = made.enclave.documents_end
        vendor.become(replace(vendor.tee, seconds_issued=10, until=vendor.tee.until + 30 * DAY))
        pass_time(earth, 2 * DAY)
        await step(earth, made, blocks=10)
        assert made.enclave.documents_end == end


async def test_key__near_its_end__is_renewed_and_goes_on(earth, node):
    await admitted(earth, node)
    first = node.enclave.admitted[earth.service]
    pass_time(earth, 7 * DAY - 3_600)
    await drive(earth, [node], lambda: node.enclave.admitted.get(earth.service, 0) > first, blocks=40)
    assert earth.status(await answered(earth, node)) == "final"


async def test_key__expired_while_nobody_renewed__does_not_count_until_it_is(earth, node):
    await admitted(earth, node)
    signer = signer_of(node)
    pass_time(earth, 7 * DAY)
    assert not earth.client.attester.functions.isAdmitted(earth.service, signer).call()
    await drive(earth, [node], lambda: not node.enclave.admitted, blocks=3)
    await admitted(earth, node)
    assert earth.client.attester.functions.isAdmitted(earth.service, signer).call()


async def shrunk(earth: World, least: int) -> None:
    """The guardian asks for a newer evaluation."""
    earth.chain.rpc("evm_setAutomine", True)
    guardian = OracleClient(earth.client.w3, earth.deployment, NODES[4])
    guardian.send(guardian.attester.functions.shrink(earth.service, [], CAP, GRACE_CAP, least))
    earth.chain.rpc("evm_setAutomine", False)


async def test_key__guardian_asks_for_a_newer_evaluation__node_posts_it_and_is_judged_by_it(earth, tmp_path):
    """It finds the machine behind: within the grace its key counts, with the lower cap."""
    vendor = Vendor()
    async with in_tee(earth, tmp_path / "tee", vendor=vendor) as made:
        await admitted(earth, made)
        first = signer_of(made)
        vendor.become(MACHINE, replace(MACHINE, number=20, levels=(Level(6), Level(5, "OutOfDate"))))
        await shrunk(earth, 18)
        attester = earth.client.attester.functions
        assert not attester.isAdmitted(earth.service, first).call()
        await drive(earth, [made], lambda: earth.service not in made.enclave.admitted, blocks=5)
        await admitted(earth, made)
        assert signer_of(made) != first, "each number has a key of its own"
        assert attester.keyOf(signer_of(made)).call()[2] == 20, "the lowest that the vendor has"
        assert attester.admissionOf(earth.service, signer_of(made)).call()[5]
        assert earth.status(await answered(earth, made, value_wei=GRACE_CAP)) == "final"
        assert earth.status(await answered(earth, made, value_wei=GRACE_CAP + 10**15)) == "answered"


async def test_key__guardian_asks_for_what_the_vendor_has_not__node_says_so_and_answers_without(earth, node):
    await admitted(earth, node)
    await shrunk(earth, 18)
    await drive(earth, [node], lambda: "no such one" in node.enclave.trouble, blocks=20)
    assert not node.enclave.admitted
    assert "TCB evaluation 18 is asked for" in node.enclave.trouble
    assert earth.status(await answered(earth, node)) == "answered"


async def test_documents__vendor_s_standard_becomes_a_newer_one__node_stays_where_the_service_is(earth, tmp_path):
    """Posts nothing for ever: what stands is what the service takes, and what a stranger posts beside it is nothing."""
    vendor = Vendor()
    async with in_tee(earth, tmp_path / "tee", vendor=vendor) as made:
        await admitted(earth, made)
        signer = signer_of(made)
        newer = replace(MACHINE, number=18, seconds_issued=10, levels=(Level(6), Level(5, "OutOfDate")))
        vendor.become(newer, MACHINE)
        earth.chain.rpc("evm_setAutomine", True)
        own = OracleClient(earth.client.w3, earth.deployment, REVOKER)
        (posting,) = [
            each for each in newer.collateral().postings(MACHINE.quote(bytes(64))) if each.function == "postTcbInfo"
        ]
        own.send(own.collateral.functions.postTcbInfo(*posting.arguments))
        earth.chain.rpc("evm_setAutomine", False)
        pass_time(earth, DAY)
        await step(earth, made, blocks=10)
        own_nonce = earth.client.w3.eth.get_transaction_count(NODES[0].address)
        for _ in range(3):
            pass_time(earth, 2 * 3_600)
            await step(earth, made, blocks=5)
        assert earth.client.w3.eth.get_transaction_count(NODES[0].address) == own_nonce, "nothing is posted again"
        assert made.enclave.admitted
        assert signer_of(made) == signer
        assert made.enclave.trouble == ""
        assert earth.status(await answered(earth, made)) == "final"


async def test_key__revoked__node_answers_without_it(earth, node):
    await admitted(earth, node)
    own = OracleClient(earth.client.w3, earth.deployment, REVOKER)
    earth.chain.rpc("evm_setAutomine", True)
    own.send(own.attester.functions.revoke(signer_of(node)))
    earth.chain.rpc("evm_setAutomine", False)
    request = await answered(earth, node)
    assert earth.status(request) == "answered"


async def test_check__in_the_dev_tee__tells_measurement_and_machine(earth, tmp_path):
    found = await everything(earth.settings(tmp_path, tee="dev"), lambda service: FakeEngine())
    (tee,) = [finding for finding in found if finding.what == "tee"]
    assert tee.right
    assert measurement_id(MACHINE.quote(bytes(64)), is_dev=True).hex() in tee.detail


async def test_check__build_that_the_service_does_not_believe__is_wrong(earth, tmp_path, monkeypatch):
    monkeypatch.setattr(assembly, "MACHINE", replace(MACHINE, body={"mrtd": b"\1" * 48}))
    found = await everything(earth.settings(tmp_path, tee="dev"), lambda service: FakeEngine())
    (tee,) = [finding for finding in found if finding.what == "tee"]
    assert not tee.right
    assert "does not believe the measurement" in tee.detail


async def test_settings__dev_tee_on_another_chain__is_refused(earth, tmp_path):
    elsewhere = Contracts.at(replace(earth.deployment, chain_id=1))
    with pytest.raises(BadSettings, match="for local chains alone"):
        assembly.tee_of(earth.settings(tmp_path, tee="dev"), elsewhere)


# PRIVATE PROMPTS


def sealed(
    earth: World, node: Node, prompt: bytes, reply: X25519PrivateKey | None, requester: str = DAPP.address
) -> bytes:
    (keys,) = node.enclave._signing.values()
    context = private.Context(
        CHAIN_ID, earth.deployment.oracle, requester, node.enclave._served[earth.service].terms.model
    )
    recipient = private.Recipient(keys.signer, keys.last.encryption.public_key().public_bytes_raw())
    reply_key = None if reply is None else reply.public_key().public_bytes_raw()
    return private.seal_prompt(prompt, private.Sampling(16, 0, 0), [recipient], context, reply_key)


def output_of(earth: World, request: int) -> bytes:
    (step_,) = [s for s in earth.client.steps(request, 1) if s.name == "AnswerPosted"]
    return bytes(step_.args["output"])


async def test_private__answered_at_once_and_read_by_its_owner_alone(earth, node):
    await admitted(earth, node)
    reply = X25519PrivateKey.generate()
    prompt = b"what nobody else may know"
    text = sealed(earth, node, prompt, reply)
    assert prompt not in text
    request = await answered(earth, node, prompt=text, is_private=True)
    assert earth.status(request) == "final"
    output = output_of(earth, request)
    opened = private.open_answer(output, reply, CHAIN_ID, earth.deployment.oracle, request, signer_of(node))
    assert opened == expected(earth, request, prompt)
    assert opened not in output
    stranger = X25519PrivateKey.generate()
    with pytest.raises(Unreadable):
        private.open_answer(output, stranger, CHAIN_ID, earth.deployment.oracle, request, signer_of(node))


async def test_question__sealed_to_the_keys_that_the_service_counts__is_read_by_its_asker(earth, node):
    """As `didyma ask --private` does it."""
    service, prompt = ServiceId(earth.service), b"what nobody else may know"
    params = earth.client.params(16, is_private=True)
    with pytest.raises(Refused, match="nobody could read a private prompt"):
        question(earth.client, service, prompt, params)
    await admitted(earth, node)
    asked = question(earth.client, service, prompt, params)
    request = put(earth, asked, params)
    await drive(earth, [node], lambda: earth.status(request) == "final", blocks=120)
    assert asked.read(request, earth.client.steps(request, 1)) == expected(earth, request, prompt)


async def test_question__key_on_a_machine_that_is_not_listed__is_not_sealed_to(earth, node):
    """It could read what it may not answer."""
    await admitted(earth, node)
    service = ServiceId(earth.service)
    assert [reader.signer for reader in readers(earth.client, service)] == [signer_of(node)]
    machine = platform_id(MACHINE.quote(bytes(64)))
    earth.chain.rpc("evm_setAutomine", True)
    guardian = OracleClient(earth.client.w3, earth.deployment, NODES[4])
    guardian.send(guardian.attester.functions.shrink(service, [machine], CAP, GRACE_CAP, 17))
    earth.chain.rpc("evm_setAutomine", False)
    await drive(earth, [node], lambda: earth.service not in node.enclave.admitted, blocks=5)
    await admitted(earth, node)
    with pytest.raises(Refused, match="nobody could read a private prompt"):
        readers(earth.client, service)


def believing(measurement: bytes, tee: DevTee = MACHINE, now: int = MACHINE.since + 30 * DAY) -> Trust:
    return Trust([measurement], DevSource(tee), now)


async def test_readers__believing_a_build_and_not_the_endpoint__are_those_whose_evidence_is_of_it(earth, node):
    await admitted(earth, node)
    service, build = ServiceId(earth.service), measurement_id(MACHINE.quote(bytes(64)), is_dev=True)

    def trusted(trust: Trust) -> list[str]:
        return [reader.signer for reader in readers(earth.client, service, trust)]

    assert await asyncio.to_thread(trusted, believing(build)) == [signer_of(node)]
    here = replace(believing(build), platforms=[platform_id(MACHINE.quote(bytes(64)))])
    assert await asyncio.to_thread(trusted, here) == [signer_of(node)]
    refusals = {
        f"made by code that measures 0x{build.hex()}": believing(bytes(32)),
        "Failed to verify certificate chain": believing(build, replace(MACHINE, seed=b"another vendor")),
        "made on the machine": replace(believing(build), platforms=[bytes(32)]),
        "Expired": believing(build, now=MACHINE.until + DAY),
    }
    for reason, trust in refusals.items():
        with pytest.raises(Refused, match=rf"no key of this service can be trusted: {signer_of(node)}: .*{reason}"):
            await asyncio.to_thread(trusted, trust)


async def test_trust__key_that_the_endpoint_puts_in_the_place_of_another__is_refused(earth, node):
    """It says that the service admits a key of its own: then the evidence is about something else, or there is none."""
    await admitted(earth, node)
    (reader,) = readers(earth.client, ServiceId(earth.service))
    trust = believing(measurement_id(MACHINE.quote(bytes(64)), is_dev=True))
    await asyncio.to_thread(trust.judge, earth.client, reader)
    own = X25519PrivateKey.generate().public_key().public_bytes_raw()
    with pytest.raises(NotTrusted, match="about another key"):
        await asyncio.to_thread(trust.judge, earth.client, replace(reader, encryption_key=own))
    with pytest.raises(NotTrusted, match="no registration"):
        await asyncio.to_thread(trust.judge, earth.client, replace(reader, signer=NODES[3].address))


async def test_encryption_key__registered_again__is_a_new_one_and_the_one_before_is_forgotten(earth, node):
    """Each registration has an encryption key of its own; what is sealed to the one before is not lost at once."""
    await admitted(earth, node)
    (keys,) = node.enclave._signing.values()
    (first,) = keys.made
    text = sealed(earth, node, b"asked before", None)
    pass_time(earth, 7 * DAY - 3_600)
    await drive(earth, [node], lambda: len(keys.made) == 2 and earth.service in node.enclave.admitted, blocks=40)
    await drive(earth, [node], lambda: keys.made[-1].ends_at > first.ends_at, blocks=40)
    assert keys.made[-1].encryption.public_key() != first.encryption.public_key()
    request = await answered(earth, node, prompt=text, is_private=True)
    assert output_of(earth, request) == expected(earth, request, b"asked before")
    pass_time(earth, 3_600)
    await step(earth, node, blocks=2)
    assert first not in keys.made, "and it is forgotten then"
    request = earth.ask(prompt=text, is_private=True)
    await step(earth, node, blocks=30)
    assert earth.status(request) == "open"


async def test_private__without_a_reply_key__is_answered_in_the_clear(earth, node):
    await admitted(earth, node)
    request = await answered(earth, node, prompt=sealed(earth, node, b"is water wet?", None), is_private=True)
    assert output_of(earth, request) == expected(earth, request, b"is water wet?")


async def test_private__sealed_for_another_asker__is_not_answered(earth, node):
    """A copied ciphertext, asked again by somebody else."""
    await admitted(earth, node)
    text = sealed(earth, node, b"secret", None, requester=NODES[3].address)
    request = earth.ask(prompt=text, is_private=True)
    for _ in range(60):
        await step(earth, node)
    assert earth.status(request) == "open"
    assert earth.steps(request) == ["RequestPosted"]


async def test_private__node_without_the_key__passes_and_loses_nothing(earth, node, tmp_path):
    await admitted(earth, node)
    before = [earth.seat(seat)[2] for seat in range(5)]
    async with running_node(earth, tmp_path / "plain", NODES[4], FakeEngine()) as other:
        request = earth.ask(prompt=b"not even a sealed prompt", is_private=True, lifetime=60)
        for _ in range(80):
            await step(earth, node, other)
        await drive(earth, [node, other], lambda: earth.status(request) == "refunded", blocks=120)
        assert [earth.seat(seat)[2] for seat in range(5)] == before
        assert "TurnMissed" not in earth.steps(request)


# LEFT WITH A NODE, BECAUSE IT IS TOO LONG FOR THE CHAIN


LONG = b"what nobody else may know " * 250


def put(earth: World, asked: PrivateQuestion, params: tuple[int, ...]) -> int:
    """On the chain."""
    earth.chain.rpc("evm_setAutomine", True)
    try:
        return earth.client.ask(ServiceId(earth.service), asked.prompt, params)[0]
    finally:
        earth.chain.rpc("evm_setAutomine", False)


@asynccontextmanager
async def mailbox(node: Node) -> AsyncIterator[str]:
    """Where prompts can be left, over HTTP."""
    listener = listen("127.0.0.1", 0, "nothing")
    serving = asyncio.create_task(serve_app(create_prompts_app(node), listener))
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


async def test_left__prompt_too_long_for_the_chain__is_answered_and_read_by_its_asker(earth, node):
    """The chain carries 33 bytes. The asker leaves the rest before the node has seen the request, and tries again."""
    await admitted(earth, node)
    params = earth.client.params(16, is_private=True)
    with pytest.raises(Refused, match="leave the prompt with a node"):
        question(earth.client, ServiceId(earth.service), LONG, params)
    asked = question(earth.client, ServiceId(earth.service), LONG, params, is_left=True)
    assert len(asked.sealed) > earth.client.terms(ServiceId(earth.service))["maxPromptBytes"] + SEAL_BYTES
    assert len(asked.prompt) == 33
    request = put(earth, asked, params)
    async with mailbox(node) as url:
        unasked = question(earth.client, ServiceId(earth.service), LONG, params, is_left=True)
        nowhere = partial(unasked.leave, ["ftp://nowhere", url], patience_seconds=0)
        with pytest.raises(Refused, match=r"ftp://nowhere: Unsupported.*; http://.*: 404: this node knows no open"):
            await asyncio.to_thread(nowhere)
        leaving = asyncio.create_task(asyncio.to_thread(asked.leave, ["http://127.0.0.1:1", url], patience_seconds=2))
        await drive(earth, [node], lambda: earth.status(request) == "final", blocks=120)
        assert await leaving == [url]
    assert asked.read(request, earth.client.steps(request, 1)) == expected(earth, request, LONG)


async def test_left__with_nobody__is_refunded_and_costs_no_seat(earth, node):
    await admitted(earth, node)
    before = [earth.seat(seat)[2] for seat in range(5)]
    params = earth.client.params(16, deadline_seconds=60, is_private=True)
    request = put(earth, question(earth.client, ServiceId(earth.service), LONG, params, is_left=True), params)
    await drive(earth, [node], lambda: earth.status(request) == "refunded", blocks=200)
    assert [earth.seat(seat)[2] for seat in range(5)] == before
    assert "TurnMissed" not in earth.steps(request)


async def test_left__by_strangers_or_too_late__is_refused_with_the_reason(earth, node):
    """Nobody can fill a node's memory with what no request pays for."""
    await admitted(earth, node)
    api = TestClient(create_prompts_app(node))

    def leave(content: bytes) -> tuple[int, str]:
        answer = api.post("/prompts", content=content)
        return answer.status_code, str(answer.json())

    params = earth.client.params(16, is_private=True)
    asked = question(earth.client, ServiceId(earth.service), LONG, params, is_left=True)
    request = put(earth, asked, params)
    await step(earth, node, blocks=2)
    keys = X25519PrivateKey.generate().public_key().public_bytes_raw()
    context = private.Context(CHAIN_ID, earth.deployment.oracle, DAPP.address, bytes(32))
    recipient = private.Recipient(NODES[3].address, keys)
    assert leave(b"not sealed") == (400, "{'detail': '10 bytes that are no private prompt of version 1'}")
    status, reason = leave(private.seal_prompt(LONG, private.Sampling(16, 0, 0), [recipient], context))
    assert (status, "no key of this node" in reason) == (403, True)
    status, reason = leave(asked.sealed[:-1] + b"?")
    assert (status, "knows no open request" in reason) == (404, True)
    assert leave(bytes(node.settings.prompt_bytes + 1)) == (413, "{'detail': 'this node takes 262144 bytes'}")
    assert leave(asked.sealed) == (202, f"{{'prompt_bytes': {len(asked.sealed)}}}")
    await drive(earth, [node], lambda: earth.status(request) == "final", blocks=120)
    await step(earth, node, blocks=3)
    assert leave(asked.sealed)[0] == 404


async def test_left__prompt_that_cannot_be_opened__takes_no_more_room(earth, node):
    """Sealed for another asker: the node finds out in its turn, and then others may use the place."""
    await admitted(earth, node)
    params = earth.client.params(16, is_private=True)
    asked = question(earth.client, ServiceId(earth.service), LONG, params, requester=NODES[3].address, is_left=True)
    request = put(earth, asked, params)
    await step(earth, node, blocks=2)
    node.leave(asked.sealed)
    mailbox = node.enclave._mailbox
    await drive(earth, [node], lambda: not mailbox._left, blocks=120)
    assert earth.status(request) == "open"


# AN ENDPOINT THAT LIES TO THE TEE


async def test_attestation__prompt_that_is_not_the_request_s__is_not_signed(earth, tmp_path):
    """The host feeds the guest another prompt under a true request: what it would sign is what the hash says."""
    async with in_tee(earth, tmp_path / "tee", answer=False) as made:
        await admitted(earth, made)
        earth.ask()
        await step(earth, made, blocks=6)
        (record,) = made.status.view.requests
        (seed,) = made.status.view.seeds.values()
        output = Output(b"yes", 1, bytes(32))
        signs = made.enclave.attestation
        assert signs(record, output, seed) is not None
        assert signs(replace(record, prompt=b"another prompt"), output, seed) is None
        sampled = replace(record, request=replace(record.request, rules=record.request.rules | 1 << 24))
        assert signs(sampled, output, seed) is None, "nobody has shown that the seed's block has this randomness"


async def test_sampled_answer__seed_out_of_a_true_header__is_attested(earth, node):
    await admitted(earth, node)
    assert earth.status(await answered(earth, node, temperature=1 << 16)) == "final"
