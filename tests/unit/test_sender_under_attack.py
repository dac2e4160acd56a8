"""The sender where endpoints, prices and forks conspire: it may be delayed, and is neither stopped nor fooled."""

import pytest
from rig import contract
from rig.stack import Stack, intent, stack

from oracle.chain.units import ETHER, GWEI


async def at_100_gwei(s: Stack, blocks: int) -> None:
    for _ in range(blocks):
        s.chain.rpc("anvil_setNextBlockBaseFeePerGas", hex(100 * GWEI))
        s.chain.mine()
        await s.tick()


@pytest.mark.parametrize("soon", [{"urgent": True}, {"deadline": 1 << 40}])
async def test_tick__one_that_may_pay_no_more_stands_first__gives_way_to_what_cannot_wait(chain, tmp_path, soon):
    """Prices rose after it was sent; a move of a dispute behind it would have waited until they fell."""
    async with stack(chain, tmp_path) as s:
        await s.plan(intent(1, stake_wei=ETHER // 1000))
        await s.tick()
        await s.plan(intent(9, **soon))
        await at_100_gwei(s, 6)
        assert [s.row(f"answer:{n}").state for n in (1, 9)] == ["replacing", "mined"]
        assert s.row("answer:1").reason == "its fee is capped, and what cannot wait stands behind it"


async def test_tick__one_that_may_pay_no_more_stands_first_of_its_like__waits(chain, tmp_path):
    async with stack(chain, tmp_path) as s:
        await s.plan(intent(1, stake_wei=ETHER // 1000))
        await s.plan(intent(2, stake_wei=ETHER))
        await s.tick()
        await at_100_gwei(s, 6)
        assert [s.row(f"answer:{n}").state for n in (1, 2)] == ["sent", "sent"]
        assert len(s.attempts(0)) == 1


async def test_tips__endpoint_names_an_absurd_floor__is_not_believed(chain, proxy, tmp_path):
    words = {"code": -32000, "message": f"transaction underpriced: gas tip cap 1, minimum needed {10**29}"}
    proxy.script("eth_sendRawTransaction", "error", words, times=1)
    async with stack(chain, tmp_path, url=proxy.url) as s:
        await s.plan(intent(1))
        await s.run(3)
        assert s.row("answer:1").state == "mined"


async def test_tips__refused_until_the_tip_is_at_its_cap__is_forgotten_after_some_blocks(chain, proxy, tmp_path):
    words = {"code": -32000, "message": "transaction underpriced: gas tip cap 1, minimum needed 1500000000000"}
    proxy.script("eth_sendRawTransaction", "error", words, times=1)
    async with stack(chain, tmp_path, url=proxy.url) as s:
        await s.plan(intent(1))
        await s.run(2)
        await s.plan(intent(2, stake_wei=ETHER // 100))
        await s.tick()
        assert s.row("answer:2").state == "planned"
        chain.mine(32)
        await s.run(1)
        assert s.row("answer:2").state == "mined"


async def test_tick__mined_again_in_another_young_block_and_fails_there__is_seen_at_the_next_head(chain, tmp_path):
    """The follower keeps away from the youngest blocks: it sees no reorganisation there."""
    async with stack(chain, tmp_path) as s:
        await s.plan(intent(1))
        await s.run(1)
        assert s.row("answer:1").state == "mined"
        chain.reorg(1)
        chain.rpc("anvil_rollback", 1)
        contract.refuse(chain, True)
        chain.rpc("eth_sendRawTransaction", "0x" + s.attempts(0)[0].raw.hex())
        chain.mine()
        report = await s.tick()
        assert (s.row("answer:1").state, report.failed) == ("failed", 1)


async def test_tick__endpoint_says_that_a_final_nonce_is_unused__the_other_is_believed(chain, proxy, tmp_path):
    """One of two endpoints could end the node with one wrong number."""
    async with stack(chain, tmp_path, url=proxy.url, more=[chain.url]) as s:
        await s.plan(intent(1))
        await s.run(6)
        assert s.row("answer:1").state == "final"
        proxy.script("eth_getTransactionCount", "result", "0x0")
        await s.plan(intent(2))
        await s.run(1)
        assert s.row("answer:2").state == "mined"


async def test_tick__endpoint_invents_nonce_and_receipt__nothing_is_final_by_its_word(chain, proxy, tmp_path):
    async with stack(chain, tmp_path, url=proxy.url, more=[chain.url]) as s:
        await s.plan(intent(1))
        await s.tick()
        tx_hash = "0x" + s.attempts(0)[0].hash.hex()
        chain.rpc("anvil_dropTransaction", tx_hash)
        chain.mine(6)
        block = {"blockNumber": "0x1", "blockHash": chain.rpc("eth_getBlockByNumber", "0x1", False)["hash"]}
        receipt = {**block, "transactionHash": tx_hash, "status": "0x1", "gasUsed": "0x5208", "logs": []}
        proxy.script("eth_getTransactionCount", "result", "0x1")
        proxy.script("eth_getTransactionReceipt", "result", receipt)
        await s.tick()
        assert s.row("answer:1").state == "sent"
        proxy.heal()
        await s.run(6)
        assert s.row("answer:1").state == "final"
        assert contract.count(chain) == 1
