"""Running a past answer again, from the chain's data and the model's file alone.

The data are events and one block header, no state: any endpoint that keeps history still has them years later.
What hashes can check is checked: request, prompt, output, terms, manifest, model file, and for sampled answers the
header that gave the seed. Which answer was posted, and that it became final, is the endpoint's word; the contract is
asked too, through the same endpoint. To rely on no single endpoint, ask two.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from web3.exceptions import Web3Exception
from web3.types import RPCEndpoint

from oracle.chain import headers
from oracle.chain.requests import Ruling
from oracle.chain.services import PanelTerms, Terms
from oracle.chain.types import parse_bytes, parse_int
from oracle.client.client import OracleClient, contradiction
from oracle.client.life import Given, Life, told
from oracle.client.typed import type_asked
from oracle.engines.answer_types import Choice, asks_for_choice
from oracle.engines.base import Completion, Engine, Params, TokenId
from oracle.engines.choice import engine_setup
from oracle.engines.judging import Finding, Posted, judge
from oracle.engines.llama_settings import LlamaSettings
from oracle.engines.worker import Limits, OnProgress, WorkerEngine, WorkerSetup, ignore_progress
from oracle.errors import OracleError, Refused, RpcRefused, Transient, UnknownHeader
from oracle.ids import ModelId, RequestId, ServiceId
from oracle.models.files import ModelFile
from oracle.models.manifest import Manifest
from oracle.models.store import ModelStore

DAY = 86_400
TRIES, PAUSE_SECONDS = 3, 2.0
"""Of an engine that dies."""
T = TypeVar("T")


class Verdict(Enum):
    RIGHT = "right"
    WITHIN_TOLERANCE = "within tolerance"
    """Of a panel's service: right as far as anybody can tell."""
    WRONG = "wrong"


@dataclass(frozen=True)
class Difference:
    """Where a wrong answer leaves the model's."""

    position: int
    """Index of the first output token that differs."""
    given: bytes
    """What the answer's token spells; for answers whose tokens cannot be recovered, its text from there on."""
    expected: bytes | None
    """What the model's spells; None where that cannot be told."""


@dataclass(frozen=True)
class Checked:
    """What came of running an answer again."""

    verdict: Verdict
    reason: str
    life: Life
    given: Given
    model: Manifest
    engine: str
    """What computed it: "exact" or "llama.cpp"."""
    difference: Difference | None
    expected: bytes | None
    """The model's own output, where the answer is wrong."""
    choices: Mapping[tuple[int, ...], bytes]
    """Of a choice, the rows of token ids and what each spells; else empty."""
    remarks: tuple[str, ...]
    """What could not be checked by hashes, and what the reader should know."""


Make = Callable[[WorkerSetup, OnProgress], Engine]


def in_worker(setup: WorkerSetup, on_progress: OnProgress) -> Engine:
    """A model file is a stranger's: its engine runs in a sandboxed process, however long it takes."""
    return WorkerEngine(setup, Limits(job=30 * DAY, load=DAY), on_progress)


def verify(
    client: OracleClient,
    request_id: RequestId,
    store: ModelStore,
    *,
    turn: int | None = None,
    file: Path | None = None,
    threads: int | None = None,
    on_progress: OnProgress = ignore_progress,
    make: Make = in_worker,
) -> Checked:
    """Judges the answer that stands, or the one of `turn`.

    file: the model's, where the store lacks it. Raises Refused where it cannot be judged: there is no such answer, it
    is private, the endpoint has forgotten or contradicts itself, the model or its engine is not here.
    """
    life = _life(client, request_id)
    if life.request.is_private:
        raise Refused(
            "prompt and answer are private: they are sealed to keys inside TEEs and to the asker, and the chain holds "
            "nothing that could be run again"
        )
    given = _chosen(life, turn)
    remarks = list(_standing(client, life, given))
    terms = Terms(*client.terms(ServiceId(life.request.service)).values())
    manifest = _manifest(client, store, terms.model)
    path = _file(store, manifest, file)
    panel = _judged(client, terms)
    is_exact = panel is None or panel.exact
    llama = LlamaSettings() if threads is None else LlamaSettings(threads=threads)
    setup = engine_setup(manifest, path, None if panel is None else panel.tolerance, llama, threads=threads)
    params = life.request.engine_params(_prev_randao(client, life, given, remarks), life.prompt)
    engine = make(setup, on_progress)
    posted = Posted(given.output, given.answer.token_count, given.answer.tokens_root)
    try:
        finding = patiently(lambda: judge(engine, life.prompt, posted, params))
        if finding.correct is None:
            raise Refused(f"the engine cannot tell: {finding.reason}")
        own = None if finding.correct else patiently(lambda: _own(engine, life.prompt, params))
        difference = None if finding.correct else _difference(engine, finding, own, given.output, params)
        choices = _choices(engine, life, manifest)
    finally:
        engine.close()
    right = Verdict.RIGHT if is_exact else Verdict.WITHIN_TOLERANCE
    return Checked(
        verdict=right if finding.correct else Verdict.WRONG,
        reason=finding.reason,
        life=life,
        given=given,
        model=manifest,
        engine="exact" if is_exact else "llama.cpp",
        difference=difference,
        expected=None if own is None else own.text,
        choices=choices,
        remarks=tuple(remarks),
    )


def _life(client: OracleClient, request_id: RequestId) -> Life:
    events = client.events_about(request_id)
    if not any(event["event"] == "RequestPosted" for event in events):
        if client.oracle.functions.statusOf(request_id).call():
            raise Refused(
                f"the endpoint has forgotten the events of request {request_id:#066x}, which the contract knows: use "
                "an endpoint that keeps history"
            )
        raise Refused(f"no request {request_id:#066x} was made on this deployment")
    return told(request_id, events)


def _chosen(life: Life, turn: int | None) -> Given:
    if turn is not None:
        found = [given for given in life.answers if given.answer.turn == turn]
        if not found:
            turns = ", ".join(str(given.answer.turn) for given in life.answers) or "none"
            raise Refused(f"nobody answered in turn {turn}; answers were given in turns: {turns}")
        return found[-1]
    if life.standing is None or life.state in ("refunded", "cancelled"):
        state = {"open": "nobody has answered yet"}.get(
            life.state, f"it was {life.state}, nobody's answer became final"
        )
        rejected = "; --turn checks one that was rejected" if life.answers else ""
        raise Refused(f"the request has no answer that stands: {state}{rejected}")
    return life.standing


def _standing(client: OracleClient, life: Life, given: Given) -> Iterator[str]:
    """Remarks about what the answer's word is worth. Raises Refused where contract and events contradict each other."""
    if given.ruling in (Ruling.REJECTED, Ruling.ANNULLED):
        yield f"this answer did not stand: it was {given.ruling.name.lower()}"
    elif life.state != "final":
        yield "this answer is not final yet: while its window is open, whoever finds it wrong may challenge it"
    else:
        try:
            is_final = client.oracle.functions.isFinal(life.id, given.answer.words).call()
        except (Web3Exception, OracleError) as error:
            yield f"the contract could not be asked whether this is the final answer: {error}"
            return
        if not is_final:
            raise contradiction("the contract does not hold the answer that the event of its posting says")


def _manifest(client: OracleClient, store: ModelStore, model: ModelId) -> Manifest:
    """The store's, or the registry's. Raises Refused."""
    known = [manifest for manifest in store.manifests() if manifest.model_id == model]
    if known:
        return known[0]
    registered = client.history(client.registry.events.ModelRegistered(), model=model)
    if not registered:
        raise Refused(
            f"model 0x{model.hex()} is not in {store.root}, and the endpoint has forgotten its registration: "
            "`didyma model add` takes its file and manifest"
        )
    manifest = Manifest.from_abi(registered[0]["args"]["manifest"])
    if manifest.model_id != model:
        raise contradiction("the registered manifest does not hash to the model's id")
    return manifest


def _file(store: ModelStore, manifest: Manifest, file: Path | None) -> Path:
    """Raises Refused."""
    path = store.file_path(manifest.file_sha256) if file is None else file
    if not path.is_file():
        if file is not None:
            raise Refused(f"no such file: {file}")
        source = f" It is said to be at {manifest.uri}" if manifest.uri else ""
        raise Refused(
            f"the file of model {manifest.name!r} is not in {store.root}: {manifest.file_bytes:,} bytes, SHA-256 "
            f"{manifest.file_sha256.hex()}. Name it with --file, or add it with `didyma model add`.{source}"
        )
    ModelFile.of(manifest, path).verify()
    return path


def _judged(client: OracleClient, terms: Terms) -> PanelTerms | None:
    """The terms of the panel that judges the service; None where the dispute game does. Raises Refused."""
    if terms.arbiter == client.deployment.game:
        return None
    if terms.arbiter != client.deployment.panel:
        raise Refused(f"the service is judged by {terms.arbiter}, which is not of this deployment")
    panel = PanelTerms.decoded(terms.arbiter_terms)
    if not panel.exact and find_spec("llama_cpp") is None:
        raise Refused(
            "this service answers with llama.cpp, which is not installed here: `pip install 'didyma[llamacpp]'`"
        )
    return panel


def _prev_randao(client: OracleClient, life: Life, given: Given, remarks: list[str]) -> bytes:
    """What the seed was drawn from; anything where nothing is sampled. Raises Refused."""
    if life.request.temperature == 0:
        return bytes(32)
    wanted = given.answer.seed_block_hash
    block = _raw_block(client, "eth_getBlockByHash", "0x" + wanted.hex())
    if block is None:
        raise Refused(
            f"the answer was sampled, and the endpoint does not have the header of block {life.request.seed_block:,} "
            f"(0x{wanted.hex()}), which gave the seed: use an endpoint that keeps history"
        )
    if not _hashes(block, wanted):
        latest = _raw_block(client, "eth_getBlockByNumber", "latest")
        if latest is not None and _hashes(latest):
            raise contradiction(f"the header of block 0x{wanted.hex()} does not hash to that")
        remarks.append(
            "headers of this chain hash in a way that this version does not know: the seed is the endpoint's word"
        )
    try:
        number, randao = parse_int(block["number"]), parse_bytes(block["mixHash"], 32)
    except (KeyError, ValueError):
        raise contradiction(f"block 0x{wanted.hex()} has no number and mixHash") from None
    if number != life.request.seed_block:
        raise contradiction(f"block 0x{wanted.hex()} is not number {life.request.seed_block:,}")
    return randao


def _hashes(block: Mapping[str, Any], wanted: bytes | None = None) -> bool:
    """Whether a header hashes to its hash. wanted: what that must be."""
    try:
        headers.encode(block if wanted is None else {**block, "hash": "0x" + wanted.hex()})
    except (UnknownHeader, KeyError, ValueError):
        return False
    return True


def _raw_block(client: OracleClient, method: str, which: str) -> Mapping[str, Any] | None:
    """As the endpoint writes it; None if it does not have it."""
    try:
        block = client.w3.provider.make_request(RPCEndpoint(method), [which, False]).get("result")
    except RpcRefused:  # some say so instead of null
        return None
    return block if isinstance(block, Mapping) else None


def _own(engine: Engine, prompt: bytes, params: Params) -> Completion | None:
    """What the model answers; None where the prompt has no answer."""
    try:
        return engine.generate(engine.tokenize(prompt), params)
    except Refused:
        return None


def _choices(engine: Engine, life: Life, manifest: Manifest) -> dict[tuple[int, ...], bytes]:
    kind = type_asked(life.prompt, manifest, life.request.max_tokens)
    rows = kind.rows if isinstance(kind, Choice) else ()
    return {row: engine.detokenize([TokenId(token) for token in row]) for row in rows}


def _difference(
    engine: Engine, finding: Finding, own: Completion | None, output: bytes, params: Params
) -> Difference | None:
    """Where the answer leaves the model's. None where the two cannot be compared, or differ in no token."""
    if asks_for_choice(params.answer_type) and (own is None or finding.tokens in (None, own.tokens)):
        return None  # tokens do not spell a choice
    if finding.tokens is not None and finding.position is not None:
        position = finding.position
        given = engine.detokenize(finding.tokens[position : position + 1])
        agreed = own is not None and own.tokens[:position] == finding.tokens[:position]
        expected = engine.detokenize(own.tokens[position : position + 1]) if own is not None and agreed else None
        return Difference(position, given, expected)
    if own is None:
        return None
    spelled = b""
    for position, token in enumerate(own.tokens):
        piece = engine.detokenize([token])
        if not output.startswith(spelled + piece):
            return Difference(position, output[len(spelled) :], piece)
        spelled += piece
    return None if spelled == output else Difference(len(own.tokens), output[len(spelled) :], b"")


def patiently(work: Callable[[], T], sleep: Callable[[float], None] = time.sleep) -> T:
    """Tries again what an engine died of. Raises Refused."""
    for _ in range(TRIES - 1):
        try:
            return work()
        except Transient:
            sleep(PAUSE_SECONDS)
    try:
        return work()
    except Transient as error:
        raise Refused(f"the engine does not work on this machine: {error}") from None
