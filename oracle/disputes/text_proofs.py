"""What a party shows `TextReferee` of a prompt's tokens."""

from collections.abc import Sequence
from typing import Protocol

from oracle.disputes.commitments import text_numbers
from oracle.disputes.text_referee import Case, TextFault, TextProof
from oracle.engines.exact.vocabulary import NO_TOKEN, Entry
from oracle.errors import BadProof
from oracle.merkle.tokens import ENTRIES
from oracle.merkle.tree import Tree

Leaf = tuple[bytes, list[bytes]]
"""Data and its proof."""
NOTHING: Leaf = (b"", [])


class Entries(Protocol):
    """A vocabulary's entries and the tree over them: `ModelInputs`."""

    @property
    def entries(self) -> Sequence[Entry]: ...
    @property
    def vocabulary(self) -> Tree: ...


class Row(Protocol):
    """An answer's tokens, as far as they are known: `Tokens`, or what its node has shown."""

    def leaf(self, index: int) -> bytes:
        """With entries 4 * index and following."""

    def proof(self, leaf: int) -> list[bytes]: ...


def numbers(case: Case, root: bytes) -> tuple[object, ...]:
    """`ITextReferee.Vocabulary`. root: over the vocabulary's entries."""
    own, manifest = case.vocabulary, case.manifest
    wrapper = (len(manifest.prefix_tokens), len(manifest.suffix_tokens))
    sizes = (len(own.entries), manifest.replacement_token, *wrapper, manifest.context_length)
    kind, cutter, whole_words, prefixed, missing = text_numbers(own)
    return (kind, cutter, bool(whole_words), bool(prefixed), missing, root, *sizes)


def shown(case: Case, proof: TextProof, known: Entries, row: Row) -> tuple[object, ...]:
    """`ITextReferee.Proof`. Raises BadProof where there is nothing to show."""
    if proof.fault not in (TextFault.COUNT, TextFault.END):
        case.inner(proof.index)
    tokens = _tokens(case, proof, row)
    own, right, made = list[Leaf](), list[Leaf](), NOTHING
    index = proof.index
    if proof.fault in (TextFault.SPELLING, TextFault.STATUS, TextFault.BYTE):
        token = case.tokens[index].id
        own = [_entry(known, token)] if token < len(known.entries) else []
    if proof.fault == TextFault.PAIR and index + 1 < len(case.tokens):
        own = _swallowing(case.tokens[index].id, proof.depths[0], known, of_right=True)
        right = _swallowing(case.tokens[index + 1].id, proof.depths[1], known, of_right=False)
    if proof.fault in (TextFault.BYTE, TextFault.WHOLE, TextFault.PAIR):
        made = _entry(known, proof.other)
    return (int(proof.fault), index, proof.other, tokens, own, right, made)


def _tokens(case: Case, proof: TextProof, row: Row) -> list[Leaf]:
    """Leaves of the row: of the token before, of the token, and of what else its fault needs."""
    index = proof.index
    if proof.fault == TextFault.COUNT:
        wanted = []
    elif proof.fault == TextFault.END:
        wanted = [case.last - 1] if case.last > case.first else []
    else:
        wanted = [index - 1, index] if index > case.first else [index]
    if proof.fault in (TextFault.STATUS, TextFault.PAIR) and index + 1 < case.last:
        wanted.append(index + 1)
    if proof.fault == TextFault.CUT and proof.other != index:
        wanted += [proof.other - 1, proof.other]
    most = len(case.tokens) + case.output_tokens
    if not all(0 <= each < most for each in wanted):
        raise BadProof(f"the answer has {most} tokens")
    return [(row.leaf(each // ENTRIES), row.proof(each // ENTRIES)) for each in wanted]


def _entry(known: Entries, token: int) -> Leaf:
    """Raises BadProof for a token that the vocabulary does not have."""
    if not 0 <= token < len(known.entries):
        raise BadProof(f"the vocabulary has no token {token}")
    return known.entries[token].leaf, known.vocabulary.proof(token)


def _swallowing(token: int, depth: int, known: Entries, *, of_right: bool) -> list[Leaf]:
    """Entries on a spine above its token at `depth`. Raises BadProof where it ends before."""
    leaves = []
    for _ in range(depth):
        leaves.append(_entry(known, token))
        entry = known.entries[token]
        token = entry.right if of_right else entry.left
        if token == NO_TOKEN:
            raise BadProof("the spine ends before that depth")
    return leaves
