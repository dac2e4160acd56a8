"""Osaka's rules, on py-evm's of Prague: what a transaction does to a state, what it costs, and what it logs.

Added here: CLZ (EIP-7939), the precompile for P-256 (EIP-7951), the new price of MODEXP (EIP-7883) and its bounds
(EIP-7823), and the most gas of a transaction (EIP-7825). The layout of a transaction is ours, py-evm executes it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from eth.abc import ComputationAPI
from eth.exceptions import OutOfGas, VMError
from eth.precompiles.modexp import extract_lengths, modexp
from eth.vm.execution_context import ExecutionContext
from eth.vm.forks.prague.computation import PRAGUE_PRECOMPILES, PragueComputation
from eth.vm.forks.prague.opcodes import PRAGUE_OPCODES
from eth.vm.forks.prague.state import PragueState, PragueTransactionExecutor
from eth.vm.opcode import as_opcode

from rig.sim import deep_calls
from rig.sim.instructions import Code
from rig.sim.state import State

MOST_TRANSACTION_GAS = 1 << 24
PLAIN_GAS, CREATE_GAS, INITCODE_WORD_GAS = 21_000, 32_000, 2
TOKEN_GAS, FLOOR_TOKEN_GAS, TOKENS_OF_A_BYTE = 4, 10, 4
P256_GAS = 6_900
P256_ADDRESS = (0x100).to_bytes(20, "big")
MODEXP_ADDRESS = (5).to_bytes(20, "big")


@dataclass(frozen=True)
class Transaction:
    """As py-evm's executor reads one. Its signature has been checked."""

    sender: bytes
    nonce: int
    to: bytes
    """Empty: `data` is the code that makes a contract."""
    value: int
    data: bytes
    gas: int
    max_fee_per_gas: int
    max_priority_fee_per_gas: int
    access_list: Sequence[tuple[bytes, Sequence[int]]] = ()
    type_id: int = 2

    @property
    def intrinsic_gas(self) -> int:
        """Before the first instruction. The words of a creation's code are charged by py-evm with the instructions."""
        gas = PLAIN_GAS + TOKEN_GAS * self.tokens + (0 if self.to else CREATE_GAS)
        return gas + sum(2_400 + 1_900 * len(slots) for _, slots in self.access_list)

    @property
    def floor_gas(self) -> int:
        """The least it costs (EIP-7623)."""
        return PLAIN_GAS + FLOOR_TOKEN_GAS * self.tokens

    @property
    def least_gas(self) -> int:
        """With less it is refused."""
        words = 0 if self.to else -(-len(self.data) // 32)
        return max(self.intrinsic_gas + INITCODE_WORD_GAS * words, self.floor_gas)

    @property
    def tokens(self) -> int:
        """Bytes of the data, those that are not zero counted four times."""
        return TOKENS_OF_A_BYTE * len(self.data) - (TOKENS_OF_A_BYTE - 1) * self.data.count(0)


@dataclass(frozen=True)
class Outcome:
    """What became of a transaction."""

    succeeded: bool
    gas_used: int
    output: bytes
    """Return data; after a revert its data."""
    reverted: bool
    """By its own will, not for want of gas or for a fault."""
    reason: str
    contract: bytes
    """That it made; empty for none."""
    logs: tuple[tuple[bytes, tuple[int, ...], bytes], ...]
    """Address, topics, data."""


@dataclass(frozen=True)
class Env:
    """The block that a transaction runs in."""

    number: int
    timestamp: int
    prev_randao: bytes
    base_fee_wei: int
    coinbase: bytes
    gas_limit: int
    chain_id: int
    ancestors: Iterable[bytes]
    """Hashes of the blocks before, the latest first; BLOCKHASH sees 256 of them."""


def execute(env: Env, state: State, tx: Transaction) -> Outcome:
    """Runs a transaction and changes `state`. It must have been found payable before."""
    context = ExecutionContext(
        env.coinbase,
        env.timestamp,
        env.number,  # type: ignore[arg-type]
        0,
        env.prev_randao,
        env.gas_limit,
        env.ancestors,
        env.chain_id,
        env.base_fee_wei,
        0,
    )
    vm = OsakaState(state, context)
    state.lock_changes()
    with deep_calls():
        computation = vm.apply_transaction(tx)  # type: ignore[arg-type]
    remaining = computation.get_gas_remaining()
    used = tx.gas - remaining
    refund = PragueTransactionExecutor.calculate_gas_refund(computation, used)
    error = computation.error if computation.is_error else None
    reverted = error is not None and not error.burns_gas
    return Outcome(
        succeeded=error is None,
        gas_used=max(used - refund, tx.floor_gas),
        output=bytes(computation.output) if error is None or reverted else b"",
        reverted=reverted,
        reason="" if error is None else "OutOfGas" if isinstance(error, OutOfGas) else type(error).__name__,
        contract=computation.msg.storage_address if computation.msg.is_create else b"",
        logs=computation.get_log_entries(),
    )


# -- instructions and precompiles ------------------------------------------------------------------------------------


def _clz(computation: ComputationAPI) -> None:
    computation.stack_push_int(256 - computation.stack_pop1_int().bit_length())


def _p256_verify(computation: ComputationAPI) -> ComputationAPI:
    """One word of 1 if the signature holds; nothing if it does not, or the input is not one."""
    computation.consume_gas(P256_GAS, reason="P256VERIFY")
    data = computation.msg.data_as_bytes
    computation.output = (1).to_bytes(32, "big") if _p256(data) else b""
    return computation


def _p256(data: bytes) -> bool:
    if len(data) != 160:
        return False
    r, s, x, y = (int.from_bytes(data[i : i + 32], "big") for i in range(32, 160, 32))
    try:
        key = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
        key.verify(encode_dss_signature(r, s), data[:32], ec.ECDSA(Prehashed(hashes.SHA256())))
    except (ValueError, InvalidSignature):
        return False
    return True


def _modexp_gas(data: bytes) -> int:
    base, exponent, modulus = extract_lengths(data)
    if max(base, exponent, modulus) > 1024:
        raise VMError("a MODEXP of more than 1,024 bytes")
    longest = max(base, modulus)
    complexity = 16 if longest <= 32 else 2 * (-(-longest // 8)) ** 2
    head = int.from_bytes(data[96 + base :][: min(exponent, 32)].ljust(min(exponent, 32), b"\0"), "big")
    rounds = max(head.bit_length() - 1, 0) + 16 * max(exponent - 32, 0)
    return max(500, complexity * max(rounds, 1))


class OsakaComputation(PragueComputation):
    opcodes: ClassVar = {**PRAGUE_OPCODES, 0x1E: as_opcode(_clz, "CLZ", 5)}
    _precompiles: ClassVar = {
        **PRAGUE_PRECOMPILES,
        P256_ADDRESS: _p256_verify,
        MODEXP_ADDRESS: modexp(gas_calculator=_modexp_gas),
    }

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.code = Code(self.msg.code, self)


class OsakaExecutor(PragueTransactionExecutor):
    def validate_transaction(self, transaction: Any) -> None:
        """Nothing: the pool and the block do that."""


class OsakaState(PragueState):
    computation_class = OsakaComputation
    transaction_executor_class = OsakaExecutor

    def __init__(self, state: State, context: ExecutionContext) -> None:
        self.execution_context = context
        self._account_db = state

    def snapshot(self) -> Any:
        return self._account_db.record()

    def revert(self, snapshot: Any) -> None:
        self._account_db.discard(snapshot)

    def commit(self, snapshot: Any) -> None:
        self._account_db.commit(snapshot)

    def get_transient_storage(self, address: bytes, slot: int) -> bytes:
        return self._account_db.transient.get((address, slot), b"")

    def set_transient_storage(self, address: bytes, slot: int, value: bytes) -> None:
        self._account_db.put(self._account_db.transient, (address, slot), value)

    def clear_transient_storage(self) -> None:
        self._account_db.transient.clear()
