"""The viem client: types, shared vectors, and a chain on which the Python client meets the same prices and refusals."""

import json
import os
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from rig.anvil import ROOT, anvil
from web3 import Web3

from oracle.chain.deployment import Deployment
from oracle.chain.units import GWEI
from oracle.client import OracleClient, devnet
from oracle.errors import CallReverted
from oracle.ids import ServiceId

SERVICE = ServiceId(b"\x07" * 32)
NAMES = (
    *("maxTokens", "temperature", "cutoff", "callbackGas", "callbackGasPriceWei", "deadline", "valueFinney"),
    "isPrivate",
)
BUILT = ROOT / ".build/js/test"


@pytest.fixture(scope="module")
def built() -> Path:
    assert (BUILT / "live.js").exists(), "`make package` makes it"
    newest = max(path.stat().st_mtime for folder in ("src", "test") for path in (ROOT / "js" / folder).glob("*.ts"))
    assert newest <= (BUILT / "live.js").stat().st_mtime, "js/ changed: run `make package` again"
    return BUILT


def node(*words: object, **environment: str) -> str:
    command = ["node", "--disable-warning=MODULE_TYPELESS_PACKAGE_JSON", "--test", *map(str, words)]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_js__shared_vectors__are_met(built):
    assert "pass 20\n" in node(built / "vectors.test.js")


def test_js__start_dev__around_started_killed_and_failing(built):
    assert "pass 8\n" in node(built / "dev.test.js")


def test_vectors__clients__are_what_the_python_side_writes():
    from unit import make_client_vectors  # noqa: PLC0415

    assert make_client_vectors.FILE.read_text() == make_client_vectors.text(), (
        "run `python tests/unit/make_client_vectors.py`"
    )


def test_js__on_the_chain_of_the_python_client__meets_the_same(built, tmp_path):
    with anvil(mining=True) as chain:
        w3 = chain.w3()
        account = devnet.account(devnet.ASKER)
        nobody = dict.fromkeys(("registry", "seats", "lens", "panel"), account.address)
        first = OracleClient(w3, Deployment(w3.eth.chain_id, 0, oracle=account.address, **nobody), account)
        mock = first.deploy("MockOracle", 20_000 * GWEI, 10 * GWEI, 1_000 * GWEI)
        dapp = first.deploy("Correspondent", mock.address, SERVICE, account.address)
        deployment = Deployment(w3.eth.chain_id, 0, oracle=mock.address, **nobody)
        client = OracleClient(w3, deployment, account)
        empty = first.deploy("MockOracle", 0, 0, 0)
        first.send(empty.functions.setRules((0,) * 12 + (False,)))  # it has no service
        elsewhere = Deployment(w3.eth.chain_id, 0, oracle=empty.address, **nobody)
        nowhere = OracleClient(w3, elsewhere, account)
        live = {
            "url": chain.url,
            "mnemonic": devnet.MNEMONIC,
            "service": "0x" + SERVICE.hex(),
            "deployment": asdict(deployment),
            "correspondent": dapp.address,
            "quotes": [priced(client, size, tokens) for size in (1, 19, 1024) for tokens in (1, 8, 64)],
            "refusals": list(map(lambda case: refused(client, *case), bad(client))),
            "unknown": {"deployment": asdict(elsewhere), **refused(nowhere, 5, nowhere.params(8))},
        }
        (tmp_path / "live.json").write_text(json.dumps(live))
        assert "fail 0\n" in node(built / "live.js", DIDYMA_LIVE=str(tmp_path / "live.json"))


def named(params: tuple[int, ...]) -> dict[str, Any]:
    return dict(zip(NAMES, params, strict=True))


def priced(client: OracleClient, size: int, tokens: int) -> dict[str, Any]:
    params = client.params(tokens, callback_gas=size * 100, callback_gas_price_wei=GWEI)
    found = client.quote(SERVICE, size, params)
    return {
        "promptBytes": size,
        "params": named(params),
        "totalWei": str(found.total_wei),
        "forfeitWei": str(found.forfeit_wei),
    }


def bad(client: OracleClient) -> list[tuple[int, tuple[int, ...]]]:
    """FAULTS U5: what somebody may ask by mistake."""
    good = client.params(8)
    return [
        (0, good),
        (1025, good),
        (9999, client.params(8, is_private=True)),
        (5, client.params(0)),
        (5, client.params(65)),
        (5, client.params(8, deadline_seconds=-1)),
        (5, client.params(8, deadline_seconds=90_000)),
        (5, client.params(8, callback_gas=60_000)),
        (5, client.params(8, callback_gas=12_000_001)),
    ]


def refused(client: OracleClient, size: int, params: tuple[int, ...]) -> dict[str, Any]:
    with pytest.raises(CallReverted) as caught:
        client.ask(SERVICE, bytes(size), params)
    found = caught.value
    return {
        "promptBytes": size,
        "params": named(params),
        "name": found.name,
        "args": {n: Web3.to_hex(v) if isinstance(v, bytes) else str(v) for n, v in found.arguments.items()},
        "message": str(found),
    }
