"""Past answers, run again from the chain alone: `didyma verify` and what it rests on.

The engine is made of bytes here, the service judged by a panel with tolerance; the exact engine's answers are verified
in test_games.py, llama.cpp's in test_verify_services.py. Liars' answers become final because nobody watches.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from e2e.world import DAPP, World, by_panel, world
from rig import asking
from rig.fake_engine import STOP, FakeEngine
from typer.testing import CliRunner
from web3 import HTTPProvider, Web3

from oracle.chain import headers
from oracle.cli import app
from oracle.cli import verify as command
from oracle.client import OracleClient, verify
from oracle.client.verify import Difference, Verdict
from oracle.engines.base import Completion, Params, TokenId
from oracle.errors import BadModelFile, EngineCrashed, Refused, UnknownHeader
from oracle.ids import RequestId
from oracle.merkle.tokens import tokens_root
from oracle.models.manifest import Manifest
from oracle.models.store import ModelStore

FILE = b"a model made of bytes " * 50
MANIFEST = Manifest(
    "fake \x1b[31m", hashlib.sha256(FILE).digest(), len(FILE), "hf:some/where", 8192, (), (), (256,), 63
)
PROMPT = b"is water wet?"
WARM = 1 << 16
"""Temperature 1."""


class BytesEngine(FakeEngine):
    """As promised by `Params`, its greedy answers need no seed."""

    @staticmethod
    def _answer(prompt: Any, params: Params) -> Any:
        return FakeEngine._answer(prompt, params if params.temperature else replace(params, seed=bytes(32)))


@pytest.fixture(scope="module")
def built() -> Iterator[World]:
    with world(MANIFEST, by_panel) as made:
        yield made


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    """Without a manifest: the registry has it."""
    models = ModelStore(tmp_path / "models")
    models.file_path(MANIFEST.file_sha256).parent.mkdir(parents=True)
    models.file_path(MANIFEST.file_sha256).write_bytes(FILE)
    return models


@pytest.fixture
def run(earth: World, store: ModelStore) -> Callable[..., verify.Checked]:
    """Verifies with an engine of bytes."""

    def verified(request: int, client: OracleClient | None = None, engine: Any = None, **options: Any) -> Any:
        options = {"make": lambda setup, on_progress: engine or BytesEngine(), **options}
        return verify.verify(client or earth.client, RequestId(request), store, **options)

    return verified


def honest(earth: World, request: RequestId) -> Completion:
    asked = earth.request(request)
    seed = earth.client.w3.eth.get_block(asked.seed_block)
    engine = BytesEngine()
    return engine.generate(engine.tokenize(PROMPT), asked.engine_params(bytes(seed["mixHash"]), PROMPT))


def lie(text: bytes) -> Completion:
    tokens = (*(TokenId(byte) for byte in text), STOP)
    return Completion(tokens, text, tokens_root(tokens))


def answered(earth: World, given: Completion | None = None, *, is_final: bool = True, **params: Any) -> RequestId:
    """A request with an answer; the honest one if none is given."""
    request = earth.ask(PROMPT, **params)
    earth.chain.mine(3)
    completion = honest(earth, request) if given is None else given
    posted = asking.answer(earth, request, completion)
    if is_final:
        asking.finalize(earth, request, posted, completion.text)
    return request


# VERDICTS


def test_verify__final_answer_of_a_panel_s_service__lies_within_tolerance(earth, run):
    found = run(answered(earth))
    assert (found.verdict, found.engine, found.difference, found.remarks) == (
        Verdict.WITHIN_TOLERANCE, "llama.cpp", None, (),
    )  # fmt: skip
    assert found.model == MANIFEST


@pytest.mark.parametrize("kept", [0, 3])
def test_verify__lie_that_nobody_challenged__is_wrong_and_its_first_token_named(earth, run, kept):
    request = earth.ask(PROMPT)
    earth.chain.mine(3)
    right = honest(earth, request)
    false = lie(right.text[:kept] + b"?" + right.text[kept + 1 :])
    asking.finalize(earth, request, asking.answer(earth, request, false), false.text)
    found = run(request)
    assert found.verdict is Verdict.WRONG
    assert found.difference == Difference(kept, b"?", right.text[kept : kept + 1])
    assert found.expected == right.text


def test_verify__lie_whose_tokens_nobody_can_tell__is_wrong_where_the_texts_part(earth, run):
    class Unread(BytesEngine):
        def recover(self, *about: Any) -> None:
            return None

    request = answered(earth, lie(b"lies"))
    found = run(request, engine=Unread())
    right = honest(earth, request).text
    assert (found.verdict, found.difference) == (Verdict.WRONG, Difference(0, b"lies", right[:1]))


def test_verify__sampled_answer__is_judged_by_the_seed_in_the_header(earth, run):
    request = answered(earth, temperature=WARM)
    assert run(request).verdict is Verdict.WITHIN_TOLERANCE
    other = answered(earth, honest(earth, request), temperature=WARM)  # right for another seed
    assert run(other).verdict is Verdict.WRONG


def test_verify__answer_that_is_not_final__is_judged_and_said_to_be_open(earth, run):
    found = run(answered(earth, is_final=False))
    assert found.verdict is Verdict.WITHIN_TOLERANCE
    assert "not final yet" in found.remarks[0]


# NOT CHECKABLE, AND WHY


def test_verify__unknown_request__is_refused(earth, run):
    with pytest.raises(Refused, match="was made on this deployment"):
        run((1 << 256) - 1)


def test_verify__open_request__has_nothing_to_check(earth, run):
    with pytest.raises(Refused, match="nobody has answered yet"):
        run(earth.ask(PROMPT))


def test_verify__refunded_or_cancelled__says_so(earth, run):
    cancelled = earth.ask(PROMPT)
    earth.act(DAPP, "cancel", earth.request(cancelled).words)
    with pytest.raises(Refused, match="was cancelled"):
        run(cancelled)
    refunded = earth.ask(PROMPT, lifetime=50)
    asking.pass_until(earth, earth.request(refunded).deadline + 1)
    earth.act(DAPP, "refund", earth.request(refunded).words)
    with pytest.raises(Refused, match="was refunded"):
        run(refunded)


def test_verify__turn_in_which_nobody_answered__names_those_that_were(earth, run):
    request = answered(earth)
    turn = asking.said(earth, request, "AnswerPosted")[0]["answer"]["head"] & 0xFFFFFFFF
    assert run(request, turn=turn).verdict is Verdict.WITHIN_TOLERANCE
    with pytest.raises(Refused, match=f"given in turns: {turn}"):
        run(request, turn=turn + 1)


def test_verify__model_not_here__is_named_with_its_digest_and_taken_from_a_file(earth, run, store, tmp_path):
    request = answered(earth)
    store.file_path(MANIFEST.file_sha256).unlink()
    with pytest.raises(Refused, match=f"{MANIFEST.file_sha256.hex()}.*didyma model add.*hf:some/where"):
        run(request)
    elsewhere = tmp_path / "elsewhere.gguf"
    with pytest.raises(Refused, match="no such file"):
        run(request, file=elsewhere)
    elsewhere.write_bytes(FILE[:-1] + b"?")
    with pytest.raises(BadModelFile):
        run(request, file=elsewhere)
    elsewhere.write_bytes(FILE)
    assert run(request, file=elsewhere).verdict is Verdict.WITHIN_TOLERANCE


def test_verify__llama_cpp_missing__says_how_to_install_it(earth, run, monkeypatch):
    monkeypatch.setattr(verify, "find_spec", lambda name: None)
    with pytest.raises(Refused, match=r"didyma\[llamacpp\]"):
        run(answered(earth))


def test_verify__engine_dies_each_time__is_no_verdict(earth, run, monkeypatch):
    monkeypatch.setattr(verify, "PAUSE_SECONDS", 0)

    class Dying(BytesEngine):
        def check(self, *about: Any) -> Any:
            raise EngineCrashed("killed by SIGSEGV")

    with pytest.raises(Refused, match=r"does not work on this machine.*SIGSEGV"):
        run(answered(earth), engine=Dying())


# ENDPOINTS THAT FORGET, AND THAT LIE


class Altered(HTTPProvider):
    """Changes what an endpoint answers to one method."""

    def __init__(self, url: str, method: str, change: Callable[[Any], Any]) -> None:
        super().__init__(url)
        self._altered, self._change = method, change

    def make_request(self, method: Any, params: Any) -> Any:
        reply = super().make_request(method, params)
        return {**reply, "result": self._change(reply["result"])} if method == self._altered else reply


def through(earth: World, method: str, change: Callable[[Any], Any]) -> OracleClient:
    return OracleClient(Web3(Altered(earth.chain.url, method, change)), earth.deployment, DAPP.address)


def without(earth: World, event: str) -> OracleClient:
    """An endpoint that has forgotten all events of one kind."""
    forgotten = topic(earth, event)
    return through(earth, "eth_getLogs", lambda logs: [log for log in logs if log["topics"][0] != forgotten])


def topic(earth: World, event: str) -> str:
    contract = earth.client.registry if event == "ModelRegistered" else earth.client.oracle
    return Web3.to_hex(Web3.keccak(text=contract.events[event]().signature))


def test_verify__endpoint_without_the_request_s_events__is_told_apart_from_no_request(earth, run):
    request = answered(earth)
    with pytest.raises(Refused, match="keeps history"):
        run(request, without(earth, "RequestPosted"))


def test_verify__endpoint_without_the_service_s_or_the_model_s_event__is_refused(earth, run):
    request = answered(earth)
    with pytest.raises(Refused, match="no service"):
        run(request, without(earth, "ServiceCreated"))
    with pytest.raises(Refused, match="forgotten its registration"):
        run(request, without(earth, "ModelRegistered"))


def test_verify__header_pruned__matters_to_sampled_answers_alone(earth, run):
    pruned = through(earth, "eth_getBlockByHash", lambda block: None)
    assert run(answered(earth), pruned).verdict is Verdict.WITHIN_TOLERANCE
    with pytest.raises(Refused, match="does not have the header of block"):
        run(answered(earth, temperature=WARM), pruned)


@pytest.mark.parametrize(
    "change",
    [
        lambda block: {**block, "mixHash": "0x" + "77" * 32},
        lambda block: {**block, "number": hex(int(block["number"], 16) + 1)},
        lambda block: {**block, "hash": "0x" + "55" * 32, "mixHash": "0x" + "55" * 32},
        lambda block: {"hash": block["hash"]},
        lambda block: {**block, "mixHash": "zz"},
    ],
)
def test_verify__endpoint_lies_about_the_header__is_noticed(earth, run, change):
    request = answered(earth, temperature=WARM)
    with pytest.raises(Refused, match="contradicts itself"):
        run(request, through(earth, "eth_getBlockByHash", change))


def test_verify__headers_of_another_layout__the_seed_is_the_endpoint_s_word(earth, run, monkeypatch):
    def unknown(block: Any) -> bytes:
        raise UnknownHeader("another layout")

    request = answered(earth, temperature=WARM)
    monkeypatch.setattr(headers, "encode", unknown)
    found = run(request)
    assert found.verdict is Verdict.WITHIN_TOLERANCE
    assert "endpoint's word" in found.remarks[0]


def words_of(data: str) -> list[str]:
    return [data[2:][at : at + 64] for at in range(0, len(data) - 2, 64)]


def altered_word(log: Any, index: int) -> Any:
    """With one bit of a word of its data changed: the first of bytes at the left, the last of numbers."""
    words = words_of(log["data"])
    bit = 0 if words[index].startswith("00") else 248
    words[index] = f"{int(words[index], 16) ^ 1 << bit:064x}"
    return {**log, "data": "0x" + "".join(words)}


@pytest.mark.parametrize(
    ("event", "word", "says"),
    [
        ("RequestPosted", 1, "does not hash to that id"),  # the hash of the prompt, in the request
        ("RequestPosted", 3, "does not hash to that id"),  # its rules
        ("RequestPosted", 7, "the prompt does not hash"),
        ("AnswerPosted", 0, "does not hold the answer"),  # its turn
        ("AnswerPosted", 1, "does not hash to what its answer says"),  # the output's hash
        ("AnswerPosted", 2, "does not hold the answer"),  # the tokens' root
        ("AnswerPosted", 6, "does not hash to what its answer says"),  # the output
        ("ServiceCreated", 6, "do not hash to its id"),
        ("ModelRegistered", 2, "does not hash to the model's id"),
    ],
)
def test_verify__endpoint_lies_about_a_log__is_noticed(earth, run, event, word, says):
    request, lied_about = answered(earth), topic(earth, event)

    def change(logs: Any) -> Any:
        return [altered_word(log, word) if log["topics"][0] == lied_about else log for log in logs]

    with pytest.raises(Refused, match=says):
        run(request, through(earth, "eth_getLogs", change))


def test_verify__endpoint_adds_another_request_s_answer__is_left_out(earth, run):
    other, request = answered(earth, lie(b"lies")), answered(earth)
    strangers = earth.chain.rpc("eth_getLogs", {"fromBlock": "0x0", "topics": [None, f"0x{other:064x}"]})
    adding = through(earth, "eth_getLogs", lambda logs: [*logs, *strangers])
    assert run(request, adding).verdict is Verdict.WITHIN_TOLERANCE


@pytest.mark.parametrize("junk", ["0x", "0x01", "0x" + "ff" * 320])
def test_verify__endpoint_answers_with_junk__is_refused(earth, run, junk):
    request = answered(earth)
    client = through(earth, "eth_getLogs", lambda logs: [{**log, "data": junk} for log in logs])
    with pytest.raises(Refused):
        run(request, client)


# THE COMMAND


@pytest.fixture
def cli(earth: World, store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    earth.deployment.save(tmp_path / "deployment.json")
    own = verify.verify
    fake = {"make": lambda setup, on_progress: BytesEngine()}
    monkeypatch.setattr(command, "run_again", lambda *about, **options: own(*about, **options, **fake))

    def verified(identity: str, *more: str) -> Any:
        where = ["--rpc-url", earth.chain.url, "--deployment", str(tmp_path / "deployment.json")]
        return CliRunner().invoke(app, ["verify", "--store", str(store.root), *where, *more, "--", identity])

    return verified


def test_command__right_wrong_or_not_checkable__exit_statuses_tell(earth, cli):
    right, wrong, still_open = answered(earth), answered(earth, lie(b"lies")), earth.ask(PROMPT, lifetime=400)
    for request, status, verdict in ((right, 0, "within tolerance"), (wrong, 3, "wrong"), (still_open, 4, None)):
        done = cli(f"{request:#066x}")
        assert done.exit_code == status, done.output
        told = json.loads(cli(f"{request:#066x}", "--json").stdout)
        assert told["verdict"] == (verdict or "not checkable")
        assert told["request"] == f"{request:#066x}"
    assert "first differs at token 0: 'l' where the model says" in cli(f"{wrong:#066x}").output
    assert json.loads(cli(f"{wrong:#066x}", "--json").stdout)["first_difference"]["position"] == 0


def test_command__output_full_of_escape_codes__shows_none(earth, cli):
    request = answered(earth, max_tokens=64, given=lie(b"\x1b[2J\x1b]0;owned\x07\x9b31m\xe2\x80\xaethgir\r\n[bold]"))
    done = cli(f"{request:#066x}")
    assert done.exit_code == 3
    assert not {"\x1b", "\x07", "\x9b", "\u202e", "\r"} & set(done.output)
    assert "[bold]" in done.output
    assert "fake \\x1b[31m" in done.output


@pytest.mark.parametrize(
    "identity", ["", "7", "-1", "0x", "0x" + "f" * 63, "0x" + "f" * 65, "f" * 500, "0xzz", "\x1b[2J"]
)
def test_command__no_id__is_a_mistake_and_no_verdict(cli, identity):
    done = cli(identity)
    assert done.exit_code == 1, done.output
    assert "is not an id" in done.output.replace("\n", " ")
    assert "\x1b" not in done.output


def test_command__largest_id__is_not_checkable(cli):
    assert cli("0x" + "f" * 64).exit_code == 4


def test_command__endpoint_gone__is_no_verdict(cli):
    done = cli("0x" + "f" * 64, "--rpc-url", "http://127.0.0.1:1")
    assert done.exit_code == 1, done.output


def test_command__help__documents_the_statuses(cli):
    said = CliRunner().invoke(app, ["verify", "--help"]).output
    for status in ("0 right", "3 wrong", "4 not checkable"):
        assert status in " ".join(said.replace("│", " ").split())
