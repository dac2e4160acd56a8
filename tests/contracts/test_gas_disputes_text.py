"""What it costs to show that tokens are not a prompt's, in one transaction: among ordinary words, and at the limits."""

from dataclasses import replace
from random import Random
from statistics import median
from typing import Any

import pytest
from ape import networks, project
from disputes.claims import OUTPUT, case, manifest
from disputes.stand import ROOT

from oracle.chain.units import NOBODY
from oracle.disputes import text_proofs
from oracle.disputes.text_referee import Case, TextFault, TextProof, find
from oracle.engines.exact import unicode_classes
from oracle.engines.exact.text_prompts import Part, Reading, text_prompt
from oracle.engines.exact.vocabulary import (
    NO_TOKEN,
    Entry,
    Kind,
    Status,
    Token,
    Vocabulary,
    table,
    unread,
    vocabulary_tree,
)
from oracle.merkle.tokens import Tokens, marked
from oracle.models.gguf import read

SHIPPED = ROOT / "oracle" / "models" / "shipped" / "didyma-tiny.gguf"
USUAL, LARGEST = 49_152, 151_936
"""Tokens of SmolLM2's vocabulary, and of Qwen 3's."""
DEEP, MOST_DEEP = (7, 6), (31, 31)
"""Entries that are shown above a merge's two parts: of a very deep pair, and the most."""
MANIFEST = replace(manifest((1,), (2,)), context_length=16_384)
LONG = 16_000  # bytes of a prompt
MOST_GAS = 1 << 24  # of a transaction, by EIP-7825


@pytest.fixture(scope="module")
def referee(people) -> Any:
    eth = networks.provider.web3.eth
    sent = eth.send_transaction({"from": people.deployer.address, "data": unicode_classes.table_code()})
    table_at = eth.wait_for_transaction_receipt(sent)["contractAddress"]
    return people.deployer.deploy(project.TextReferee, NOBODY, table_at)


class Entries:
    """A vocabulary filled up to `size`, and the tree over it."""

    def __init__(self, vocabulary: Vocabulary, size: int) -> None:
        spare = unread(b"" for _ in range(size - len(vocabulary.entries)))
        self.entries = (*vocabulary.entries, *spare)
        self.vocabulary = vocabulary_tree(self.entries)


def claimed(right: Case, tokens: list[Token]) -> Case:
    return Case(right.vocabulary, right.manifest, right.reading, tokens, OUTPUT)


def ruling(wrong: Case, prompt: bytes, proof: TextProof, known: Entries) -> tuple[Any, ...]:
    """What the referee takes."""
    tokens = [marked(token.id, token.end, begins=token.begins) for token in wrong.tokens]
    row = Tokens.spelled(tokens, [7] * OUTPUT, [1] * OUTPUT)
    *text, root, _, replacement, before, after, context = text_proofs.numbers(wrong, known.vocabulary.root)
    numbers = (*text, root, len(known.entries), replacement, before, after, context)
    shown = text_proofs.shown(wrong, proof, known, row)
    return (numbers, (len(row.prompt), OUTPUT, row.tree.root), prompt, shown)


def gas(referee: Any, people: Any, wrong: Case, prompt: bytes, proof: TextProof, known: Entries) -> int:
    """Of the whole transaction."""
    arguments = ruling(wrong, prompt, proof, known)
    assert referee.isWrongText(*arguments)
    used: int = people.stranger.transfer(referee, 0, data=referee.isWrongText.encode_input(*arguments)).gas_used
    return used


def test_gas__pair_among_ordinary_words__is_as_committed(referee, people, check):
    vocabulary, random = table(read(SHIPPED)), Random(15)
    known, used = Entries(vocabulary, USUAL), []
    texts = [b"The soup was cold and the waiter was rude.", b"What is a wonderful place to eat fish and bread?"]
    for text in texts:
        prompt = text_prompt(text)
        right = case(vocabulary, prompt, MANIFEST)
        for index in range(right.first, right.last):
            token, start = right.tokens[index], right.start(index)
            entry = vocabulary.entries[token.id]
            if entry.left == NO_TOKEN or random.random() < 0.3:
                continue
            middle = start + len(vocabulary.entries[entry.left].spelled)
            parts = [Token(entry.left, middle, token.begins), Token(entry.right, token.end, False)]
            wrong = claimed(right, [*right.tokens[:index], *parts, *right.tokens[index + 1 :]])
            proof = find(wrong)
            assert proof is not None
            if proof.fault is TextFault.PAIR:
                used.append(gas(referee, people, wrong, prompt, proof, known))
    assert len(used) > 8
    check("refute_pair_usual", round(median(used)))


def nested(depths: tuple[int, int]) -> tuple[Vocabulary, list[int], int]:
    """A vocabulary with two tokens whose parts lie that deep within parts at their common border, where a merge comes
    first; those two, and the merge."""
    entries = [Entry(Status.PLAIN, NO_TOKEN, NO_TOKEN, 0, bytes([byte])) for byte in b"pxyq?\n"]
    p, x, y, q = range(4)
    entries.append(Entry(Status.PLAIN, x, y, 1, b"xy"))
    made, ends = len(entries) - 1, [x, y]
    for side, depth in enumerate(depths):
        for level in range(depth):
            left, right = (p, ends[0]) if side == 0 else (ends[1], q)
            spelled = entries[left].spelled + entries[right].spelled
            entries.append(Entry(Status.PLAIN, left, right, 2 + level, spelled))
            ends[side] = len(entries) - 1
    missing = frozenset(range(256)) - set(b"pxyq?\n")
    return Vocabulary(Kind.BYTES, "gpt-2", False, b"", missing, tuple(entries)), ends, made


@pytest.mark.parametrize(
    ("key", "depths", "before"), [("refute_pair_worst", DEEP, 0), ("refute_pair_limit", MOST_DEEP, LONG)]
)
def test_gas__deepest_pair__fits_one_transaction(referee, people, check, key, depths, before):
    vocabulary, (left, right), made = nested(depths)
    spelled = [vocabulary.entries[token].spelled for token in (left, right)]
    prompt = text_prompt(b"\n" * before + b"".join(spelled))
    reading = Reading(prompt[1:], (Part(False, 0, len(prompt) - 1),))
    middle = before + len(spelled[0])
    tokens = [Token(1, 0, False), *(Token(5, 1 + at, True) for at in range(before))]
    tokens += [Token(left, middle, True), Token(right, middle + len(spelled[1]), False), Token(2, 0, False)]
    long = Case(vocabulary, MANIFEST, reading, tokens, OUTPUT)
    proof = TextProof(TextFault.PAIR, 1 + before, made, depths)
    check(key, gas(referee, people, long, prompt, proof, Entries(vocabulary, LARGEST)))


def split_run(cutter: str, letter: str) -> tuple[Case, bytes, TextProof]:
    """As many of one letter as a long prompt has, by that cutter; the last token but one is said to begin a piece."""
    prompt = text_prompt(letter.encode() * (LONG // len(letter.encode())))
    right = case(replace(table(read(SHIPPED)), cutter=cutter), prompt, MANIFEST)
    at = right.last - 2
    assert not right.tokens[at].begins
    tokens = [*right.tokens[:at], replace(right.tokens[at], begins=True), *right.tokens[at + 1 :]]
    return claimed(right, tokens), prompt, TextProof(TextFault.CUT, right.first, at)


@pytest.mark.parametrize("cutter", ["gpt-2", "llama-bpe", "qwen2", "smollm"])
@pytest.mark.parametrize(
    "letter", ["\u00a0", "\u0085", "\u3000", " "], ids=["nbsp", "next line", "wide space", "space"]
)
def test_cut__a_run_of_spaces_is_the_whole_text__is_shown_within_one_transaction(referee, cutter, letter):
    """A cutter looks for newlines among spaces, and for where the spaces end: in one walk."""
    wrong, prompt, proof = split_run(cutter, letter)
    arguments = ruling(wrong, prompt, proof, Entries(wrong.vocabulary, len(wrong.vocabulary.entries)))
    assert referee.isWrongText(*arguments, gas=MOST_GAS)


def test_gas__longest_piece_of_the_dearest_letters__fits_one_transaction(referee, people, check):
    """16,000 bytes of one letter."""
    used = []
    for cutter, letter in (("llama-bpe", "ж"), ("llama-bpe", "\u00a0"), ("gpt-2", "犬")):
        wrong, prompt, proof = split_run(cutter, letter)
        used.append(gas(referee, people, wrong, prompt, proof, Entries(wrong.vocabulary, USUAL)))
    check("refute_cut_worst", max(used))
