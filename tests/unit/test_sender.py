"""The sender against a real chain: every transaction once, whatever happens on the way."""

import pytest
from eth_account import Account
from rig import contract
from rig.anvil import KEYS, Anvil
from rig.stack import intent, stack

from oracle.chain.fees import FeePolicy, Fees
from oracle.chain.rpc_errors import SendOutcome
from oracle.chain.units import ETHER, GWEI
from oracle.errors import ConflictingAnswer, FinalityViolated, ForeignTransaction, JournalFull, RpcUnavailable
from oracle.journal.outbox import Outbox

NODE = Account.from_key(KEYS[0]).address
OTHER = Account.from_key(KEYS[1]).address


def send_elsewhere(chain: Anvil) -> None:
    """Another wallet uses the node's key."""
    chain.rpc("eth_sendTransaction", {"from": NODE, "to": OTHER, "value": "0x1"})


# -- refusals ------------------------------------------------------------------------------------------------------


async def test_plan__other_payload_under_a_planned_key__conflicts(chain, tmp_path):
    async with stack(chain, tmp_path) as s:
        await s.plan(intent(1))
        with pytest.raises(ConflictingAnswer, match=r"^answer:1: another payload is planned$"):
            await s.plan(intent(1, data=contract.call(2)))


async def test_plan__other_payload_after_the_first_was_signed_and_replaced__conflicts(chain, tmp_path):
    async with stack(chain, tmp_path) as s:
        await s.plan(intent(1))
        await s.tick()
        s.drop("answer:1")
        await s.run(6)
        assert s.row("answer:1").state == "replaced"
        with pytest.raises(ConflictingAnswer, match=r"^answer:1: another payload was signed with nonce 0$"):
            await s.plan(intent(1, data=contract.call(2)))


async def test_plan__same_payload_twice__is_sent_once(chain, tmp_path):
    async with stack(chain, tmp_path) as s:
        await s.plan(intent(1))
        await s.run(2)
        assert (await s.plan(intent(1))).state == "mined"
        await s.run(5)
        assert s.row("answer:1").state == "final"
        assert contract.count(chain) == 1


async def test_tick__simulation_reverts__abandons_without_a_nonce(chain, tmp_path):
    contract.refuse(chain, True)
    chain.mine()
    async with stack(chain, tmp_path) as s:
        await s.plan(intent(1))
        report = await s.tick()
        assert (report.abandoned, report.sent) == (1, 0)
        assert (s.row("answer:1").state, s.row("answer:1").reason) == ("abandoned", "0xdeadbeef")
        assert s.nonces() == []


async def test_tick__gas_above_the_transaction_cap__abandons(chain, proxy, tmp_path):
    """Anvil mines 17 M gas under some flags, a real chain since EIP-7825 never does."""
    proxy.script("eth_estimateGas", "result", hex(17_000_000))
    async with stack(chain, tmp_path, url=proxy.url) as s:
        await s.plan(intent(1))
        await s.tick()
        assert s.row("answer:1").reason == "needs 17000000 gas, a transaction may have 16777216"


async def test_tick__without_a_key__simulates_and_abandons(chain, tmp_path):
    async with stack(chain, tmp_path, dry=True) as s:
        await s.plan(intent(1))
        await s.tick()
        assert s.row("answer:1").reason.startswith("dry run: would be sent with ")
        assert chain.transactions(NODE) == 0


async def test_tick__deadline_passed_before_signing__abandons(chain, tmp_path):
    async with stack(chain, tmp_path) as s:
        head = await s.rpc.head()
        await s.plan(intent(1, deadline=head.timestamp))
        await s.tick()
        assert (s.row("answer:1").state, s.row("answer:1").reason) == ("abandoned", "deadline passed")


# -- foreign transactions and gaps (F24) -----------------------------------------------------------------------------


async def test_tick__key_used_elsewhere_beyond_the_journal__holds_then_stops(chain, tmp_path):
    async with stack(chain, tmp_path, foreign_seconds=5) as s:
        await s.plan(intent(1))
        await s.run(1)
        send_elsewhere(chain)
        chain.mine()
        await s.plan(intent(2))
        report = await s.tick()
        assert report.holding.startswith("nonce 1 was used by transaction 0x")
        assert (report.sent, report.balance_wei) == (0, chain.balance(NODE))
        chain.rpc("evm_increaseTime", 5)
        with pytest.raises(ForeignTransaction, match=rf"^nonce 1 of {NODE} was used by transaction 0x"):
            await s.run(1)
        assert s.row("answer:2").state == "planned"


async def test_tick__other_wallet_takes_a_journalled_nonce__stops_after_a_while(chain, proxy, tmp_path):
    proxy.script("eth_sendRawTransaction", "error", {"code": -32000, "message": "txpool is full"})
    async with stack(chain, tmp_path, url=proxy.url, foreign_seconds=3) as s:
        await s.plan(intent(1))
        await s.tick()
        send_elsewhere(chain)
        chain.mine()
        report = await s.tick()
        assert report.holding.startswith("nonce 0 was used by transaction 0x")
        chain.rpc("evm_increaseTime", 3)
        with pytest.raises(ForeignTransaction, match=r"^nonce 0 of"):
            await s.run(1)


async def test_n4_tick__receipt_is_late__goes_on_and_signs_what_is_next(chain, proxy, tmp_path):
    """It was taken for another wallet's after two blocks, and the node died of it."""
    proxy.script("eth_getTransactionReceipt", "result", None)
    async with stack(chain, tmp_path, url=proxy.url, foreign_seconds=1) as s:
        await s.plan(intent(1))
        for n in range(2, 8):
            report = await s.run(2)
            assert report.holding == ""
            assert report.balance_wei == chain.balance(NODE)
            assert s.row(f"answer:{n - 1}").state == "mined"
            await s.plan(intent(n))
        proxy.heal()
        await s.run(6)
        assert [s.row(f"answer:{n}").state for n in range(1, 8)] == ["final"] * 7
        assert contract.count(chain) == 7


async def test_n4_tick__endpoints_show_no_transaction_that_used_the_nonce__holds_and_never_stops(
    chain, proxy, tmp_path
):
    """A nonce that moved is no proof: an endpoint may leave out the block's transactions as well."""
    async with stack(chain, tmp_path, url=proxy.url, foreign_seconds=1) as s:
        await s.plan(intent(1))
        await s.tick()
        chain.mine()
        block = chain.rpc("eth_getBlockByNumber", "latest", False)
        proxy.script("eth_getTransactionReceipt", "result", None)
        proxy.script("eth_getBlockByHash", "result", {**block, "transactions": []})
        for _ in range(10):
            report = await s.tick()
            assert report.holding == "nonce 0 is used, and no endpoint shows by which transaction"
            chain.mine()
        proxy.heal()
        assert (await s.run(1)).holding == ""
        assert s.row("answer:1").state == "final"


async def test_n4_tick__one_endpoint_shows_a_stranger_and_the_other_ours__goes_on(chain, proxy, second, tmp_path):
    async with stack(chain, tmp_path, url=proxy.url) as s:
        await s.plan(intent(1))
        await s.tick()
        chain.mine()
        block = chain.rpc("eth_getBlockByNumber", "latest", True)
        lie = [{**tx, "hash": "0x" + "66" * 32} for tx in block["transactions"]]
        proxy.script("eth_getBlockByHash", "result", {**block, "transactions": lie})
    proxy.script("eth_getTransactionReceipt", "result", None)
    second.script("eth_getTransactionReceipt", "result", None)
    async with stack(chain, tmp_path, url=proxy.url, more=[second.url], foreign_seconds=1) as s:
        for _ in range(5):
            report = await s.tick()
            assert report.holding == ""
            chain.mine()
        assert s.row("answer:1").state == "mined"


async def test_tick__empty_journal_and_pooled_strangers__waits_then_takes_over(chain, tmp_path):
    send_elsewhere(chain)
    async with stack(chain, tmp_path, adopt_blocks=2) as s:
        await s.plan(intent(1))
        report = await s.tick()
        assert report.holding == "the pool holds transactions of this key that the journal does not know"
        await s.run(1)  # mined: the key now starts at nonce 1
        assert [row.nonce for row in s.nonces()] == [1]


async def test_tick__reorg_removes_transactions_from_before_the_journal__fills_the_gap(chain, tmp_path):
    send_elsewhere(chain)
    chain.mine()
    async with stack(chain, tmp_path) as s:
        await s.plan(intent(1))
        await s.tick()  # nonce 1, pooled
        chain.reorg(1)
        await s.run(2)
        assert [(row.nonce, row.key) for row in s.nonces()] == [(0, None), (1, "answer:1")]
        assert [attempt.cancels for attempt in s.attempts(0)] == [True]
        assert s.row("answer:1").state == "mined"


# -- lost replies, lost transactions, odd endpoints (F17, F25) -----------------------------------------------------


async def test_tick__send_reply_lost__sends_the_same_bytes_and_mines_one(chain, proxy, tmp_path):
    proxy.script("eth_sendRawTransaction", "lose_reply", times=1)
    async with stack(chain, tmp_path, url=proxy.url) as s:
        await s.plan(intent(1))
        await s.tick()
        assert [a.outcome for a in s.attempts(0)] == ["unreachable"]
        await s.tick()
        assert [a.outcome for a in s.attempts(0)] == ["already known"]
        await s.run(6)
        assert len(s.attempts(0)) == 1
        assert s.row("answer:1").state == "final"
        assert contract.count(chain) == 1


async def test_tick__endpoint_says_nonce_too_low_though_it_took_the_transaction__finds_the_receipt(
    chain, proxy, tmp_path
):
    async with stack(chain, tmp_path, url=proxy.url) as s:
        await s.plan(intent(1))
        proxy.script("eth_sendRawTransaction", "lose_reply", times=1)
        await s.tick()
        proxy.script("eth_sendRawTransaction", "error", {"code": -32000, "message": "nonce too low"})
        await s.tick()
        assert [a.outcome for a in s.attempts(0)] == ["nonce too low"]
        await s.run(1)
        assert s.row("answer:1").state == "mined"


async def test_tick__pool_evicts_the_transaction__sends_the_same_bytes_again(chain, tmp_path):
    async with stack(chain, tmp_path) as s:
        await s.plan(intent(1))
        await s.tick()
        (attempt,) = s.attempts(0)
        chain.rpc("anvil_dropTransaction", "0x" + attempt.hash.hex())
        chain.mine()
        await s.tick()
        await s.run(1)
        assert s.row("answer:1").tx_hash == attempt.hash
        assert s.row("answer:1").state == "mined"


async def test_tick__all_endpoints_down__raises_and_goes_on_later(chain, proxy, tmp_path):
    async with stack(chain, tmp_path, url=proxy.url) as s:
        head = await s.rpc.head()
        await s.plan(intent(1))
        proxy.script("*", "status", 503)
        with pytest.raises(RpcUnavailable):
            await s.sender.tick(head)
        proxy.heal()
        await s.run(1)
        assert s.row("answer:1").state == "mined"


async def test_tick__replacement_underpriced_by_a_stranger__bumps_in_the_next_block(chain, proxy, tmp_path):
    words = {"code": -32000, "message": "replacement transaction underpriced"}
    proxy.script("eth_sendRawTransaction", "error", words, times=1)
    async with stack(chain, tmp_path, url=proxy.url, bump_blocks=100) as s:
        await s.plan(intent(1))
        await s.run(1)
        assert len(s.attempts(0)) == 2


# -- useless intents -------------------------------------------------------------------------------------------------


async def test_tick__sent_intent_becomes_useless__its_nonce_goes_to_a_self_transfer(chain, tmp_path):
    async with stack(chain, tmp_path) as s:
        await s.plan(intent(1))
        await s.plan(intent(2))
        await s.tick()
        s.drop("answer:1")
        report = await s.tick()
        assert report.cancelled == 1
        await s.run(6)
        assert [s.row(f"answer:{n}").state for n in (1, 2)] == ["replaced", "final"]
        assert s.row("answer:1").reason == "test says so"
        assert contract.count(chain) == 1
        assert [row.state for row in s.nonces()] == ["final", "final"]


async def test_tick__useless_intent_is_mined_all_the_same__ends_without_a_reason(chain, tmp_path):
    async with stack(chain, tmp_path) as s:
        await s.plan(intent(1))
        await s.tick()
        chain.mine()
        s.drop("answer:1")
        assert s.row("answer:1").reason == "test says so"
        await s.run(6)
        assert (s.row("answer:1").state, s.row("answer:1").reason) == ("final", "")
        assert contract.count(chain) == 1


async def test_tick__deadline_passes_while_pending__replaces(chain, proxy, tmp_path):
    async with stack(chain, tmp_path, url=proxy.url) as s:
        head = await s.rpc.head()
        proxy.script("eth_sendRawTransaction", "error", {"code": -32000, "message": "txpool is full"}, times=1)
        await s.plan(intent(1, deadline=head.timestamp + 100))
        await s.tick()
        chain.rpc("evm_increaseTime", 200)
        chain.mine()
        await s.run(1)
        assert (s.row("answer:1").state, s.row("answer:1").reason) == ("replacing", "deadline passed")
        assert contract.count(chain) == 0


async def test_plan__again_after_replacement__starts_anew_with_a_new_nonce(chain, tmp_path):
    async with stack(chain, tmp_path) as s:
        await s.plan(intent(1))
        await s.tick()
        s.drop("answer:1")
        await s.run(6)
        await s.plan(intent(1))
        await s.run(6)
        assert (s.row("answer:1").state, s.row("answer:1").nonce) == ("final", 1)


async def test_n8_tick__reverts_on_chain__is_told_at_once_with_the_reason(chain, tmp_path):
    async with stack(chain, tmp_path) as s:
        await s.plan(intent(1))
        await s.tick()
        contract.refuse(chain, True)
        report = await s.run(1)
        assert report.failed == 1
        assert (s.row("answer:1").state, s.row("answer:1").reason) == ("failed", "0xdeadbeef")
        assert (await s.run(1)).failed == 0  # counted once
        await s.run(5)
        assert (s.row("answer:1").state, s.row("answer:1").reason) == ("reverted", "0xdeadbeef")


async def test_n8_tick__ran_out_of_gas__says_so_and_the_next_try_gets_more(chain, proxy, tmp_path):
    """What needs more gas when it is mined than when it was simulated."""
    enough = int(chain.rpc("eth_estimateGas", {"to": contract.ADDRESS, "data": "0x" + contract.call(1).hex()}), 16)
    proxy.script("eth_estimateGas", "result", hex(enough * 2 // 3))
    async with stack(chain, tmp_path, url=proxy.url, gas_margin_percent=0) as s:
        await s.plan(intent(1))
        report = await s.run(1)
        assert report.failed == 1
        assert (s.row("answer:1").state, s.row("answer:1").reason) == ("failed", "out of gas")
        await s.plan(intent(1, key="answer:1#2"))
        await s.run(1)
        assert (s.row("answer:1#2").state, contract.count(chain)) == ("mined", 1)


async def test_n8_tick__failed_one_is_reorged_away__is_on_its_way_again(chain, tmp_path):
    async with stack(chain, tmp_path) as s:
        await s.plan(intent(1))
        await s.tick()
        contract.refuse(chain, True)
        await s.run(1)
        assert s.row("answer:1").state == "failed"
        chain.reorg(1)
        contract.refuse(chain, False)
        chain.mine()
        await s.run(6)
        assert (s.row("answer:1").state, contract.count(chain)) == ("final", 1)


# -- fees and funds (F26, F27) ---------------------------------------------------------------------------------------


async def test_tick__base_fee_above_the_cap__waits_and_sends_when_it_falls(chain, tmp_path):
    async with stack(chain, tmp_path) as s:
        await s.plan(intent(1, stake_wei=10**15))  # 10 % of it over some 60 k gas: 1.6 gwei
        chain.rpc("anvil_setNextBlockBaseFeePerGas", hex(100 * GWEI))
        chain.mine()
        report = await s.tick()
        assert (report.fee_cap_hits, report.sent) == (1, 0)
        chain.rpc("anvil_setNextBlockBaseFeePerGas", hex(GWEI // 2))
        chain.mine()
        assert (await s.tick()).sent == 1


async def test_tick__stuck__bumps_both_fees_by_an_eighth_with_the_same_payload(chain, proxy, tmp_path):
    proxy.script("eth_sendRawTransaction", "result", "0x" + "00" * 32, times=1)  # swallowed
    proxy.script("eth_getTransactionByHash", "result", {})  # and claimed to be pooled
    async with stack(chain, tmp_path, url=proxy.url) as s:
        await s.plan(intent(1))
        await s.run(2)
        first, second = s.attempts(0)
        assert second.max_fee_wei * 8 >= first.max_fee_wei * 9
        assert second.tip_wei * 8 >= first.tip_wei * 9
        await s.run(1)
        assert s.row("answer:1").tx_hash == second.hash
        assert contract.count(chain) == 1


async def test_tick__gas_limit_is_refused__is_estimated_anew_and_nothing_waits_behind_it(chain, proxy, tmp_path):
    """One wrong estimate of an endpoint's, too low for the bytes alone: no pool ever takes that transaction."""
    proxy.script("eth_estimateGas", "result", hex(15_000), times=1)
    async with stack(chain, tmp_path, url=proxy.url) as s:
        await s.plan(intent(1))
        await s.plan(intent(2))
        await s.run(4)
        first, second = s.attempts(0)
        assert first.outcome == SendOutcome.GAS_LIMIT.value
        assert second.gas_limit > first.gas_limit
        assert (second.max_fee_wei, second.tip_wei) == (first.max_fee_wei, first.tip_wei)
        assert contract.count(chain) == 2


async def test_tick__stuck_at_the_cap__stays_there_until_the_clock_raises_it(chain, proxy, tmp_path):
    proxy.script("eth_sendRawTransaction", "result", "0x" + "00" * 32)
    async with stack(chain, tmp_path, url=proxy.url) as s:
        head = await s.rpc.head()
        await s.plan(intent(1, stake_wei=19 * 10**14, deadline=head.timestamp + 10_000))
        report = await s.run(2)
        assert report.fee_cap_hits == 1
        assert len(s.attempts(0)) == 1
        chain.rpc("evm_increaseTime", 9_000)
        assert (await s.run(1)).bumped == 1


async def test_tick__balance_below_cost_and_reserve__only_the_urgent_one_is_sent(chain, tmp_path):
    chain.rpc("anvil_setBalance", NODE, hex(ETHER))
    chain.mine()
    async with stack(chain, tmp_path, reserve_wei=ETHER) as s:
        await s.plan(intent(1))
        await s.plan(intent(2, urgent=True))
        report = await s.tick()
        assert report.low_funds
        assert [s.row(f"answer:{n}").state for n in (1, 2)] == ["planned", "sent"]


async def test_tick__disk_full__signs_only_what_is_urgent(chain, tmp_path):
    async with stack(chain, tmp_path) as s:
        await s.plan(intent(1))
        await s.plan(intent(2, urgent=True))
        s.journal.full = True
        s.journal._ballast_bytes = 1 << 60  # never recovers
        report = await s.tick()
        assert report.holding == "the disk is full"
        assert [s.row(f"answer:{n}").state for n in (1, 2)] == ["planned", "sent"]


async def test_tick__disk_fills_between_signing_and_journal__nothing_is_sent(chain, proxy, tmp_path):
    async with stack(chain, tmp_path, url=proxy.url) as s:
        await s.plan(intent(1, data=contract.call(1) + bytes(40_000)))
        with s.journal.read() as tx:
            pages = tx.connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            tx.connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(JournalFull):
            await s.tick()
        assert proxy.calls["eth_sendRawTransaction"] == 0
        assert s.nonces() == []
        with s.journal.read() as tx:
            tx.connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
        await s.run(1)
        assert (s.row("answer:1").state, s.row("answer:1").nonce) == ("mined", 0)


# -- reorgs (F22) ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 3])
async def test_tick__reorg_removes_it_and_it_is_still_valid__the_same_bytes_are_mined_again(chain, tmp_path, depth):
    async with stack(chain, tmp_path) as s:
        await s.plan(intent(1))
        await s.run(depth)
        (attempt,) = s.attempts(0)
        chain.reorg(depth)
        await s.tick()
        assert s.row("answer:1").state == "sent"
        await s.run(6)
        assert s.attempts(0)[0].hash == attempt.hash
        assert len(s.attempts(0)) == 1
        assert (s.row("answer:1").state, contract.count(chain)) == ("final", 1)


async def test_tick__reorg_removes_it_and_it_would_fail__a_self_transfer_takes_its_nonce(chain, tmp_path):
    async with stack(chain, tmp_path) as s:
        await s.plan(intent(1))
        await s.run(2)
        chain.reorg(2)
        contract.refuse(chain, True)
        chain.mine()
        await s.run(7)
        assert (s.row("answer:1").state, s.row("answer:1").reason) == ("replaced", "0xdeadbeef")


@pytest.mark.parametrize("depth", [5, 8])
async def test_tick__reorg_removes_a_final_transaction__stops(chain, tmp_path, depth):
    async with stack(chain, tmp_path) as s:
        chain.mine(8)
        await s.plan(intent(1))
        await s.run(5)
        assert s.row("answer:1").state == "final"
        chain.reorg(depth)
        with pytest.raises(FinalityViolated, match=r"^transaction 0 of "):
            await s.tick()


async def test_tick__restart_on_an_endpoint_that_lags__waits(chain, proxy, tmp_path):
    async with stack(chain, tmp_path) as s:
        await s.plan(intent(1))
        await s.run(5)
        assert s.row("answer:1").state == "final"
    proxy.script("*", "lag", 6)
    async with stack(chain, tmp_path, url=proxy.url) as s:
        with pytest.raises(RpcUnavailable, match="are behind block"):
            await s.tick()


# -- arithmetic and bookkeeping ----------------------------------------------------------------------------------------


def test_fees__cap__rises_with_the_clock_to_the_share_of_the_stake():
    policy = FeePolicy(start_percent=10, end_percent=50, urgent_end_percent=100, ceiling_wei=10**30)

    def cap(now: int, urgent: bool = False, deadline: int | None = 200) -> int:
        return policy.cap(10**18, 10**5, planned_at=100, deadline=deadline, now=now, urgent=urgent)

    assert [cap(now) for now in (0, 100, 150, 200, 900)] == [10**12, 10**12, 3 * 10**12, 5 * 10**12, 5 * 10**12]
    assert cap(200, urgent=True) == 10**13
    assert cap(10**9, deadline=None) == 10**12


@pytest.mark.parametrize("fee", [0, 1, 7, 8, 9, GWEI, GWEI + 1, 2**200 + 1])
def test_fees__bump__is_an_eighth_on_both(fee):
    policy = FeePolicy(ceiling_wei=2**255, min_tip_wei=0)
    bumped = policy.bump(Fees(fee, fee), 0, 0, 2**255)
    assert bumped is not None
    assert bumped.max_fee_wei * 8 >= fee * 9
    assert bumped.tip_wei * 8 >= fee * 9
    assert bumped.max_fee_wei > fee
    assert bumped.tip_wei <= bumped.max_fee_wei


async def test_tick__many_become_final_at_once__asks_for_their_block_and_for_nonces_once(chain, proxy, tmp_path):
    async with stack(chain, tmp_path, url=proxy.url) as s:
        for word in range(1, 7):
            await s.plan(intent(word))
        await s.run(4)
        assert {row.state for row in s.nonces()} == {"mined"}
        proxy.calls.clear()
        await s.run(1)
        assert {row.state for row in s.nonces()} == {"final"}
        assert proxy.calls["eth_getTransactionCount"] == 3  # for two ticks, and once of all endpoints
        assert proxy.calls["eth_getBlockByNumber"] == 3  # two heads, and the final block


async def test_tick__empty_journal_and_nothing_to_send__asks_for_nonce_and_balance(chain, proxy, tmp_path):
    async with stack(chain, tmp_path, url=proxy.url) as s:
        await s.run(1)
        proxy.calls.clear()
        await s.run(0)
        assert proxy.calls == {"eth_getBlockByNumber": 1, "eth_getTransactionCount": 1, "eth_getBalance": 1}


async def test_outbox__nonce_that_leaves_a_gap__is_refused(chain, tmp_path):
    async with stack(chain, tmp_path) as s:
        with s.journal.write() as tx:
            outbox = Outbox(tx, NODE)
            outbox.add_nonce(5, None, 0)
            with pytest.raises(ValueError, match=r"nonce 7 does not adjoin 5\.\.5"):
                outbox.add_nonce(7, None, 0)


async def test_tick__nothing_changes__asks_for_no_receipt_until_it_is_final(chain, proxy, tmp_path):
    async with stack(chain, tmp_path, url=proxy.url) as s:
        await s.plan(intent(1))
        await s.run(2)
        assert s.row("answer:1").state == "mined"
        before = proxy.calls["eth_getTransactionReceipt"]
        chain.mine()
        await s.tick()
        assert proxy.calls["eth_getTransactionReceipt"] == before
        s.sender.reorganised()
        await s.tick()
        assert proxy.calls["eth_getTransactionReceipt"] == before + 1
        await s.run(8)
        assert s.row("answer:1").state == "final"
