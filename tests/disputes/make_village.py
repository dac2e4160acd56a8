"""Writes tests/vectors/village.bin: what an honest party of the adversary's village knows of its model.

    python tests/disputes/make_village.py

`tests/invariants/Adversary.t.sol` plays the dispute game over the real referee, and Solidity cannot run a model. So
here stand, for a few prompts: the right output, every tensor of every pass that chooses a token of it, and for a few
numbers of each pass a lie about the number, with what the referee must be shown to see that it is one. ABI-encoded, as
`tests/invariants/Book.sol` reads it. `test_village.py` holds the file equal to what is made now.
"""

import tempfile
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import rlp  # type: ignore[import-untyped]
from eth_abi.abi import encode
from eth_hash.auto import keccak
from exact.random_model import Kind, Shape, write

from oracle.chain.headers import FIELDS, NUMBERS
from oracle.demo.false_pass import FalsePass
from oracle.disputes import commitments
from oracle.disputes.graph import BEFORE
from oracle.disputes.inputs import Entry, ModelInputs, Number, StepInputs, WholeRow, list_tree
from oracle.disputes.passes import Pass, Tracer
from oracle.engines.exact.text_prompts import asked
from oracle.engines.tables import creation_codes
from oracle.merkle.tokens import Tokens, prompt_bytes
from oracle.models.manifest import ABI_TYPE, Manifest

FILE = Path(__file__).resolve().parents[1] / "vectors" / "village.bin"
SHAPE = Shape(kind=Kind.F16, width=16, hidden=12, heads=2, kv_heads=1, head_width=8, rope_width=8, gain=0.5)
"""A vocabulary of 377, no multiple of the 256 logits in a leaf; two layers."""
CONTEXT = 9
MOST_OUTPUT = 3
SEED = 11
RANDAO = bytes.fromhex("5eed" * 16)

TENSOR = "(uint32,uint8,uint32,uint32,bytes32,bytes)"
READ = "(bytes,bytes32,uint8,uint32,bytes32[])"
LIE = f"(uint32,uint32,uint32,uint32,bytes,{READ}[])"
PASS = f"({TENSOR}[][],{LIE}[])"
QUESTION = f"(bytes,uint32[],uint32[],{PASS}[])"
BOOK = f"({ABI_TYPE},bytes,bytes,bytes,uint32,bytes[],uint32,uint32,uint32,{QUESTION}[])"

LIES = ((0, "embedding"), (1, "attn_norm.in.mantissa"), (1, "share.sum"), (2, "down"), (3, "logits"), (3, "logits.max"))
"""Steps and operators of lies: one of each referee."""
NO_LIST, STEPS, OPERATORS, ENTRY = range(4)
"""Where a read's root is proven: nowhere, in a list, or among the answer's tokens."""


def header() -> tuple[bytes, int]:
    """A block's header, and where its PREVRANDAO stands."""
    sizes = {"miner": 20, "logsBloom": 256, "nonce": 8, "extraData": 0}
    values = [b"" if name in NUMBERS else bytes(sizes.get(name, 32)) for name in FIELDS]
    values[FIELDS.index("mixHash")] = RANDAO
    encoded: bytes = rlp.encode(values)
    return encoded, encoded.index(RANDAO)


def tensor(view: StepInputs, name: str) -> tuple[Any, ...]:
    """Of each leaf as many bytes are kept as any holds that are not zeros behind; of rows of several leaves all."""
    operator = view.layout.operator(name)
    leaves = [
        view.leaf(name, (row << operator.row_depth) + chunk)
        for row in range(operator.rows)
        for chunk in range(operator.row_leaves)
    ]
    kept = max(len(leaf.rstrip(b"\0")) for leaf in leaves) if operator.row_leaves == 1 else operator.leaf_bytes
    data = b"".join(leaf[:kept] for leaf in leaves)
    return (
        *(operator.rows, operator.row_depth, operator.row_leaves, operator.leaf_bytes),
        *(view.tree(name).root, data),
    )


def lie(honest: Pass, step: int, name: str, rng: np.random.Generator) -> tuple[Any, ...]:
    """A number of a pass told wrong, and its inputs; proofs that depend on what the liar shows are left to Solidity."""
    view = honest.step(step)
    operator = view.layout.operator(name)
    row, column = int(rng.integers(operator.rows)), int(rng.integers(operator.columns))
    if name == "share.sum":
        row, column = operator.rows - 1, 0
    leaf = operator.leaf_of(row, column)
    false = FalsePass(honest, step, name, row, column).step(step).leaf(name, leaf)
    names = [each.name for each in view.layout.operators]
    steps, operators = list_tree(honest.roots), list_tree(view.roots)
    reads: list[tuple[Any, ...]] = []
    for wanted in view.layout.reads(operator, row, column, honest.tokens.ids):
        if isinstance(wanted, Entry):
            reads.append((b"", bytes(32), ENTRY, wanted.index, []))
        elif isinstance(wanted, Number | WholeRow):
            data, root, _, proof = view.input(wanted, steps, operators)
            place = (STEPS, step - 1) if wanted.name == BEFORE else (OPERATORS, names.index(wanted.name))
            reads.append((data, root, *place, proof))
        else:
            data, root, _, proof = honest.model.input(wanted)
            reads.append((data, root, NO_LIST, 0, proof))
    return step, names.index(name), leaf, column % operator.leaf_numbers, false, reads


def answered(tracer: Tracer, manifest: Manifest, ids: list[int], most: int) -> list[int]:
    """The greedy output."""
    output: list[int] = []
    while len(output) < most and not (output and output[-1] in manifest.stop_tokens):
        *_, residual = tracer._reference.residuals(ids + output)
        output.append(int(tracer._reference.end(residual[-1:])["logits"][0].argmax()))
    return output


def question(
    model: ModelInputs, tracer: Tracer, manifest: Manifest, prompt: bytes, rng: np.random.Generator
) -> tuple[Any, ...]:
    """A prompt, what it reads as, the longest right output, and the pass before each of its tokens."""
    ids = asked(prompt, model.words, manifest, model.architecture.vocabulary)
    output = answered(tracer, manifest, ids, min(MOST_OUTPUT, CONTEXT - len(ids)))
    tokens = Tokens.spelled(ids, output, [0] * len(output))
    passes = []
    for position in range(len(output)):
        honest = Pass(model, tracer, tokens, len(ids) + position)
        steps = [
            [tensor(honest.step(step), each.name) for each in honest.step(step).layout.operators]
            for step in range(len(honest.roots))
        ]
        passes.append((steps, [lie(honest, *place, rng) for place in LIES]))
    return prompt, ids, output, passes


def book(folder: Path) -> bytes:
    """The file. folder: for the model."""
    path = write(folder / "village.gguf", SHAPE, SEED)
    made = commitments.commit(path)
    manifest = Manifest(
        name="village",
        file_sha256=keccak(path.read_bytes()),
        file_bytes=path.stat().st_size,
        uri="",
        context_length=CONTEXT,
        prefix_tokens=(1,),
        suffix_tokens=(5,),
        stop_tokens=(2,),
        replacement_token=3,
        weights_root=made.weights_root,
        architecture=made.architecture,
    )
    model, tracer, rng = ModelInputs(path), Tracer(path, 1), np.random.default_rng(SEED)
    longest = commitments.longest_asked(manifest)
    prompts = [
        prompt_bytes([9, 300]),
        prompt_bytes([model.architecture.vocabulary, 7]) + b"\xff\xff",
        bytes(rng.integers(0, 2, longest, dtype=np.uint8)),
    ]
    end = Pass(model, tracer, Tokens((1, 5), (), ()), 2).step(SHAPE.layers + 1).layout.operators
    names = [operator.name for operator in end]
    numbers = (longest, names.index("logits"), names.index("logits.max"))
    questions = [question(model, tracer, manifest, prompt, rng) for prompt in prompts]
    entries = [entry.leaf for entry in model.entries]
    return encode([BOOK], [(astuple(manifest), *creation_codes().values(), *header(), entries, *numbers, questions)])


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        FILE.write_bytes(book(Path(folder)))


if __name__ == "__main__":
    main()
