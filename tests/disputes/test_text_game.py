"""Prompts of words under the dispute game, on a chain: who reads one wrongly loses; no proof touches a right answer."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import islice, product
from random import Random
from typing import Any

import pytest
from disputes.claims import Liar
from disputes.court import ANSWERED, ETHER, OPEN, Court
from disputes.duel import error_of
from disputes.test_text_proofs import attacks
from exact import invented
from exact.random_model import Shape, write
from rig.anvil import anvil
from web3.exceptions import ContractLogicError

from oracle.disputes import reading, text_proofs, token_referee
from oracle.disputes.game import MORE_PARTS, Move, Stage, picked, reveal
from oracle.disputes.text_referee import Case, TextFault, TextProof, find
from oracle.disputes.token_referee import PromptRefutation, Refutation, refuting, token_of
from oracle.engines.exact.text_prompts import PromptKind, parts_prompt, read_prompt, text_prompt
from oracle.engines.exact.vocabulary import NO_TOKEN, Kind, Status, Token, Vocabulary, table
from oracle.errors import BadProof
from oracle.merkle.tokens import ENTRIES, Tokens, id_bytes, marked
from oracle.models.gguf import Gguf

SHAPE = Shape(layers=1, width=32, hidden=32, heads=2, kv_heads=1, head_width=16, rope_width=16)
CONTEXT, MOST = 1200, 2
PART = ENTRIES << 6
"""Tokens that are shown at once."""
WRAPPER = {"prefix_tokens": (1,), "suffix_tokens": (2, 1), "stop_tokens": (0,), "replacement_token": 3}
COMMON = {TextFault.END, TextFault.SPELLING, TextFault.STATUS, TextFault.FLAG, TextFault.PAIR, TextFault.ID}
FAULTS = [
    *(("bytes", fault) for fault in sorted(COMMON | {TextFault.CUT, TextFault.WHOLE, TextFault.WRAPPER})),
    *(("sentencepiece", fault) for fault in sorted(COMMON | {TextFault.BYTE, TextFault.WRAPPER})),
]


@cache
def words(kind: str) -> Gguf:
    """A vocabulary in which every fault of its kind can be made."""
    for seed in range(10_000):
        header = (invented.byte_pairs if kind == "bytes" else invented.sentence_pieces)(Random(seed))
        found = table(header)
        if len(found.merges) > 4 and unreached(found) and (found.whole_words if kind == "bytes" else found.prefix):
            return header
    raise AssertionError("no such vocabulary")


@pytest.fixture(scope="module", params=["bytes", "sentencepiece"])
def court(request, tmp_path_factory) -> Iterator[Court]:
    with anvil() as chain:
        path = tmp_path_factory.mktemp("model") / "model.gguf"
        write(path, replace(SHAPE, context=CONTEXT, words=words(request.param)))
        yield Court.opened(chain, path, context_length=CONTEXT, **WRAPPER)


@pytest.fixture
def fresh(court):
    snapshot = court.chain.rpc("evm_snapshot")
    yield court
    court.chain.rpc("evm_revert", snapshot)


def case_of(court: Court, tokens: Tokens, prompt: bytes) -> Case:
    marks = tokens.marks or (0,) * len(tokens.prompt)
    said = [token_of(*entry) for entry in zip(tokens.prompt, marks, strict=True)]
    assert court.model.words is not None
    return Case(court.model.words, court.manifest, read_prompt(prompt, court.model.words), said, len(tokens.output))


def claiming(tokens: Tokens, said: list[Token]) -> Tokens:
    """The same answer after other prompt tokens."""
    prompt = [marked(token.id, token.end, begins=token.begins) for token in said]
    return replace(Tokens.spelled(prompt, (), ()), output=tokens.output, ends=tokens.ends)


def unreached(known: Vocabulary) -> list[bytes]:
    """What tokens spell that no merge makes."""
    status = Status.WHOLE if known.kind is Kind.BYTES else Status.NEVER
    return [entry.spelled for entry in known.entries if entry.status is status and len(entry.spelled) > 1]


def prompts(random: Random, known: Vocabulary) -> Iterator[bytes]:
    while True:
        text = invented.text(random, 7) + random.choice(unreached(known)) + invented.text(random, 7)
        ids = id_bytes([random.randrange(300) for _ in range(random.randrange(1, 4))])
        parts = [(PromptKind.TEXT, text), (PromptKind.IDS, ids), (PromptKind.TEXT, invented.text(random, 9))]
        yield random.choice([text_prompt(text), parts_prompt(parts), bytes([PromptKind.IDS]) + ids])


def lie(court: Court, fault: TextFault) -> tuple[bytes, list[Token]]:
    """A prompt, and tokens that are not its, in which this fault is the first."""
    random = Random(int(fault) * 7 + 1)
    assert court.model.words is not None
    liar = Liar(court.model.words, random)
    for prompt in islice(prompts(random, court.model.words), 2000):
        right = case_of(court, Tokens.spelled(court.reading(prompt), (), ()), prompt)
        for _ in range(20):
            said = liar.claim(right)
            found = None if said is None else find(replace(right, tokens=said))
            if said is not None and found is not None and found.fault is fault:
                return prompt, said
    raise AssertionError(f"no lie of the kind {fault.name} was found")


def honest(court: Court, prompt: bytes) -> Any:
    return lambda params: court.honest(prompt, MOST, params)


def found_in(court: Court, answered: Any) -> Refutation | PromptRefutation:
    given = (answered.tokens, answered.prompt, answered.output, court.manifest, court.model)
    found = token_referee.find(*given, answered.params.max_tokens)
    assert found is not None
    return found


@pytest.mark.parametrize(("court", "fault"), FAULTS, ids=lambda each: getattr(each, "name", each), indirect=["court"])
def test_refute__each_fault_of_a_text_s_tokens__liar_loses_its_bond(fresh, fault):
    court = fresh
    prompt, said = lie(court, fault)
    answered = court.answered(
        prompt, honest(court, prompt), max_tokens=MOST, tokens=lambda right: claiming(right, said)
    )
    refutation = found_in(court, answered)
    assert isinstance(refutation, Refutation if fault is TextFault.WRAPPER else PromptRefutation)
    court.refute(refuting(answered.claim, answered.tokens.words, refutation), court.people[6])
    assert court.status(answered) == OPEN
    assert court.credit(court.people[6]) == ETHER * 3 // 10


def test_refute__fewer_tokens_than_the_wrapper__liar_loses_its_bond(fresh):
    court, prompt = fresh, text_prompt(b"")
    assert len(court.reading(prompt)) == 3
    answered = court.answered(
        prompt, honest(court, prompt), max_tokens=MOST, tokens=lambda right: replace(right, prompt=(1, 1))
    )
    refutation = found_in(court, answered)
    assert isinstance(refutation, PromptRefutation)
    assert refutation.proof[0] == TextFault.COUNT
    court.refute(refuting(answered.claim, answered.tokens.words, refutation), court.people[6])
    assert court.status(answered) == OPEN


HOSTILE = {
    "the kind alone": b"\x00",
    "another kind": b"\xf0a b",
    "half of a character": b"\x00\xf0\x9f",
    "control tokens spelled": b"\x00<|end|><t><unk><0x00>",
    "a part longer than the prompt": b"\x02\x00\xff\xff\xffa'b",
    "ids beyond the vocabulary and a rest": b"\x02\x01\x00\x00\x05\xff\xff\xff\x00\x01\x00\x00\x00\x02ab",
    "words that are a part's header": parts_prompt([(PromptKind.TEXT, b"\x01\x00\x00\x03\x00\x00\x01")]),
    "text, ids, text": parts_prompt([(PromptKind.TEXT, "é1 a".encode()), (PromptKind.IDS, id_bytes([2, 1])),
                                     (PromptKind.TEXT, b"b b")]),
}  # fmt: skip


@pytest.mark.parametrize("prompt", HOSTILE.values(), ids=HOSTILE)
def test_refute__a_right_answer_to_a_hostile_prompt__no_proof_touches_it(fresh, prompt):
    """Of every fault the proofs that come nearest, at every border, and any."""
    court, random = fresh, Random(len(prompt))
    answered = court.answered(prompt, honest(court, prompt), max_tokens=MOST)
    given = (answered.tokens, prompt, answered.output, court.manifest, court.model)
    assert token_referee.find(*given, MOST) is None
    right, judged = case_of(court, answered.tokens, prompt), 0
    tried = random.sample(list(attacks(random, right)), 60)
    for proof in [TextProof(TextFault.COUNT), TextProof(TextFault.END), *tried]:
        try:
            shown = text_proofs.shown(right, proof, court.model, answered.tokens)
        except BadProof:
            continue
        if proof.fault is TextFault.WRAPPER:
            continue
        move = refuting(answered.claim, answered.tokens.words, PromptRefutation(prompt, shown))
        with pytest.raises(ContractLogicError) as caught:
            court.call(0, move).call({"from": court.people[6]})
        assert error_of(caught.value)[0] in ("NothingWrong", "NoProof"), proof
        judged += error_of(caught.value)[0] == "NothingWrong"
    assert judged >= 2
    for index in range(len(answered.tokens.prompt)):
        entry = reading.entry_input(answered.tokens, index)
        move = refuting(
            answered.claim, answered.tokens.words, Refutation(token_referee.Fault.PROMPT, index, prompt, b"", (entry,))
        )
        with pytest.raises(ContractLogicError) as caught:
            court.call(0, move).call({"from": court.people[6]})
        assert error_of(caught.value)[0] in ("NothingWrong", "NoSuchElement")
    assert court.status(answered) == ANSWERED


# TOKENS THAT NOBODY CAN TELL FROM THE TEXT


def play(court: Court, answered: Any, who: str) -> list[Move]:
    """An unread game, until the answer is dead or the challenger knows no move. Returns its moves."""
    game = court.challenge_unread(answered, who)
    mine = reading.own_tokens(
        court.reading(answered.prompt), answered.tokens.output, _lengths(answered.tokens), len(answered.tokens.output)
    )
    moves = []
    while court.status(answered) != OPEN:
        state = court.state(game)
        if state.node_to_move:
            court.move(game, reveal(state, answered.claim, answered.tokens), court.node)
            continue
        move = reading.move(state, court.openings(), mine, answered.claim, court.model)
        if move is None:
            break
        moves.append(move)
        court.move(game, move, who)
    return moves


def _lengths(tokens: Tokens) -> list[int]:
    return [end - start for start, end in zip((0, *tokens.ends), tokens.ends, strict=False)]


@pytest.mark.parametrize(("court", "fault"), FAULTS, ids=lambda each: getattr(each, "name", each), indirect=["court"])
def test_unread__each_fault_of_a_text_s_tokens__is_found_in_what_the_node_shows(fresh, fault):
    court = fresh
    prompt, said = lie(court, fault)
    answered = court.answered(
        prompt, honest(court, prompt), max_tokens=MOST, tokens=lambda right: claiming(right, said)
    )
    moves = play(court, answered, court.people[5])
    assert [move.function for move in moves][-1] in ("refute", "refutePrompt")
    assert court.status(answered) == OPEN


def spelled_apart(right: list[Token], court: Court, index: int) -> list[Token]:
    """The right tokens, but one of them as its two parts."""
    assert court.model.words is not None
    token, start = right[index], right[index - 1].end if index > 1 else 0
    entry = court.model.words.entries[token.id]
    end = start + len(court.model.words.entries[entry.left].spelled)
    parts = [Token(entry.left, end, token.begins), Token(entry.right, token.end, False)]
    return [*right[:index], *parts, *right[index + 1 :]]


def split_at(court: Court, index: int) -> Iterator[tuple[bytes, list[Token]]]:
    """Prompts, and tokens of which `index` is the first that is not theirs, and shows no fault without the next."""
    known = court.model.words
    assert known is not None
    for made, filler, after in product(known.entries, range(index - 3, index + 1), (b"\n", b"a", b"1", b"b")):
        if made.left == NO_TOKEN:
            continue
        prompt = text_prompt(b"\n" * filler + made.spelled + after)
        right = case_of(court, Tokens.spelled(court.reading(prompt), (), ()), prompt)
        if len(right.tokens) <= index or known.entries[right.tokens[index].id] != made:
            continue
        said = spelled_apart(list(right.tokens), court, index)
        if find(replace(right, tokens=said), index + 1) is None:
            yield prompt, said


@pytest.mark.parametrize("part", [1, 2])
@pytest.mark.parametrize("court", ["bytes", "sentencepiece"], indirect=True)
def test_unread__fault_behind_the_part_that_differs__is_found_in_the_next(fresh, part):
    """The first token that differs is a part's last, and what shows it wrong is the next part's first."""
    court = fresh
    index = part * PART - 1
    prompt, said = next(split_at(court, index))
    answered = court.answered(
        prompt, honest(court, prompt), max_tokens=MOST, tokens=lambda right: claiming(right, said)
    )
    moves = play(court, answered, court.people[5])
    assert [move.function for move in moves] == ["pick", "pick", "refutePrompt"]
    assert [move.arguments[0] for move in moves[:2]] == [part - 1, part]
    assert court.status(answered) == OPEN


@pytest.mark.parametrize("court", ["sentencepiece"], indirect=True)
def test_pick__more_parts_than_a_game_has_openings__is_refused_and_no_pass_can_be_named(fresh):
    court, prompt = fresh, text_prompt(b"\n" * 600)
    answered = court.answered(prompt, honest(court, prompt), max_tokens=MOST)
    who = court.people[5]
    game = court.challenge_unread(answered, who)
    court.move(game, reveal(court.state(game), answered.claim, answered.tokens), court.node)
    upper = answered.tokens.upper
    for asked in range(MORE_PARTS + 2):
        assert court.state(game).step == max(0, asked - 1)
        pick = picked(upper, asked % 2)
        if asked > MORE_PARTS:
            with pytest.raises(ContractLogicError) as caught:
                court.move(game, pick, who)
            assert error_of(caught.value) == ("WrongStage", (game, Stage.VALUES))
            break
        court.move(game, pick, who)
        court.move(game, reveal(court.state(game), answered.claim, answered.tokens), court.node)
    said = (answered.claim.request, answered.claim.answer, answered.tokens.words)
    name = Move("pickPosition", (*said, len(answered.tokens.prompt)))
    with pytest.raises(ContractLogicError) as caught:
        court.move(game, name, who)
    assert error_of(caught.value) == ("WrongStage", (game, Stage.VALUES))
