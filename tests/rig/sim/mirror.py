"""Anvil's blocks, run again on the simulated chain: whatever comes out differently is a fault of one of them.

The mirror takes over what Anvil chose (hashes, times, randomness, the transactions of a block) and finds out for itself
what follows from it (order, receipts, logs, filters, fees, and all of the state).
"""

import gzip
import json
from collections.abc import Iterator
from typing import Any

from rig.anvil import Anvil
from rig.sim.chain import HISTORY, SimChain
from rig.sim.rpc import SimRpc
from rig.sim.state import NOBODY, Snapshot

OF_A_BLOCK = ("number", "parentHash", "gasUsed", "baseFeePerGas", "logsBloom", "timestamp", "mixHash", "transactions")
OF_A_RECEIPT = (
    *("status", "gasUsed", "cumulativeGasUsed", "effectiveGasPrice", "contractAddress", "from", "to", "type", "logs"),
    *("logsBloom", "transactionIndex", "blockNumber", "blockHash"),
)
OF_A_LOG = ("address", "topics", "data", "logIndex", "transactionHash", "transactionIndex", "blockNumber", "blockHash")

GIVEN = {f"account 0x{HISTORY.hex()}"}
"""Of Anvil's genesis, and other there: where contracts read block hashes."""


class Mirror(SimChain):
    """A simulated chain whose blocks have the hashes of Anvil's."""

    def __init__(self, anvil: Anvil, chain_id: int) -> None:
        self.anvil = anvil
        self._given = b""
        first = self._expect(0)
        rich = [bytes.fromhex(address[2:]) for address in anvil.rpc("eth_accounts")]
        super().__init__(chain_id, rich, timestamp=int(first["timestamp"], 16))
        self.serve = SimRpc(self)

    def _hash(self, header: Any) -> bytes:
        return self._given

    def _expect(self, number: int) -> dict[str, Any]:
        block: dict[str, Any] = self.anvil.rpc("eth_getBlockByNumber", hex(number), False)
        self._given = bytes.fromhex(block["hash"][2:])
        return block

    def follow(self) -> Iterator[str]:
        """Mines what Anvil has mined since, and says what differs."""
        for number in range(self.head.header.number + 1, self.anvil.height() + 1):
            theirs = self._expect(number)
            for tx_hash in theirs["transactions"]:
                self.send(bytes.fromhex(self.anvil.rpc("debug_getRawTransaction", tx_hash)[2:]))
            if number == 1:  # Anvil's first block has the fee of its genesis
                self.next_base_fee_wei = int(theirs["baseFeePerGas"], 16)
            self.mine(timestamp=int(theirs["timestamp"], 16), prev_randao=bytes.fromhex(theirs["mixHash"][2:]))
            ours = self.serve("eth_getBlockByNumber", [hex(number), False])
            yield from _differences(f"block {number}", theirs, ours, OF_A_BLOCK)
            for tx_hash in theirs["transactions"]:
                yield from self._receipts(tx_hash)

    def _receipts(self, tx_hash: str) -> Iterator[str]:
        pair = (
            self.anvil.rpc("eth_getTransactionReceipt", tx_hash),
            self.serve("eth_getTransactionReceipt", [tx_hash]),
        )
        theirs, ours = ({**each, "logs": [{k: log[k] for k in OF_A_LOG} for log in each["logs"]]} for each in pair)
        yield from _differences(f"receipt {tx_hash}", theirs, ours, OF_A_RECEIPT)

    def compare_states(self) -> Iterator[str]:
        """Every account and every slot at the head, but for the accounts that Anvil begins with."""
        theirs, ours = dict(flat(dumped(self.anvil))), dict(flat(self.head.state))
        yield from _differences("", theirs, ours, (theirs.keys() | ours.keys()) - GIVEN)


def dumped(anvil: Anvil) -> Snapshot:
    """The state at Anvil's head."""
    state = json.loads(gzip.decompress(bytes.fromhex(anvil.rpc("anvil_dumpState")[2:])))
    accounts, storage = {}, {}
    for name, account in state["accounts"].items():
        address = bytes.fromhex(name[2:])
        nonce = account["nonce"] if isinstance(account["nonce"], int) else int(account["nonce"], 16)
        accounts[address] = (nonce, int(account["balance"], 16), bytes.fromhex(account["code"][2:]))
        for slot, value in account["storage"].items():
            if int(value, 16):
                storage[address, int(slot, 16)] = int(value, 16)
    return Snapshot(accounts, storage)


def flat(state: Snapshot) -> Iterator[tuple[str, Any]]:
    """One entry for each account that is not empty, and for each slot."""
    for address, account in state.accounts.items():
        if account != NOBODY:
            yield f"account 0x{address.hex()}", account
    for (address, slot), value in state.storage.items():
        yield f"slot {slot:#x} of 0x{address.hex()}", value


def _differences(what: str, theirs: dict[str, Any], ours: dict[str, Any], names: Any = None) -> Iterator[str]:
    for name in names or theirs.keys() | ours.keys():
        if theirs.get(name) != ours.get(name):
            yield f"{what} {name}: Anvil {str(theirs.get(name))[:200]}, simulated {str(ours.get(name))[:200]}"
