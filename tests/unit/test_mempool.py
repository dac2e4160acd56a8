"""The largest transactions that refute an answer fit a public mempool, whatever prompt and output a liar chooses."""

import re
from pathlib import Path

import pytest

from oracle.chain.bindings import Binding
from oracle.chain.deployment import artifact
from oracle.chain.requests import Answer, Request
from oracle.chain.units import NOBODY
from oracle.disputes.answer_referee import AnswerRefutation
from oracle.disputes.game import Claim
from oracle.disputes.inputs import NO_ROOT, Input
from oracle.disputes.pattern_referee import PatternFault, PatternRefutation
from oracle.disputes.token_referee import AnyRefutation, Fault, Refutation, refuting
from oracle.engines.base import Params
from oracle.engines.prompts import MAX_PIECE_BYTES, longest_prompt
from oracle.ids import ServiceId
from oracle.merkle.tokens import LEAF_BYTES
from oracle.models.manifest import Manifest

CONTRACTS = Path(__file__).resolve().parents[2] / "contracts"
MEMPOOL_BYTES = 128 * 1024
"""Nodes of Ethereum hand on no larger transaction."""
ENVELOPE_BYTES = 300
"""Of a transaction, beside its calldata: fees, nonce, addresses, signature."""
DEEPEST_TOKENS, DEEPEST_VOCABULARY = 23, 20
"""Levels of a tree of the most tokens that a request can ask for, four to a leaf, and of one of a million entries."""


def constant(file: str, name: str) -> int:
    """Of a contract's source: a number, or a product of two."""
    (found,) = re.findall(rf"\b{name} = ([\d_* ]+);", (CONTRACTS / file).read_text())
    first, _, second = found.replace("_", "").partition("*")
    return int(first) * int(second or 1)


OUTPUT = bytes(constant("Oracle.sol", "MAX_OUTPUT_BYTES"))
CONTEXT = constant("disputes/referee/Commitments.sol", "MAX_POSITIONS")
BARE = Manifest("longest", b"\1" * 32, 1, "", CONTEXT, (), (), (2,), 3)
"""Without a wrapper, and of ids alone: the longest prompt that the game adopts."""
PROMPT = bytes(longest_prompt(BARE, takes_text=False))


def entry() -> Input:
    return (bytes(LEAF_BYTES), NO_ROOT, [], [b"\2" * 32] * DEEPEST_TOKENS)


REQUEST = Request(ServiceId(b"\4" * 32), b"\5" * 32, 1, 1, 1)
ANSWER = Answer(1, *(bytes([n]) * 32 for n in range(3)))
SPELLING: Input = (bytes(10 + MAX_PIECE_BYTES), NO_ROOT, [], [b"\3" * 32] * DEEPEST_VOCABULARY)
LARGEST: list[AnyRefutation] = [
    Refutation(Fault.TEXT, CONTEXT - 1, PROMPT, OUTPUT, (entry(), entry(), SPELLING)),
    Refutation(Fault.END, CONTEXT - 1, PROMPT, OUTPUT, (entry(),)),
    AnswerRefutation(PROMPT, OUTPUT, CONTEXT - 1, entry()),
    PatternRefutation(PatternFault.TOKEN, CONTEXT - 1, PROMPT, OUTPUT, (entry(), entry())),
    PatternRefutation(PatternFault.STOP, 1, PROMPT, OUTPUT, (SPELLING,)),
]


@pytest.mark.parametrize("found", LARGEST, ids=["text", "end", "typed answer", "pattern's token", "pattern's stop"])
def test_refutation__of_the_longest_output_and_prompt__fits_a_public_mempool(found):
    assert CONTEXT == 16_384
    assert len(PROMPT) == 1 + 3 * (CONTEXT - 1) + 2
    claim = Claim(REQUEST.words, ANSWER.words, Params(1), PROMPT, OUTPUT, BARE)
    move = refuting(claim, (CONTEXT - 1, b"\6" * 32), found)
    data = Binding(artifact("Refutations")["abi"], NOBODY).encode(move.function, *move.arguments)
    assert len(OUTPUT) + len(PROMPT) < len(data) <= MEMPOOL_BYTES - ENVELOPE_BYTES
