"""A store that holds one random model, as a node's does."""

from pathlib import Path

from exact.random_model import Shape, write

from oracle.disputes import commitments
from oracle.models.download import file_sha256
from oracle.models.manifest import Manifest
from oracle.models.store import ModelStore


def store_of(folder: Path, shape: Shape, name: str = "random") -> ModelStore:
    """Its manifest holds the file's commitments."""
    path = write(folder / "model.gguf", shape)
    made = commitments.commit(path)
    store = ModelStore(folder / "store")
    store.take_copy(path)
    store.allow(
        Manifest(
            name=name,
            file_sha256=file_sha256(path),
            file_bytes=path.stat().st_size,
            uri="",
            context_length=64,
            prefix_tokens=(1,),
            suffix_tokens=(5, 6),
            stop_tokens=(2,),
            replacement_token=3,
            weights_root=made.weights_root,
            architecture=made.architecture,
        )
    )
    return store
