"""Writes tests/vectors/text.json: vocabularies, prompts, their tokens, and wrong tokens with what shows them wrong.

    python tests/disputes/make_text_vectors.py

For whoever writes the rules of docs/text.md again. Bytes are in hexadecimal; a token is [id, end, begins].
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from disputes.claims import WRAPPERS, Liar, case, manifest, prompt  # noqa: E402
from exact import invented  # noqa: E402

from oracle.disputes.text_referee import find  # noqa: E402
from oracle.engines.exact.vocabulary import Token, Vocabulary, table  # noqa: E402
from oracle.models.gguf import Gguf  # noqa: E402
from oracle.models.manifest import Manifest  # noqa: E402

VECTORS = ROOT / "tests" / "vectors" / "text.json"
SEED, VOCABULARIES, PROMPTS, CLAIMS = 1, 4, 10, 6


def vocabularies() -> list[dict[str, Any]]:
    random = Random(SEED)
    makers = (invented.byte_pairs, invented.sentence_pieces) * VOCABULARIES
    return [_vocabulary(maker(random), random) for maker in makers]


def _vocabulary(header: Gguf, random: Random) -> dict[str, Any]:
    vocabulary, wrapper = table(header), manifest(*random.choice(WRAPPERS))
    return {
        "file": {key.removeprefix("tokenizer.ggml."): _plain(value) for key, value in header.metadata.items()},
        "kind": vocabulary.kind,
        "whole_words": vocabulary.whole_words,
        "prefix": vocabulary.prefix.hex(),
        "missing": sorted(vocabulary.missing),
        "leaves": [entry.leaf.hex() for entry in vocabulary.entries],
        "wrapper": [wrapper.prefix_tokens, wrapper.suffix_tokens],
        "replacement": wrapper.replacement_token,
        "prompts": [_prompt(vocabulary, wrapper, random) for _ in range(PROMPTS)],
    }


def _prompt(vocabulary: Vocabulary, wrapper: Manifest, random: Random) -> dict[str, Any]:
    asked = prompt(random, 18)
    right = case(vocabulary, asked, wrapper)
    liar, wrong = Liar(vocabulary, random), []
    for _ in range(CLAIMS):
        tokens = liar.claim(right)
        shown = None if tokens is None else find(replace(right, tokens=tokens))
        if tokens is not None and shown is not None:
            proof = {"fault": shown.fault.name, "index": shown.index, "other": shown.other, "depths": shown.depths}
            wrong.append({"tokens": _tokens(tokens), "proof": proof})
    parts = [[part.of_ids, part.start, part.end] for part in right.reading.parts]
    return {
        "prompt": asked.hex(),
        "reading": right.reading.data.hex(),
        "parts": parts,
        "tokens": _tokens(right.tokens),
        "wrong": wrong,
    }


def _tokens(tokens: Sequence[Token]) -> list[list[int | bool]]:
    return [[token.id, token.end, token.begins] for token in tokens]


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value


def main() -> None:
    rows = ",\n".join(json.dumps(each, separators=(",", ":")) for each in vocabularies())
    VECTORS.write_text(f"[\n{rows}\n]\n")


if __name__ == "__main__":
    main()
