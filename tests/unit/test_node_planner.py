"""The planner: a pure function, so every rule is a view and what follows from it."""

from dataclasses import replace

import pytest
from eth_utils.address import to_checksum_address
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.chain.contracts import Contracts
from oracle.chain.deployment import Deployment
from oracle.chain.requests import Answer, Request, Round, Vote, case_id, commitment
from oracle.chain.services import PanelTerms, Terms
from oracle.chain.types import Block
from oracle.chain.units import ETHER, NOBODY
from oracle.node.plan import Compute, Judge, Plan, Rules, View, Wanted
from oracle.node.planner import Planner
from oracle.node.records import (
    CaseRecord,
    Judgement,
    Output,
    PlaceRecord,
    PostedAnswer,
    RequestRecord,
    SeatRecord,
    ServiceRecord,
)
from oracle.node.secret import Secret

ME, OTHER, LIAR, CHALLENGER = (to_checksum_address("0x" + digit * 40) for digit in "1234")
DEPLOYMENT = Deployment(31337, 1, *(to_checksum_address("0x" + pair * 20) for pair in ("aa", "bb", "cc", "dd", "ee")))
SERVICE = b"\x05" * 32
START, TURN, WINDOW, COMMIT, REVEAL = 1_000_000, 20, 60, 15, 15
SEATS = 4
SEED = Block(12, b"\x12" * 32, bytes(32), START + 2, 10**9, b"\x77" * 32, bytes(256))
SECRET = Secret(b"secret")
CONTRACTS = Contracts.at(DEPLOYMENT)
TERMS = Terms(
    model=b"\x01" * 32,
    arbiter=DEPLOYMENT.panel,
    arbiter_terms=PanelTerms(ETHER // 10, ETHER // 100, ETHER // 50, COMMIT, REVEAL, 3, 65536).encoded(),
    attester=NOBODY,
    attester_terms=b"",
    bond_wei=ETHER,
    seat_wei=2 * ETHER,
    miss_penalty_wei=ETHER // 100,
    base_price_wei=1,
    byte_price_wei=1,
    token_price_wei=1,
    max_prompt_bytes=1000,
    max_tokens=64,
    turn_seconds=TURN,
    window_seconds=WINDOW,
    lifetime_seconds=600,
    min_owners=5,
    value_cap_wei=ETHER,
)


def make_request(number: int = 0, *, callback_gas: int = 0, gas_price: int = 0) -> Request:
    head = int("9" * 40, 16) | (START + 200) << 160 | 10 << 208
    rules = 16 | callback_gas << 88 | gas_price << 120 | TURN << 184 | WINDOW << 208 | SEATS << 232
    return Request(SERVICE, number.to_bytes(32, "big"), head, rules, ETHER // 100 | ETHER << 160)


REQUEST = make_request()
OPEN = RequestRecord(REQUEST, "open", b"is water wet?", 13, START, Round(0, START))
TURN_SEATS = [REQUEST.place_of_turn(SEED.hash, turn) for turn in range(10)]
MINE = TURN_SEATS[0]
FOREIGN_TURN = next(turn for turn, seat in enumerate(TURN_SEATS) if seat != MINE)


def head(seconds: int, number: int = 100) -> Block:
    return replace(SEED, number=number, timestamp=START + seconds)


def seat(number: int, operator: str, state: str = "active", ready_at: int = 0) -> SeatRecord:
    return SeatRecord(SERVICE, number, state, "0x" + "f" * 40, operator, ready_at)


def view(seconds: int = 5, *records: RequestRecord, **changes: object) -> View:
    """Mine is the seat of turn 0; the others are another's."""
    fields: dict[str, object] = {
        "head": head(seconds),
        "operator": ME,
        "disputer": ME,
        "services": {SERVICE: ServiceRecord(SERVICE, TERMS)},
        "seats": [seat(n, ME if n == MINE else OTHER) for n in range(SEATS)],
        "requests": records or (OPEN,),
        "cases": {},
        "seeds": {SEED.number: SEED},
        "salt": SECRET.salt,
    }
    return View(**{**fields, **changes})  # type: ignore[arg-type]


def plan(seen: View, **rules: object) -> Plan:
    return Planner(CONTRACTS, Rules(**{"stagger_seconds": 0, **rules})).plan(seen)  # type: ignore[arg-type]


def keys(found: Plan) -> list[str]:
    return [want.key.split(":")[0] for want in found.wanted]


def answered(operator: str = LIAR, closes: int = 70, number: int = 0, **request: int) -> RequestRecord:
    asked = make_request(number, **request)
    answer = Answer(0 | TURN_SEATS[1] << 32 | (START + closes) << 48 | 5 << 96, b"\x0a" * 32, b"\x0b" * 32, SEED.hash)
    posted = PostedAnswer(answer, operator, b"lies", 4)
    return RequestRecord(asked, "answered", b"is water wet?", 13, START, Round(0, START), posted)


def wrong(record: RequestRecord) -> dict[object, Judgement]:
    assert record.posted is not None
    return {(record.id, record.posted.answer.hash): Judgement(False, "wrong")}


OUTPUT = {(OPEN.id, SEED.hash): Output(b"yes", 4, b"\x0c" * 32)}


# -- turns ---------------------------------------------------------------------------------------------------------


def test_open__not_my_turn__nothing():
    assert plan(view(FOREIGN_TURN * TURN + 1)) == Plan((), ())


def test_open__seed_not_confirmed__nothing():
    assert plan(view(5, seeds={})) == Plan((), ())


def test_open__seed_is_the_head_itself__nothing_yet():
    assert plan(view(5, head=head(5, SEED.number))) == Plan((), ())


def test_open__place_that_leads_to_another_seat__is_that_one_s_turn():
    """As it led when the request was made, whatever came later."""
    block = REQUEST.block_number
    elsewhere = PlaceRecord(SERVICE, MINE).leads_to(77, block - 1)
    mine_now = [seat(n, OTHER) for n in range(SEATS)] + [seat(77, ME)]
    assert plan(view(places={(SERVICE, MINE): elsewhere})) == Plan((), ())
    assert plan(view(places={(SERVICE, MINE): elsewhere}, seats=mine_now)).work == (Compute(OPEN, SEED),)
    later = PlaceRecord(SERVICE, MINE).leads_to(77, block)
    assert plan(view(places={(SERVICE, MINE): later})).work == (Compute(OPEN, SEED),)


def test_open__seat_still_joining__nothing():
    assert plan(view(5, seats=[seat(MINE, ME, "joining", START + 10**6)])) == Plan((), ())


def test_open__answering_switched_off__nothing():
    assert plan(view(), answer=False) == Plan((), ())


def test_open__balance_below_the_reserve__takes_no_turn():
    assert plan(view(solvent=False)) == Plan((), ())


def test_open__balance_below_the_reserve_but_answer_computed__sends_it():
    assert keys(plan(view(solvent=False, outputs=OUTPUT))) == ["answer"]


def test_open__engine_refused__passes_the_turn():
    refused = {(OPEN.id, SEED.hash): Output(refusal="PromptTooLong")}
    assert plan(view(outputs=refused)) == Plan((), ())


def test_open__unknown_service__nothing():
    assert plan(view(services={})) == Plan((), ())


def test_open__my_turn__computes_then_answers_until_the_turn_ends():
    assert plan(view()).work == (Compute(OPEN, SEED),)
    (want,) = plan(view(outputs=OUTPUT)).wanted
    assert want.key == f"answer:31337:{DEPLOYMENT.oracle}:{OPEN.id:064x}:0:{SEED.hash.hex()}"
    assert want.data == CONTRACTS.oracle.encode("answer", REQUEST.words, b"yes", 4, b"\x0c" * 32, SEED.hash)
    assert (want.deadline, want.once) == (START + TURN, True)


SIGNED = ("0x" + "5" * 40, b"signature")


def sent(found: Plan) -> str:
    """Name of the only call."""
    (want,) = found.wanted
    names = {
        CONTRACTS.oracle.encode(name, *args)[:4]: name
        for name, args in (("answer", PLAIN), ("answerAttested", (*PLAIN, b"", False)))
    }
    return names[want.data[:4]]


PLAIN = (REQUEST.words, b"", 1, bytes(32), bytes(32))


def test_open__key_inside_a_tee__signs_the_answer_under_a_key_of_its_own():
    plain, attested = plan(view(outputs=OUTPUT)), plan(view(outputs=OUTPUT, attestations=dict.fromkeys(OUTPUT, SIGNED)))
    assert (sent(plain), sent(attested)) == ("answer", "answerAttested")
    assert attested.wanted[0].key == plain.wanted[0].key + ":0x" + "5" * 40
    assert attested.wanted[0].stake_wei == plain.wanted[0].stake_wei + REQUEST.callback_wei


def test_open__callback_that_does_not_pay__is_answered_at_once_and_left():
    """No price of a callback keeps an attested answer from being final, or makes the node pay for the call."""
    for price, leaves in ((1, True), (SEED.base_fee_wei + 1, False)):
        record = replace(OPEN, request=make_request(callback_gas=100_000, gas_price=price))
        output = {(record.id, SEED.hash): Output(b"yes", 4, b"\x0c" * 32)}
        turns = [record.request.place_of_turn(SEED.hash, turn) for turn in range(10)]
        seats = [seat(n, ME if n == turns[0] else OTHER) for n in range(SEATS)]
        (want,) = plan(view(5, record, outputs=output, attestations=dict.fromkeys(output, SIGNED), seats=seats)).wanted
        words = (record.request.words, b"yes", 4, b"\x0c" * 32, SEED.hash, b"signature", leaves)
        assert want.data == CONTRACTS.oracle.encode("answerAttested", *words)
        assert want.key.endswith(":left") == leaves


def test_open__private_prompt__is_for_those_who_can_read_it():
    request = replace(REQUEST, rules=REQUEST.rules | 1 << 248)
    record = replace(OPEN, request=request)
    seats = [seat(n, ME) for n in range(SEATS)]
    assert plan(view(5, record, seats=seats)) == Plan((), ())
    (job,) = plan(view(5, record, seats=seats, readable=frozenset([record.id]))).work
    assert job.record is record
    output = {(record.id, SEED.hash): Output(b"sealed", 4, bytes(32))}
    unsigned = plan(view(5, record, seats=seats, outputs=output, readable=frozenset([record.id])))
    assert unsigned == Plan((), ()), "nobody would believe it"
    read, signed = frozenset([record.id]), dict.fromkeys(output, SIGNED)
    attested = plan(view(5, record, seats=seats, outputs=output, readable=read, attestations=signed))
    assert sent(attested) == "answerAttested"


def test_open__last_turn_outlives_the_deadline__answer_does_not():
    last = next(turn for turn in range(9, -1, -1) if REQUEST.place_of_turn(SEED.hash, turn) == MINE)
    (want,) = plan(view(last * TURN + 1, outputs=OUTPUT)).wanted
    assert want.deadline == min(START + (last + 1) * TURN, START + 201)


def test_open__answer_on_another_fork__is_another_key():
    other = replace(
        SEED, hash=next(h for h in map(lambda i: bytes([i]) * 32, range(99)) if REQUEST.place_of_turn(h, 0) == MINE)
    )
    found = plan(view(seeds={SEED.number: other}, outputs=OUTPUT))
    assert found == Plan((Compute(OPEN, other),), ())


# -- refunds -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [200, 201, 230])
def test_open__deadline_passed_but_payer_has_time__waits(seconds):
    assert keys(plan(view(seconds))) == []


def test_open__long_expired__refunds_if_switched_on_and_seated():
    assert keys(plan(view(231))) == ["refund"]
    assert keys(plan(view(231), refund_expired=False)) == []
    assert keys(plan(view(231, seats=[]))) == []


# -- watching ------------------------------------------------------------------------------------------------------


def test_answered__own_answer__is_not_checked():
    assert plan(view(20, answered(ME))) == Plan((), ())


@pytest.mark.parametrize(
    ("seconds", "changes"),
    [(70, {}), (20, {"sampled": lambda _: False}), (20, {"seeds": {}})],
    ids=["window over", "not sampled", "no seed"],
)
def test_answered__cannot_or_need_not_be_checked__nothing(seconds, changes):
    assert plan(view(seconds, answered(), **changes)) == Plan((), ())


def test_answered__watching_switched_off__nothing():
    assert plan(view(20, answered()), watch=False) == Plan((), ())


def test_answered__others_answer__is_judged():
    record = answered()
    assert plan(view(20, record)).work == (Judge(record, record.posted, SEED, urgent=False),)


@pytest.mark.parametrize("correct", [True, None])
def test_answered__right_or_unknown__is_left_alone(correct):
    record = answered()
    verdicts = {(record.id, record.posted.answer.hash): Judgement(correct, "")}
    assert plan(view(20, record, verdicts=verdicts)) == Plan((), ())


def test_answered__wrong__is_challenged_with_the_bond_by_the_dispute_key():
    record = answered()
    (want,) = plan(view(20, record, verdicts=wrong(record), disputer=CHALLENGER)).wanted
    assert want.data == CONTRACTS.panel.encode("challenge", record.request.words, record.posted.answer.words)
    assert (want.value_wei, want.deadline, want.urgent, want.by_disputer) == (ETHER // 10, START + 71, True, True)


def test_answered__wrong_but_upheld_by_a_panel__is_left_alone():
    record = replace(answered(), upheld=True)
    assert plan(view(20, record, verdicts=wrong(record))) == Plan((), ())


def test_answered__wrong__others_wait_for_the_first_but_not_beyond_a_quarter_of_the_window():
    record = answered()
    late = view(10 + WINDOW // 4, record, verdicts=wrong(record), seats=[])
    assert keys(plan(replace(late, head=head(10)), stagger_seconds=600)) == []
    assert keys(plan(late, stagger_seconds=600)) == ["challenge"]


# -- finalizing ----------------------------------------------------------------------------------------------------


def test_answered__window_open__is_not_finalized():
    assert keys(plan(view(70, answered(ME)))) == []


def test_answered__own_and_window_over__is_finalized():
    record = answered(ME)
    (want,) = plan(view(71, record)).wanted
    assert want.covers == ((record.id, record.posted.answer.hash),)
    items = [(record.request.words, record.posted.answer.words, b"lies")]
    assert want.data == CONTRACTS.oracle.encode("finalize", items)


def test_answered__already_on_its_way__is_not_finalized_twice():
    record = answered(ME)
    assert keys(plan(view(71, record, batched=frozenset({(record.id, record.posted.answer.hash)})))) == []


def test_answered__many__go_in_batches():
    records = [answered(ME, number=n) for n in range(5)]
    found = plan(view(71, *records), finalize_batch=2)
    assert [len(want.covers) for want in found.wanted] == [2, 2, 1]


def test_answered__callbacks_large__batches_stay_below_the_gas_cap():
    records = [answered(ME, number=n, callback_gas=6_000_000, gas_price=10 * 10**9) for n in range(4)]
    assert [len(want.covers) for want in plan(view(71, *records)).wanted] == [2, 2]


def test_answered__own_callback_that_does_not_pay__is_left():
    """A callback at no price cannot keep the node from its bond; the others go on as ever."""
    poor, rich = (answered(ME, number=n, callback_gas=200_000, gas_price=price) for n, price in ((0, 1), (1, 10**10)))
    wanted = {want.key.split(":")[0]: want for want in plan(view(71, poor, rich)).wanted}
    items = [(poor.request.words, poor.posted.answer.words, b"lies")]
    assert wanted["leaveCallbacks"].data == CONTRACTS.oracle.encode("leaveCallbacks", items)
    assert wanted["finalize"].covers == ((rich.id, rich.posted.answer.hash),)
    assert keys(plan(view(100, replace(poor, posted=answered(LIAR).posted)), watch=False)) == []


def test_answered__too_late_to_leave_a_callback__is_finalized():
    """Or one old answer would make every batch of left callbacks revert."""
    poor = answered(ME, callback_gas=200_000, gas_price=1)
    last = poor.posted.answer.closes_at + 15 * 86_400 - START
    assert keys(plan(view(last, poor))) == ["leaveCallbacks"]
    assert keys(plan(view(last + 1, poor))) == ["finalize"]


def test_left__price_above_twice_the_gas__is_collected_by_one_after_the_other():
    poor, rich = (
        answered(LIAR, number=n, callback_gas=200_000, gas_price=price).left(START + 50)
        for n, price in ((0, 1), (1, 10**10))
    )
    (want,) = plan(view(100, requests=(), left=[poor, rich])).wanted
    item = (rich.request.words, rich.posted.answer.words, b"lies")
    assert want.data == CONTRACTS.oracle.encode("retryCallback", item, 200_000)
    assert (want.key, want.stake_wei) == (f"bounty:{rich.id:064x}", rich.request.callback_wei)
    rank = next(s for s in range(1, 99) if keys(plan(view(50 + s, requests=(), left=[rich]), stagger_seconds=1)))
    assert keys(plan(view(50 + 9 * rank, requests=(), left=[rich]), stagger_seconds=10)) == []
    assert keys(plan(view(50 + 10 * rank, requests=(), left=[rich]), stagger_seconds=10)) == ["bounty"]
    assert keys(plan(view(100, requests=(), left=[rich]), finalize_others=False)) == []
    last = rich.posted.answer.closes_at + 30 * 86_400 - START
    assert keys(plan(view(last, requests=(), left=[rich]))) == ["bounty"]
    assert keys(plan(view(last + 1, requests=(), left=[rich]))) == []


def test_left__base_fee_rose__waits_until_it_pays_again():
    record = answered(LIAR, callback_gas=200_000, gas_price=10**10).left(START + 50)
    dear = replace(view(100, requests=(), left=[record]).head, base_fee_wei=10**10)
    assert keys(plan(view(100, requests=(), left=[record], head=dear))) == []
    assert keys(plan(view(100, requests=(), left=[record]))) == ["bounty"]


def test_answered__few__may_wait_for_company():
    records = [answered(ME, number=n) for n in range(3)]
    assert keys(plan(view(80, *records), finalize_wait_seconds=30)) == []
    assert len(plan(view(101, *records), finalize_wait_seconds=30).wanted) == 1


def test_answered__others_left_it_lying__is_finalized_if_that_pays():
    poor, rich = answered(LIAR), answered(LIAR, number=1, callback_gas=200_000, gas_price=10 * 10**9)
    assert keys(plan(view(100, poor), watch=False)) == []
    assert keys(plan(view(100, rich), watch=False)) == ["finalize"]
    assert keys(plan(view(100, rich), watch=False, finalize_others=False)) == []
    assert keys(plan(view(100, rich), watch=False, stagger_seconds=10)) == []


# -- the panel -----------------------------------------------------------------------------------------------------


def disputed(**changes: object) -> tuple[RequestRecord, dict[object, CaseRecord]]:
    record = replace(answered(), state="disputed")
    case = CaseRecord(
        id=case_id(record.id, 0),
        state="undrawn",
        request=record.id,
        turn=0,
        answer_hash=record.posted.answer.hash,
        challenger=CHALLENGER,
        seed_block=99,
        opened_at=START + 30,
    )
    return record, {record.id: replace(case, **changes)}  # type: ignore[arg-type]


def voting(**changes: object) -> tuple[RequestRecord, dict[object, CaseRecord]]:
    return disputed(**{"state": "voting", "members": (MINE, 77), "commit_ends_at": START + 50, **changes})


def test_undrawn__seed_block_is_the_head__waits():
    record, cases = disputed(seed_block=100)
    assert plan(view(31, record, cases=cases)) == Plan((), ())


def test_undrawn__drawable__challenger_first_then_answerer_then_seats():
    record, cases = disputed()
    assert keys(plan(view(30, record, cases=cases, operator=CHALLENGER), stagger_seconds=10)) == ["draw"]
    answerer = [seat(TURN_SEATS[1], ME)]
    assert keys(plan(view(39, record, cases=cases, seats=answerer), stagger_seconds=10)) == []
    assert keys(plan(view(40, record, cases=cases, seats=answerer), stagger_seconds=10)) == ["draw"]
    assert keys(plan(view(40, record, cases=cases, seats=[]), stagger_seconds=10)) == []
    rest = next(n for n in range(SEATS) if n != TURN_SEATS[1])
    assert keys(plan(view(100, record, cases=cases, seats=[seat(rest, ME)]), stagger_seconds=10)) == ["draw"]


def test_case__about_an_answer_of_another_fork__nothing():
    record, cases = disputed(answer_hash=b"\x99" * 32)
    assert plan(view(31, record, cases=cases)) == Plan((), ())


def test_voting__member__judges_urgently_then_commits():
    record, cases = voting()
    assert plan(view(40, record, cases=cases)).work == (Judge(record, record.posted, SEED, urgent=True),)
    (want,) = plan(view(40, record, cases=cases, verdicts=wrong(record))).wanted
    case = cases[record.id]
    salt = SECRET.salt(case.id, MINE, case.answer_hash)
    sealed = commitment(31337, DEPLOYMENT.panel, case.id, seat=MINE, vote=Vote.WRONG, salt=salt)
    assert want.data == CONTRACTS.panel.encode("commit", case.id, MINE, sealed)
    assert (want.deadline, want.by_disputer) == (START + 51, False)


@pytest.mark.parametrize(
    ("seconds", "changes", "rules"),
    [
        (51, {}, {}),
        (40, {"salt": None}, {}),
        (40, {}, {"vote": False}),
        (40, {"seats": [seat(3 if MINE != 3 else 2, ME)]}, {}),
    ],
    ids=["too late", "no salts", "switched off", "not a member"],
)
def test_voting__cannot_vote__nothing(seconds, changes, rules):
    record, cases = voting()
    assert plan(view(seconds, record, cases=cases, verdicts=wrong(record), **changes), **rules) == Plan((), ())


def test_voting__cannot_tell__does_not_vote():
    record, cases = voting()
    verdicts = {(record.id, record.posted.answer.hash): Judgement(None, "engine lost")}
    assert plan(view(40, record, cases=cases, verdicts=verdicts)) == Plan((), ())


def sealed(record: RequestRecord, cases: dict[object, CaseRecord], vote: Vote) -> dict[int, bytes]:
    case = cases[record.id]
    salt = SECRET.salt(case.id, MINE, case.answer_hash)
    return {MINE: commitment(31337, DEPLOYMENT.panel, case.id, seat=MINE, vote=vote, salt=salt)}


@pytest.mark.parametrize("vote", [Vote.RIGHT, Vote.WRONG])
def test_voting__committed__reveals_what_it_committed_even_without_a_verdict(vote):
    record, cases = voting()
    commitments = sealed(record, cases, vote)
    record, cases = voting(commitments=commitments)
    assert keys(plan(view(50, record, cases=cases))) == []
    (want,) = plan(view(51, record, cases=cases)).wanted
    case = cases[record.id]
    salt = SECRET.salt(case.id, MINE, case.answer_hash)
    assert want.data == CONTRACTS.panel.encode("reveal", case.id, MINE, int(vote), salt)
    assert want.deadline == START + 50 + REVEAL + 1


def test_voting__committed_by_another_key__is_not_revealed():
    record, cases = voting(commitments={MINE: b"\x55" * 32})
    assert keys(plan(view(51, record, cases=cases))) == []


def test_voting__all_revealed__decides_at_once():
    record, cases = voting(votes={MINE: Vote.WRONG, 77: Vote.WRONG}, voted_at=START + 52)
    assert keys(plan(view(52, record, cases=cases))) == ["decide"]


def test_voting__votes_missing__decides_when_revealing_is_over():
    record, cases = voting()
    assert keys(plan(view(50 + REVEAL, record, cases=cases))) == []
    assert keys(plan(view(51 + REVEAL, record, cases=cases))) == ["decide"]


# -- seats, order, purity ------------------------------------------------------------------------------------------


def test_seat__joining_and_due__is_activated():
    seats = [seat(7, ME, "joining", START + 10), seat(8, OTHER, "joining", START)]
    assert keys(plan(view(9, seats=seats))) == []
    (want,) = plan(view(10, seats=seats)).wanted
    assert want.data == CONTRACTS.oracle.encode("activate", SERVICE, 7)


def test_work__many_kinds__votes_before_turns_before_watching():
    vote, cases = voting()
    watched = answered(number=8)
    mine = next(
        record
        for n in range(20, 99)
        if (record := replace(OPEN, request=make_request(n))).request.place_of_turn(SEED.hash, 2) == MINE
    )
    found = plan(view(45, watched, mine, vote, cases=cases)).work
    assert [type(item).__name__ for item in found] == ["Judge", "Compute", "Judge"]
    assert found[0].urgent
    assert not found[2].urgent


@settings(deadline=None)
@given(seconds=st.integers(0, 400), number=st.integers(0, 200), mine=st.sets(st.integers(0, SEATS - 1)))
def test_plan__any_moment__is_repeatable_and_never_wants_one_key_twice(seconds, number, mine):
    case_record, cases = voting()
    records = [OPEN, answered(ME, number=1), answered(number=2), replace(case_record, request=case_record.request)]
    seen = view(
        0,
        *records,
        cases=cases,
        head=head(seconds, number),
        seats=[seat(n, ME if n in mine else OTHER) for n in range(SEATS)],
        outputs=OUTPUT,
        verdicts={**wrong(answered(number=2)), **wrong(case_record)},
    )
    found = plan(seen)
    assert found == plan(seen)
    assert len({want.key for want in found.wanted}) == len(found.wanted)
    assert all(isinstance(want, Wanted) and want.stake_wei > 0 for want in found.wanted)
    assert all(want.deadline is None or want.deadline > seen.head.timestamp for want in found.wanted)
