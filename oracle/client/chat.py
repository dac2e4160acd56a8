"""What is asked of a service, as all services take it: words, in one turn or several.

A prompt is in an envelope (docs/text.md), built here, so that nothing in the words can choose what they are read as.
The manifest has the tokens around a question; between turns they come as ids, which no text can make.
"""

from collections.abc import Sequence

from oracle.disputes.commitments import takes_text
from oracle.engines.exact.text_prompts import PromptKind, parts_prompt, text_prompt
from oracle.errors import Refused
from oracle.merkle.tokens import id_bytes
from oracle.models.manifest import Manifest

SYSTEM_ENDS = b"\n\n"


def enveloped(manifest: Manifest, turns: Sequence[bytes], system: bytes = b"") -> bytes:
    """The prompt that asks this.

    turns: the asker's words, the model's, the asker's, and so on; an odd number. system: what comes before the first of
    them, two newlines after it. Raises Refused.
    """
    if len(turns) % 2 == 0:
        raise Refused("a conversation begins and ends with the asker's words")
    if len(turns) == 1 and not system:
        return text_prompt(turns[0])
    parts = [(PromptKind.TEXT, system + SYSTEM_ENDS)] if system else []
    for number, words in enumerate(turns):
        parts.append((PromptKind.TEXT, words))
        if number < len(turns) - 1:
            asker = number % 2 == 0
            between = manifest.suffix_tokens if asker else (manifest.stop_tokens[0], *manifest.prefix_tokens)
            parts.append((PromptKind.IDS, id_bytes(between)))
    return parts_prompt(parts)


def check_words(manifest: Manifest) -> None:
    """Raises Refused where the dispute game judges no words for a model."""
    if not takes_text(manifest.architecture):
        raise Refused(f"the dispute game takes no words for {manifest.name}: `didyma model show` says why")
