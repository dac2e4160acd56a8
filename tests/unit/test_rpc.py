"""Endpoints that are down, slow, behind, on another chain or talk nonsense: the node reads on, or says so."""

import logging
import time
from collections.abc import Iterator

import pytest
from eth_account import Account
from pydantic import SecretStr
from rig import contract
from rig.anvil import KEYS, Anvil, anvil, free_port
from rig.recorder import SPEAKER, say
from rig.stack import make_rpc

from oracle.chain.heads import STILL_SECONDS
from oracle.chain.rpc import Rpc
from oracle.chain.rpc_errors import SendOutcome, classify_send, is_missing_block, is_revert
from oracle.errors import CallReverted, Doubtful, ReorgedAway, RpcUnavailable, WrongChain

FAULTS = [
    ("delay", 3.0, "timeout"),
    ("drop", None, "connection"),
    ("lose_reply", None, "connection"),
    ("status", 429, "http 429"),
    ("status", 503, "http 503"),
    ("html", None, "not json"),
    ("truncate", None, "not json"),
    ("result", {"number": "0x1"}, "malformed"),
    ("result", "soon", "malformed"),
    ("error", {"code": -32005, "message": "limit exceeded"}, "error -32005"),
]


@pytest.fixture(scope="module")
def chain() -> Iterator[Anvil]:
    with anvil() as running:
        contract.place(running)
        running.mine()
        say(running, 1)
        running.mine(5)
        yield running


# -- faults (F16) --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "value", "counted"), FAULTS)
async def test_read__first_endpoint_fails__the_second_answers(chain, proxy, kind, value, counted):
    proxy.script("eth_getBlockByNumber", kind, value)
    # Only the slow endpoint meets a short limit: on a busy machine, others may need longer than that.
    rpc = make_rpc(proxy.url, chain.url, timeout_seconds=1.0 if kind == "delay" else 10.0)
    block = await rpc.block(2)
    assert block is not None
    assert block.number == 2
    assert rpc.errors == {(0, counted): 1}
    assert rpc.health()[0].trouble == counted
    await rpc.close()


@pytest.mark.parametrize(("kind", "value", "counted"), FAULTS[1:])
async def test_read__only_endpoint_keeps_failing__gives_up_after_its_rounds(proxy, kind, value, counted):
    proxy.script("eth_getBlockByNumber", kind, value)
    rpc = make_rpc(proxy.url, rounds=3)
    with pytest.raises(RpcUnavailable):
        await rpc.head()
    assert rpc.errors == {(0, counted): 3}
    assert not rpc.ready()
    await rpc.close()


@pytest.mark.parametrize(("kind", "value", "counted"), FAULTS[1:])
async def test_read__fault_passes__next_round_succeeds(proxy, kind, value, counted):
    proxy.script("eth_getBlockByNumber", kind, value, times=1)
    rpc = make_rpc(proxy.url)
    assert (await rpc.head()).number == 7
    assert rpc.ready()
    await rpc.close()


async def test_read__nothing_listens__gives_up():
    rpc = make_rpc(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(RpcUnavailable):
        await rpc.start()
    await rpc.close()


async def test_read__failing_endpoint__is_left_alone_while_it_backs_off(chain, proxy):
    now = [0.0]
    proxy.script("*", "status", 503)
    rpc = make_rpc(proxy.url, chain.url, clock=lambda: now[0])
    await rpc.head()
    calls = proxy.calls.total()
    for _ in range(5):
        await rpc.block(1)
    assert proxy.calls.total() == calls
    now[0] = 60.0
    proxy.heal()
    await rpc.head()
    assert proxy.calls["eth_getBlockByNumber"] == 1
    await rpc.close()


# -- wrong chain (F20) ---------------------------------------------------------------------------------------------


async def test_start__endpoint_serves_another_chain__stops(chain, proxy):
    proxy.script("eth_chainId", "result", "0x1")
    rpc = make_rpc(chain.url, proxy.url)
    with pytest.raises(WrongChain, match=r"^RPC endpoint 1 serves chain 1, configured is 31337$"):
        await rpc.start()
    await rpc.close()


async def test_read__endpoint_comes_back_as_another_chain__stops(proxy):
    rpc = make_rpc(proxy.url)
    await rpc.start()
    proxy.script("eth_getBlockByNumber", "drop", times=1)
    proxy.script("eth_chainId", "result", "0x1")
    with pytest.raises(WrongChain):
        await rpc.block(1)
    await rpc.close()


# -- stale and missing (F18, F19) ----------------------------------------------------------------------------------


async def test_head__one_endpoint_stands_still__the_best_counts_after_a_while_and_the_other_is_stale(proxy, second):
    now = [0.0]
    proxy.script("*", "lag", 5)
    rpc = make_rpc(proxy.url, second.url, clock=lambda: now[0])
    assert (await rpc.head()).number == 2
    now[0] = STILL_SECONDS
    assert (await rpc.head()).number == 7
    assert [(e.fresh, e.head) for e in rpc.health()] == [(False, 2), (True, 7)]
    proxy.calls.clear()
    await rpc.block(1)
    assert proxy.calls.total() == 0  # the fresh one is asked first
    await rpc.close()


async def test_health__requests__are_counted_by_endpoint_and_method(chain, proxy):
    proxy.script("eth_getBalance", "status", 500)
    rpc = make_rpc(proxy.url, chain.url)
    head = await rpc.head()
    before = [health.requests.get("eth_getBalance", 0) for health in rpc.health()]
    await rpc.balance(contract.ADDRESS, head)
    after = [health.requests["eth_getBalance"] for health in rpc.health()]
    assert (before, after) == ([0, 0], [1, 1])
    await rpc.close()


async def test_call__block_unknown_everywhere__says_reorged(chain):
    rpc = make_rpc(chain.url)
    head = await rpc.head()
    chain.reorg(1)
    with pytest.raises(ReorgedAway):
        await rpc.call(contract.ADDRESS, b"", head)
    with pytest.raises(ReorgedAway):
        await rpc.logs(head, [contract.ADDRESS])
    assert not rpc.errors
    await rpc.close()


async def test_call__state_of_an_older_block__is_of_that_block(chain):
    rpc = make_rpc(chain.url)
    first, later = await rpc.block(1), await rpc.block(3)
    assert first is not None
    assert later is not None
    assert [int.from_bytes(await rpc.call(contract.ADDRESS, b"", b), "big") for b in (first, later)] == [0, 1]
    assert (await rpc.nonce(SPEAKER, first), await rpc.nonce(SPEAKER, later)) == (0, 1)
    await rpc.close()


async def test_call__reverts__carries_the_data_and_blames_no_endpoint(chain):
    rpc = make_rpc(chain.url)
    contract.refuse(chain, True)
    chain.mine()
    head = await rpc.head()
    for ask in (rpc.call, rpc.estimate_gas):
        with pytest.raises(CallReverted) as caught:
            await ask(contract.ADDRESS, contract.call(1), head, sender=SPEAKER)
        assert caught.value.data == contract.REVERT
    contract.refuse(chain, False)
    chain.mine()
    assert not rpc.errors
    await rpc.close()


async def test_check_final__endpoints_agree_or_lag__passes(proxy, second):
    proxy.script("eth_getBlockByNumber", "lag", 6)
    rpc = make_rpc(proxy.url, second.url)
    block = await rpc.block(3)
    assert block is not None
    await rpc.check_final(block.number, block.hash)
    with pytest.raises(Doubtful, match=r"endpoint 0 has 0x"):
        await rpc.check_final(block.number, b"\1" * 32)
    await rpc.close()


async def test_bloom__block_with_and_without_logs__is_never_wrong_about_absence(chain):
    rpc = make_rpc(chain.url)
    with_log, without = await rpc.block(2), await rpc.block(3)
    assert with_log is not None
    assert without is not None
    ours, topics = [contract.ADDRESS], [contract.TOPIC]
    assert with_log.may_have(ours, topics)
    assert not with_log.may_have(ours, [b"\x02" * 32])
    assert not without.may_have(ours, topics)
    await rpc.close()


# -- sending -------------------------------------------------------------------------------------------------------


async def test_send__connection_breaks__is_not_repeated(proxy):
    proxy.script("eth_sendRawTransaction", "drop")
    rpc = make_rpc(proxy.url)
    await rpc.start()
    outcome, _ = await rpc.send(b"\x02raw")
    assert outcome is SendOutcome.UNREACHABLE
    assert proxy.calls["eth_sendRawTransaction"] == 1
    await rpc.close()


async def test_send__one_endpoint_takes_it__counts_as_accepted(proxy, second):
    proxy.script("eth_sendRawTransaction", "error", {"code": -32000, "message": "txpool is full"})
    second.script("eth_sendRawTransaction", "result", "0x" + "11" * 32)
    rpc = make_rpc(proxy.url, second.url)
    assert (await rpc.send(b"\x02raw"))[0] is SendOutcome.ACCEPTED
    assert not rpc.errors  # a refusal is no fault of the endpoint
    await rpc.close()


# -- secrets -------------------------------------------------------------------------------------------------------


async def test_logs_and_errors__whatever_happens__never_hold_the_url(proxy, caplog, capsys):
    secret = "s3cr3t-api-token"
    caplog.set_level(logging.DEBUG)
    rpc = Rpc([SecretStr(f"{proxy.url}/{secret}"), SecretStr(f"http://user:{secret}@127.0.0.1:1/")], 31337)
    await rpc.start()
    proxy.script("*", "status", 503)
    rpc._rounds = 1
    with pytest.raises(RpcUnavailable) as caught:
        await rpc.block(1)
    output = capsys.readouterr()
    text = (
        caplog.text + output.out + output.err + repr(caught.value) + repr(rpc) + repr(rpc.health()) + repr(rpc.errors)
    )
    assert secret not in text
    assert caught.value.__cause__ is None
    await rpc.close()


# -- the table of messages -----------------------------------------------------------------------------------------

MESSAGES = {
    SendOutcome.KNOWN: [
        "already known",  # geth, reth, OP
        "transaction already imported",  # anvil
        "AlreadyKnown",  # Nethermind
        "ALREADY_EXISTS: already known",  # Erigon
        "INTERNAL_ERROR: existing tx with same hash",  # Erigon
        "Known transaction",  # Besu
    ],
    SendOutcome.NONCE_TOO_LOW: [
        "nonce too low",  # anvil, Erigon
        "nonce too low: next nonce 5, tx nonce 4",  # geth, reth
        "nonce too low: address 0x52908400098527886E0F7030069857D2E4169EE7, tx: 4 state: 5",  # Arbitrum, OP
        "OldNonce, Current nonce: 5, nonce of rejected tx: 4",  # Nethermind
        "invalid transaction nonce",  # Arbitrum classic
    ],
    SendOutcome.NONCE_TOO_HIGH: ["nonce too high", "NonceGap, Future nonce. Expected nonce: 3", "NonceTooFarInFuture"],
    SendOutcome.UNDERPRICED: [
        "replacement transaction underpriced",  # geth, reth, OP
        "ReplacementNotAllowed",  # Nethermind
        "INTERNAL_ERROR: could not replace existing tx",  # Erigon
    ],
    SendOutcome.FEE_TOO_LOW: [
        "max fee per gas less than block base fee",  # anvil
        "max fee per gas less than block base fee: address 0x5290, maxFeePerGas: 1 baseFee: 7",  # geth, Arbitrum
        "transaction underpriced",
        "transaction underpriced: tip needed 1, tip permitted 0",
        "FeeTooLow, MaxFeePerGas too low. MaxFeePerGas: 1, BaseFee: 7",
        "FeeTooLowToCompete",
        "INTERNAL_ERROR: fee too low",
        "underpriced",
    ],
    SendOutcome.INSUFFICIENT_FUNDS: [
        "Insufficient funds for gas * price + value",  # anvil
        "insufficient funds for gas * price + value: balance 0, tx cost 21000, overshot 21000",  # geth
        "insufficient funds for gas * price + value: have 0 want 21000",  # reth
        "InsufficientFunds, Account balance: 0, cumulative cost: 21000",  # Nethermind
        "INTERNAL_ERROR: insufficient funds",  # Erigon
    ],
    SendOutcome.POOL_FULL: [
        "txpool is full",
        "queue full",
        "sequencer pending tx pool full, please try again",
        "INTERNAL_ERROR: pending sub-pool is full",
    ],
    SendOutcome.GAS_LIMIT: [
        "exceeds block gas limit",
        "transaction gas limit too high (cap: 16777216, tx: 17000000)",
        "GasLimitExceeded, Gas limit: 1",
        "intrinsic gas too low: gas 20000, minimum needed 21000",
    ],
    SendOutcome.WRONG_CHAIN: [
        "invalid chain id for signer",  # anvil
        "invalid chain id for signer: have 1 want 31337",  # geth
        "invalid sender",
        "chain ID mismatch",
    ],
    SendOutcome.OTHER: [
        "",
        "internal error",
        "the nonce too low in the middle of nothing",
        "daily request count exceeded",
    ],
}


@pytest.mark.parametrize(("outcome", "message"), [(o, m) for o, messages in MESSAGES.items() for m in messages])
def test_classify_send__message_of_a_client__is_known(outcome, message):
    assert classify_send(message) is outcome


@pytest.mark.parametrize(
    ("code", "message", "missing", "reverted"),
    [
        (-32000, "unknown block", True, False),  # anvil, dead block
        (-32001, "Resource not found", True, False),  # anvil, dead block
        (-32000, "header not found", True, False),  # geth
        (-32000, "missing trie node 0xabc (path )", True, False),  # geth, pruned state
        (-32000, "hash 0xabc is not currently canonical", True, False),
        (3, "execution reverted: custom error 0xdeadbeef", False, True),  # geth, anvil, reth
        (-32015, "VM execution error.", False, True),  # Nethermind
        (-32000, "execution reverted", False, True),  # Erigon
        (-32000, "out of gas", False, True),
        (-32005, "limit exceeded", False, False),
    ],
)
def test_read_errors__message_of_a_client__is_known(code, message, missing, reverted):
    assert (is_missing_block(code, message), is_revert(code, message)) == (missing, reverted)


async def test_classify_send__what_anvil_really_says__is_known(chain):
    """The words are anvil's own, so that an upgrade that changes them is noticed."""
    account = Account.create()

    def said(**changes: int) -> SendOutcome:
        base = {"type": 2, "chainId": 31337, "nonce": 0, "to": SPEAKER, "value": 0, "gas": 21_000}
        tx = {**base, "maxFeePerGas": 10**10, "maxPriorityFeePerGas": 1, **changes}
        key = KEYS[2] if changes.get("nonce") == 0 else account.key
        try:
            chain.rpc("eth_sendRawTransaction", "0x" + Account.sign_transaction(tx, key).raw_transaction.hex())
        except RuntimeError as error:
            return classify_send(str(error).removeprefix("eth_sendRawTransaction: "))
        return SendOutcome.ACCEPTED

    assert said() is SendOutcome.INSUFFICIENT_FUNDS
    chain.rpc("anvil_setBalance", account.address, hex(10**18))
    assert said(maxFeePerGas=1) is SendOutcome.FEE_TOO_LOW
    assert said(chainId=1) is SendOutcome.WRONG_CHAIN
    assert said(nonce=0) is SendOutcome.NONCE_TOO_LOW
    assert said(gas=17_000_000) is SendOutcome.GAS_LIMIT
    assert said() is SendOutcome.ACCEPTED
    assert said() is SendOutcome.KNOWN


async def test_timeout__slow_endpoint__does_not_hold_the_head_up_for_longer(chain, proxy):
    proxy.script("*", "delay", 2.5)
    rpc = make_rpc(proxy.url, chain.url, timeout_seconds=0.3)
    started = time.monotonic()
    assert (await rpc.head()).number >= 7
    assert time.monotonic() - started < 2.0
    await rpc.close()
