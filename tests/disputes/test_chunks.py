"""Passes that other machines have traced: a node finds the same moves with them as by itself, or none."""

import pytest
from disputes.court import OPEN, Court
from disputes.test_game_lies import PROMPT, SHAPE
from exact.random_model import Shape, write
from rig.anvil import anvil

from oracle.demo.false_pass import FalsePass
from oracle.disputes import graph
from oracle.disputes.chunks import KEPT_ANSWERS, Far, Shelf
from oracle.disputes.inputs import ModelInputs, Number, WholeRow, list_tree
from oracle.disputes.passes import Pass, Tracer
from oracle.errors import BadProof
from oracle.merkle.tokens import Tokens

TOKENS = Tokens((1, 9, 4, 11), tuple(range(20, 32)), tuple(range(12)))
IDS = TOKENS.ids[:-1]
POSITIONS = 9


class Machines:
    """`Traces`: shelves by name, and what becomes of their answers on the way."""

    def __init__(self, shelves):
        self.shelves, self.asked = shelves, []
        self.spoil = lambda worker, question, answer: answer

    def tracers(self, _of):
        return list(self.shelves)

    def traced(self, worker, question, _limit_seconds):
        self.asked.append((worker, question["of"]))
        return self.spoil(worker, question, self.shelves[worker].answer(question))


def far(model, machines, ids=IDS):
    return Far(model, ids, machines, prefill_seconds=1, limit_seconds=1)


@pytest.fixture(scope="module", params=["llama", "qwen3"])
def path(request, tmp_path_factory):
    return write(tmp_path_factory.mktemp("model") / "model.gguf", Shape(family=request.param, layers=2, hidden=320))


@pytest.fixture(scope="module")
def shelves(path):
    return {name: Shelf(path) for name in ("one", "two")}


@pytest.fixture
def machines(shelves):
    return Machines(shelves)


@pytest.fixture(scope="module")
def model(path):
    return ModelInputs(path)


@pytest.fixture(scope="module")
def own(path, model):
    return Pass(model, Tracer(path), TOKENS, POSITIONS)


def test_far__everything_a_move_may_need__is_what_the_node_computes(machines, model, own):
    theirs = far(model, machines).over(TOKENS, POSITIONS)
    assert theirs.roots == own.roots
    steps = list_tree(own.roots)
    for step in range(model.architecture.layers + 2):
        mine, their = own.step(step), theirs.step(step)
        assert their.roots == mine.roots
        operators = list_tree(mine.roots)
        for operator in mine.layout.operators:
            name = operator.name
            tree, other = mine.tree(name), their.tree(name)
            assert other.root == tree.root
            down = min(tree.depth, 8)
            assert other.opening(tree.depth, 0, down) == tree.opening(tree.depth, 0, down)
            for leaf in (0, operator.leaf_of(operator.rows - 1, operator.columns - 1), (1 << tree.depth) - 1):
                assert their.leaf(name, leaf) == mine.leaf(name, leaf)
            row, column = operator.rows - 1, operator.columns // 2
            for wanted in mine.layout.reads(operator, row, column, IDS[:POSITIONS]):
                if isinstance(wanted, Number | WholeRow):
                    assert their.input(wanted, steps, operators) == mine.input(wanted, steps, operators)
    assert (theirs.step(3).matrix("logits") == own.step(3).matrix("logits")).all()


def test_far__lists__come_from_two_machines_and_pieces_from_one(machines, model):
    theirs = far(model, machines).over(TOKENS, POSITIONS)
    theirs.step(1).tree("q").opening(theirs.step(1).tree("q").depth, 0, 1)
    assert sorted(machines.asked[:2]) == [("one", "steps"), ("two", "steps")]
    assert sorted(machines.asked[2:4]) == [("one", "operators"), ("two", "operators")]
    assert machines.asked[4:] == [("one", "nodes")]


@pytest.mark.parametrize("of", ["steps", "operators"])
def test_far__one_machine_says_another_root__is_believed_by_nobody(machines, model, of):
    machines.spoil = lambda worker, question, answer: (
        ["00" * 32, *answer[1:]] if (worker, question["of"]) == ("two", of) else answer
    )
    with pytest.raises(BadProof, match="two workers disagree"):
        _ = far(model, machines).over(TOKENS, POSITIONS).step(1).roots


def test_far__operators_that_end_elsewhere_than_the_pass__refused(machines, model):
    """Both say so, and both contradict what both said before."""
    machines.spoil = lambda _, question, answer: [*answer[:-1], "00" * 32] if question["of"] == "operators" else answer
    with pytest.raises(BadProof, match="not what the pass has there"):
        _ = far(model, machines).over(TOKENS, POSITIONS).step(1).roots


@pytest.mark.parametrize(
    "spoiled",
    [
        lambda piece, path: None,
        lambda piece, path: [piece],
        lambda piece, path: [piece, None],
        lambda piece, path: [None, path],
        lambda piece, path: [[], path],
        lambda piece, path: [piece * 2, path],
        lambda piece, path: [["zz" * 32, *piece[1:]], path],
        lambda piece, path: [[7, *piece[1:]], path],
        lambda piece, path: [["00", *piece[1:]], path],
        lambda piece, path: [[piece[0][:-1] + ("0" if piece[0][-1] != "0" else "1"), *piece[1:]], path],
        lambda piece, path: [piece, path[:-1]],
        lambda piece, path: [piece, [*path, "00" * 32]],
        lambda piece, path: [piece, [path[0][:-1] + ("0" if path[0][-1] != "0" else "1"), *path[1:]]],
    ],
)
def test_far__piece_that_does_not_hash_to_its_root__refused(machines, model, spoiled):
    machines.spoil = lambda _, question, answer: spoiled(*answer) if question["of"] in ("nodes", "leaves") else answer
    for ask in (
        lambda step: step.leaf("q", 0),
        lambda step: step.tree("q").opening(step.tree("q").depth - 1, 0, 1),
        lambda step: step.tree("q").node(1, 1),
    ):
        step = far(model, machines).over(TOKENS, POSITIONS).step(1)
        with pytest.raises(BadProof, match="no worker traces"):
            ask(step)


def test_far__one_machine_alone__is_not_believed(machines, model):
    machines.tracers = lambda _of: ["one"]
    with pytest.raises(BadProof, match="nobody is believed alone"):
        far(model, machines).prefill()
    assert machines.asked == []


@pytest.mark.parametrize(
    "changed",
    [
        {"tokens": []},
        {"tokens": None},
        {"tokens": [1] * 200},
        {"tokens": [-1]},
        {"tokens": [1.5]},
        {"tokens": [1 << 40]},
        {"positions": 0},
        {"positions": 99},
        {"positions": "1"},
        {"of": "all"},
        {"of": []},
        {"step": -1},
        {"step": 99},
        {"step": None},
        {"name": "nothing"},
        {"name": graph.BEFORE},
        {"name": []},
        {"level": 99},
        {"level": "0"},
        {"index": -1},
        {"index": 1 << 80},
        {"down": 9},
        {"down": -1},
        {"of": "leaves", "level": 1},
    ],
    ids=str,
)
def test_shelf__what_is_no_question__refused_and_the_next_answered(shelves, changed):
    right = {
        "tokens": list(IDS),
        "of": "nodes",
        "positions": 4,
        "step": 1,
        "name": "q",
        "level": 2,
        "index": 0,
        "down": 1,
    }
    with pytest.raises((ValueError, TypeError, LookupError)):
        shelves["one"].answer(right | changed)
    assert len(shelves["one"].answer(right)[0]) == 2
    for missing in right:
        with pytest.raises(LookupError):
            shelves["one"].answer({name: value for name, value in right.items() if name != missing})


def test_shelf__more_answers_than_it_keeps__forgets_the_oldest(path):
    shelf = Shelf(path)
    for first in range(KEPT_ANSWERS + 2):
        shelf.answer({"tokens": [first, 5, 6], "of": "steps", "positions": 3})
    assert [ids[0] for ids in shelf._answers] == [2, 3]


# -- on the contract


@pytest.fixture(scope="module")
def court(tmp_path_factory):
    with anvil() as chain:
        path = write(tmp_path_factory.mktemp("model") / "model.gguf", SHAPE)
        yield Court.opened(chain, path), Machines({name: Shelf(path) for name in ("one", "two")})


def test_play__challenger_whose_passes_others_trace__wins_at_operators_of_each_kind(court):
    court, machines = court
    wrong = court.answered(PROMPT, court.wrong_at(PROMPT, 1), max_tokens=3)
    positions = len(wrong.tokens.prompt) + 1
    honest = court.view(wrong, positions)
    theirs = far(court.model, machines, wrong.tokens.ids[:-1]).over(wrong.tokens, positions)
    snapshot = court.chain.rpc("evm_snapshot")
    for step, name in [(0, "embedding"), (1, "score"), (1, "context"), (2, "down"), (2, "act.shift"), (3, "logits")]:
        liar = FalsePass(honest, step, name, 0, 0, by=1)
        game = court.challenge(wrong, positions, court.people[5])
        court.play(game, wrong, liar, theirs, court.people[5])
        assert court.status(wrong) == OPEN, name
        court.chain.rpc("evm_revert", snapshot)
        snapshot = court.chain.rpc("evm_snapshot")
    game = court.challenge(wrong, positions, court.people[5])  # by the choice among right logits
    court.play(game, wrong, theirs, theirs, court.people[5])
    assert court.status(wrong) == OPEN
