"""How keys inside TEEs are judged here: options that say which code, machines and documents will do."""

import time
from collections.abc import Callable
from typing import Annotated

import typer

from oracle.attestation.dev import MACHINE
from oracle.attestation.keeper import DevSource, Pccs
from oracle.attestation.verifier import Policy
from oracle.cli.arguments import bytes32
from oracle.cli.connection import shared
from oracle.client.trust import Trust
from oracle.errors import Refused
from oracle.node.settings import INTEL

EvaluationOption = Annotated[
    int,
    typer.Option(min=0, max=0xFFFF, help="Oldest TCB evaluation to accept; the source's standard if not given."),
]
ConfigurationOption = Annotated[
    bool, typer.Option("--configuration", help="Accept platforms that need a configuration that no quote shows.")
]
AdvisoryOption = Annotated[
    list[int] | None, typer.Option("--advisory", help="Number of an advisory that the code mitigates; may be repeated.")
]
JUDGING = {
    "measurement": (
        Annotated[
            list[str] | None,
            typer.Option(help="Seal only to keys of this build, by evidence judged here. Repeatable."),
        ],
        None,
    ),
    "platform": (
        Annotated[list[str] | None, typer.Option(help="With --measurement: only on this machine. Repeatable.")],
        None,
    ),
    "url": (Annotated[str, typer.Option(help="Where Intel's documents are fetched to judge by.")], INTEL),
    "evaluation": (EvaluationOption, 0),
    "configuration": (ConfigurationOption, False),
    "advisory": (AdvisoryOption, None),
    "dev_root": (Annotated[bool, typer.Option("--dev-root", help="Judge by the root of the dev TEE.")], False),
}


def trust(
    measurement: list[str] | None,
    platform: list[str] | None,
    url: str,
    evaluation: int,
    configuration: bool,
    advisory: list[int] | None,
    dev_root: bool,
) -> Trust | None:
    """None where nothing says which code is trusted: the service's own policy decides then. Raises Refused."""
    if platform and not measurement:
        raise Refused("--platform goes with --measurement: any code could run on that machine")
    builds, machines = [[bytes32(each) for each in ids or ()] for ids in (measurement, platform)]
    if not measurement:
        return None
    source = DevSource(MACHINE) if dev_root else Pccs(url)
    policy = Policy(configuration, 0, tuple(advisory or ()), evaluation)
    return Trust(builds, source, int(time.time()), policy, machines)


judging: Callable[..., Callable[..., None]] = shared(JUDGING, trust)
