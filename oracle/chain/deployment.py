"""Where the contracts of one deployment are, and their ABIs.

A deployment is a JSON file written by `scripts/deploy.py` or `didyma dev`; the ABIs come with the package.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any

from eth_typing import ChecksumAddress
from web3 import Web3

from oracle.errors import BadDeployment

CONTRACTS: Mapping[str, str] = MappingProxyType(
    {
        "registry": "ModelRegistry",
        "oracle": "Oracle",
        "seats": "Seats",
        "lens": "Lens",
        "panel": "PanelArbiter",
        "game": "DisputeGame",
        "referee": "Referee",
        "token_referee": "TokenReferee",
        "text_referee": "TextReferee",
        "answer_referee": "AnswerReferee",
        "refutations": "Refutations",
        "attester": "AttestedAnswers",
    }
)
"""The contract at each address of a deployment."""
OPTIONAL = ("game", "referee", "token_referee", "text_referee", "answer_referee", "refutations", "attester")


@dataclass(frozen=True)
class Deployment:
    """Addresses on one chain, and the block of the first contract: no event is older."""

    chain_id: int
    block: int
    registry: ChecksumAddress
    oracle: ChecksumAddress
    seats: ChecksumAddress
    """The code that the oracle runs for services and seats."""
    lens: ChecksumAddress
    panel: ChecksumAddress
    game: ChecksumAddress | None = None
    """The dispute game of exact models; None in deployments without one. So the others."""
    referee: ChecksumAddress | None = None
    token_referee: ChecksumAddress | None = None
    text_referee: ChecksumAddress | None = None
    answer_referee: ChecksumAddress | None = None
    refutations: ChecksumAddress | None = None
    """Made by the game."""
    attester: ChecksumAddress | None = None
    """`AttestedAnswers`, which knows its verifier; None in deployments without TEEs."""

    @classmethod
    def of(cls, chain_id: int, block: int, addresses: Mapping[str, str]) -> "Deployment":
        """addresses: of all contracts, by their names in `wiring.WIRING`; others are left out."""
        fields = {field: Web3.to_checksum_address(addresses[name]) for field, name in CONTRACTS.items()}
        return cls(chain_id, block, **fields)

    @classmethod
    def load(cls, path: Path) -> "Deployment":
        """Raises BadDeployment."""
        try:
            fields = json.loads(path.read_text())
            return cls(
                chain_id=int(fields["chain_id"]),
                block=int(fields["block"]),
                **{
                    name: Web3.to_checksum_address(fields[name])
                    for name in CONTRACTS
                    if name not in OPTIONAL or fields.get(name)
                },
            )
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise BadDeployment(
                f"{path} is not a deployment file ({error}); `didyma dev` and scripts/deploy.py write one"
            ) from error

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")


@cache
def artifact(name: str) -> dict[str, Any]:
    """`abi` and creation `bytecode` of the contract called `name`."""
    loaded: dict[str, Any] = json.loads((resources.files("oracle") / "abi" / f"{name}.json").read_text())
    return loaded


@cache
def artifact_names() -> tuple[str, ...]:
    """Names of all contracts of the package."""
    return tuple(sorted(each.name.removesuffix(".json") for each in (resources.files("oracle") / "abi").iterdir()))
