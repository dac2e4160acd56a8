"""Answers to patterns under the dispute game, on a chain: whoever answers another token than the best that the pattern
allows, or what it does not allow, loses, and no proof, of whatever kind, touches a right answer."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from disputes import patterns
from disputes.court import ANSWERED, ETHER, OPEN, Answered, Court
from disputes.patterns import Asked, Better, may_follow, right_answer, said
from disputes.test_typed_game import CONTEXT, REPLACEMENT, SHAPE, STOPS, answered, fails, found_in, logits, refused
from disputes.typed import Said
from exact.plain_patterns import true_table, words_table
from exact.random_model import write
from rig.anvil import anvil

from oracle.disputes import answer_referee, reading
from oracle.disputes.answer_referee import AnswerRefutation
from oracle.disputes.commitments import vocabulary_root
from oracle.disputes.game import Move, attack, reveal
from oracle.disputes.inputs import Number, Spelling, entry_input, list_tree
from oracle.disputes.passes import Pass
from oracle.disputes.pattern_referee import NOTHING, PatternFault, PatternRefutation
from oracle.disputes.token_referee import Fault, Refutation, refuting
from oracle.engines.answer_types import Pattern, pattern_type, typed_prompt
from oracle.engines.exact.text_prompts import text_prompt
from oracle.merkle.tokens import prompt_bytes

MOST = 9
SIGN, DIGIT = (45, 45), (48, 57)
INTEGER = true_table(
    [[(*SIGN, 1), (*DIGIT, 2)], [(*DIGIT, 2)], [(*DIGIT, 3)], [(*DIGIT, 4)], []],
    [2, 3, 4],
)
"""A sign or none, and one to three digits."""
WORDS = words_table([b"yes", b"no", b"none"])
LYING = patterns.table([[(97, 98, 1)], []], [3, 7])
"""Nothing follows the first letter, and the table says that seven bytes must."""
PATTERNS = {"integer": INTEGER, "words": WORDS, "lying": LYING}


@pytest.fixture(scope="module", params=["text", "ids"])
def court(request, tmp_path_factory) -> Iterator[Court]:
    with anvil() as chain:
        path = tmp_path_factory.mktemp("model") / "model.gguf"
        write(path, replace(SHAPE, takes_text=request.param == "text"))
        yield Court.opened(chain, path, context_length=CONTEXT, stop_tokens=STOPS, replacement_token=REPLACEMENT)


def asking(court: Court, table: bytes, root: bytes | None = None) -> bytes:
    inner = prompt_bytes([9, 4, 11]) if court.model.words is None else text_prompt(b"How many legs has a spider?")
    made_for = vocabulary_root(court.manifest.architecture) if root is None else root
    return typed_prompt(pattern_type(table, made_for), inner)


def question(court: Court, prompt: bytes, most: int = MOST) -> Asked:
    before = court.reading(prompt)
    type_ = answer_referee.answer_type(prompt, len(before), most, court.manifest)
    assert isinstance(type_, Pattern)
    return Asked(type_, court.model, logits(court, prompt), before, prompt)


def right(asked: Asked) -> Said:
    return right_answer(asked.type, asked.logits, asked.entries)


def token(asked: Asked, spelled: bytes) -> int:
    """The first that spells this."""
    return next(each for each, entry in enumerate(asked.entries) if entry.spelled == spelled)


# FAULTS THAT ONE TRANSACTION SHOWS


def spelling(*words: bytes) -> Callable[[Asked, Said], Said]:
    """An answer of tokens that spell these, and the stop token."""
    return lambda asked, _: said(asked.type, [*(token(asked, word) for word in words), STOPS[0]], asked.entries)


def ending(*tokens: int) -> Callable[[Asked, Said], Said]:
    """The right answer with other tokens in place of its last."""
    return lambda asked, best: said(asked.type, [*best.tokens[:-1], *tokens], asked.entries)


AT_ONCE: dict[str, tuple[Callable[[Asked, Said], Said], Any]] = {
    "a token outside": (spelling(b"1", b"x"), PatternFault.TOKEN),
    "a digit too many": (spelling(b"1", b"2", b"3", b"4"), PatternFault.TOKEN),
    "stops where it needs more": (spelling(b"-"), PatternFault.STOP),
    "nothing": (spelling(), PatternFault.STOP),
    "no stop token": (ending(), PatternFault.TOKEN),
    "another stop token": (ending(STOPS[1]), PatternFault.TOKEN),
    "two stop tokens": (ending(*STOPS), PatternFault.TOKEN),
    "a token after it": (ending(STOPS[0], 60), PatternFault.TOKEN),
    "a token that spells nothing": (ending(1, STOPS[0]), PatternFault.TOKEN),
    "a token that is none": (ending(1 << 30, STOPS[0]), Fault.TEXT),
    "a byte that no token spells": (lambda _, best: replace(best, output=best.output + b"7"), PatternFault.TOKEN),
    "another byte": (lambda _, best: replace(best, output=bytes([best.output[0] ^ 1]) + best.output[1:]), Fault.TEXT),
    "an end": (lambda _, best: replace(best, ends=(best.ends[0] + 1, *best.ends[1:])), Fault.TEXT),
    "the stop token's end": (
        lambda _, best: Said(best.tokens, (*best.ends[:-1], best.ends[-1] + 1), best.output + b"7"),
        Fault.TEXT,
    ),
    "8,193 bytes": (lambda _, best: replace(best, output=best.output.ljust(8_193, b"7")), PatternFault.OUTPUT),
}


@pytest.mark.parametrize("lie", AT_ONCE.values(), ids=AT_ONCE)
def test_refute_pattern__what_the_pattern_does_not_allow__liar_loses_its_bond(fresh, lie):
    court, (make, fault) = fresh, lie
    asked = question(court, asking(court, INTEGER))
    answer = answered(court, asked.prompt, make(asked, right(asked)))
    found = found_in(court, answer)
    assert found.fault is fault
    court.refute(refuting(answer.claim, answer.tokens.words, found), court.people[6])
    assert court.status(answer) == OPEN
    assert court.credit(court.people[6]) == ETHER * 3 // 10


def test_refute_pattern__a_token_that_leaves_too_few__liar_loses_its_bond(fresh):
    """A sign is allowed where a digit and the stop token may follow, and not where the stop token alone may."""
    court, prompt = fresh, asking(fresh, INTEGER)
    for most, needs_more in ((3, PatternFault.STOP), (2, PatternFault.TOKEN)):
        snapshot = court.chain.rpc("evm_snapshot")
        asked = question(court, prompt, most)
        answer = answered(court, prompt, spelling(b"-")(asked, right(asked)), most=most)
        found = found_in(court, answer)
        assert found.fault is needs_more
        court.refute(refuting(answer.claim, answer.tokens.words, found), court.people[6])
        assert court.status(answer) == OPEN
        court.chain.rpc("evm_revert", snapshot)


MALFORMED: dict[str, Callable[[Court], tuple[bytes, int]]] = {
    "another vocabulary": lambda court: (asking(court, INTEGER, bytes(4)), MOST),
    "no room": lambda court: (asking(court, INTEGER), 1),
    "no states": lambda court: (asking(court, bytes(3)), MOST),
    "a head alone": lambda court: (asking(court, INTEGER[:9]), MOST),
    "no table": lambda court: (asking(court, b""), MOST),
}


@pytest.mark.parametrize("case", MALFORMED.values(), ids=MALFORMED)
def test_malformed_pattern__has_one_answer_and_all_proofs_about_patterns_are_refused(fresh, case):
    court, (prompt, most) = fresh, case(fresh)
    nothing, digit = Said((STOPS[0],), (0,), b""), Said((60, STOPS[0]), (1, 1), b"7")
    if most > 1:
        snapshot = court.chain.rpc("evm_snapshot")
        answer = answered(court, prompt, digit, most=most)
        found = found_in(court, answer)
        assert isinstance(found, AnswerRefutation)
        court.refute(refuting(answer.claim, answer.tokens.words, found), court.people[6])
        assert court.status(answer) == OPEN
        court.chain.rpc("evm_revert", snapshot)
    answer = answered(court, prompt, nothing, most=most)
    assert found_in(court, answer) is None
    tokens, given = answer.tokens, (answer.prompt, answer.output)
    index = len(tokens.prompt)
    entry = entry_input(tokens, index)
    fails(court, refuting(answer.claim, tokens.words, AnswerRefutation(*given, index, entry)), "NothingWrong")
    spelled = court.model.input(Spelling(STOPS[0]))
    text = Refutation(Fault.TEXT, index, *given, (entry, NOTHING, spelled))
    fails(court, refuting(answer.claim, tokens.words, text), "NothingWrong")
    for fault in PatternFault:
        shown = PatternRefutation(fault, index, *given, (entry, NOTHING))
        fails(court, refuting(answer.claim, tokens.words, shown), "OtherForm")
    words = (answer.request.words, answer.answer.words, court.manifest.model_id, tokens.words, index, bytes(32))
    refused(court.stand.answers.functions.isWrongPatternChoice(*words, *given, 60, []), "OtherForm")


# FAULTS THAT TWO LOGITS SHOW


def lies(asked: Asked) -> dict[str, Said]:
    """Allowed, and not what the model answers: at each step the second best token and what the model goes on with, and
    a stop too early."""
    best, made = right(asked), dict[str, Said]()
    for step in range(len(best.tokens)):
        row = asked.logits(best.tokens[:step])
        ranked = sorted(
            may_follow(asked.type, best.tokens[:step], asked.entries), key=lambda token: (-row[token], token)
        )
        assert ranked[0] == best.tokens[step]
        for name, each in (("second best", ranked[1:2]), ("worst", ranked[1:][-1:])):
            if each:
                begun = [*best.tokens[:step], *each]
                made[f"{name} at {step}"] = gone_on(asked, begun)
        if STOPS[0] in ranked[1:]:
            made[f"stops at {step}"] = said(asked.type, [*best.tokens[:step], STOPS[0]], asked.entries)
    return made


def gone_on(asked: Asked, begun: list[int]) -> Said:
    while asked.type.stop not in begun:
        row = asked.logits(begun)
        begun = [*begun, max(may_follow(asked.type, begun, asked.entries), key=lambda token: (row[token], -token))]
    return said(asked.type, begun, asked.entries)


def convicted(court: Court, asked: Asked, lie: Said, **sampled: int) -> None:
    """A game to its end, in which the node shows the true pass."""
    snapshot = court.chain.rpc("evm_snapshot")
    answer, who = answered(court, asked.prompt, lie, **sampled), court.people[5]
    assert found_in(court, answer) is None
    better = asked.shown_wrong(lie)
    assert isinstance(better, Better)
    price = court.price(answer)
    positions = len(answer.tokens.prompt) + better.step
    view = court.view(answer, positions)
    moves: list[Move] = []

    def challenger(state: Any) -> Move | None:
        move = attack(state, court.openings(), view, answer.claim)
        if move is not None:
            moves.append(move)
        return move

    court.play(court.challenge(answer, positions, who), answer, view, challenger, who)
    assert [move.function for move in moves] == ["pick", "provePattern"]
    assert court.status(answer) == OPEN
    assert court.credit(who) == price + ETHER * 3 // 10
    court.chain.rpc("evm_revert", snapshot)


@pytest.mark.parametrize("table", [INTEGER, WORDS], ids=["integer", "words"])
def test_prove_pattern__a_token_that_is_not_the_best__liar_loses_its_bond(fresh, table):
    asked = question(fresh, asking(fresh, table))
    made = lies(asked)
    assert len(made) >= 2
    for lie in made.values():
        convicted(fresh, asked, lie)


def test_prove_pattern__stops_though_a_digit_is_better__liar_loses_its_bond(fresh):
    asked = question(fresh, asking(fresh, INTEGER))
    early = [lie for name, lie in lies(asked).items() if name.startswith("stops")]
    assert early
    convicted(fresh, asked, early[0])


def test_prove_pattern__temperature_and_cutoff__change_nothing(fresh):
    asked = question(fresh, asking(fresh, INTEGER))
    convicted(fresh, asked, lies(asked)["second best at 0"], temperature=1 << 16, cutoff=1)
    untouched(fresh, asked, answered(fresh, asked.prompt, right(asked), temperature=1 << 16, cutoff=1))


# RIGHT ANSWERS


def untouched(court: Court, asked: Asked, answer: Answered) -> None:
    """No proof of any kind shows anything."""
    assert found_in(court, answer) is None
    tokens, count, size = answer.tokens, len(answer.tokens.prompt), len(court.model.entries)
    given, type_ = (answer.prompt, answer.output), asked.type

    def fails_(shown: Any, error: str) -> None:
        fails(court, refuting(answer.claim, tokens.words, shown), error)

    fails_(PatternRefutation(PatternFault.OUTPUT, 0, *given, ()), "NothingWrong")
    some = sorted({0, 1, 60, size - 1, *tokens.output, *may_follow(type_, tokens.output[:1], asked.entries)})[:12]
    for other in some:
        shown = (court.model.input(Spelling(other)),)
        fails_(PatternRefutation(PatternFault.STOP, other, *given, shown), "NothingWrong")
    for index in range(count, len(tokens.ids)):
        entry = entry_input(tokens, index)
        before = entry_input(tokens, index - 1) if index > count else NOTHING
        spelled = court.model.input(Spelling(tokens.ids[index]))
        fails_(PatternRefutation(PatternFault.TOKEN, index, *given, (entry, before)), "NothingWrong")
        fails_(AnswerRefutation(*given, index, entry), "OtherForm")
        fails_(Refutation(Fault.END, index, *given, (entry,)), "Typed")
        fails_(Refutation(Fault.TEXT, index, *given, (entry, before, spelled)), "NothingWrong")
    for step in range(len(tokens.output)):
        view = court.view(answer, count + step)
        end = view.step(court.model.architecture.layers + 1)
        operators = list_tree(end.roots)
        words = (answer.request.words, answer.answer.words, court.manifest.model_id, tokens.words, count + step)
        entry = entry_input(tokens, count + step)
        before = entry_input(tokens, count + step - 1) if step else NOTHING

        def logit(token: int, end=end, operators=operators) -> Any:
            return end.input(Number("logits", 0, token), operators, operators)

        chosen, competing = tokens.output[step], may_follow(type_, tokens.output[:step], asked.entries)
        for other in {*competing[:12], *some}:
            inputs = [entry, before, logit(chosen), logit(other), court.model.input(Spelling(other))]
            call = court.stand.answers.functions.isWrongPatternChoice(*words, operators.root, *given, other, inputs)
            if other in competing and other != chosen:
                assert call.call() is False
            else:
                refused(call, "NotCompeting")
        call = court.stand.answers.functions.isWrongMargin(*words, operators.root, *given, 60, [logit(chosen)] * 2)
        refused(call, "OtherForm")
        inputs = [entry, logit(chosen), logit(7)]
        call = court.stand.tokens.functions.isWrongChoice(*words, operators.root, answer.prompt, 7, inputs)
        refused(call, "Typed")
    assert court.status(answer) == ANSWERED


@pytest.mark.parametrize("table", PATTERNS.values(), ids=PATTERNS)
def test_right_answer__every_proof_typed_and_not__is_refused(fresh, table):
    asked = question(fresh, asking(fresh, table))
    untouched(fresh, asked, answered(fresh, asked.prompt, right(asked)))


def test_untyped_answer_and_choice__proofs_about_patterns__are_refused(fresh):
    court = fresh
    prompt = asking(court, INTEGER)
    inner = prompt_bytes([9, 4, 11]) if court.model.words is None else text_prompt(b"How many legs has a spider?")
    answer = court.answered(inner, lambda params: court.honest(inner, 3, params), max_tokens=3)
    tokens, index = answer.tokens, len(answer.tokens.prompt)
    shown = PatternRefutation(PatternFault.TOKEN, index, inner, answer.output, (entry_input(tokens, index), NOTHING))
    fails(court, refuting(answer.claim, tokens.words, shown), "NotTyped")
    words = (answer.request.words, answer.answer.words, court.manifest.model_id, tokens.words, index, bytes(32))
    refused(court.stand.answers.functions.isWrongPatternChoice(*words, inner, answer.output, 7, []), "NotTyped")
    assert prompt[5:6] == b"\x02"


def test_prompt_output_or_token_that_is_another__is_refused(fresh):
    court, asked = fresh, question(fresh, asking(fresh, INTEGER))
    answer = answered(court, asked.prompt, right(asked))
    tokens, index = answer.tokens, len(answer.tokens.prompt)
    entry = entry_input(tokens, index)
    for given in ((asking(court, WORDS), answer.output), (asked.prompt, answer.output + b"x")):
        shown = PatternRefutation(PatternFault.TOKEN, index, *given, (entry, NOTHING))
        fails(court, refuting(answer.claim, tokens.words, shown), "WrongText")
    given, size = (asked.prompt, answer.output), len(asked.entries)
    for index_ in (index - 1, len(tokens.ids)):
        shown = PatternRefutation(PatternFault.TOKEN, index_, *given, (entry, NOTHING))
        fails(court, refuting(answer.claim, tokens.words, shown), "NoSuchElement")
    refuted = refuting(answer.claim, tokens.words, PatternRefutation(PatternFault.TOKEN, index, *given, (entry,)))
    fails(court, refuted, "WrongInputCount")
    lie = said(asked.type, [token(asked, b"-"), STOPS[0]], asked.entries)
    answer = answered(court, asked.prompt, lie)
    for which, error in ((60, "WrongRoot"), (size, "IndexOutOfRange")):
        shown = PatternRefutation(
            PatternFault.STOP, which, asked.prompt, lie.output, (court.model.input(Spelling(61)),)
        )
        fails(court, refuting(answer.claim, answer.tokens.words, shown), error)


# TOKENS THAT NOBODY CAN TELL FROM THE OUTPUT


def read(court: Court, asked: Asked, answer: Answered, who: str) -> list[Move]:
    """An unread game, until the answer is dead or the challenger knows no move. Returns the challenger's moves."""
    game, best = court.challenge_unread(answer, who), right(asked)
    lengths = [end - start for start, end in zip((0, *best.ends), best.ends, strict=False)]
    mine = reading.own_tokens(asked.before, best.tokens, lengths, len(answer.tokens.output))
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
        if move.function != "pickPosition":
            continue
        positions = int(move.arguments[3])
        known = reading.shown(mine, state.case, court.openings())
        assert known is not None
        theirs, ours = court.view(answer, positions), Pass(court.model, court.tracer, known, positions)

        def challenger(state: Any, ours=ours) -> Move | None:
            made = attack(state, court.openings(), ours, answer.claim)
            moves.extend([] if made is None else [made])
            return made

        court.play(game, answer, theirs, challenger, who)
    return moves


UNREAD: dict[str, tuple[Callable[[Asked, Said], Said], list[str]]] = {
    "a token outside": (spelling(b"x"), ["pick", "refutePattern"]),
    "nothing": (spelling(), ["pick", "refutePattern"]),
    "an end": (AT_ONCE["an end"][0], ["pick", "refute"]),
    "too long": (AT_ONCE["8,193 bytes"][0], ["refutePattern"]),
    "goes on": (ending(STOPS[0], 60), ["pick", "refutePattern"]),
    "second best": (
        lambda asked, _: lies(asked)["second best at 0"],
        ["pick", "pickPosition", "pick", "provePattern"],
    ),
}


@pytest.mark.parametrize(("make", "moves"), UNREAD.values(), ids=UNREAD)
def test_unread__tokens_that_the_pattern_does_not_allow_or_the_model_not_choose__are_found(fresh, make, moves):
    court, asked = fresh, question(fresh, asking(fresh, INTEGER))
    answer = answered(court, asked.prompt, make(asked, right(asked)))
    assert [move.function for move in read(court, asked, answer, court.people[5])] == moves
    assert court.status(answer) == OPEN


def test_unread__right_answer__challenger_finds_nothing(fresh):
    court, asked = fresh, question(fresh, asking(fresh, INTEGER))
    answer = answered(court, asked.prompt, right(asked))
    assert read(court, asked, answer, court.people[5]) == []
    assert court.status(answer) != OPEN
