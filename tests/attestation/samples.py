"""Real quotes with the collateral of their time, and a chain at that time that knows the collateral."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dcap_qvl
import pytest
from disputes.stand import deploy
from rig.anvil import ROOT, Anvil, anvil
from web3 import Web3

from oracle.attestation.collateral import Collateral
from oracle.attestation.quote import Quote

FOLDER = ROOT.parent / "shared" / "tee-samples"
INTEL_KEY = (
    bytes.fromhex("0ba9c4c0c0c86193a3fe23d6b02cda10a8bbd4e88e48b4458561a36e705525f5"),
    bytes.fromhex("67918e2edc88e40d860bd0cc4ee26aacc988e505a953558c453f6b0904ae7394"),
)


@dataclass(frozen=True)
class Sample:
    name: str
    quote: str
    collateral: str
    time: int
    """Unix seconds at which the collateral was valid."""
    status: str
    """As Intel's library names it."""
    flags: int
    """As the contract does."""
    tee: int


SAMPLES = [
    Sample(
        *("tdx-v4", "tdx-v4-b0c06f000000-phala-network-f1c850.bin", "qvl-tdx-B0C06F000000-2025-06.json"),
        *(1751624191, "UpToDate", 0, 1),
    ),
    Sample(
        *("tdx-v5", "tdx-v5-90c06f000000-google-cf77a6.bin", "ars-tdx-90c06f000000-2026-03.json"),
        *(1774995607, "UpToDate", 0, 1),
    ),
    Sample(
        *("sgx-v3", "sgx-v3-00a067110000-phala-network-f8b810.bin", "qvl-sgx-00A067110000-2025-06.json"),
        *(1751624924, "ConfigurationAndSWHardeningNeeded", 2 | 4, 0),
    ),
]


def path(name: str) -> Path:
    """Of a sample; skips the test, with a message, where samples are not at hand."""
    found = FOLDER / name
    if not found.exists():
        pytest.skip(f"{name} is not at hand: real quotes are kept outside the project")
    return found


@dataclass
class Bench:
    """Contracts on a chain whose clock stands at a sample's time."""

    sample: Sample
    chain: Anvil
    w3: Web3
    collateral: Any
    verifier: Any
    quote: Quote
    documents: Collateral

    @property
    def credential(self) -> bytes:
        return self.documents.credential(self.quote)

    def post_all(self, documents: Collateral | None = None) -> None:
        for posting in (documents or self.documents).postings(self.quote):
            self.send(posting.function, *posting.arguments)

    def send(self, function: str, *arguments: Any) -> Any:
        """Raises ContractLogicError before anything is sent."""
        call = self.collateral.functions[function](*arguments)
        call.call({"gas": 16_000_000})
        receipt = self.w3.eth.wait_for_transaction_receipt(call.transact({"gas": 16_000_000}))
        assert receipt["status"] == 1
        return receipt

    def verify(self, evidence: bytes) -> Any:
        return self.verifier.functions.verify(evidence, self.documents.evaluation).call({"gas": 16_000_000})

    def set_clock(self, time: int) -> None:
        self.chain.rpc("evm_setNextBlockTimestamp", time)
        self.chain.mine()

    def off_chain(self, raw: bytes, documents: Collateral | None = None, time: int | None = None) -> Any:
        """The verdict of Intel's scheme by another implementation. Raises ValueError."""
        used = documents or self.documents
        collateral = dcap_qvl.QuoteCollateralV3(**{**vars(used)})
        return dcap_qvl.verify(raw, collateral, time or self.sample.time)


@contextmanager
def bench(sample: Sample) -> Iterator[Bench]:
    raw, text = path(sample.quote).read_bytes(), path(sample.collateral).read_text()
    with anvil("--timestamp", str(sample.time - 1000)) as chain:
        chain.rpc("evm_setAutomine", True)
        w3 = chain.w3()
        collateral = deploy(w3, "DcapCollateral", *INTEL_KEY)
        verifier = deploy(w3, "DcapVerifier", collateral.address)
        made = Bench(sample, chain, w3, collateral, verifier, Quote.parse(raw), Collateral.from_json(text))
        yield made


def changed(quote: Quote, part: str, at: int, by: int = 1) -> Quote:
    """With one byte of a part changed."""
    data = bytearray(getattr(quote, part))
    data[at] ^= by
    return replace(quote, **{part: bytes(data)})
