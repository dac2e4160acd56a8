"""Writes tests/vectors/merkle.json: python tests/disputes/make_merkle_vectors.py"""

import json
from pathlib import Path

from oracle.merkle.tree import Tree, empty, leaf_hash

COUNTS = (1, 2, 3, 5, 8, 13)
FILE = Path(__file__).resolve().parents[1] / "vectors" / "merkle.json"


def main() -> None:
    trees = []
    for count in COUNTS:
        leaves = [bytes([number]) * (7 * number) for number in range(count)]  # the first is empty
        tree = Tree(leaf_hash(leaf) for leaf in leaves)
        proofs = [["0x" + node.hex() for node in tree.proof(index)] for index in range(count)]
        trees.append(
            {"leaves": ["0x" + leaf.hex() for leaf in leaves], "root": "0x" + tree.root.hex(), "proofs": proofs}
        )
    padding = ["0x" + empty(level).hex() for level in range(24)]
    FILE.write_text(json.dumps({"empty": padding, "trees": trees}, indent=1) + "\n")


if __name__ == "__main__":
    main()
