"""What a party shows `TextReferee` of a prompt's tokens."""

from collections.abc import Sequence
from functools import cached_property

from oracle.disputes.text_faults import Case, TextFault, TextProof
from oracle.engines.exact.cutter import CUTTER_NUMBERS
from oracle.engines.exact.vocabulary import NO_TOKEN, Token, Vocabulary
from oracle.errors import BadProof
from oracle.merkle.tokens import ENTRIES, LEAF_BYTES
from oracle.merkle.tree import Tree, leaf_hash

BEGINS = 1 << 31
"""A bit of an entry's end."""

Leaf = tuple[bytes, list[bytes]]
"""Data and its proof."""
NOTHING: Leaf = (b"", [])


class VocabularyTree:
    """The tree over a vocabulary's entries, with the numbers that stand beside its root."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary

    @cached_property
    def tree(self) -> Tree:
        return Tree(leaf_hash(entry.leaf) for entry in self.vocabulary.entries)

    def leaf(self, token: int) -> Leaf:
        """Raises BadProof for a token that the vocabulary does not have."""
        if not 0 <= token < len(self.vocabulary.entries):
            raise BadProof(f"the vocabulary has no token {token}")
        return self.vocabulary.entries[token].leaf, self.tree.proof(token)

    def numbers(self, case: Case) -> tuple[object, ...]:
        """`ITextReferee.Vocabulary`."""
        own, manifest = self.vocabulary, case.manifest
        missing = sum(1 << byte for byte in own.missing)
        cutter = CUTTER_NUMBERS[own.cutter] if own.cutter else 0
        wrapper = (len(manifest.prefix_tokens), len(manifest.suffix_tokens))
        sizes = (len(own.entries), manifest.replacement_token, *wrapper, manifest.context_length)
        return (int(own.kind), cutter, own.whole_words, bool(own.prefix), missing, self.tree.root, *sizes)


class Row:
    """The tree over an answer's tokens. output: entries after the prompt's."""

    def __init__(self, tokens: Sequence[Token], output: Sequence[Token]) -> None:
        entries = b"".join(
            token.id.to_bytes(4, "big") + (token.end | BEGINS * token.begins).to_bytes(4, "big")
            for token in (*tokens, *output)
        )
        starts = range(0, len(entries), LEAF_BYTES)
        self._leaves = [entries[at : at + LEAF_BYTES].ljust(LEAF_BYTES, b"\0") for at in starts]
        self._tree = Tree(map(leaf_hash, self._leaves))
        self._counts = len(tokens), len(output)

    @property
    def words(self) -> tuple[object, ...]:
        """`ITextReferee.Row`."""
        return (*self._counts, self._tree.root)

    def leaf(self, index: int) -> Leaf:
        """The one that holds token `index`. Raises BadProof."""
        if not 0 <= index < sum(self._counts):
            raise BadProof(f"the answer has no token {index}")
        return self._leaves[index // ENTRIES], self._tree.proof(index // ENTRIES)


def shown(case: Case, proof: TextProof, entries: VocabularyTree, row: Row) -> tuple[object, ...]:
    """`ITextReferee.Proof`. Raises BadProof where there is nothing to show."""
    if proof.fault not in (TextFault.COUNT, TextFault.END):
        case.inner(proof.index)
    tokens = _tokens(case, proof, row)
    own, right, made = list[Leaf](), list[Leaf](), NOTHING
    index = proof.index
    if proof.fault in (TextFault.SPELLING, TextFault.STATUS, TextFault.BYTE):
        token = case.tokens[index].id
        own = [entries.leaf(token)] if token < len(case.vocabulary.entries) else []
    if proof.fault == TextFault.PAIR and index + 1 < len(case.tokens):
        own = _swallowing(case.tokens[index].id, proof.depths[0], entries, of_right=True)
        right = _swallowing(case.tokens[index + 1].id, proof.depths[1], entries, of_right=False)
    if proof.fault in (TextFault.BYTE, TextFault.WHOLE, TextFault.PAIR):
        made = entries.leaf(proof.other)
    return (int(proof.fault), index, proof.other, tokens, own, right, made)


def _tokens(case: Case, proof: TextProof, row: Row) -> list[Leaf]:
    """Leaves of the row: of the token before, of the token, and of what else its fault needs."""
    index = proof.index
    if proof.fault == TextFault.COUNT:
        return []
    if proof.fault == TextFault.END:
        return [row.leaf(case.last - 1)] if case.last > case.first else []
    tokens = [row.leaf(index - 1)] if index > case.first else []
    tokens.append(row.leaf(index))
    if proof.fault in (TextFault.STATUS, TextFault.PAIR) and index + 1 < case.last:
        tokens.append(row.leaf(index + 1))
    if proof.fault == TextFault.CUT and proof.other != index:
        tokens += [row.leaf(proof.other - 1), row.leaf(proof.other)]
    return tokens


def _swallowing(token: int, depth: int, entries: VocabularyTree, *, of_right: bool) -> list[Leaf]:
    """Entries on a spine above its token at `depth`. Raises BadProof where it ends before."""
    leaves = []
    for _ in range(depth):
        leaves.append(entries.leaf(token))
        entry = entries.vocabulary.entries[token]
        token = entry.right if of_right else entry.left
        if token == NO_TOKEN:
            raise BadProof("the spine ends before that depth")
    return leaves
