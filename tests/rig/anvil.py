"""A private chain for a test: anvil on a free port, and the few extra methods that make it misbehave.

Facts about anvil 1.7.1 that tests rest on: `anvil_reorg` forgets the transactions it removes; a dead block's hash gives
"unknown block"; the rule for replacement fees is not enforced.
"""

import json
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from web3 import Web3
from web3.types import RPCEndpoint

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "tools/bin/anvil"
CHAIN_ID = 31337

# The first accounts of anvil's public mnemonic "test test ... junk": keys for tests only.
KEYS = (
    "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
    "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
    "0x5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
)


class Anvil:
    """A running anvil. `mine` decides when blocks come, unless it was started otherwise."""

    def __init__(self, url: str) -> None:
        self.url = url

    def rpc(self, method: str, *params: Any) -> Any:
        """One JSON-RPC call. Raises RuntimeError with the chain's message."""
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}).encode()
        request = urllib.request.Request(self.url, body, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=20) as response:
            reply = json.load(response)
        if "error" in reply:
            raise RuntimeError(f"{method}: {reply['error'].get('message')}")
        return reply["result"]

    def w3(self) -> Web3:
        """For contracts; the first account sends.

        web3 asks for the chain's id before every call: here, only once. Receipts come in milliseconds, and are not
        waited for in steps of a tenth of a second.
        """
        cached = {RPCEndpoint("eth_chainId")}
        w3 = Web3(Web3.HTTPProvider(self.url, cache_allowed_requests=True, cacheable_requests=cached))
        w3.eth.default_account = w3.eth.accounts[0]
        wait = w3.eth.wait_for_transaction_receipt

        def wait_closely(tx_hash: Any, timeout: float = 120, poll_latency: float = 0) -> Any:
            return wait(tx_hash, timeout, 0.005)

        w3.eth.wait_for_transaction_receipt = wait_closely  # type: ignore[method-assign,assignment]
        return w3

    def mine(self, blocks: int = 1) -> None:
        """Mines at once, pending transactions in the first block."""
        for _ in range(blocks):
            self.rpc("evm_mine")

    def reorg(self, depth: int) -> None:
        """Replaces the last `depth` blocks by other, empty ones. Their transactions are forgotten."""
        self.rpc("anvil_reorg", depth, [])

    def height(self) -> int:
        """Number of the head."""
        return int(self.rpc("eth_blockNumber"), 16)

    def transactions(self, address: str) -> int:
        """Mined transactions of an account."""
        return int(self.rpc("eth_getTransactionCount", address, "latest"), 16)

    def balance(self, address: str) -> int:
        """Wei of an account."""
        return int(self.rpc("eth_getBalance", address, "latest"), 16)

    def receipt(self, tx_hash: bytes) -> Any:
        """A receipt as JSON, or None."""
        return self.rpc("eth_getTransactionReceipt", "0x" + tx_hash.hex())


def free_port() -> int:
    """A TCP port nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def anvil(*extra: str, mining: bool = False) -> Iterator[Anvil]:
    """Starts anvil and ends it. mining: a block for each transaction; otherwise only `mine` makes blocks."""
    port = free_port()
    arguments = ["--port", str(port), "--silent", "--chain-id", str(CHAIN_ID), *extra]
    if not mining:
        arguments.append("--no-mining")
    process = subprocess.Popen([PROGRAM, *arguments])
    chain = Anvil(f"http://127.0.0.1:{port}")
    try:
        for _ in range(200):
            try:
                chain.height()
                break
            except OSError:
                if process.poll() is not None:
                    raise RuntimeError(f"anvil ended with {process.returncode}") from None
                time.sleep(0.05)
        else:
            raise RuntimeError("anvil did not start")
        yield chain
    finally:
        process.terminate()
        process.wait(10)
