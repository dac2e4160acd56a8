"""No page, source or message has the turns of phrase that a second-language reader stumbles over."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KINDS = ("*.md", "*.py", "*.sol", "*.c", "*.h", "*.d2", "*.yml", "*.toml", "Makefile", "tools/*")
STUMBLES = re.compile(
    r"\b(?:has|have|had) not[.,;:)\"]"  # "an id that the vocabulary has not": is outside, lacks, does not have
    r"|\bbe had\b|\bhad early\b"  # is available
    r"|\bhang(?:s|ing)? on (?:it|them|that|an?|the)\b|\bhung on\b"  # depends on, is at stake
)


def found(text: str) -> list[str]:
    return [match[0] for match in STUMBLES.finditer(re.sub(r"\s*\n(?:\s*(?:///?|\*|#))?\s*", " ", text))]


@pytest.mark.parametrize(
    "text", ["an id that it has not.", "can still\n    /// be had", "what hangs on an answer", "it has not, and so"]
)
def test_stumbles__phrases_that_were_here__are_found(text):
    assert found(text)


@pytest.mark.parametrize("text", ["it has not ended", "a node that hangs", "hold on", "it had not been read"])
def test_stumbles__plain_sentences__pass(text):
    assert found(text) == []


def test_sources_and_pages__all__are_without_them():
    names = subprocess.run(
        ["git", "ls-files", *KINDS], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert len(names) > 400
    stumbling = {name: found((ROOT / name).read_text()) for name in names if Path(name).name != Path(__file__).name}
    assert {name: words for name, words in stumbling.items() if words} == {}
