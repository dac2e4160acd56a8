"""Of all answers to a pattern, whatever its table, one is right: no proof touches it, and others are shown wrong. The
contract rules as Python does."""

import json
import os
from collections import Counter
from itertools import product
from random import Random
from typing import Any

import pytest
from disputes import make_pattern_vectors, patterns
from disputes.claims import prompt as any_prompt
from disputes.patterns import Asked, Better, invented_model, right_answer, said, some_entries, some_table
from disputes.stand import ROOT, harness, results_each
from disputes.test_answer_referee import Shown, ruling
from disputes.typed import Said, close_logits, tokens_of
from eth_hash.auto import keccak
from exact.random_model import Shape, write

from oracle.chain.requests import Answer, Request
from oracle.disputes import answer_referee, pattern_referee
from oracle.disputes.commitments import longest_asked, vocabulary_root
from oracle.disputes.inputs import ModelInputs, Spelling, entry_input
from oracle.disputes.pattern_referee import NOTHING, PatternFault, spans
from oracle.disputes.token_referee import Fault
from oracle.engines.answer_types import ROOT_BYTES, Pattern, pattern_type, typed_prompt
from oracle.engines.exact.text_prompts import asked
from oracle.engines.exact.vocabulary import table, unread
from oracle.errors import BadProof
from oracle.merkle.tokens import prompt_bytes
from oracle.models.gguf import read
from oracle.models.manifest import Manifest

SHIPPED = ROOT / "oracle" / "models" / "shipped" / "didyma-tiny.gguf"
SEED = int(os.environ.get("DIDYMA_SEED", "15"))
CLAIMS = int(os.environ.get("DIDYMA_TYPED_CLAIMS", "2000"))
"""Wrong answers of each of two vocabularies; `make prove` makes 100,000."""
EVERY_TABLE, EVERY_TOKEN, EVERY_LIMIT = 100, 6, 4
"""Of the search through all answers: tables, tokens of the vocabulary, and output tokens."""
TABLES_ON_CHAIN, ON_CHAIN = 2_000, 40
"""Tables that the contract walks; prompts whose answers it judges."""
CONTEXT, SIZE, STOPS, REPLACEMENT = 1000, 377, (2, 0), 3
SHAPE = Shape(layers=1, width=32, hidden=32, heads=2, kv_heads=1, gain=0.05, takes_text=True, context=CONTEXT)
LIMITS = (1, 2, 3, *[12] * 6)
NOWHERE = 2**256 - 1


def pattern_of(given: bytes, limit: int) -> Pattern | None:
    """None of a table that is malformed."""
    made = Pattern(given, STOPS[0], frozenset(STOPS), limit)
    return made if is_whole(made) and made.need(0) < limit else None


def is_whole(pattern: Pattern) -> bool:
    return len(pattern.table) >= 3 and pattern.states > 0 and pattern.heads <= len(pattern.table)


def kind(found: Any) -> str:
    return "better" if isinstance(found, Better) else str(found.fault.name.lower())


# IN PYTHON


def test_every_answer__of_small_vocabularies__one_has_no_fault_and_it_is_the_right_one():
    random, seen, tables = Random(SEED), Counter[str](), 0
    while tables < EVERY_TABLE:
        entries, limit = some_entries(random, EVERY_TOKEN), random.randrange(1, EVERY_LIMIT + 1)
        type_ = pattern_of(some_table(random), limit)
        if type_ is None:
            continue
        tables += 1
        question = Asked(type_, invented_model(entries), close_logits(tables, EVERY_TOKEN))
        right = right_answer(type_, question.logits, entries)
        for length in range(1, limit + 1):
            for tokens in product(range(EVERY_TOKEN), repeat=length):
                answer = said(type_, tokens, entries)
                found = question.shown_wrong(answer)
                assert (found is None) == (answer == right), (type_, entries, right, answer)
                seen["right" if found is None else kind(found)] += 1
        assert question.touched(right) == []
    assert seen["right"] == EVERY_TABLE
    assert seen.keys() == {"right", "token", "stop", "better"}


@pytest.mark.parametrize("vocabulary", ["invented", "shipped"])
def test_any_answer__to_any_pattern__one_is_right_and_all_others_are_shown_wrong(vocabulary):
    random, seen, wrong = Random(SEED), Counter[str](), 0
    shipped = table(read(SHIPPED)).entries if vocabulary == "shipped" else None
    while wrong < CLAIMS:
        entries = shipped or some_entries(random, random.randrange(4, 40))
        type_ = pattern_of(some_table(random), random.choice(LIMITS))
        if type_ is None:
            continue
        question = Asked(type_, invented_model(entries), close_logits(wrong, len(entries)))
        right = right_answer(type_, question.logits, entries)
        assert question.shown_wrong(right) is None, (type_, right)
        if shipped is None:
            assert question.touched(right) == []
        for answer in patterns.wrong_answers(random, type_, right, entries, question.logits):
            found = question.shown_wrong(answer)
            assert found is not None, (type_, entries, right, answer)
            if isinstance(found, Better):
                assert question.is_shown(answer, found)
            wrong += 1
            seen[kind(found)] += 1
    assert seen.keys() == {"text", "output", "token", "stop", "better"}, seen


def test_longest_output__of_8192_bytes__is_allowed_and_one_byte_more_is_not():
    entries = unread([b"", b"a", b"", b"aa"])
    type_ = pattern_of(patterns.table([[(97, 97, 0)]], [0]), 9_000)
    assert type_ is not None
    for length, may_follow in ((8_190, [1, 3]), (8_191, [1]), (8_192, [])):
        assert list(pattern_referee.allowed(type_, 0, length, 8_000, entries)) == may_follow
    assert not pattern_referee.is_too_long(b"a" * 8_192)
    assert pattern_referee.is_too_long(b"a" * 8_193)


# THE CONTRACT


def test_stop__output_of_8191_bytes_that_may_not_end__is_wrong_and_one_byte_more_is_not(stand, manifest, model):
    """A token of one byte still fits before an output is as long as it may be."""
    made = patterns.table([[(97, 97, 0)]], [1])
    type_, root = pattern_of(made, 12), vocabulary_root(manifest.architecture)
    assert type_ is not None
    given = typed_prompt(pattern_type(made, root), b"")
    question = Asked(type_, model, close_logits(0, SIZE), asked(given, model.words, manifest, SIZE), given)
    letter = next(token for token, entry in enumerate(model.entries) if entry.spelled == b"a")
    for length, wrong in ((8_191, True), (8_192, False)):
        answer = Said((letter, STOPS[0]), (length, length), b"a" * length)
        proof = (int(PatternFault.STOP), letter, given, answer.output, [model.input(Spelling(letter))])
        assert ruling(stand.answers, "isWrongPattern", *words(manifest, question, 12, answer), *proof) is wrong


def test_walk__any_tables_and_texts__is_python_s():
    random, seen = Random(SEED), Counter[str]()
    given = [
        (some_table(random), bytes(random.choices(b"abcd\0\xff", (9, 9, 9, 1, 1, 1), k=random.randrange(6))))
        for _ in range(TABLES_ON_CHAIN)
    ]
    with harness("PatternsHarness") as contract:
        found = results_each(contract, "walk", given)
    for (made, text), (whole, state, need, _) in zip(given, found, strict=True):
        pattern = Pattern(made, 0, frozenset(), 1)
        assert whole == is_whole(pattern), made
        reached = pattern.walk(text) if whole else None
        expected = (0, 0) if not whole else (NOWHERE, 0) if reached is None else (reached, pattern.need(reached))
        assert (state, need) == expected, (made, text)
        seen["malformed" if not whole else "nowhere" if reached is None else "somewhere"] += 1
    assert min(seen.values()) > TABLES_ON_CHAIN // 50, seen


def test_walk__sixteen_ranges_each_byte_in_the_last__of_the_longest_output__costs_less_than_7_million_gas():
    others = [(1, 1, 0)] * 15
    with harness("PatternsHarness") as contract:
        ((_, state, _, gas),) = results_each(
            contract, "walk", [(patterns.table([[*others, (97, 97, 1 << 15)]], [0]), b"a" * 8_192)]
        )
    assert state == 0
    assert gas < 7_000_000


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write(tmp_path_factory.mktemp("model") / "model.gguf", SHAPE)


@pytest.fixture(scope="module")
def model(path):
    return ModelInputs(path)


@pytest.fixture(scope="module")
def manifest(stand, path):
    return stand.register(path, stop_tokens=STOPS, replacement_token=REPLACEMENT, context_length=CONTEXT)


def ask(random: Random, manifest: Manifest, model: ModelInputs) -> tuple[bytes, int, list[int]]:
    """A prompt that says its type is a pattern, most output tokens, and the prompt's tokens."""
    root, longest = vocabulary_root(manifest.architecture), longest_asked(manifest)
    inner = random.choice((any_prompt(random, 9), prompt_bytes([9] * random.randrange(9)), b"\0" + b"\xf0" * longest))
    given = patterns.prompt(random, root, inner)[:longest]
    return given, random.choice(LIMITS), asked(given, model.words, manifest, SIZE)


def words(manifest: Manifest, question: Asked, most: int, said: Said) -> tuple[object, ...]:
    """Request, answer, model and tokens, as the contract takes them."""
    tokens = tokens_of(question.before, said)
    request = Request(bytes(32), keccak(question.prompt), 0, most, 0)
    answer = Answer(len(tokens.output) << 96, keccak(said.output), tokens.root, bytes(32))
    return request.words, answer.words, manifest.model_id, tokens.words


@pytest.mark.parametrize("rest", [b"", b"\0", b"\x02", b"\x02\0"], ids=bytes.hex)
def test_text__of_an_untyped_prompt_that_ends_where_a_type_says_its_form__is_ruled_on(stand, manifest, model, rest):
    """Nor is it another's ruling where the byte there is that of a pattern."""
    given = (b"\x01" + bytes(ROOT_BYTES)) + rest
    unused = Pattern(b"", 0, frozenset(), 1)
    question = Asked(unused, model, close_logits(0, SIZE), asked(given, model.words, manifest, SIZE), given)
    letter = next(token for token, entry in enumerate(model.entries) if entry.spelled == b"a")
    for output, wrong in ((b"a", False), (b"b", True)):
        answer = Said((letter, STOPS[0]), (1, 1), output)
        tokens = tokens_of(question.before, answer)
        index = len(tokens.prompt)
        shown = [entry_input(tokens, index), NOTHING, model.input(Spelling(letter))]
        call = ("isMalformed", *words(manifest, question, 12, answer), int(Fault.TEXT), index, given, output, shown)
        assert ruling(stand.tokens, *call) is wrong


def test_rulings__any_answers_to_any_patterns__are_python_s(stand, manifest, model):
    random, ruled, malformed, asked_ = Random(SEED), Counter[tuple[str, bool | None]](), 0, 0
    while asked_ < ON_CHAIN:
        given, most, before = ask(random, manifest, model)
        type_ = answer_referee.answer_type(given, len(before), most, manifest) if given[:1] == b"\x03" else None
        if not isinstance(type_, Pattern):
            malformed += _is_refused(stand, manifest, given, most, before)
            continue
        asked_ += 1
        question = Asked(type_, model, close_logits(asked_, SIZE), before, given)
        right = right_answer(type_, question.logits, model.entries)
        others = list(patterns.wrong_answers(random, type_, right, model.entries, question.logits))
        for answer in [right, *random.sample(others, min(5, len(others)))]:
            for name, found, expected in rulings(random, stand, manifest, model, question, most, answer):
                assert found == expected, (name, question, answer)
                assert not (answer is right and found), (name, question, answer)
                ruled[name, found] += 1
    assert malformed > 3
    for name in ("token", "stop", "better"):
        assert {found for each, found in ruled if each == name} >= {True, None if name == "better" else False}, ruled
    assert min(ruled["text", True], ruled["text", False]) > 0, ruled


def _is_refused(stand: Any, manifest: Manifest, given: bytes, most: int, before: list[int]) -> bool:
    """A prompt whose type is no pattern: no such proof is about it."""
    question = Asked(Pattern(b"", 0, frozenset(), 1), None, close_logits(0, SIZE), before, given)
    said_ = words(manifest, question, most, Said((STOPS[0],), (0,), b""))
    assert ruling(stand.answers, "isWrongPattern", *said_, 0, 0, given, b"", []) is None
    return True


def rulings(
    random: Random, stand: Any, manifest: Manifest, model: Any, question: Asked, most: int, answer: Said
) -> Any:
    """The contract's and Python's, of proofs that a challenger would find, and of others."""
    tokens, count, type_ = tokens_of(question.before, answer), len(answer.tokens), question.type
    start = len(tokens.prompt)
    said_ = words(manifest, question, most, answer)
    given = (question.prompt, answer.output)
    span = spans(tokens)

    def of(fault: PatternFault, which: int, inputs: list[Any]) -> bool | None:
        return ruling(stand.answers, "isWrongPattern", *said_, int(fault), which, *given, inputs)

    assert ruling(stand.answers, "isWrongAnswer", *said_, *given, start, entry_input(tokens, start)) is None
    long = pattern_referee.is_too_long(answer.output)
    yield "output", of(PatternFault.OUTPUT, 0, []), long
    for step in range(count):
        index = start + step
        inputs = [entry_input(tokens, index), entry_input(tokens, index - 1) if step else NOTHING]
        expected = pattern_referee.is_wrong_token(type_, answer.output, count, step, span[step])
        yield "token", of(PatternFault.TOKEN, index, inputs), expected
        other = random.randrange(SIZE)
        spelled = model.input(Spelling(span[step].token)) if span[step].token < SIZE else NOTHING
        shown = [*inputs, spelled]
        call = ("isMalformed", *said_, int(Fault.TEXT), index, *given, shown)
        yield "text", ruling(stand.tokens, *call), _is_misspelled(model, answer.output, span[step])
        found = question.shown_wrong(answer)
        tried = {other, STOPS[0], *random.sample(range(SIZE), 2)}
        tried |= {found.other} if isinstance(found, Better) and found.step == step else set()
        row = list(question.logits(answer.tokens[:step]))
        end = Shown(model, start + step, row)
        for each in tried:
            two = [end.logit(span[step].token), end.logit(each)]
            proof = [*inputs, *two, model.input(Spelling(each))]
            call = ("isWrongPatternChoice", *said_, start + step, end.operators.root, *given, each, proof)
            yield "better", ruling(stand.answers, *call), _better(question, answer, Better(step, each))
    state = None if long else type_.walk(answer.output)
    following = (
        [] if state is None else [*pattern_referee.allowed(type_, state, len(answer.output), count - 1, model.entries)]
    )
    for other in {random.randrange(SIZE), *random.sample(following, min(2, len(following)))}:
        entry = model.input(Spelling(other))
        expected = pattern_referee.is_wrong_stop(type_, answer.output, count, other, model.entries[other].spelled)
        yield "stop", of(PatternFault.STOP, other, [entry]), expected


def _is_misspelled(model: Any, output: bytes, span: Any) -> bool:
    if span.token >= SIZE or not span.start <= span.end <= len(output):
        return True
    return output[span.start : span.end] != (b"" if span.token in STOPS else model.entries[span.token].spelled)


def _better(question: Asked, answer: Said, better: Better) -> bool | None:
    try:
        return question.is_shown(answer, better)
    except BadProof:
        return None


def test_vectors__made_again__are_those_that_were_published():
    assert make_pattern_vectors.VECTORS.read_text() == make_pattern_vectors.text()
    shown = [said["shown by"]["fault"] for each in json.loads(make_pattern_vectors.text()) for said in each["wrong"]]
    assert set(shown) == {"text", "output", "token", "stop", "better"}
