"""No page, source or message has the turns of phrase that a second-language reader stumbles over."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KINDS = ("*.md", "*.py", "*.sol", "*.c", "*.h", "*.d2", "*.yml", "*.toml", "Makefile", "tools/*")
TEXTS = ("bench/exact_together.py", "models/words.py", "models/language.py", "tests/rig/tiny_gguf.py")
"""What models learn or spell, not what we say."""
STUMBLES = re.compile(
    r"\b(?:has|have|had) not[.,;:)\"]"  # "an id that the vocabulary has not": is outside, lacks, does not have
    r"|\bbe had\b|\bhad early\b"  # is available
    r"|\bhang(?:s|ing)? on (?:it|them|that|an?|the)\b|\bhung on\b"  # depends on, is at stake
    r"|\b(?:has|have|had) (?:it|them|one|none) not\b"  # lacks it
    r"|'s to (?:say|refuse|decide|choose)\b|'s business\b"  # says, refuses; does, checks
    r"|\bsays? that (?:has|have|holds?|keeps?)\b"  # "what an endpoint says that has it": from an endpoint that has it
)
PERSONS = re.compile(r"\b(?:he|him|his|himself)\b", re.IGNORECASE)  # a role is nobody's: "its", "the liar's"


def found(text: str) -> list[str]:
    return [match[0] for match in STUMBLES.finditer(re.sub(r"\s*\n(?:\s*(?:///?|\*|#))?\s*", " ", text))]


@pytest.mark.parametrize(
    "text",
    [
        *("an id that it has not.", "can still\n    /// be had", "what hangs on an answer", "it has not, and so"),
        *("where the store has it not", "which is the caller's to say", "that is the image's business"),
        "what one endpoint says that has it",
    ],
)
def test_stumbles__phrases_that_were_here__are_found(text):
    assert found(text)


@pytest.mark.parametrize(
    "text",
    ["it has not ended", "a node that hangs", "hold on", "it had not been read", "it says that the request has ended"],
)
def test_stumbles__plain_sentences__pass(text):
    assert found(text) == []


def test_persons__a_role_spoken_of_as_a_man__is_found_and_words_that_hold_one_are_not():
    assert PERSONS.findall("A liar loses his bond; he asked.") == ["his", "he"]
    assert PERSONS.findall("the cache, which this node keeps") == []


def test_sources_and_pages__all__are_without_them():
    names = subprocess.run(
        ["git", "ls-files", *KINDS], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert len(names) > 400
    texts = {name: (ROOT / name).read_text() for name in names if Path(name).name != Path(__file__).name}
    stumbling = {name: [*found(text), *PERSONS.findall(text)] for name, text in texts.items() if name not in TEXTS}
    assert {name: words for name, words in stumbling.items() if words} == {}
