"""Packed requests and answers: the Python mirror against the contract, and the draw, seed and case against Solidity."""

from collections.abc import Iterator

import pytest
from eth_abi.abi import encode
from eth_account import Account
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rig.anvil import CHAIN_ID, KEYS, anvil

from oracle.chain import wiring
from oracle.chain.deployment import Deployment
from oracle.chain.requests import Answer, Request, Round, Vote, case_id, commitment
from oracle.client import OracleClient

word = st.integers(0, 2**256 - 1)
bytes32 = st.binary(min_size=32, max_size=32)
requests = st.builds(Request, bytes32, bytes32, word, word, word)
answers = st.builds(Answer, st.integers(0, 2**120 - 1), bytes32, bytes32, bytes32)
on_chain = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def client() -> Iterator[OracleClient]:
    with anvil(mining=True) as chain:
        zero = to_checksum_address("0x" + "00" * 20)
        w3 = chain.w3()
        account = Account.from_key(KEYS[0])
        deployer = OracleClient(w3, Deployment(CHAIN_ID, 0, zero, zero, zero, zero, zero), account)
        names = ("ModelRegistry", "Seats", "Oracle", "Lens", "PanelArbiter")
        made = wiring.deploy(
            lambda name, arguments: deployer.deploy(name, *arguments).address, {"block_millis": 1_000}, names
        )
        registry, seats, oracle, lens, panel = (made[name] for name in names)
        yield OracleClient(w3, Deployment(CHAIN_ID, 1, registry, oracle, seats, lens, panel), account)


@on_chain
@given(request=requests)
def test_request__any_words__reads_apart_as_the_contract_does(client, request):
    f = client.lens.functions.unpackRequest(request.words).call()
    service, prompt_hash, payer, block, turn, window, seats, fee, token_price, bond, params = f
    assert (service, prompt_hash) == (request.service, request.prompt_hash)
    assert payer == to_checksum_address(request.payer)
    assert (block, turn, window) == (request.block_number, request.turn_seconds, request.window_seconds)
    assert (seats, fee, token_price, bond) == (
        request.seat_count,
        request.fee_wei,
        request.token_price_wei,
        request.bond_wei,
    )
    assert params == (
        request.max_tokens,
        request.temperature,
        request.cutoff,
        request.callback_gas,
        request.callback_gas_price_wei,
        request.deadline,
        request.value_finney,
        request.is_private,
    )


@on_chain
@given(request=requests)
def test_request__any_words__has_the_contract_s_id(client, request):
    assert client.lens.functions.idOf(request.words).call() == request.id


@on_chain
@given(answer=answers)
def test_answer__any_words__reads_apart_as_the_contract_does(client, answer):
    turn, seat, closes_at, count, output_hash, root, seed = client.lens.functions.unpackAnswer(answer.words).call()
    assert (turn, seat, closes_at, count) == (answer.turn, answer.seat, answer.closes_at, answer.token_count)
    assert (output_hash, root, seed) == (answer.output_hash, answer.tokens_root, answer.seed_block_hash)


@on_chain
@given(
    request=word, turn=st.integers(0, 2**32 - 1), seat=st.integers(0, 1023), vote=st.sampled_from(Vote), salt=bytes32
)
def test_case__any_request_and_turn__has_the_contract_s_id_and_commitment(client, request, turn, seat, vote, salt):
    case = case_id(request, turn)
    assert client.panel.functions.caseIdOf(request, turn).call() == case
    expected = client.panel.functions.commitmentOf(case, seat, int(vote), salt).call()
    assert commitment(CHAIN_ID, client.panel.address, case, seat=seat, vote=vote, salt=salt) == expected


@given(request=requests, answer=answers)
def test_json__any_words__come_back(request, answer):
    assert Request.from_json(request.to_json()) == request
    assert Answer.from_json(answer.to_json()) == answer


@given(request=requests, randao=bytes32)
def test_seed__any_request__is_the_hash_of_id_and_randao(request, randao):
    assert request.seed(randao) == keccak(encode(["uint256", "bytes32"], [request.id, randao]))


@given(
    first=st.integers(0, 1000),
    starts=st.integers(0, 2**40),
    elapsed=st.integers(0, 10**6),
    seconds=st.integers(1, 10**5),
)
def test_round__any_time__lies_within_its_turn(first, starts, elapsed, seconds):
    turns = Round(first, starts)
    turn = turns.turn(starts + elapsed, seconds)
    assert turns.ends_at(turn - 1, seconds) <= starts + elapsed < turns.ends_at(turn, seconds)
    assert turn >= first
