"""What the referee does not look at: each malformed question is refused with the error that says what is wrong."""

from collections.abc import Iterator
from dataclasses import astuple, dataclass, replace
from typing import Any

import numpy as np
import pytest
from disputes.case import OUTPUT, POSITIONS, PROMPT, Case
from disputes.stand import LARGE, Stand, refused
from eth_abi.abi import decode, encode
from exact.random_model import Kind, Shape, write
from rig.merkle import climb

from oracle.disputes import commitments, inputs
from oracle.disputes.graph import BEFORE, Operator
from oracle.disputes.inputs import (
    Entry,
    Input,
    Number,
    Read,
    Rotation,
    Step,
    StepInputs,
    Weight,
    WholeRow,
    entry_input,
    list_tree,
)
from oracle.merkle.tokens import ENTRIES, Tokens
from oracle.merkle.tree import Tree, leaf_hash
from oracle.models.manifest import Manifest

SHAPES = {
    "llama": Shape(family="llama", heads=4, kv_heads=2, head_width=16, rope_width=8, width=288, hidden=544),
    "qwen2": Shape(family="qwen2", kind=Kind.Q4_0, width=320, heads=2, kv_heads=1, head_width=96, rope_width=96),
}
LAYER, LAYERS = 2, 2
END = LAYERS + 1
ASKED = [
    (0, "embedding", 3, 5),
    (LAYER, "attn_norm.in.peak", 3, 1),
    (LAYER, "attn_norm.in.shift", 3, 0),
    (LAYER, "attn_norm.in.mantissa", 3, 7),
    (LAYER, "attn_norm.sum", 3, 0),
    (LAYER, "attn_norm.root", 3, 0),
    (LAYER, "attn_norm", 3, 7),
    (LAYER, "q", 3, 7),
    (LAYER, "v", 1, 3),
    (LAYER, "q_rope", 5, 1),
    (LAYER, "score", POSITIONS + 3, 2),
    (LAYER, "score.max", 3, 1),
    (LAYER, "share", POSITIONS + 3, 2),
    (LAYER, "share.sum", 3, 1),
    (LAYER, "context", 3, 7),
    (LAYER, "attn_residual", 3, 7),
    (LAYER, "act", 3, 7),
    (LAYER, "down", 3, 7),
    (LAYER, "residual", 3, 7),
    (END, "output_norm.in.mantissa", 0, 7),
    (END, "output_norm", 0, 7),
    (END, "logits", 0, 300),
    (END, "logits.peak", 0, 1),
    (END, "logits.max", 0, 0),
]
UNHELD = bytes(32)
WRONG_COUNT, WRONG_LENGTH = "WrongInputCount(uint256,uint256)", "WrongDataLength(uint256,uint256)"
WRONG_PROOF, WRONG_ROOT = "WrongProofLength(uint256,uint256)", "WrongRoot(bytes32,bytes32)"
NO_ELEMENT, NO_INDEX = "NoSuchElement(uint256,uint256)", "IndexOutOfRange(uint256,uint256)"


@dataclass(frozen=True)
class Question:
    """All arguments of `isWrong`, so that a test changes one of them."""

    case: Case
    model: bytes
    place: tuple[int, int, int, int]
    roots: tuple[bytes, bytes]
    tokens: tuple[int, bytes]
    count: int
    values: bytes
    element: int
    inputs: tuple[Input, ...]
    reads: tuple[Read, ...]

    @property
    def call(self) -> Any:
        fields = (self.model, self.place, self.roots, self.tokens, self.count, self.values, self.element, self.inputs)
        return self.case.stand.referee.functions.isWrong(*fields)

    @property
    def view(self) -> StepInputs:
        return self.case.steps[self.place[1]]

    def at(self, **changes: int) -> "Question":
        """changes: of the place."""
        named = dict(zip(("positions", "step", "operator", "leaf"), self.place, strict=True)) | changes
        return replace(self, place=tuple(named.values()))

    def showing(self, index: int, **changes: Any) -> "Question":
        """Another input `index`. changes: of its parts."""
        named = dict(zip(("data", "root", "list_proof", "proof"), self.inputs[index], strict=True)) | changes
        return replace(self, inputs=(*self.inputs[:index], tuple(named.values()), *self.inputs[index + 1 :]))


def asked(case: Case, step: int, name: str, row: int, column: int) -> Question:
    """The well-formed question about one number of the honest trace."""
    view = case.steps[step]
    operator = view.layout.operator(name)
    leaf = operator.leaf_of(row, column)
    reads = tuple(view.layout.reads(operator, row, column, case.tokens.ids))
    return Question(
        case,
        case.model_id,
        (POSITIONS, step, view.layout.operators.index(operator), leaf),
        (case.list_of_steps.root, list_tree(view.roots).root),
        case.tokens.words,
        len(OUTPUT),
        view.leaf(name, leaf),
        column % operator.leaf_numbers,
        tuple(case.inputs(step, operator, row, column)),
        reads,
    )


@pytest.fixture(scope="module", params=SHAPES)
def case(request, stand, tmp_path_factory):
    return Case.of(stand, write(tmp_path_factory.mktemp("model") / f"{request.param}.gguf", SHAPES[request.param]))


@pytest.fixture(params=ASKED, ids=lambda place: place[1])
def question(request, case):
    """One that the referee does rule on; some are of the last position, so that nothing is left to chance."""
    made = asked(case, *request.param)
    assert made.call.call(LARGE) is False
    return made


# WHERE AN INPUT STANDS


def operator_of(question: Question, wanted: Number | WholeRow) -> Operator:
    return question.view.layout.operator(wanted.name)


def index_of(question: Question, wanted: Read) -> int:
    """Among the nodes of its level, of what the referee is to be shown."""
    if isinstance(wanted, Number):
        return operator_of(question, wanted).leaf_of(wanted.row, wanted.column)
    if isinstance(wanted, WholeRow):
        return wanted.row
    if isinstance(wanted, Weight):
        return question.case.model._parts[wanted.name].first + wanted.leaf
    if isinstance(wanted, Rotation):
        return wanted.position
    assert isinstance(wanted, Entry)
    return wanted.index // ENTRIES


def list_index_of(question: Question, name: str) -> int:
    """In its list of roots."""
    if name == BEFORE:
        return question.place[1] - 1
    return question.view.layout.operators.index(question.view.layout.operator(name))


def root_of(question: Question, wanted: Read, given: Input) -> bytes:
    """What the proof has to lead to."""
    if isinstance(wanted, Number | WholeRow):
        return given[1]
    if isinstance(wanted, Entry):
        return question.case.tokens.tree.root
    return (question.case.model.weights if isinstance(wanted, Weight) else question.case.model.rotations).root


def led_to(question: Question, wanted: Read, given: Input) -> bytes:
    """Where an input's proof leads from its data."""
    data = given[0]
    if isinstance(wanted, WholeRow):
        size = operator_of(question, wanted).leaf_bytes
        node = Tree(leaf_hash(data[at : at + size]) for at in range(0, len(data), size)).root
    else:
        node = leaf_hash(data)
    return climb(node, index_of(question, wanted), given[3])


def neighbours(question: Question, wanted: Read) -> Iterator[Input]:
    """True inputs of the same size from other places: other rows and columns of the tensor, another layer's tensor."""
    case, view = question.case, question.view
    steps, operators = case.list_of_steps, list_tree(view.roots)
    if isinstance(wanted, Number | WholeRow):
        operator = operator_of(question, wanted)
        for row in (wanted.row - 1, wanted.row ^ 1, wanted.row + 1):
            if 0 <= row < operator.rows and row != wanted.row:
                yield view.input(replace(wanted, row=row), steps, operators)
        if isinstance(wanted, Number):
            for column in (wanted.column - 256, wanted.column + 256):
                if 0 <= column < operator.columns:
                    yield view.input(replace(wanted, column=column), steps, operators)
    elif isinstance(wanted, Weight):
        part = case.model._parts[wanted.name]
        names = [wanted.name, wanted.name.replace(f"blk.{LAYER - 1}", f"blk.{LAYER - 2}")]
        for other in (Weight(name, wanted.leaf + by) for name in names for by in (-1, 0, 1)):
            if other != wanted and 0 <= other.leaf < part.leaves:
                shown = case.model.input(other)
                if len(shown[0]) == part.leaf_bytes:
                    yield shown
    elif isinstance(wanted, Rotation):
        yield from (case.model.input(Rotation(wanted.position + by)) for by in (-1, 1))
    else:
        assert isinstance(wanted, Entry)
        at = wanted.index // ENTRIES
        yield from (entry_input(case.tokens, ENTRIES * leaf) for leaf in {at - 1, at ^ 1, at + 1} & {0, 1, 2} - {at})


# INPUTS


def test_is_wrong__inputs_missing_or_added__is_refused(question):
    expected = len(question.inputs)
    for given in (0, expected - 1, expected + 1, 2 * expected + 1):
        inputs = (3 * question.inputs)[:given]
        refused(replace(question, inputs=inputs).call, WRONG_COUNT, expected, given)


def test_is_wrong__data_of_other_length__is_refused(question):
    for index, (data, *_) in enumerate(question.inputs):
        for bad in (data[:-1], data + b"\0", b"", data + data):
            refused(question.showing(index, data=bad).call, WRONG_LENGTH, len(data), len(bad))


def test_is_wrong__data_changed__is_refused(question):
    for index, (wanted, given) in enumerate(zip(question.reads, question.inputs, strict=True)):
        data = given[0]
        for bad in (bytes([data[0] ^ 1]) + data[1:], data[:-1] + bytes([data[-1] ^ 0x80])):
            lie = question.showing(index, data=bad)
            refused(lie.call, WRONG_ROOT, root_of(question, wanted, given), led_to(question, wanted, lie.inputs[index]))


def test_is_wrong__proof_too_short_or_long__is_refused(question):
    for index, (_, _, list_proof, proof) in enumerate(question.inputs):
        for part, true in (("proof", proof), ("list_proof", list_proof)):
            if part == "list_proof" and not isinstance(question.reads[index], Number | WholeRow):
                continue
            for bad in ([*true, UNHELD], *([true[:-1], true[1:], []] if true else [])):
                refused(question.showing(index, **{part: bad}).call, WRONG_PROOF, len(true), len(bad))


def test_is_wrong__input_of_a_neighbouring_place__is_refused(case):
    shown = 0
    for place in ASKED:
        question = asked(case, *place)
        for index, (wanted, given) in enumerate(zip(question.reads, question.inputs, strict=True)):
            for other in neighbours(question, wanted):
                data, _, _, proof = other
                lie = question.showing(index, data=data, proof=proof)
                expected, computed = root_of(question, wanted, given), led_to(question, wanted, lie.inputs[index])
                if computed != expected:  # else a neighbour with the same numbers
                    refused(lie.call, WRONG_ROOT, expected, computed)
                    shown += 1
    assert shown > 80


def test_is_wrong__inputs_swapped__is_refused(case):
    # Each truly in the trace and of one size: rows of queries and keys, gate and up, both terms of a sum.
    for name in ("score", "act", "residual", "attn_residual"):
        question = asked(case, *next(place for place in ASKED if place[1] == name))
        first, second, *rest = question.inputs
        lie = replace(question, inputs=(second, first, *rest))
        if name == "attn_residual":  # of the list of steps, and of the list of operators
            refused(lie.call, WRONG_PROOF, len(first[2]), len(second[2]))
        else:
            refused(lie.call, WRONG_ROOT, *roots_of(question, question.reads[0], second))


def test_is_wrong__leaves_of_a_row_swapped__is_refused(case):
    question = asked(case, LAYER, "q", 3, 7)
    wanted, given = question.reads[0], question.inputs[0]
    assert isinstance(wanted, WholeRow)
    size = operator_of(question, wanted).leaf_bytes
    assert len(given[0]) == 2 * size
    lie = question.showing(0, data=given[0][size:] + given[0][:size])
    refused(lie.call, WRONG_ROOT, given[1], led_to(question, wanted, lie.inputs[0]))


def test_is_wrong__position_that_no_cosine_is_for__is_refused(case):
    a = case.model.architecture
    view = StepInputs(
        Step(a, LAYER, a.context + 1, case.model.tensors),
        {"k": np.zeros((a.context + 1, a.kv_heads * a.head_width), np.int64)},
        None,
    )
    operator = view.layout.operator("k_rope")
    at = view.layout.operators.index(view.layout.operator("k"))
    roots = [UNHELD] * at + [view.tree("k").root] + [UNHELD] * (len(view.layout.operators) - at - 1)
    *pair, _ = view.layout.reads(operator, operator.rows - 1, 1, ())
    inputs = [view.input(each, case.list_of_steps, list_tree(roots)) for each in pair]
    question = replace(
        asked(case, LAYER, "k_rope", 0, 1),
        roots=(UNHELD, list_tree(roots).root),
        values=bytes(operator.leaf_bytes),
        inputs=(*inputs, case.model.input(Rotation(0))),
    )
    question = question.at(positions=a.context + 1, leaf=operator.leaf_of(operator.rows - 1, 1))
    refused(question.call, NO_INDEX, a.context, a.context)


# ROOTS


def roots_of(question: Question, wanted: Read, given: Input) -> tuple[bytes, bytes]:
    """The list's root that an input's tensor is to be under, and the one that its proof leads to."""
    assert isinstance(wanted, Number | WholeRow)
    expected = question.roots[wanted.name != BEFORE]
    return expected, climb(given[1], list_index_of(question, wanted.name), given[2])


def bound(question: Question) -> Iterator[tuple[int, Number | WholeRow, Input]]:
    """The inputs that are tensors."""
    for index, (wanted, given) in enumerate(zip(question.reads, question.inputs, strict=True)):
        if isinstance(wanted, Number | WholeRow):
            yield index, wanted, given


def test_is_wrong__root_of_another_operator__is_refused(case):
    shown = 0
    for place in ASKED:
        question = asked(case, *place)
        for index, wanted, _ in bound(question):
            roots = question.view.roots if wanted.name != BEFORE else [step.roots[-1] for step in case.steps]
            at = list_index_of(question, wanted.name)
            # The tensor next to it in the list, with its own valid proof; and the right one with that proof.
            for other in {at ^ 1, at - 1, at + 1} & set(range(len(roots))):
                proof = list_tree(roots).proof(other)
                for root in (roots[other], roots[at]):
                    lie = question.showing(index, root=root, list_proof=proof)
                    refused(lie.call, WRONG_ROOT, *roots_of(question, wanted, lie.inputs[index]))
                    shown += 1
    assert shown > 100


def test_is_wrong__root_of_another_step__is_refused(case):
    shown = 0
    for place in ASKED:
        question = asked(case, *place)
        if place[0] != LAYER:
            continue
        other = case.steps[LAYER - 1]
        for index, wanted, _ in bound(question):
            if wanted.name == BEFORE:
                # What went into the layer before, and what comes out of this one: true roots of true residuals.
                for step in (LAYER - 2, LAYER):
                    root, proof = case.steps[step].roots[-1], case.list_of_steps.proof(step)
                    lie = question.showing(index, root=root, list_proof=proof)
                    refused(lie.call, WRONG_ROOT, *roots_of(question, wanted, lie.inputs[index]))
                    shown += 1
            else:
                given = other.input(wanted, case.list_of_steps, list_tree(other.roots))
                lie = replace(question, inputs=(*question.inputs[:index], given, *question.inputs[index + 1 :]))
                refused(lie.call, WRONG_ROOT, *roots_of(question, wanted, given))
                shown += 1
    assert shown > 25


def test_is_wrong__other_lists__are_refused(question):
    tensors = list(bound(question))
    if not tensors:
        assert question.place[1] == 0, "only the embedding is made of no tensor"
        assert replace(question, roots=(UNHELD, UNHELD)).call.call(LARGE) is False
        return
    _, wanted, given = tensors[0]
    lie = replace(question, roots=(leaf_hash(b"steps"), leaf_hash(b"operators")))
    refused(lie.call, WRONG_ROOT, *roots_of(lie, wanted, given))
    swapped = replace(question, roots=question.roots[::-1])
    refused(swapped.call, WRONG_ROOT, *roots_of(swapped, wanted, given))


def test_is_wrong__weights_of_the_model_s_other_tensor__is_refused(case):
    # Gate for up, keys for values: matrices of the same size.
    for name, mine, other in (("v", "attn_v", "attn_k"), ("down", "ffn_down", "attn_output")):
        question = asked(case, *next(place for place in ASKED if place[1] == name))
        index = 2
        wanted = question.reads[index]
        assert isinstance(wanted, Weight)
        data, _, _, proof = case.model.input(Weight(wanted.name.replace(mine, other), wanted.leaf))
        lie = question.showing(index, data=data, proof=proof)
        if len(data) != len(question.inputs[index][0]):
            refused(lie.call, WRONG_LENGTH, len(question.inputs[index][0]), len(data))
        else:
            given = lie.inputs[index]
            refused(lie.call, WRONG_ROOT, case.model.weights.root, led_to(question, wanted, given))


# PLACES


def test_is_wrong__no_positions__is_refused(question):
    refused(question.at(positions=0).call, "NoPositions()")


def test_is_wrong__no_such_step_or_operator__is_refused(question):
    steps, operators = LAYERS + 2, len(question.view.layout.operators)
    for step in (steps, steps + 1, 2**256 - 1):
        refused(question.at(step=step).call, "NoSuchStep(uint256,uint256)", step, steps)
    for operator in (operators, operators + 1, 2**256 - 1):
        call = question.at(operator=operator).call
        refused(call, "NoSuchOperator(uint256,uint256)", operator, operators)


def test_is_wrong__no_such_element__is_refused(question):
    operator = question.view.layout.operators[question.place[2]]
    held = operator.leaf_bytes // operator.width.value
    for element in (held, held + 1, held + 256, 2**256 - 1):
        refused(replace(question, element=element).call, NO_ELEMENT, element, held)


def test_is_wrong__mantissas_between_the_numbers_and_the_lanes__must_be_zero(case):
    for name in ("q_rope.mantissa", "k_rope.mantissa"):
        view = case.steps[LAYER]
        operator = view.layout.operator(name)
        question = asked(case, LAYER, name, 5, 1)
        lanes = operator.leaf_bytes // 2
        assert lanes % 32 == 0
        for element in range(operator.leaf_numbers, lanes):
            assert replace(question, element=element, inputs=()).call.call(LARGE) is False
        refused(replace(question, element=lanes).call, NO_ELEMENT, lanes, lanes)


def test_is_wrong__values_of_other_length__are_wrong_whatever_is_asked(question):
    true = question.values
    for values in (b"", true[:-1], true + b"\0", true + true):
        for element in (question.element, 2**256 - 1):
            assert replace(question, values=values, element=element).call.call(LARGE) is True
            assert replace(question, values=values, element=element, inputs=()).call.call(LARGE) is True


def test_is_wrong__leaf_beyond_the_tree__is_no_other_leaf(question):
    operator = question.view.layout.operators[question.place[2]]
    for rounds in (1, 2, 1 << 200):
        beyond = question.at(leaf=question.place[3] + (rounds << operator.depth))
        assert beyond.call.call(LARGE) is True, "not the leaf whose index it repeats"
        assert replace(beyond, values=UNHELD).call.call(LARGE) is False
        assert replace(beyond, values=UNHELD[1:]).call.call(LARGE) is True


def test_is_wrong__leaf_of_the_next_row__asks_for_the_next_row_s_inputs(case):
    question = asked(case, LAYER, "attn_norm.in.mantissa", 3, 7)
    operator = question.view.layout.operator("attn_norm.in.mantissa")
    moved = question.at(leaf=operator.leaf_of(4, 7))
    wanted = replace(question.reads[0], row=4)
    refused(moved.call, WRONG_ROOT, question.inputs[0][1], led_to(question, wanted, question.inputs[0]))


# TOKENS


def test_is_wrong__token_beyond_the_answer_s__is_refused(case):
    question = asked(case, 0, "embedding", 3, 5)
    total = len(PROMPT) + len(OUTPUT)
    operator = question.view.layout.operator("embedding")
    for row in (total, total + 5):
        place = question.at(positions=total + 9, leaf=row << operator.row_depth)
        refused(place.call, NO_ELEMENT, row, total)
    refused(replace(question, count=0, tokens=(3, question.tokens[1])).call, NO_ELEMENT, 3, 3)


def test_is_wrong__other_tokens__are_refused(case):
    question = asked(case, 0, "embedding", 3, 5)
    other = Tokens(PROMPT, (9, 2, 3), (1, 2, 2))
    lie = replace(question, tokens=other.words)
    refused(lie.call, WRONG_ROOT, other.tree.root, case.tokens.tree.root)
    # As many more tokens as give the tree another depth.
    refused(replace(question, count=len(OUTPUT) + 8).call, WRONG_PROOF, 3, 2)
    refused(replace(question, count=0, tokens=(4, question.tokens[1])).call, WRONG_PROOF, 0, 2)


def test_is_wrong__embedding_of_another_token__is_refused(case):
    question = asked(case, 0, "embedding", 3, 5)
    token = case.tokens.ids[3]
    for other in (token - 1, token + 1):
        lie = replace(question, inputs=(question.inputs[0], case.model.input(Weight("token_embd.weight", other))))
        refused(lie.call, WRONG_ROOT, case.model.weights.root, led_to(question, question.reads[1], lie.inputs[1]))
    assert isinstance(question.reads[1], Weight)
    assert question.reads[1].leaf == token


# SHAPES


def test_pick__root_not_in_the_list__is_refused(case):
    view = case.steps[LAYER]
    listed, pick = list_tree(view.roots), case.stand.referee.functions.pick
    at = 7
    place = (POSITIONS, LAYER, at, 0)
    assert pick(case.model_id, place, listed.root, view.roots[at], listed.proof(at)).call() == (
        view.layout.operators[at].depth
    )
    for root, proof_of in ((view.roots[at + 1], at + 1), (view.roots[at], at - 1), (leaf_hash(b""), at)):
        proof = listed.proof(proof_of)
        call = pick(case.model_id, place, listed.root, root, proof)
        refused(call, WRONG_ROOT, listed.root, climb(root, at, proof))
    true = listed.proof(at)
    for bad in (true[:-1], [*true, UNHELD], []):
        call = pick(case.model_id, place, listed.root, view.roots[at], bad)
        refused(call, WRONG_PROOF, len(true), len(bad))


def test_pick__no_such_place__is_refused(case):
    view, pick = case.steps[LAYER], case.stand.referee.functions.pick
    listed, operators = list_tree(view.roots), len(view.layout.operators)
    node = listed.node(0, operators)
    proof = [listed.node(level, operators >> level ^ 1) for level in range(listed.depth)]
    assert climb(node, operators, proof) == listed.root, "a true proof of a root that is none"
    call = pick(case.model_id, (POSITIONS, LAYER, operators, 0), listed.root, node, proof)
    refused(call, "NoSuchOperator(uint256,uint256)", operators, operators)
    call = pick(case.model_id, (POSITIONS, END + 1, 0, 0), listed.root, view.roots[0], listed.proof(0))
    refused(call, "NoSuchStep(uint256,uint256)", END + 1, END + 1)
    call = pick(case.model_id, (0, LAYER, 0, 0), listed.root, view.roots[0], listed.proof(0))
    refused(call, "NoPositions()")
    refused(
        case.stand.referee.functions.operators(case.model_id, END + 1), "NoSuchStep(uint256,uint256)", END + 1, END + 1
    )


# MODELS


def test_every_question__model_not_enrolled__is_refused(case):
    stranger = leaf_hash(b"nobody's")
    functions = case.stand.referee.functions
    assert functions.enrolled(stranger).call() is False
    question = replace(asked(case, LAYER, "q", 3, 7), model=stranger)
    listed = list_tree(question.view.roots)
    for call in (
        question.call,
        functions.steps(stranger),
        functions.operators(stranger, 0),
        functions.pick(stranger, question.place, listed.root, question.view.roots[0], listed.proof(0)),
    ):
        refused(call, "NotEnrolled(bytes32)", stranger)


@pytest.fixture(scope="module")
def known(stand, tmp_path_factory):
    return stand.register(write(tmp_path_factory.mktemp("known") / "known.gguf", Shape()))


def enroll(stand: Stand, manifest: Manifest) -> Any:
    return stand.referee.functions.enroll(astuple(manifest))


def registered(stand: Stand, manifest: Manifest) -> Manifest:
    stand.send(stand.registry.functions.register(astuple(manifest)))
    return manifest


def test_enroll__not_registered__is_refused(stand, known):
    other = replace(known, name="another")
    refused(enroll(stand, other), "NotRegistered(bytes32)", other.model_id)


def test_enroll__enrolled_already__is_refused(stand, known):
    refused(enroll(stand, known), "AlreadyEnrolled(bytes32)", known.model_id)


def test_enroll__no_weights_root_or_architecture__is_refused(stand, known):
    for changes in ({"weights_root": bytes(32)}, {"architecture": b""}):
        manifest = registered(stand, replace(known, **changes))
        refused(enroll(stand, manifest), "NotExact(bytes32)", manifest.model_id)
        assert not stand.referee.functions.enrolled(manifest.model_id).call()


FAMILY, LAYER_COUNT, WIDTH, HIDDEN, HEADS, KV_HEADS, HEAD_WIDTH, ROPE_WIDTH, CONTEXT, VOCABULARY = range(10)
EPSILON = 12
NO_WIDTH, HEADS_UNEQUAL = "NoWidth(uint256,uint256,uint256,uint256)", "HeadsUnequal(uint256,uint256)"
ROPE, TOO_LONG = "RopeOutOfRange(uint256,uint256)", "RowTooLong(uint256,uint256)"
LAYER_RANGE, KINDS = "LayersOutOfRange(uint256,uint256)", "WrongKinds(uint256,uint256)"
BAD = [
    ({FAMILY: 4}, "UnknownFamily(uint256)", (4,)),
    ({FAMILY: 255}, "UnknownFamily(uint256)", (255,)),
    ({LAYER_COUNT: 0}, LAYER_RANGE, (0, 1000)),
    ({LAYER_COUNT: 1001}, LAYER_RANGE, (1001, 1000)),
    ({WIDTH: 0}, NO_WIDTH, (0, 96, 16, 377)),
    ({HIDDEN: 0}, NO_WIDTH, (64, 0, 16, 377)),
    ({HEAD_WIDTH: 0}, NO_WIDTH, (64, 96, 0, 377)),
    ({VOCABULARY: 0}, NO_WIDTH, (64, 96, 16, 0)),
    ({HEADS: 0}, HEADS_UNEQUAL, (0, 2)),
    ({KV_HEADS: 0}, HEADS_UNEQUAL, (4, 0)),
    ({HEADS: 4, KV_HEADS: 3}, HEADS_UNEQUAL, (4, 3)),
    ({HEADS: 2, KV_HEADS: 4}, HEADS_UNEQUAL, (2, 4)),
    ({ROPE_WIDTH: 18}, ROPE, (18, 16)),
    ({ROPE_WIDTH: 15}, ROPE, (15, 16)),
    ({CONTEXT: 63}, "ContextTooLong(uint256,uint256)", (64, 63)),
    ({LAYER_COUNT: 1}, KINDS, (3 + 16, 3 + 2 * 16)),
    ({LAYER_COUNT: 3}, KINDS, (3 + 3 * 16, 3 + 2 * 16)),
    ({WIDTH: 65_537}, TOO_LONG, (65_537, 65_536)),
    ({HIDDEN: 65_537}, TOO_LONG, (65_537, 65_536)),
    ({HEADS: 65_536, HEAD_WIDTH: 17}, TOO_LONG, (65_536 * 17, 65_536)),
]


@pytest.mark.parametrize(("changes", "error", "arguments"), BAD, ids=str)
def test_enroll__bad_architecture__is_refused(stand, known, changes, error, arguments):
    numbers = list(decode(commitments.NUMBERS, known.architecture))
    for index, number in changes.items():
        numbers[index] = number
    manifest = registered(stand, replace(known, architecture=encode(commitments.NUMBERS, numbers)))
    refused(enroll(stand, manifest), error, *arguments)
    assert not stand.referee.functions.enrolled(manifest.model_id).call()


@pytest.mark.parametrize(("heads", "levels"), [(4096, 32), (8192, 33)])
def test_enroll__scores_deeper_than_a_game_s_openings_go__is_refused(stand, known, heads, levels):
    numbers = list(decode(commitments.NUMBERS, known.architecture))
    for index, number in {HEADS: heads, HEAD_WIDTH: 8, ROPE_WIDTH: 8, CONTEXT: 16_384}.items():
        numbers[index] = number
    architecture = encode(commitments.NUMBERS, numbers)
    manifest = registered(stand, replace(known, architecture=architecture, context_length=16_384))
    assert len(inputs.rounds(levels)) == (4 if levels == 32 else 5)
    if levels > 32:
        refused(enroll(stand, manifest), "ScoresTooDeep(uint256,uint256)", levels, 32)
    else:
        stand.send(enroll(stand, manifest))
        assert stand.referee.functions.enrolled(manifest.model_id).call()


@pytest.mark.parametrize("zero", [EPSILON, EPSILON + 1])
def test_enroll__no_epsilon__is_refused(stand, known, zero):
    """A norm would divide a row of zeros by zero, and no referee could judge it."""
    numbers = list(decode(commitments.NUMBERS, known.architecture))
    numbers[zero] = 0
    manifest = registered(stand, replace(known, architecture=encode(commitments.NUMBERS, numbers)))
    refused(enroll(stand, manifest), "NoEpsilon(uint256,uint256)", *numbers[EPSILON : EPSILON + 2])


def test_enroll__one_kind_too_few_or_many__is_refused(stand, known):
    *numbers, kinds = decode(commitments.NUMBERS, known.architecture)
    for bad in (kinds[:-1], kinds + b"\0", b""):
        manifest = registered(stand, replace(known, architecture=encode(commitments.NUMBERS, [*numbers, bad])))
        refused(enroll(stand, manifest), KINDS, 3 + 2 * 16, len(bad))


def test_enroll__rows_of_halves_longer_than_a_transaction_bears__is_refused(stand, known):
    """F16 is the dearest type: its rows may have a quarter of the columns."""
    numbers = list(decode(commitments.NUMBERS, known.architecture))
    numbers[-1] = bytes(1 if kind == 8 else kind for kind in numbers[-1])
    for hidden, fits in ((16_384, True), (16_385, False)):
        numbers[HIDDEN] = hidden
        manifest = registered(stand, replace(known, architecture=encode(commitments.NUMBERS, numbers)))
        if fits:
            stand.send(enroll(stand, manifest))
        else:
            refused(enroll(stand, manifest), TOO_LONG, 16_385, 16_384)


MATRICES = {0, 2, *(3 + role for role in (1, 2, 3, 9, 11, 12, 13))}
"""Of the kinds of a model: its embedding's and output's, and a layer's but for norms and biases."""


@pytest.mark.parametrize("tensor", range(3 + 16))
def test_enroll__halves_in_one_tensor_alone__shorten_rows_only_where_it_is_a_matrix(stand, known, tensor):
    numbers = list(decode(commitments.NUMBERS, known.architecture))
    kinds = bytearray(numbers[-1])
    kinds[tensor], numbers[HIDDEN] = 1, 16_385
    numbers[-1] = bytes(kinds)
    manifest = registered(stand, replace(known, architecture=encode(commitments.NUMBERS, numbers)))
    if tensor in MATRICES:
        refused(enroll(stand, manifest), TOO_LONG, 16_385, 16_384)
    else:
        enroll(stand, manifest).call(LARGE)


@pytest.mark.parametrize("changes", [{LAYER_COUNT: 1000}, {WIDTH: 65_536}, {HIDDEN: 65_536}, {ROPE_WIDTH: 0}], ids=str)
def test_enroll__numbers_as_large_or_small_as_may_be__are_taken(stand, known, changes):
    numbers = list(decode(commitments.NUMBERS, known.architecture))
    for index, number in changes.items():
        numbers[index] = number
    numbers[-1] = numbers[-1][:3] + numbers[-1][3:19] * numbers[LAYER_COUNT]
    manifest = registered(stand, replace(known, architecture=encode(commitments.NUMBERS, numbers)))
    enroll(stand, manifest).call(LARGE)


def test_enroll__context_longer_than_a_transaction_bears__is_refused(stand, known):
    numbers = list(decode(commitments.NUMBERS, known.architecture))
    numbers[CONTEXT] = 32_768
    architecture = encode(commitments.NUMBERS, numbers)
    manifest = registered(stand, replace(known, context_length=16_385, architecture=architecture))
    refused(enroll(stand, manifest), "ContextTooLong(uint256,uint256)", 16_385, 16_384)
    stand.send(enroll(stand, registered(stand, replace(known, context_length=16_384, architecture=architecture))))
