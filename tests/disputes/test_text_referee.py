"""The contract rules on every proof about a prompt's tokens as Python does, and finds nothing wrong with right ones."""

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from disputes.claims import OUTPUT, WRAPPERS, Liar, case, manifest, prompt
from disputes.stand import called, deploy
from disputes.test_text_proofs import attacks
from eth_hash.auto import keccak
from exact import invented
from rig.anvil import anvil
from web3.exceptions import ContractLogicError, Web3RPCError

from oracle.chain.units import NOBODY
from oracle.disputes.text_proofs import numbers, shown
from oracle.disputes.text_referee import Case, TextFault, TextProof, find, is_wrong
from oracle.engines.exact import unicode_classes
from oracle.engines.exact.text_prompts import text_prompt
from oracle.engines.exact.vocabulary import UNMERGED, Entry, Kind, Status, Token, Vocabulary, table, vocabulary_tree
from oracle.errors import BadProof
from oracle.merkle.tokens import ENTRIES, Tokens, marked
from oracle.models.gguf import read

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "oracle" / "models" / "shipped" / "didyma-tiny.gguf"
SEED = int(os.environ.get("DIDYMA_SEED", "15"))
VOCABULARIES, CLAIMS, EACH, LATE = 40, 2, 1, 20
MAKERS = {"bytes": invented.byte_pairs, "sentencepiece": invented.sentence_pieces}
NO_PROOF, WRONG_ROOT = ("0x" + keccak(name)[:4].hex() for name in (b"NoProof(uint8)", b"WrongRoot(bytes32,bytes32)"))


class Entries:
    """A vocabulary's, and the tree over them."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.entries = vocabulary.entries
        self.vocabulary = vocabulary_tree(vocabulary.entries)

    def leaf(self, token: int) -> tuple[bytes, list[bytes]]:
        return self.entries[token].leaf, self.vocabulary.proof(token)


def row_of(claimed: Case) -> Tokens:
    """The tokens of an answer that says something after such a prompt."""
    prompt = [marked(token.id, token.end, begins=token.begins) for token in claimed.tokens]
    return Tokens.spelled(prompt, [7] * OUTPUT, [1] * OUTPUT)


def words_of(row: Tokens) -> tuple[int, int, bytes]:
    """ITextReferee.Row"""
    return len(row.prompt), len(row.output), row.tree.root


@pytest.fixture(scope="module")
def referee():
    with anvil() as chain:
        chain.rpc("evm_setAutomine", True)
        w3 = chain.w3()
        made = w3.eth.wait_for_transaction_receipt(w3.eth.send_transaction({"data": unicode_classes.table_code()}))
        yield deploy(w3, "TextReferee", NOBODY, made["contractAddress"])


def ruling(referee, entries: Entries, claimed: Case, asked: bytes, proof: TextProof) -> bool | None:
    """The contract's; None where it reverts."""
    row = row_of(claimed)
    try:
        words = shown(claimed, proof, entries, row)
        given = numbers(claimed, entries.vocabulary.root)
        return called(referee, "isWrongText", given, words_of(row), asked, words)
    except (BadProof, ContractLogicError, Web3RPCError):
        return None


def python_s(claimed: Case, proof: TextProof) -> bool | None:
    try:
        return is_wrong(claimed, proof)
    except BadProof:
        return None


def chosen(random: Random, claimed: Case) -> list[TextProof]:
    """Some attacks of each fault, those that are proofs first."""
    by_fault: dict[TextFault, list[TextProof]] = {}
    for proof in attacks(random, claimed):
        by_fault.setdefault(proof.fault, []).append(proof)
    for tried in by_fault.values():
        random.shuffle(tried)
        tried.sort(key=lambda proof: python_s(claimed, proof) is None)
    return [proof for tried in by_fault.values() for proof in tried[:EACH]]


@pytest.mark.parametrize("kind", MAKERS)
def test_is_wrong_text__right_and_wrong_rows_of_invented_vocabularies__is_python_s_ruling(referee, kind):
    random, ruled = Random(SEED), Counter[tuple[str, bool | None]]()
    for _ in range(VOCABULARIES):
        vocabulary = table(MAKERS[kind](random))
        entries, liar = Entries(vocabulary), Liar(vocabulary, random)
        asked = prompt(random, 24)
        right = case(vocabulary, asked, manifest(*random.choice(WRAPPERS)))
        claims = [right, *(replace(right, tokens=tokens) for _ in range(CLAIMS) if (tokens := liar.claim(right)))]
        for claimed in claims:
            found = find(claimed)
            proofs = [found] if found is not None else []
            for proof in proofs + chosen(random, claimed):
                if proof.fault == TextFault.WRAPPER:
                    continue
                said = ruling(referee, entries, claimed, asked, proof)
                assert said == python_s(claimed, proof), (claimed, asked, proof, vocabulary)
                assert not (said and claimed is right)
                ruled[proof.fault.name, said] += 1
    impossible = {"WRAPPER", "PAIR"} | ({"CUT", "WHOLE"} if kind == "sentencepiece" else {"BYTE"})  # pairs: below
    assert {fault for fault, said in ruled if said is False} >= {fault.name for fault in TextFault} - impossible, ruled
    assert {"SPELLING", "END"} <= {fault for fault, said in ruled if said}, ruled


def whole_words() -> Vocabulary:
    """Three letters, and the word `ab`, token 6, which is only a whole piece's."""
    nothing = Entry(Status.NEVER, *UNMERGED, b"")
    letters = [Entry(Status.PLAIN, *UNMERGED, bytes([letter])) for letter in b"ab?"]
    missing = frozenset(range(256)) - set(b"ab?")
    whole = Entry(Status.WHOLE, *UNMERGED, b"ab")
    return Vocabulary(Kind.BYTES, "llama-bpe", True, b"", missing, (nothing, nothing, nothing, *letters, whole))


def test_is_wrong_text__whole_word_that_begins_no_piece__is_shown_without_the_token_behind(referee):
    """Which the challenger of a game may not have seen: the next part of the tokens begins there."""
    vocabulary, asked = whole_words(), text_prompt(b"bbabbb")
    right = case(vocabulary, asked, manifest((1,), (2,)))
    claimed = replace(right, tokens=[*right.tokens[:3], Token(6, 4, False), *right.tokens[5:]])
    proof = find(claimed, known=4)
    assert proof == TextProof(TextFault.STATUS, 3)
    entries, row = Entries(vocabulary), row_of(claimed)
    fault, index, other, tokens, *entries_shown = shown(claimed, proof, entries, row)
    words = (fault, index, other, [*tokens[:-1], (bytes(32), [])], *entries_shown)
    assert called(referee, "isWrongText", numbers(claimed, entries.vocabulary.root), words_of(row), asked, words)


def test_is_wrong_text__whole_word_at_the_reading_s_end__is_right_whatever_stands_behind(referee):
    """A token of the wrapper begins no piece."""
    vocabulary, asked = whole_words(), text_prompt(b"ab")
    right = case(vocabulary, asked, manifest((1,), (2,)))
    assert right.tokens[1] == Token(6, 2, True)
    entries, row = Entries(vocabulary), row_of(right)
    given = (numbers(right, entries.vocabulary.root), words_of(row), asked)
    behind = (row.leaf(0), row.proof(0))
    for tokens in [behind], [behind, behind]:
        words = (int(TextFault.STATUS), 1, 0, tokens, [entries.leaf(6)], [], entries.leaf(6))
        assert called(referee, "isWrongText", *given, words) is False


def test_is_wrong_text__cut_at_a_token_outside_the_reading__is_no_proof(referee):
    """The answer's tokens have ends and flags of their own."""
    vocabulary, asked = whole_words(), text_prompt(b"a?b")
    right = case(vocabulary, asked, manifest((1,), (2,)))
    assert [token.end for token in right.tokens if token.begins] == [1, 2]
    entries, row = Entries(vocabulary), row_of(right)
    leaf = [(row.leaf(at), row.proof(at)) for at in range(-(-len(row.ids) // ENTRIES))]
    for index, other in ((2, 1), *((1, other) for other in range(right.last, len(row.ids)))):
        wanted = ([] if index == right.first else [index - 1]) + [index, other - 1, other]
        shown_ = [leaf[each // ENTRIES] for each in wanted]
        words = (int(TextFault.CUT), index, other, shown_, [], [], entries.leaf(3))
        with pytest.raises(ContractLogicError) as caught:
            called(referee, "isWrongText", numbers(right, entries.vocabulary.root), words_of(row), asked, words)
        assert caught.value.data.startswith(NO_PROOF), other


def test_is_wrong_text__changed_rows_of_the_shipped_vocabulary__are_each_shown_wrong(referee):
    """And merges that would cross a border, but come too late, show nothing."""
    random, found, late = Random(SEED), Counter[str](), 0
    vocabulary = table(read(SHIPPED))
    entries, liar = Entries(vocabulary), Liar(vocabulary, random)
    for _ in range(60):
        words = random.choices(["What is the ", "soup", " of the day", "'s 12", "\n\n", "naïve ", "😀", " "], k=6)
        asked = text_prompt("".join(words).encode())
        right = case(vocabulary, asked, manifest(*random.choice(WRAPPERS)))
        for proof in attacks(random, right):
            if proof.fault == TextFault.PAIR and python_s(right, proof) is not None and late < LATE:
                assert ruling(referee, entries, right, asked, proof) is False
                late += 1
        tokens = liar.claim(right)
        fault = None if tokens is None else find(replace(right, tokens=tokens))
        if tokens is None or fault is None or fault.fault == TextFault.WRAPPER:
            continue
        assert ruling(referee, entries, replace(right, tokens=tokens), asked, fault) is True, (asked, tokens, fault)
        found[fault.fault.name] += 1
    assert found.keys() >= {"SPELLING", "PAIR", "CUT"}, found
    assert late == LATE


def test_is_wrong_text__tokens_that_are_not_the_reading_s__are_no_proof(referee):
    vocabulary = table(read(SHIPPED))
    entries = Entries(vocabulary)
    asked = text_prompt(b"What is the soup of the day?")
    right = case(vocabulary, asked, manifest((1, 1), (2,)))
    row, given = row_of(right), numbers(right, entries.vocabulary.root)
    for index in (0, right.first - 1, right.last, len(right.tokens), len(right.tokens) + OUTPUT - 1):
        for fault in TextFault:
            if fault in (TextFault.COUNT, TextFault.END, TextFault.WRAPPER):
                continue
            leaves = [(row.leaf(index // ENTRIES), row.proof(index // ENTRIES))] * 3
            words = (int(fault), index, 5, leaves, [entries.leaf(5)], [], entries.leaf(5))
            with pytest.raises(ContractLogicError) as caught:
                called(referee, "isWrongText", given, words_of(row), asked, words)
            assert caught.value.data.startswith(NO_PROOF), (fault, index)


def test_is_wrong_text__leaf_of_another_place__is_refused(referee):
    vocabulary = table(read(SHIPPED))
    entries = Entries(vocabulary)
    asked = text_prompt(b"What is the soup of the day? What is the soup of the night?")
    right = case(vocabulary, asked, manifest((), ()))
    row, given = row_of(right), numbers(right, entries.vocabulary.root)
    proof = TextProof(TextFault.SPELLING, right.first)
    fault, index, other, tokens, own, after, made = shown(right, proof, entries, row)
    elsewhere = (row.leaf(1), row.proof(1))
    for wrong in ([elsewhere], own), (tokens, [entries.leaf(right.tokens[1].id)]):
        words = (fault, index, other, *wrong, after, made)
        with pytest.raises(ContractLogicError) as caught:
            called(referee, "isWrongText", given, words_of(row), asked, words)
        assert caught.value.data.startswith(WRONG_ROOT)
