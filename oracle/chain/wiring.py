"""How contracts are wired: one list of them all, in the order in which they are made, and what each is told of others.

Whoever deploys brings a way to make a contract: Ape's for real chains, web3's for development chains and tests.
"""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

Contract = TypeVar("Contract")

GIVEN = ("block_millis", "noise_table", "class_table", "root_x", "root_y")
"""What no contract of the list is: the least time between two blocks, in thousandths of a second; the addresses of the
tables of sampling noise and of Unicode classes; the public key that quotes of TEEs go back to."""

WIRING: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "ModelRegistry": (),
        "Seats": ("ModelRegistry", "block_millis"),
        "Oracle": ("Seats",),
        "Lens": ("Oracle",),
        "PanelArbiter": ("Oracle", "ModelRegistry"),
        "LinearReferee": (),
        "RowReferee": (),
        "AttentionReferee": (),
        "Referee": ("ModelRegistry", "LinearReferee", "RowReferee", "AttentionReferee"),
        "TokenReferee": ("Referee", "noise_table"),
        "TextReferee": ("Referee", "class_table"),
        "AnswerReferee": ("Referee",),
        "DisputeGame": ("Oracle", "Referee", "TokenReferee", "TextReferee", "AnswerReferee"),
        "DcapCollateral": ("root_x", "root_y"),
        "DcapVerifier": ("DcapCollateral",),
        "AttestedAnswers": ("Oracle", "DcapVerifier"),
    }
)
"""The arguments of each constructor, by name. The game makes `Refutations` itself."""


def deploy(
    make: Callable[[str, list[Any]], Contract], known: Mapping[str, Any], names: Iterable[str] = WIRING
) -> dict[str, Contract]:
    """Makes the named contracts in the order of `WIRING`.

    make: makes one, from its name and arguments. known: what `GIVEN` names, and contracts made before, as far as these
    need them.
    """
    wanted, made = set(names), dict[str, Contract]()
    for name, arguments in WIRING.items():
        if name in wanted:
            made[name] = make(name, [made[each] if each in made else known[each] for each in arguments])
    return made
