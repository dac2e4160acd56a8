"""Whether the exact engine computes a model file and the dispute game can judge it, in words for operators."""

from pathlib import Path

from oracle.disputes import commitments
from oracle.engines.exact.tokenizer import Tokenizer
from oracle.engines.exact.weights import load
from oracle.errors import BadModelFile
from oracle.models.gguf import read


def refusal(path: Path) -> str | None:
    """Why not, in the words of the part that refuses; None if it does. Reads headers and scales, computes nothing."""
    try:
        header, weights = read(path), load(path)
        Tokenizer(header)
        commitments.parts(header, weights.architecture)
    except BadModelFile as error:
        return str(error)
    return None


def told(reason: str | None) -> str:
    return "yes" if reason is None else f"no, because {reason}"
