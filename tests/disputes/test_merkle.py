"""Merkle trees: Python and Solidity against one set of vectors and against a tree built by hand; bad proofs refused."""

import json

import pytest
from disputes.stand import harness
from eth_hash.auto import keccak
from hypothesis import given
from hypothesis import strategies as st
from rig.anvil import ROOT
from rig.merkle import climb, fold

from oracle.merkle.tokens import tokens_root
from oracle.merkle.tree import Beginning, Tree, depth, empty, leaf_hash

VECTORS = json.loads((ROOT / "tests" / "vectors" / "merkle.json").read_text())
TREES = VECTORS["trees"]


@pytest.fixture(scope="module")
def contract():
    with harness("MerkleHarness") as deployed:
        yield deployed


def raw(text: str) -> bytes:
    return bytes.fromhex(text[2:])


def by_hand(hashes: list[bytes]) -> bytes:
    """Recursively, from the definition alone."""
    if len(hashes) == 1:
        return hashes[0]
    size = 1
    while size < len(hashes):
        size *= 2
    full = hashes + [keccak(b"\0" + bytes(32))] * (size - len(hashes))
    return keccak(b"\1" + by_hand(full[: size // 2]) + by_hand(full[size // 2 :]))


def hashes(count: int) -> list[bytes]:
    return [leaf_hash(number.to_bytes(3, "big")) for number in range(count)]


def refusal(contract, name: str, *arguments) -> str:
    """Data of the custom error `name(arguments)`."""
    error = next(each for each in contract.abi if each["type"] == "error" and each["name"] == name)
    kinds = [each["type"] for each in error["inputs"]]
    selector = keccak(f"{name}({','.join(kinds)})".encode())[:4]
    return "0x" + (selector + contract.w3.codec.encode(kinds, arguments)).hex()


def refused(contract, call, name: str, *arguments) -> None:
    with pytest.raises(Exception) as caught:
        call.call()
    assert refusal(contract, name, *arguments) in str(caught.value)


# REFUSED


@pytest.fixture
def tree():
    return Tree(hashes(5))


def test_check__index_beyond_the_leaves__is_refused(contract, tree):
    padding = [tree.node(level, 5 >> level ^ 1) for level in range(3)]
    assert climb(empty(0), 5, padding) == tree.root, "a true proof of a leaf that is none"
    refused(contract, contract.functions.check(tree.root, 5, 5, empty(0), padding), "IndexOutOfRange", 5, 5)
    aliased = contract.functions.check(tree.root, 5, 8 + 2, hashes(5)[2], tree.proof(2))
    refused(contract, aliased, "IndexOutOfRange", 10, 5)


def test_check__proof_too_short_or_long__is_refused(contract, tree):
    leaf, proof = hashes(5)[2], tree.proof(2)
    for bad in (proof[:-1], [*proof, bytes(32)], []):
        refused(contract, contract.functions.check(tree.root, 5, 2, leaf, bad), "WrongProofLength", 3, len(bad))


def test_check__inner_node_as_a_leaf__is_refused(contract, tree):
    node, proof = tree.node(1, 1), tree.proof(2)[1:]
    assert climb(node, 1, proof) == tree.root
    refused(contract, contract.functions.check(tree.root, 5, 1, node, proof), "WrongProofLength", 3, 2)
    preimage = b"\1" + tree.node(0, 2) + tree.node(0, 3)
    assert contract.functions.hashLeaf(preimage[1:]).call() != node


def test_check__other_leaf_or_place_or_sibling__is_refused(contract, tree):
    leaves, proof = hashes(5), tree.proof(2)
    changed = [proof[0], bytes(32), proof[2]]
    for index, leaf, given_proof in ((2, leaves[1], proof), (3, leaves[2], proof), (2, leaves[2], changed)):
        call = contract.functions.check(tree.root, 5, index, leaf, given_proof)
        refused(contract, call, "WrongRoot", tree.root, climb(leaf, index, given_proof))


def test_depth__of_nothing__is_refused(contract):
    refused(contract, contract.functions.depth(0), "EmptyTree")
    with pytest.raises(ValueError, match="at least one leaf"):
        depth(0)
    with pytest.raises(ValueError, match="at least one leaf"):
        Tree([])


def test_root_of__no_nodes__is_refused(contract):
    refused(contract, contract.functions.rootOf([]), "EmptyTree")


@pytest.mark.parametrize("index", [-1, 5, 8])
def test_proof__index_of_no_leaf__is_refused(tree, index):
    with pytest.raises(IndexError):
        tree.proof(index)


def test_fold__of_no_power_of_two__is_refused():
    for count in (0, 3):
        with pytest.raises(ValueError, match="no power of two"):
            fold(hashes(count))


# EQUAL


@given(st.integers(1, 70))
def test_tree__any_size__is_the_one_built_by_hand(count):
    tree = Tree(hashes(count))
    assert tree.root == by_hand(hashes(count))
    assert all(climb(leaf, i, tree.proof(i)) == tree.root for i, leaf in enumerate(hashes(count)))
    half = tree.depth // 2
    for index in range(1 << (tree.depth - half)):
        assert fold(tree.opening(half, index, half)) == tree.node(half, index)


def test_tree__of_token_leaves__has_the_answer_s_root():
    tokens = list(range(100, 121))
    words = [token.to_bytes(4, "big") for token in tokens]
    leaves = [b"".join(words[at : at + 8]).ljust(32, b"\0") for at in range(0, len(words), 8)]
    assert Tree(leaf_hash(leaf) for leaf in leaves).root == tokens_root(tokens)


@pytest.mark.parametrize("vector", TREES, ids=lambda vector: str(len(vector["leaves"])))
def test_vectors__python_and_solidity__agree(contract, vector):
    leaves = [leaf_hash(raw(leaf)) for leaf in vector["leaves"]]
    tree, root = Tree(leaves), raw(vector["root"])
    assert tree.root == root == by_hand(leaves)
    assert contract.functions.depth(len(leaves)).call() == tree.depth == len(vector["proofs"][0])
    for index, proof in enumerate(vector["proofs"]):
        assert ["0x" + node.hex() for node in tree.proof(index)] == proof
        assert contract.functions.hashLeaf(raw(vector["leaves"][index])).call() == leaves[index]
        contract.functions.check(root, len(leaves), index, leaves[index], [raw(node) for node in proof]).call()
    assert contract.functions.rootOf(tree.opening(tree.depth, 0, tree.depth)[: len(leaves)]).call() == root


def test_empty__every_level__agrees(contract):
    for level, node in enumerate(VECTORS["empty"]):
        assert empty(level) == raw(node) == contract.functions.empty(level).call()


@pytest.mark.parametrize("count", [1, 2, 3, 5, 34, 47, 128])
def test_root_of__any_number_of_nodes__is_python_s(contract, count):
    nodes = [leaf_hash(bytes([index])) for index in range(count)]
    assert contract.functions.rootOf(nodes).call() == Tree(nodes).root


# BEGINNINGS


@pytest.mark.parametrize("count", [1, 2, 5, 8, 21])
def test_beginning__of_any_length__is_the_tree_over_those_leaves(count):
    whole = Tree(hashes(count))
    for first in range(1, count + 1):
        own, shared = Tree(hashes(first)), Beginning(whole, first)
        assert (shared.root, shared.depth, shared.count, shared.leaves) == (own.root, own.depth, own.count, own.leaves)
        for level in range(own.depth + 1):
            for index in range(1 << (own.depth - level)):
                assert shared.node(level, index) == own.node(level, index), (first, level, index)
        assert [shared.proof(leaf) for leaf in range(first)] == [own.proof(leaf) for leaf in range(first)]


@pytest.mark.parametrize("count", [-1, 0, 6])
def test_beginning__of_no_leaves_or_more_than_there_are__is_refused(count):
    with pytest.raises(ValueError, match=f"no {count} leaves among 5"):
        Beginning(Tree(hashes(5)), count)
