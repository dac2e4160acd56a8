"""`didyma model register`: a model's commitments, and its place on the chain."""

from dataclasses import astuple, replace
from typing import Annotated

import typer

from oracle.cli.connection import Wallet, sending
from oracle.cli.model import DEFAULT_STORE, StoreOption
from oracle.cli.report import progress
from oracle.disputes import recomputed
from oracle.errors import printable
from oracle.models.files import at_home
from oracle.models.manifest import Manifest
from oracle.models.store import ModelStore


@sending
def register(
    wallet: Wallet,
    model: Annotated[str, typer.Argument(help="A model id of the store, or the beginning of one.")],
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Commit to a model's weights and numbers, register it, and let the referee know it.

    The model with its commitments is another model than the one without, and is added to the store.
    """
    models = ModelStore(at_home(store))
    manifest = committed(models, models.find(model))
    wallet.say(f"model      0x{manifest.model_id.hex()}", model=manifest.model_id)
    client = wallet.client
    if not client.registry.functions.registered(manifest.model_id).call():
        wallet.send(client.registry.functions.register(astuple(manifest)))
    if not client.referee.functions.enrolled(manifest.model_id).call():
        if wallet.dry_run and not client.registry.functions.registered(manifest.model_id).call():
            wallet.say("Register the model first; then this command shows the rest.")
            return
        wallet.send(client.referee.functions.enroll(astuple(manifest)))


def committed(models: ModelStore, manifest: Manifest) -> Manifest:
    """The manifest with its file's commitments, added to the store. Raises BadModelFile, WrongCommitments.

    Memory is 64 bytes for each row of the weights, whatever the file's size.
    """
    with progress(f"committing to {printable(manifest.name)}") as on_bytes:
        made = recomputed.of_file(models, manifest, on_bytes)
    if recomputed.commits(manifest):
        recomputed.compare(manifest, made)
        return manifest
    full = replace(manifest, weights_root=made.weights_root, architecture=made.architecture)
    models.allow(full)
    return full
