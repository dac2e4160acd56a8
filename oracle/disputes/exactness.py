"""Whether the exact engine computes a model file and the dispute game can judge it, in words for operators."""

from collections.abc import Mapping
from pathlib import Path

from oracle.disputes import commitments
from oracle.engines.exact import cpu_kernels
from oracle.engines.exact.cpu_linear import CpuLinear
from oracle.engines.exact.model import Chunk, Reference
from oracle.engines.exact.tokenizer import Tokenizer
from oracle.engines.exact.vocabulary import table
from oracle.engines.exact.weights import load
from oracle.engines.prompts import check_manifest
from oracle.errors import BadModelFile
from oracle.models.gguf import read
from oracle.models.manifest import Manifest


def refusal(path: Path, manifest: Manifest | None = None) -> str | None:
    """Why not, in the words of the part that refuses; None if it does. Reads headers and scales, computes nothing.

    manifest: by which the file would be served.
    """
    try:
        header, weights = read(path), load(path)
        pieces = Tokenizer(header).pieces
        commitments.parts(header, weights.architecture)
        if manifest is not None:
            check_manifest(manifest, pieces, weights.architecture.context)
    except BadModelFile as error:
        return str(error)
    return None


def text_refusal(path: Path) -> str | None:
    """Why the dispute game could not judge prompts of words for a file; None if it could. Takes seconds."""
    try:
        table(read(path))
    except BadModelFile as error:
        return str(error)
    return None


CALIBRATION = (
    b"The quick brown fox jumps over the lazy dog. In 1969 two people walked on the moon, 384,400 km away; what they "
    b"said there is known to everyone.\n\ndef area(r): return 3.14159 * r**2 # \xc3\xa9\xc3\xa0\xc3\xbc \xe2\x82\xac\n"
)


def saturated(path: Path) -> Mapping[str, int]:
    """How many numbers reach their limits, by operator, while the model reads a text; the first tokens are the largest.

    One matrix lies in memory at a time. Raises BadModelFile.
    """
    linear = CpuLinear() if cpu_kernels.available() else None
    model, header = Reference(load(path), linear), read(path)
    start = header.metadata.get("tokenizer.ggml.bos_token_id")
    tokens = [*([] if start is None else [start]), *Tokenizer(header).encode(CALIBRATION)]
    tokens = tokens[: model.architecture.context]
    if not tokens:  # the vocabulary spells nothing of it
        return {}
    model.run([Chunk(tokens, model.cache(len(tokens)), len(tokens))])
    return model.saturated


def told(reason: str | None) -> str:
    return "yes" if reason is None else f"no, because {reason}"
