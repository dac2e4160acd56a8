"""The simulated chain with Anvil's handles: a drop-in for `rig.anvil.Anvil`, in this process and without sockets.

Only what tests of ours use: accounts of the public phrase that sign for themselves, automatic mining, snapshots, and
clocks. `world(local)` builds the contracts on it with the code that builds them on Anvil.
"""

import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from eth_account import Account
from web3 import Web3
from web3.middleware import ExtraDataToPOAMiddleware
from web3.providers.base import BaseProvider
from web3.types import RPCEndpoint, RPCResponse

from oracle.chain.connect import Endpoint, connect
from rig.anvil import CHAIN_ID
from rig.sim.chain import GWEI, SimChain
from rig.sim.rpc import RpcError, SimRpc

PHRASE = "test test test test test test test test test test test junk"
Account.enable_unaudited_hdwallet_features()
ACCOUNTS = {
    account.address: account
    for account in (Account.from_mnemonic(PHRASE, account_path=f"m/44'/60'/0'/0/{i}") for i in range(10))
}


class Local:
    """A chain whose blocks come when `mine` is called, or with each transaction while it mines automatically."""

    url = "sim:"

    def __init__(self, *, mining: bool = False) -> None:
        self.sim = SimChain(CHAIN_ID, [bytes.fromhex(address[2:]) for address in ACCOUNTS])
        self.serve = SimRpc(self.sim)
        self._mining = mining
        self._kept: list[Any] = []
        self._handles: dict[str, Callable[..., Any]] = {
            "eth_accounts": lambda: list(ACCOUNTS),
            "eth_sendTransaction": lambda tx: self.request("eth_sendRawTransaction", ["0x" + self._sign(tx).hex()]),
            "evm_setAutomine": partial(setattr, self, "_mining"),
            "evm_mine": self.mine,
            "evm_setNextBlockTimestamp": partial(setattr, self.sim, "next_timestamp"),
            "evm_snapshot": self._keep,
            "evm_revert": lambda number: self.sim.restore(self._kept[int(number, 16)]),
            "anvil_setBlockTimestampInterval": partial(setattr, self.sim, "interval_seconds"),
        }

    def rpc(self, method: str, *params: Any) -> Any:
        """One call. Raises RuntimeError with the chain's message, as `Anvil.rpc`."""
        try:
            return self.request(method, params)
        except RpcError as error:
            raise RuntimeError(f"{method}: {error.message}") from None

    def request(self, method: str, params: Sequence[Any]) -> Any:
        """One call, those that turn the chain's handles among them. Raises RpcError."""
        if method in self._handles:
            return self._handles[method](*params)
        found = self.serve(method, params)
        if method == "eth_sendRawTransaction" and self._mining:
            self.sim.mine()
        return found

    def w3(self) -> Web3:
        """For contracts; the first account sends."""
        w3 = Web3(_Provider(self))
        w3.middleware_onion.inject(ExtraDataToPOAMiddleware, layer=0)
        w3.eth.default_account = next(iter(ACCOUNTS))
        return w3

    def connected(self) -> Web3:
        """As commands and dapps reach a chain, but without a socket."""
        w3 = connect(self.url)
        assert isinstance(w3.provider, Endpoint)
        w3.provider._session = _Session(self)  # type: ignore[assignment]
        return w3

    def mine(self, blocks: int = 1) -> None:
        """Mines at once, pending transactions in the first block."""
        for _ in range(blocks):
            self.sim.mine()

    def reorg(self, depth: int) -> None:
        """Replaces the last `depth` blocks by other, empty ones. Their transactions are forgotten."""
        self.sim.reorg(depth)

    def height(self) -> int:
        """Number of the head."""
        return self.sim.head.header.number

    def transactions(self, address: str) -> int:
        """Mined transactions of an account."""
        return int(self.serve("eth_getTransactionCount", [address, "latest"]), 16)

    def balance(self, address: str) -> int:
        """Wei of an account."""
        return int(self.serve("eth_getBalance", [address, "latest"]), 16)

    def receipt(self, tx_hash: bytes) -> Any:
        """A receipt as JSON, or None."""
        return self.serve("eth_getTransactionReceipt", ["0x" + tx_hash.hex()])

    def _keep(self) -> str:
        self._kept.append(self.sim.saved())
        return hex(len(self._kept) - 1)

    def _sign(self, fields: dict[str, Any]) -> bytes:
        """As a server does that holds the sender's key. Raises RpcError."""
        sender = Web3.to_checksum_address(fields["from"])
        gas = fields.get("gas") or self.serve("eth_estimateGas", [fields])
        tx = {
            "type": 2,
            "chainId": CHAIN_ID,
            "nonce": int(self.serve("eth_getTransactionCount", [sender, "pending"]), 16),
            "to": Web3.to_checksum_address(fields["to"]) if fields.get("to") else "",
            "value": int(fields.get("value", "0x0"), 16),
            "data": fields.get("data", "0x"),
            "gas": int(gas, 16),
            "maxFeePerGas": 2 * self.sim.head.header.next_base_fee_wei + GWEI,
            "maxPriorityFeePerGas": GWEI,
        }
        signed: bytes = bytes(ACCOUNTS[sender].sign_transaction(tx).raw_transaction)
        return signed


class _Provider(BaseProvider):
    def __init__(self, local: Local) -> None:
        super().__init__()
        self._local = local

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        return _replied(self._local, method, params)

    def is_connected(self, show_traceback: bool = False) -> bool:
        return True


def _replied(local: Local, method: str, params: Any) -> Any:
    reply = {"jsonrpc": "2.0", "id": 1}
    try:
        return {**reply, "result": local.request(method, params)}
    except RpcError as error:
        return {**reply, "error": error.as_json()}


class _Session:
    """The part of a session of `requests` that `connect`'s endpoint uses."""

    def __init__(self, local: Local) -> None:
        self._local = local

    def post(self, _url: str, *, data: bytes, **_: Any) -> "_Posted":
        call = json.loads(data)
        return _Posted(json.dumps(_replied(self._local, call["method"], call["params"])).encode())


class _Posted:
    """A reply."""

    status_code = 200

    def __init__(self, body: bytes) -> None:
        self.raw, self._body = self, io.BytesIO(body)

    def __enter__(self) -> "_Posted":
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is open."""

    def read1(self, most: int, **_: Any) -> bytes:
        return self._body.read(most)


@contextmanager
def local(*, mining: bool = False) -> Iterator[Local]:
    """As `rig.anvil.anvil`."""
    yield Local(mining=mining)
