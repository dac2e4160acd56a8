"""Which service a command asks, and a prompt as that service takes it."""

import re
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer

from oracle.cli.arguments import bytes32, shown
from oracle.cli.connection import Network, dev_deployment
from oracle.cli.model import DEFAULT_STORE
from oracle.client import OracleClient
from oracle.client.choices import Choices, Reader
from oracle.client.patterns import forms, schema
from oracle.client.patterns.forms import Form
from oracle.client.patterns.patterned import Patterned
from oracle.disputes.commitments import takes_text
from oracle.engines.exact.tokenizer import tokenized
from oracle.errors import BadType, PromptTooLong, Refused
from oracle.ids import ServiceId
from oracle.merkle.tokens import ids_in
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


TypeOption = Annotated[
    str,
    typer.Option(
        "--type",
        help='The form of the answer, as after `didyma type`: "integer 0 100", date, address, "pattern yes|no" or '
        '"schema FILE". Takes the model\'s file, from --store.',
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
    network: Network,
    client: OracleClient,
    service: ServiceId,
    wanted: Sequence[str] | Form[Any],
    prompt: bytes,
    store: Path | None,
) -> tuple[Choices[str] | Patterned[Any], bytes]:
    """A type for the service's model, and the prompt that asks for it, by the model's file.

    wanted: a choice's words, or a form. prompt: as the service takes it. Raises UnknownModel, BadType, PromptTooLong.
    """
    models = models_of(network, store)
    manifest = models.manifest(client.terms(service)["model"])
    vocabulary = Reader.of(manifest, models.file(manifest).path)
    made = vocabulary.pattern(wanted) if isinstance(wanted, Form) else vocabulary.choices(wanted)
    asking = made.asking(prompt)
    vocabulary.check_room(asking, made, in_game=_in_game(client, service))
    return made, asking


def enough_tokens(made: Choices[str] | Patterned[Any], wanted: int | None, most: int, usual: int) -> int:
    """`maxTokens` of a request for a type: for a pattern with a longest answer, room for that, if nobody says less.

    wanted: None if whoever asks does not say. Raises BadType.
    """
    least = made.least_tokens
    longest = made.most_tokens if isinstance(made, Patterned) else None
    given = min(longest or max(usual, least), most) if wanted is None else wanted
    if given < least:
        limit = f"--max-tokens {given}" if wanted is not None else f"the service gives at most {most}"
        raise BadType(f"an answer of this type may need {least} tokens; {limit}")
    return given


def wanted_of(choice: Sequence[str] | None, type_: str) -> Sequence[str] | Form[Any] | None:
    """What --choice or --type ask for; None for any text. Raises Refused, BadType."""
    if choice and type_:
        raise Refused("--choice and --type are two types: an answer has one")
    return form_of(type_) if type_ else choice or None


def form_of(said: str) -> Form[Any]:
    """What --type says. Raises BadType."""
    name, _, rest = said.strip().partition(" ")
    words = rest.split()
    match name, words:
        case "integer", [low, high]:
            return forms.integer(whole(low), whole(high))
        case "date", [] | [_] | [_, _]:
            return forms.dates(*map(day, words))
        case "address", []:
            return forms.address()
        case "pattern", [_, *_]:
            return forms.regex(rest)
        case "schema", [_, *_]:
            return forms.schema(schema.read(Path(rest.strip())))
    raise BadType(f'{shown(said)} is no type: "integer LOW HIGH", "date", "address", "pattern REGEX" or "schema FILE"')


def whole(text: str) -> int:
    """Raises BadType."""
    if re.fullmatch("-?[0-9]{1,80}", text) is None:
        raise BadType(f"{shown(text)} is no integer")
    return int(text)


def day(text: str) -> date:
    """Raises BadType."""
    try:
        if re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", text) is not None:
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise BadType(f"{shown(text)} is no day: write it as 2026-01-31")


def _in_game(client: OracleClient, service: ServiceId) -> bool:
    """Whether the dispute game judges."""
    found: bool = client.oracle.functions.arbiterOf(service).call() == client.deployment.game
    return found
