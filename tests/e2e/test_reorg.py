"""Reorganisations under a whole daemon: what was taken from the chain is undone and done again, or the node stops.

Anvil's replacement blocks are empty and its pool forgets the transactions they replace, so whatever comes back comes
from the node. Confirmations 1, final after 8: depths 1, 7, 8 are survived, 9 is not.
"""

from collections.abc import Iterator

import pytest
from e2e.world import NODES, World, drive, running_node, settle, step, world

from oracle.errors import FinalityViolated
from oracle.journal.outbox import Outbox
from oracle.node.records import request_key

D = 8


@pytest.fixture(scope="module")
def built() -> Iterator[World]:
    with world() as made:
        for seat in range(1, 5):
            made.act(NODES[seat], "setOperator", made.service, seat, NODES[0].address)
        made.chain.mine(2 * D)
        yield made


async def reach(earth, node, request, status, age):
    """Until the request has had this status for `age` blocks."""
    await drive(earth, [node], lambda: earth.status(request) == status)
    blocks = [s.block for s in earth.client.steps(request, 1)]
    while earth.chain.height() - blocks[-1] < age:
        await step(earth, node)
    await settle(node)


def payloads(node):
    """How many answers were signed for each (request, turn, seed)."""
    with node.journal.read() as tx:
        outbox = Outbox(tx, NODES[0].address)
        rows = [row for row in outbox.nonces("open", "mined", "final") if row.key and row.key.startswith("answer:")]
        return [row.key for row in rows]


@pytest.mark.parametrize("depth", [1, D - 1, D])
async def test_request__reorged_away__is_forgotten_and_its_answer_never_lands(earth, tmp_path, depth, opened):
    node = await opened(tmp_path, NODES[0])
    await settle(node)
    request = earth.ask()
    while earth.chain.height() < earth.request(request).block_number + depth - 1:
        await step(earth, node)
    earth.chain.reorg(depth)
    await step(earth, node, blocks=12)
    assert earth.status(request) == "none"
    with node.journal.read() as tx:
        assert tx.job(request_key(request)) is None
    again = earth.ask()
    await drive(earth, [node], lambda: earth.status(again) == "final")
    assert earth.steps(again) == ["RequestPosted", "AnswerPosted", "RequestFinalized"]


@pytest.mark.parametrize("depth", [1, D - 1, D])
@pytest.mark.parametrize("status", ["answered", "final"])
async def test_own_transaction__reorged_away__is_sent_again(earth, tmp_path, status, depth, opened):
    request = earth.ask()
    earth.chain.mine(4)
    node = await opened(tmp_path, NODES[0])
    await reach(earth, node, request, status, depth - 1)
    earth.chain.reorg(depth)
    await drive(earth, [node], lambda: earth.status(request) == "final")
    await step(earth, node, blocks=D + 2)
    found = [name for name in earth.steps(request) if name != "TurnMissed"]
    assert found == ["RequestPosted", "AnswerPosted", "RequestFinalized"]


async def test_seed_block__replaced__answer_is_computed_anew_for_the_new_seed(earth, tmp_path, opened):
    request = earth.ask()
    node = await opened(tmp_path, NODES[0])
    await drive(earth, [node], lambda: earth.status(request) == "answered")
    first = payloads(node)
    depth = earth.chain.height() - earth.request(request).block_number
    earth.chain.reorg(depth)  # the request stays, everything after it is replaced
    await drive(earth, [node], lambda: earth.status(request) == "final")
    answer = next(s for s in earth.client.steps(request, 1) if s.name == "AnswerPosted").args["answer"]
    await step(earth, node, blocks=D + 2)
    block = earth.client.w3.eth.get_block(earth.request(request).seed_block)
    assert bytes(answer["seedBlockHash"]) == bytes(block["hash"])
    assert len(set(payloads(node))) == len(payloads(node))
    assert first[0] not in [key for key in payloads(node)[1:]]


async def test_reorg__deeper_than_final__stops_the_node(tmp_path):
    with world() as earth:  # of its own: Anvil cannot reorganize past where it was once rewound
        async with running_node(earth, tmp_path, NODES[0]) as node:
            await step(earth, node, blocks=2 * D)
            earth.chain.reorg(D + 2)
            with pytest.raises(FinalityViolated, match="more than 8 blocks deep"):
                await settle(node)
