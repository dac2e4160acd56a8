"""Typed answers under the dispute game, on a chain: whoever lies about tokens, choice, margin or witness loses, and no
proof, typed or not, touches a right answer."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from disputes.court import ANSWERED, ETHER, OPEN, Answered, Court
from disputes.duel import error_of
from disputes.typed import LogitsAt, Said, right_answer
from exact.random_model import Shape, write
from rig.anvil import anvil
from web3.exceptions import ContractLogicError

from oracle.disputes import answer_referee, reading, token_referee
from oracle.disputes.answer_referee import NOTHING, AnswerRefutation, others, said_tokens
from oracle.disputes.commitments import vocabulary_root
from oracle.disputes.game import Move, attack, reveal
from oracle.disputes.inputs import Number, Spelling, entry_input, list_tree
from oracle.disputes.token_referee import Fault, Refutation, refuting
from oracle.engines.answer_types import AnswerType, Choice, Verdict, choice_type, typed_prompt
from oracle.engines.exact.text_prompts import text_prompt
from oracle.merkle.tokens import Tokens, prompt_bytes, unmarked

CONTEXT, MOST = 256, 9
SHAPE = Shape(
    layers=1, width=32, hidden=32, heads=2, kv_heads=1, head_width=16, rope_width=16, context=CONTEXT, zero_rows=True
)
STOPS, REPLACEMENT = (2, 5), 3
EQUAL = (125, 250, 375)
"""Of these ids the model's logits are always the same: 0."""
ROWS = ((40, 41), (40, 42, 43), (44,), (44, 45), (46, 47, 48))
INDEX = {"text": 0, "ids": 1}


@pytest.fixture(scope="module", params=["text", "ids"])
def court(request, tmp_path_factory) -> Iterator[Court]:
    with anvil() as chain:
        path = tmp_path_factory.mktemp("model") / "model.gguf"
        write(path, replace(SHAPE, takes_text=request.param == "text"))
        yield Court.opened(chain, path, context_length=CONTEXT, stop_tokens=STOPS, replacement_token=REPLACEMENT)


@pytest.fixture
def fresh(court):
    snapshot = court.chain.rpc("evm_snapshot")
    yield court
    court.chain.rpc("evm_revert", snapshot)


def asking(court: Court, rows: Any, root: bytes | None = None) -> bytes:
    inner = prompt_bytes([9, 4, 11]) if court.model.words is None else text_prompt(b"What is the soup of the day?")
    return typed_prompt(
        choice_type(rows, vocabulary_root(court.manifest.architecture) if root is None else root), inner
    )


def type_of(court: Court, prompt: bytes, most: int = MOST) -> AnswerType:
    found = answer_referee.answer_type(prompt, len(court.reading(prompt)), most, court.manifest)
    assert found is not None
    return found


def logits(court: Court, prompt: bytes) -> LogitsAt:
    ids = unmarked(court.reading(prompt))

    @cache
    def after(tokens: tuple[int, ...]) -> list[int]:
        *_, residual = court.tracer._reference.residuals([*ids, *tokens])
        found: list[int] = court.tracer._reference.end(residual[-1:])["logits"][0].tolist()
        return found

    return lambda tokens: after(tuple(tokens))


def right(court: Court, prompt: bytes, most: int = MOST) -> Said:
    return right_answer(type_of(court, prompt, most), logits(court, prompt))


def answered(court: Court, prompt: bytes, said: Said, *, most: int = MOST, **sampled: int) -> Answered:
    return court.answered(
        prompt,
        lambda params: [STOPS[0]],
        max_tokens=most,
        tokens=lambda made: replace(made, output=said.tokens, ends=said.ends),
        text=lambda _: said.output,
        **sampled,
    )


def saying(choice: Choice, verdict: Verdict) -> Said:
    tokens = (*choice.rows[verdict.index], choice.stop)
    return Said(tokens, (0,) * len(tokens), bytes(verdict))


def found_in(court: Court, answer: Answered) -> Any:
    given = (answer.tokens, answer.prompt, answer.output, court.manifest, court.model)
    return token_referee.find(*given, answer.params.max_tokens)


# FAULTS THAT ONE TRANSACTION SHOWS


def verdict_of(said: Said) -> Verdict:
    found = Verdict.of(said.output)
    assert found is not None
    return found


def changed(**fields: int) -> Callable[[Said], Said]:
    return lambda said: replace(said, output=bytes(replace(verdict_of(said), **fields)))


AT_ONCE: dict[str, Callable[[Said], Said]] = {
    "nine bytes": lambda said: replace(said, output=said.output[:-1]),
    "eleven bytes": lambda said: replace(said, output=said.output + b"\0"),
    "nothing": lambda said: replace(said, output=b""),
    "words": lambda said: replace(said, output=b"yes, sure!"),
    "an index beyond": changed(index=len(ROWS)),
    "another index": lambda said: changed(index=(verdict_of(said).index + 1) % len(ROWS))(said),
    "a step beyond": changed(step=200),
    "a witness that is the answer's token": lambda said: changed(step=0, other=said.tokens[0])(said),
    "a witness that does not compete": changed(step=0, other=99),
    "another token": lambda said: replace(said, tokens=(said.tokens[0] ^ 1, *said.tokens[1:])),
    "another stop token": lambda said: replace(said, tokens=(*said.tokens[:-1], STOPS[1])),
    "no stop token": lambda said: replace(said, tokens=said.tokens[:-1], ends=said.ends[:-1]),
    "a token more": lambda said: replace(said, tokens=(*said.tokens, STOPS[0]), ends=(*said.ends, 0)),
    "an end": lambda said: replace(said, ends=(*said.ends[:-1], 10)),
    "a token that is none": lambda said: replace(said, tokens=(1 << 30, *said.tokens[1:])),
}


@pytest.mark.parametrize("lie", AT_ONCE.values(), ids=AT_ONCE)
def test_refute_answer__what_no_answer_says__liar_loses_its_bond(fresh, lie):
    court, prompt = fresh, asking(fresh, ROWS)
    answer = answered(court, prompt, lie(right(court, prompt)))
    refutation = found_in(court, answer)
    assert isinstance(refutation, AnswerRefutation)
    court.refute(refuting(answer.claim, answer.tokens.words, refutation), court.people[6])
    assert court.status(answer) == OPEN
    assert court.credit(court.people[6]) == ETHER * 3 // 10


MALFORMED: dict[str, Callable[[Court], tuple[bytes, int]]] = {
    "one row": lambda court: (asking(court, ROWS[:1]), MOST),
    "another vocabulary": lambda court: (asking(court, ROWS, bytes(4)), MOST),
    "a stop token": lambda court: (asking(court, [*ROWS, (STOPS[1],)]), MOST),
    "no room": lambda court: (asking(court, ROWS), 3),
    "a row twice": lambda court: (asking(court, [*ROWS, ROWS[2]]), MOST),
    "the kind alone": lambda court: (b"\x03", MOST),
    "longer than the prompt": lambda court: (asking(court, ROWS)[:20], MOST),
}
ANSWERS = {
    "a choice": Said((44, STOPS[0]), (0, 0), bytes(Verdict(2, 7, 0, 40))),
    "its stop token late": Said((44, STOPS[0]), (0, 0), b""),
    "another stop token": Said((STOPS[1],), (0,), b""),
    "an end": Said((STOPS[0],), (1,), b""),
    "ten bytes": Said((STOPS[0],), (0,), bytes(10)),
}


@pytest.mark.parametrize("case", MALFORMED.values(), ids=MALFORMED)
def test_malformed_type__any_answer_but_nothing__is_refuted(fresh, case):
    court = fresh
    prompt, most = case(court)
    assert right(court, prompt, most) == Said((STOPS[0],), (0,), b"")
    for said in ANSWERS.values():
        snapshot = court.chain.rpc("evm_snapshot")
        answer = answered(court, prompt, said, most=most)
        court.refute(refuting(answer.claim, answer.tokens.words, found_in(court, answer)), court.people[6])
        assert court.status(answer) == OPEN
        court.chain.rpc("evm_revert", snapshot)


# FAULTS THAT TWO LOGITS SHOW


def beaten_at(court: Court, prompt: bytes, said: Said) -> int:
    """The first output token whose logits show an answer wrong."""
    type_, of = type_of(court, prompt), logits(court, prompt)
    steps = range(len(said.tokens))
    return next(s for s in steps if answer_referee.beaten(type_, said.output, s, of(said.tokens[:s])) is not None)


def lies(court: Court, prompt: bytes) -> dict[str, Said]:
    """Well said, and not what the model answers."""
    choice, said = type_of(court, prompt), right(court, prompt)
    assert isinstance(choice, Choice)
    true, of = verdict_of(said), logits(court, prompt)
    made = {
        "a unit more": saying(choice, replace(true, margin=true.margin + 1)),
        "far more": saying(choice, replace(true, margin=2**32 - 1)),
    }
    if true.margin:
        made["a unit less"] = saying(choice, replace(true, margin=true.margin - 1))
        made["nothing"] = saying(choice, replace(true, margin=0))
    for step in range(len(said.tokens)):
        row = of(said.tokens[:step])
        for other in others(choice, said.tokens, step):
            witness = Verdict(true.index, row[said.tokens[step]] - row[other], step, other)
            if witness != true:
                made[f"witness {other} at {step}"] = saying(choice, witness)
    for index in range(len(choice.rows)):
        if index != true.index:
            row = (*choice.rows[index], choice.stop)
            step = next(step for step in range(len(row)) if others(choice, row, step))
            made[f"row {index}"] = saying(choice, Verdict(index, 0, step, others(choice, row, step)[0]))
    return made


def convicted(court: Court, prompt: bytes, said: Said, **sampled: int) -> None:
    """A game to its end, in which the node shows the true pass."""
    snapshot = court.chain.rpc("evm_snapshot")
    answer, who = answered(court, prompt, said, **sampled), court.people[5]
    assert found_in(court, answer) is None
    price = court.price(answer)
    positions = len(answer.tokens.prompt) + beaten_at(court, prompt, said)
    view = court.view(answer, positions)
    moves: list[Move] = []

    def challenger(state: Any) -> Move | None:
        move = attack(state, court.openings(), view, answer.claim)
        if move is not None:
            moves.append(move)
        return move

    court.play(court.challenge(answer, positions, who), answer, view, challenger, who)
    assert [move.function for move in moves] == ["pick", "proveMargin"]
    assert court.status(answer) == OPEN
    assert court.credit(who) == price + ETHER * 3 // 10
    court.chain.rpc("evm_revert", snapshot)


@pytest.mark.parametrize("rows", [ROWS, ((EQUAL[1],), (EQUAL[0], 60), (EQUAL[2],))], ids=["apart", "equal"])
def test_prove_margin__choice_margin_or_witness_that_is_not_the_model_s__liar_loses_its_bond(fresh, rows):
    court, prompt = fresh, asking(fresh, rows)
    made = lies(court, prompt)
    if rows is ROWS:
        assert made.keys() >= {"a unit more", "a unit less"}
    else:
        assert verdict_of(right(court, prompt)) == Verdict(1, 0, 0, EQUAL[1])  # the lowest of equals, and the next
        assert made["row 0"].output[1:5] == bytes(4)  # the second choice at margin 0
    for said in made.values():
        convicted(court, prompt, said)


def test_prove_margin__temperature_and_cutoff__change_nothing(fresh):
    court, prompt = fresh, asking(fresh, ROWS)
    convicted(court, prompt, lies(court, prompt)["a unit more"], temperature=1 << 16, cutoff=1)
    answer = answered(court, prompt, right(court, prompt), temperature=1 << 16, cutoff=1)
    untouched(court, answer)


# RIGHT ANSWERS


def untouched(court: Court, answer: Answered) -> None:
    """No proof, typed or not, shows anything."""
    assert found_in(court, answer) is None
    tokens, count = answer.tokens, len(answer.tokens.prompt)
    given = (answer.prompt, answer.output)
    for index in range(count, len(tokens.ids)):
        entry = entry_input(tokens, index)
        fails(court, refuting(answer.claim, tokens.words, AnswerRefutation(*given, index, entry)), "NothingWrong")
        spelled = court.model.input(Spelling(tokens.ids[index]))
        for fault, inputs in ((Fault.END, (entry,)), (Fault.TEXT, (entry, NOTHING, spelled))):
            fails(court, refuting(answer.claim, tokens.words, Refutation(fault, index, *given, inputs)), "Typed")
    type_ = type_of(court, answer.prompt, answer.params.max_tokens)
    for step in range(len(tokens.output)):
        view = court.view(answer, count + step)
        end = view.step(court.model.architecture.layers + 1)
        operators = list_tree(end.roots)
        words = (answer.request.words, answer.answer.words, court.manifest.model_id, tokens.words, count + step)

        def logit(token: int, end=end, operators=operators) -> Any:
            return end.input(Number("logits", 0, token), operators, operators)

        competing = others(type_, tokens.output, step)
        for other in {*competing, tokens.output[step], 7, 98}:
            inputs = [logit(tokens.output[step]), logit(other)]
            call = court.stand.answers.functions.isWrongMargin(*words, operators.root, *given, other, inputs)
            if other in competing:
                assert call.call() is False
            else:
                refused(call, "NotCompeting")
        inputs = [entry_input(tokens, count + step), logit(tokens.output[step]), logit(7)]
        call = court.stand.tokens.functions.isWrongChoice(*words, operators.root, answer.prompt, 7, inputs)
        refused(call, "Typed")
    assert court.status(answer) == ANSWERED


def refused(call: Any, error: str) -> None:
    with pytest.raises(ContractLogicError) as caught:
        call.call()
    assert error_of(caught.value)[0] == error


def fails(court: Court, move: Move, error: str) -> None:
    with pytest.raises(ContractLogicError) as caught:
        court.call(0, move).call({"from": court.people[6]})
    assert error_of(caught.value)[0] == error, move


@pytest.mark.parametrize("rows", [ROWS, ((EQUAL[1],), (EQUAL[0], 60))], ids=["apart", "equal"])
def test_right_choice__every_proof_typed_and_not__is_refused(fresh, rows):
    prompt = asking(fresh, rows)
    untouched(fresh, answered(fresh, prompt, right(fresh, prompt)))


@pytest.mark.parametrize("case", MALFORMED.values(), ids=MALFORMED)
def test_nothing__answers_a_malformed_type__every_proof_is_refused(fresh, case):
    prompt, most = case(fresh)
    untouched(fresh, answered(fresh, prompt, right(fresh, prompt, most), most=most))


def test_untyped_answer__typed_proofs__are_refused(fresh):
    court = fresh
    prompt = asking(court, ROWS)
    inner = prompt[len(prompt) - 10 :] if court.model.words is None else text_prompt(b"What is the soup of the day?")
    answer = court.answered(inner, lambda params: court.honest(inner, 3, params), max_tokens=3)
    tokens = answer.tokens
    index = len(tokens.prompt)
    shown = AnswerRefutation(inner, answer.output, index, entry_input(tokens, index))
    fails(court, refuting(answer.claim, tokens.words, shown), "NotTyped")
    words = (answer.request.words, answer.answer.words, court.manifest.model_id, tokens.words, index, bytes(32))
    refused(court.stand.answers.functions.isWrongMargin(*words, inner, answer.output, 7, []), "NotTyped")


def test_prompt_or_output_that_is_another__is_refused(fresh):
    court, prompt = fresh, asking(fresh, ROWS)
    answer = answered(court, prompt, right(court, prompt))
    entry = entry_input(answer.tokens, len(answer.tokens.prompt))
    for given in ((asking(court, ROWS[:2]), answer.output), (prompt, answer.output[:-1] + b"\xff")):
        move = refuting(answer.claim, answer.tokens.words, AnswerRefutation(*given, len(answer.tokens.prompt), entry))
        fails(court, move, "WrongText")


# TOKENS THAT NOBODY CAN TELL FROM THE OUTPUT


def read(court: Court, answer: Answered, who: str) -> list[Move]:
    """An unread game, until the answer is dead or the challenger knows no move. Returns its moves."""
    game = court.challenge_unread(answer, who)
    asked = court.reading(answer.prompt)
    said = said_tokens(type_of(court, answer.prompt), answer.output) or ()
    mine = reading.own_tokens(asked, said, [0] * len(said), len(answer.tokens.output))
    moves: list[Move] = []
    while court.status(answer) != OPEN:
        state = court.state(game)
        if state.node_to_move:
            court.move(game, reveal(state, answer.claim, answer.tokens), court.node)
            continue
        move = reading.move(state, court.openings(), mine, answer.claim, court.model)
        if move is None:
            break
        moves.append(move)
        court.move(game, move, who)
    return moves


UNREAD: dict[str, tuple[Callable[[Tokens], Tokens], list[str]]] = {
    "another token": (lambda t: replace(t, output=(t.output[0] ^ 1, *t.output[1:])), ["pick", "refuteAnswer"]),
    "an end": (lambda t: replace(t, ends=(*t.ends[:-1], 3)), ["pick", "refuteAnswer"]),
    "a prompt token more": (lambda t: replace(t, prompt=(*t.prompt, 8), marks=()), []),
}


@pytest.mark.parametrize(("change", "ended"), UNREAD.values(), ids=UNREAD)
def test_unread__tokens_that_are_not_what_the_output_says__are_found_and_refuted(fresh, change, ended):
    court, prompt = fresh, asking(fresh, ROWS)
    said = right(court, prompt)
    answer = court.answered(
        prompt,
        lambda params: [STOPS[0]],
        max_tokens=MOST,
        tokens=lambda made: change(replace(made, output=said.tokens, ends=said.ends)),
        text=lambda _: said.output,
    )
    moves = [move.function for move in read(court, answer, court.people[5])]
    assert moves == ended if ended else moves[-1] in ("refute", "refutePrompt")
    assert court.status(answer) == OPEN


def test_unread__output_that_says_nothing__is_refuted_as_soon_as_the_tokens_are_counted(fresh):
    court, prompt = fresh, asking(fresh, ROWS)
    answer = answered(court, prompt, Said((77, 78), (1, 2), b"hm"))
    moves = read(court, answer, court.people[5])
    assert [move.function for move in moves] == ["refuteAnswer"]
    assert court.status(answer) == OPEN


def test_unread__right_answer__challenger_finds_nothing(fresh):
    court, prompt = fresh, asking(fresh, ROWS)
    answer = answered(court, prompt, right(court, prompt))
    assert read(court, answer, court.people[5]) == []
    assert court.status(answer) != OPEN
