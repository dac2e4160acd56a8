"""A node in the dev TEE on the simulated chain, from its first key to an answer that is final at once."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from e2e.world import NODES, World, by_panel, is_busy, make_node, world
from rig.fake_engine import FakeEngine
from rig.sim.faults import SimEndpoint, connected
from rig.sim.local import local

from oracle.attestation.dev import MACHINE
from oracle.attestation.keeper import DevSource
from oracle.chain.contracts import Contracts
from oracle.chain.deployment import Deployment
from oracle.chain.services import PanelTerms
from oracle.client import devnet
from oracle.node.daemon import Node
from oracle.node.tee.enclave import Enclave

MOST_BLOCKS = 40


def attested(deployment: Deployment) -> dict[str, Any]:
    """A service that believes the dev machine, judged by a panel that tolerates no difference."""
    exact = replace(PanelTerms.decoded(by_panel(deployment)["arbiter_terms"]), tolerance=0)
    policy = {"attester": deployment.attester, "attester_terms": devnet.dev_policy().encoded()}
    return {**by_panel(deployment), "arbiter_terms": exact.encoded(), **policy}


@pytest.fixture
def earth() -> Iterator[World]:
    with world(judged=attested, made=local) as made:
        for seat in range(1, len(NODES)):
            made.act(NODES[seat], "setOperator", made.service, seat, NODES[0].address)
        yield made


async def until(earth: World, node: Node, done: Any) -> None:
    """Rounds and blocks until `done()`."""
    for _ in range(MOST_BLOCKS):
        node.again()
        await node.round()
        while is_busy(node) and not any(task.done() for task in node.workshop._running.values()):
            await asyncio.sleep(0.001)
        node.again()
        await node.round()
        if done():
            return
        earth.chain.mine()
    raise AssertionError(node.enclave.trouble or "nothing comes of it")


async def test_enclave__first_key_to_first_answer__is_registered_admitted_and_final_at_once(earth, tmp_path):
    seconds = 0.0
    rpc = connected([SimEndpoint(earth.chain.serve)], lambda: seconds)
    node = await make_node(earth, tmp_path, NODES[0], FakeEngine(), rpc=rpc)
    enclave = Enclave(Contracts.at(earth.deployment), node.rpc, MACHINE, DevSource(MACHINE), NODES[4].address)
    node.enclave = node.workshop._enclave = enclave
    try:
        await until(earth, node, lambda: earth.service in enclave.admitted)
        assert enclave.trouble == ""
        assert enclave.documents_end > earth.client.w3.eth.get_block("latest")["timestamp"]
        request = earth.ask()
        await until(earth, node, lambda: earth.status(request) not in ("none", "open"))
        names = [event["event"] for event in earth.client.events_about(request)]
        assert {"AnswerPosted", "AnswerAttested", "RequestFinalized"} <= set(names)
        assert enclave.running == []
    finally:
        await enclave.close()
        await node.workshop.close(1)
        await node.close()
