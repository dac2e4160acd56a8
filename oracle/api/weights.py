"""Log-probabilities as OpenAI's API writes them, of tokens that spell bytes and need not be text.

They are for people: floating point, of the exact engine's logits at temperature 1. Nothing of them is judged, and no
two machines need agree on their last digit. A token that spells nothing is not listed, as a stop token; among others
that a place might have had, it stands as an empty text.
"""

import codecs
from collections.abc import Sequence
from typing import Any

from oracle.engines.base import Weighed


class Weights:
    """Those of one reply, as its pieces come."""

    def __init__(self, chat: bool) -> None:
        self._chat = chat
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._letters = 0

    def told(self, weighed: Sequence[Weighed]) -> dict[str, Any] | None:
        """Of the next tokens; None where nothing was asked for or nothing was spelled."""
        spelling = [each for each in weighed if each.text]
        if not spelling:
            return None
        return self._of_chat(spelling) if self._chat else self._of_completion(spelling)

    @staticmethod
    def _of_chat(spelling: Sequence[Weighed]) -> dict[str, Any]:
        content = [
            _entry(each.text, each.log_probability)
            | {"top_logprobs": [_entry(text, value) for text, value in each.likeliest]}
            for each in spelling
        ]
        return {"content": content, "refusal": None}

    def _of_completion(self, spelling: Sequence[Weighed]) -> dict[str, Any]:
        """Texts that read alike are one entry, the likeliest of them."""
        offsets, best = [], []
        for each in spelling:
            in_a_letter = bool(self._decoder.getstate()[0])
            offsets.append(self._letters + in_a_letter)
            self._letters += len(self._decoder.decode(each.text))
            best.append({_text(text): value for text, value in reversed(each.likeliest)})
        return {
            "text_offset": offsets,
            "token_logprobs": [each.log_probability for each in spelling],
            "tokens": [_text(each.text) for each in spelling],
            "top_logprobs": best,
        }


def _entry(text: bytes, value: float) -> dict[str, Any]:
    return {"token": _text(text), "logprob": value, "bytes": list(text)}


def _text(text: bytes) -> str:
    return text.decode("utf-8", "replace")
