"""Which service a command asks, and a prompt as that service takes it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from oracle.cli.arguments import bytes32
from oracle.cli.connection import Network, dev_deployment
from oracle.cli.model import DEFAULT_STORE
from oracle.client import OracleClient
from oracle.client.choices import Choices, Reader
from oracle.disputes.commitments import takes_text
from oracle.engines.exact.tokenizer import tokenized
from oracle.errors import BadType, PromptTooLong, Refused
from oracle.ids import ServiceId
from oracle.merkle.tokens import ids_in
from oracle.models import gguf
from oracle.models.files import at_home
from oracle.models.store import ModelStore

StoreOfModels = Annotated[
    Path | None,
    typer.Option(
        "--store",
        help="Folder of models, for services that take token ids; `didyma dev`'s, or ~/.didyma/models.",
        envvar="DIDYMA_MODELS",
        show_default=False,
    ),
]


ChoiceOption = Annotated[
    list[str] | None,
    typer.Option(
        help="A word that the answer may be; repeat it for each, 2 to 16. Takes the model's file, from --store.",
        show_default=False,
    ),
]


def chosen_service(client: OracleClient, service: str | None) -> ServiceId:
    """The one named, or the newest. Raises Refused."""
    if service is not None:
        return bytes32(service)
    offered = client.services()
    if not offered:
        raise Refused("no service exists on this deployment; `didyma service create` makes one")
    return offered[-1]


def models_of(network: Network, store: Path | None) -> ModelStore:
    """The folder named, or the dev network's, or this account's."""
    return ModelStore(at_home(store or network.models or DEFAULT_STORE))


def models_here(store: Path | None) -> ModelStore:
    """The folder named, or a running dev network's, or this account's. Raises BadDeployment."""
    if store is None and dev_deployment().exists():
        return models_of(Network.find(None, None), None)
    return ModelStore(at_home(store or DEFAULT_STORE))


def as_taken(
    network: Network,
    client: OracleClient,
    service: ServiceId,
    turns: Sequence[bytes],
    store: Path | None,
    max_tokens: int = 1,
    system: bytes = b"",
) -> bytes:
    """Words as the service takes them; as token ids where the dispute game judges and the model's vocabulary reads no
    text there, which takes the model's file.

    turns: as `OracleClient.prompt` has them. Raises Refused, UnknownModel, and PromptTooLong where prompt and answer do
    not fit the model's context.
    """
    in_game = _in_game(client, service)
    one = len(turns) == 1 and not system
    if not in_game or not one or takes_text(client.manifest(client.terms(service)["model"]).architecture):
        return client.prompt(service, *turns, system=system)
    (prompt,) = turns
    models = models_of(network, store)
    manifest = models.manifest(client.terms(service)["model"])
    taken = tokenized(models.file(manifest).path, prompt, manifest)
    count = len(manifest.wrapped(ids_in(taken[1:])))
    if count + max_tokens > manifest.context_length:
        raise PromptTooLong(
            f"the prompt has {count:,} tokens with its wrapper; with {max_tokens:,} of the answer, the model's context "
            f"of {manifest.context_length:,} does not hold it"
        )
    return taken


def compiled(
    network: Network, client: OracleClient, service: ServiceId, words: Sequence[str], prompt: bytes, store: Path | None
) -> tuple[Choices[str], bytes]:
    """A choice for the service's model, and the prompt that asks for it, by the model's file.

    prompt: as the service takes it. Raises UnknownModel, BadType, PromptTooLong.
    """
    models = models_of(network, store)
    manifest = models.manifest(client.terms(service)["model"])
    vocabulary = Reader(manifest, gguf.read(models.file(manifest).path))
    choices = vocabulary.choices(words)
    asking = choices.asking(prompt)
    vocabulary.check_room(asking, choices, in_game=_in_game(client, service))
    return choices, asking


def enough_tokens(choices: Choices[str], wanted: int | None, most: int, usual: int) -> int:
    """`maxTokens` of a request for a choice. wanted: None if whoever asks does not say. Raises BadType."""
    least = choices.least_tokens
    given = min(max(usual, least), most) if wanted is None else wanted
    if given < least:
        limit = f"--max-tokens {given}" if wanted is not None else f"the service gives at most {most}"
        raise BadType(f"an answer to this choice may need {least} tokens; {limit}")
    return given


def _in_game(client: OracleClient, service: ServiceId) -> bool:
    """Whether the dispute game judges."""
    found: bool = client.oracle.functions.arbiterOf(service).call() == client.deployment.game
    return found
