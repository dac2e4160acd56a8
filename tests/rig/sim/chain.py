"""The chain: blocks with chosen times and randomness, a pool, receipts, logs, and reorganisations of any depth.

Every block keeps its state, so that calls at old blocks and reorganisations cost nothing but memory. Headers hash as on
Ethereum, but their three roots are no tries': they stand for parent, randomness and transactions, so that different
blocks have different hashes.
"""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import rlp
from eth_utils.crypto import keccak

from oracle.client.deploying import FACTORY
from rig.sim.osaka import MOST_TRANSACTION_GAS, Env, Outcome, Transaction, execute
from rig.sim.pool import Pool, Signed, decode, tip
from rig.sim.state import NOBODY, Snapshot, State

GWEI = 10**9
BLOCK_GAS = 30_000_000
FIRST_BASE_FEE_WEI = GWEI
GENESIS_BALANCE_WEI = 10_000 * 10**18
HISTORY = bytes.fromhex("0000f90827f1c53a10cb7a02335b175320002935")
"""Where contracts read the hashes of earlier blocks (EIP-2935)."""
HISTORY_CODE = bytes.fromhex(
    "3373fffffffffffffffffffffffffffffffffffffffe14604657602036036042575f35600143038111604257611fff81430311604257611fff"
    "9006545f5260205ff35b5f5ffd5b5f35611fff60014303065500"
)
HISTORY_SPAN = 8_191
FACTORY_CODE = bytes.fromhex(
    "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe03601600081602082378035828234f58015156039578182fd5b"
    "8082525050506014600cf3"
)
"""Of what makes contracts at chosen addresses, as Anvil has it from the start."""
NO_UNCLES = keccak(rlp.encode([]))
COINBASE = bytes(20)


@dataclass(frozen=True)
class Header:
    """What is hashed. Numbers as integers, the rest as bytes, in the order of the specification."""

    parent_hash: bytes
    roots: tuple[bytes, bytes, bytes]
    """Stand for those of state, transactions and receipts."""
    bloom: bytes
    number: int
    gas_used: int
    timestamp: int
    prev_randao: bytes
    base_fee_wei: int
    extra: bytes = b""

    @cached_property
    def hash(self) -> bytes:
        fields = [
            *(self.parent_hash, NO_UNCLES, COINBASE, *self.roots, self.bloom),
            *(0, self.number, BLOCK_GAS, self.gas_used, self.timestamp, self.extra, self.prev_randao, bytes(8)),
            *(self.base_fee_wei, bytes(32), 0, 0, bytes(32), bytes(32)),
        ]
        return keccak(rlp.encode([_quantity(f) if isinstance(f, int) else f for f in fields]))

    @property
    def next_base_fee_wei(self) -> int:
        """Of the block after this one (EIP-1559)."""
        target = BLOCK_GAS // 2
        change = self.base_fee_wei * abs(self.gas_used - target) // target // 8
        if self.gas_used > target:
            return self.base_fee_wei + max(change, 1)
        return self.base_fee_wei - change


@dataclass(frozen=True)
class Mined:
    """A transaction in a block."""

    signed: Signed
    outcome: Outcome
    index: int
    first_log: int
    """Of its block's logs."""
    gas_before: int
    price_wei: int
    """Paid for a unit of gas."""


@dataclass(frozen=True)
class Block:
    """A block and all that follows from it."""

    header: Header
    hash: bytes
    mined: tuple[Mined, ...]
    state: Snapshot


MOST_KEPT_CALLS = 1_000
ESTIMATE_PARTS = 66
"""An estimate is at most one in so many too high, as geth's."""


class SimChain:
    """One chain. `mine` alone makes blocks, `reorg` alone takes them back."""

    def __init__(self, chain_id: int, rich: Sequence[bytes], *, timestamp: int = 1_700_000_000, seed: int = 0) -> None:
        """rich: addresses with ether from the start. timestamp: of the first block, Unix seconds."""
        self.chain_id = chain_id
        self.pool = Pool(chain_id, BLOCK_GAS)
        self.random = random.Random(seed)
        self.interval_seconds = 1
        self.extra = b""
        """What producers write into headers: 97 bytes with proof of authority."""
        self.next_timestamp: int | None = None
        self.next_base_fee_wei: int | None = None
        self.blocks: list[Block] = []
        """The canonical ones."""
        self.dead: dict[bytes, Block] = {}
        """By hash: what reorganisations took away."""
        self.made: list[Block] = []
        """All there ever were, in the order in which they were made."""
        self._numbers: dict[bytes, int] = {}
        self._called: dict[tuple[bytes, Transaction], Outcome] = {}
        """Calls by block hash: two endpoints are asked the same, and so is one that is asked again."""
        self.transactions: dict[bytes, tuple[Block, Mined]] = {}
        """By hash: those of canonical blocks."""
        accounts = {address: (0, GENESIS_BALANCE_WEI, b"") for address in rich}
        accounts[HISTORY] = (1, 0, HISTORY_CODE)
        accounts[bytes.fromhex(FACTORY[2:])] = (0, 0, FACTORY_CODE)
        first = Header(bytes(32), (bytes(32),) * 3, bytes(256), 0, 0, timestamp, bytes(32), FIRST_BASE_FEE_WEI)
        self._append(first, (), Snapshot(accounts))

    @property
    def head(self) -> Block:
        return self.blocks[-1]

    def by_hash(self, block_hash: bytes) -> Block | None:
        """A canonical block, or a dead one."""
        number = self._numbers.get(block_hash)
        return self.dead.get(block_hash) if number is None else self.blocks[number]

    def is_canonical(self, block: Block) -> bool:
        return block.header.number < len(self.blocks) and self.blocks[block.header.number] is block

    # -- transactions --------------------------------------------------------------------------------------------

    def send(self, raw: bytes) -> bytes:
        """Takes a signed transaction into the pool. Returns its hash. Raises Rejected."""
        signed = decode(raw)
        self.pool.add(signed, self.head.state)
        return signed.hash

    def call(self, block: Block, tx: Transaction) -> Outcome:
        """Runs it in the state after `block` and forgets what it changed."""
        key = block.hash, tx
        if key not in self._called:
            if len(self._called) >= MOST_KEPT_CALLS:
                self._called.clear()
            env = self._env(block.header, block.header.timestamp, block.header.prev_randao, 0)
            self._called[key] = execute(env, State(block.state), tx)
        return self._called[key]

    def estimate(self, block: Block, tx_of: Callable[[int], Transaction]) -> tuple[int, Outcome]:
        """Gas that a call needs, and what comes of it with the most that it may have. tx_of: the call, by its gas."""
        best = self.call(block, tx_of(MOST_TRANSACTION_GAS))
        if not best.succeeded:
            return 0, best
        if self.call(block, tx_of(best.gas_used)).succeeded:
            return best.gas_used, best
        low, high = best.gas_used, MOST_TRANSACTION_GAS
        guesses = [(best.gas_used + more + 2_300) * 64 // 63 for more in (best.gas_used // 4, 0)]
        while low + 1 < high and (high - low) * ESTIMATE_PARTS > high:
            guess = guesses.pop() if guesses else 0
            middle = guess if low < guess < high else (low + high) // 2
            if self.call(block, tx_of(middle)).succeeded:
                high = middle
            else:
                low = middle
        return high, best

    # -- blocks --------------------------------------------------------------------------------------------------

    def mine(
        self,
        *,
        timestamp: int | None = None,
        prev_randao: bytes | None = None,
        wanted: Callable[[Signed], bool] = lambda signed: True,
    ) -> Block:
        """A block of what waits in the pool, the highest tips first. wanted: what its producer does not leave out."""
        parent = self.head.header
        chosen = timestamp or self.next_timestamp or parent.timestamp + self.interval_seconds
        if chosen <= parent.timestamp:
            raise ValueError(f"the block at {parent.timestamp} s cannot have a child at {chosen} s")
        base_fee_wei = parent.next_base_fee_wei if self.next_base_fee_wei is None else self.next_base_fee_wei
        self.next_timestamp = self.next_base_fee_wei = None
        randao = self.random.randbytes(32) if prev_randao is None else prev_randao
        env = self._env(parent, chosen, randao, base_fee_wei, child=True)
        state = State(self.head.state)
        state.set_storage(HISTORY, parent.number % HISTORY_SPAN, int.from_bytes(self.head.hash, "big"))
        mined = self._fill(env, state, wanted)
        bloom = bloom_of(each.outcome for each in mined)
        commitment = keccak(self.head.hash + randao + b"".join(each.signed.hash for each in mined))
        used = mined[-1].gas_before + mined[-1].outcome.gas_used if mined else 0
        fields = (bloom, env.number, used, chosen, randao, base_fee_wei, self.extra)
        header = Header(self.head.hash, (commitment,) * 3, *fields)
        self._append(header, mined, state.frozen())
        self.pool.passed(self._nonce)
        return self.head

    def reorg(self, depth: int, *, back_to_pool: bool = False, grow: int = 0) -> None:
        """Replaces the last `depth` blocks by `depth + grow` empty ones.

        Their transactions are forgotten, or wait in the pool again.
        """
        if not 0 < depth < len(self.blocks):
            raise ValueError("deeper than the chain")
        removed = [self.blocks.pop() for _ in range(depth)][::-1]
        for block in removed:
            self.dead[block.hash] = block
            del self._numbers[block.hash]
            for each in block.mined:
                del self.transactions[each.signed.hash]
                if back_to_pool:
                    self.pool.waiting.setdefault((each.signed.tx.sender, each.signed.tx.nonce), each.signed)
        for _ in range(depth + grow):
            self.mine(wanted=lambda signed: False)

    def saved(self) -> Any:
        """All of the chain as it is, for `restore`."""
        return list(self.blocks), dict(self.dead), dict(self.transactions), dict(self.pool.waiting)

    def restore(self, saved: Any) -> None:
        """Makes the chain what it was. `saved` stays good."""
        self.blocks, self.dead, self.transactions, self.pool.waiting = list(saved[0]), *map(dict, saved[1:])
        self.made = [*self.dead.values(), *self.blocks]
        self._numbers = {block.hash: block.header.number for block in self.blocks}
        self.next_timestamp = self.next_base_fee_wei = None
        self.extra = b""

    def _fill(self, env: Env, state: State, wanted: Callable[[Signed], bool]) -> tuple[Mined, ...]:
        mined: list[Mined] = []
        used = logs = 0
        passed_over: set[bytes] = set()
        waiting = Pool(self.chain_id, BLOCK_GAS)
        waiting.waiting = {key: each for key, each in self.pool.waiting.items() if wanted(each)}
        while (signed := waiting.best(state.get_nonce, env.base_fee_wei)) is not None:
            tx = signed.tx
            del waiting.waiting[tx.sender, tx.nonce]
            poor = state.get_balance(tx.sender) < tx.gas * tx.max_fee_per_gas + tx.value
            if poor or used + tx.gas > BLOCK_GAS or tx.sender in passed_over:
                passed_over.add(tx.sender)
                continue
            outcome = execute(env, state, tx)
            price = env.base_fee_wei + tip(tx, env.base_fee_wei)
            mined.append(Mined(signed, outcome, len(mined), logs, used, price))
            used, logs = used + outcome.gas_used, logs + len(outcome.logs)
        return tuple(mined)

    def _append(self, header: Header, mined: tuple[Mined, ...], state: Snapshot) -> None:
        block = Block(header, self._hash(header), mined, state)
        self.blocks.append(block)
        self.made.append(block)
        self._numbers[block.hash] = header.number
        for each in mined:
            self.transactions[each.signed.hash] = (block, each)

    def _hash(self, header: Header) -> bytes:
        return header.hash

    def _nonce(self, address: bytes) -> int:
        return self.head.state.accounts.get(address, NOBODY)[0]

    def _env(self, at: Header, timestamp: int, randao: bytes, base_fee_wei: int, *, child: bool = False) -> Env:
        before = _Before(self, self.head.hash if child else at.parent_hash)
        return Env(at.number + child, timestamp, randao, base_fee_wei, COINBASE, BLOCK_GAS, self.chain_id, before)


@dataclass(frozen=True)
class _Before:
    """The hash of a block and those of its ancestors, as often as somebody asks."""

    chain: SimChain
    last: bytes

    def __iter__(self) -> Iterator[bytes]:
        block_hash = self.last
        while (block := self.chain.by_hash(block_hash)) is not None:
            yield block_hash
            block_hash = block.header.parent_hash


def bloom_of(outcomes: Iterable[Outcome]) -> bytes:
    """The filter over addresses and topics of logs (yellow paper, 4.3.1)."""
    bits = 0
    for outcome in outcomes:
        for address, topics, _ in outcome.logs:
            for entry in (address, *(topic.to_bytes(32, "big") for topic in topics)):
                digest = keccak(entry)
                for i in (0, 2, 4):
                    bits |= 1 << int.from_bytes(digest[i : i + 2], "big") % 2048
    return bits.to_bytes(256, "big")


def _quantity(number: int) -> bytes:
    return number.to_bytes(-(-number.bit_length() // 8), "big")
