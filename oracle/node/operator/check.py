"""What `didyma node check` compares before a node runs: chain, contracts, keys, money, models, engines, one answer."""

import asyncio
import hashlib
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from eth_utils.crypto import keccak

from oracle.attestation.identity import measurement_id, platform_id
from oracle.chain.contracts import Contracts
from oracle.chain.deployment import Deployment
from oracle.chain.keys import Signer
from oracle.chain.promises import measured
from oracle.chain.reader import Reader
from oracle.chain.rpc import Rpc
from oracle.chain.services import Terms
from oracle.chain.types import Block
from oracle.chain.units import ETHER
from oracle.disputes import recomputed
from oracle.engines.base import Engine, Params
from oracle.engines.exact.text_prompts import text_prompt
from oracle.errors import BadSettings, OracleError
from oracle.models.download import OnBytes, ignore_bytes
from oracle.models.store import ModelStore
from oracle.node.assembly import check_services, load_signers, make_rpc, tee_of
from oracle.node.clock import disagreement
from oracle.node.engines import EngineFactory, llama_engines
from oracle.node.records import ServiceRecord
from oracle.node.settings import Settings

SELF_TEST = text_prompt(b"Is water wet?")
OnBlocks = Callable[[int, int], None]
"""Told of blocks read, and of how many."""


@dataclass(frozen=True)
class Finding:
    """One comparison."""

    what: str
    right: bool
    detail: str
    warns: bool = False
    """Worth a look, and no reason not to run."""


async def everything(
    settings: Settings,
    engine_factory: EngineFactory | None = None,
    on_bytes: OnBytes = ignore_bytes,
    on_blocks: OnBlocks = lambda done, of: None,
    wall: Callable[[], float] = time.time,
) -> list[Finding]:
    """All comparisons, as far as they can be made. on_bytes: of a model file's, as they are read; on_blocks: of the
    chain's. wall: this machine's clock.

    Raises BadSettings or BadDeployment if nothing can be.
    """
    deployment = Deployment.load(settings.deployment)
    contracts, rpc = Contracts.at(deployment), make_rpc(settings, deployment)
    found: list[Finding] = []
    signers: list[Signer | None] = []
    try:
        head = await rpc.start()
        found.append(Finding("chain", True, f"chain {deployment.chain_id}, head {head.number:,}"))
        off = disagreement(wall(), head.timestamp)
        found.append(Finding("clock", True, off or "agrees with the chain's head", warns=bool(off)))
        found.append(await _try("contracts", _contracts(contracts, rpc, head)))
        found.append(await _try("services", _services(settings, contracts, rpc, head)))
        try:
            signers = [*await load_signers(settings)]
        except OracleError as error:
            found.append(Finding("key", False, f"{type(error).__name__}: {error}"))
        if not settings.can_sign:
            found.append(Finding("key", True, "none: the node runs dry and sends nothing"))
        for name, signer in zip(("key", "dispute key"), signers, strict=False):
            if signer is not None:
                found.append(await _balance(name, signer, settings, rpc, head))
        services = await read_services(settings, contracts, rpc, head, on_blocks)
        found.append(await _try("promises", _promises(contracts, rpc, head, services)))
        if settings.tee != "none":
            found.append(await _try("tee", _tee(settings, contracts, services)))
        for service in services:
            # Any nonce will do for GPUs: nothing is registered here.
            factory = engine_factory or llama_engines(settings, contracts.plays, gpu_nonce=keccak)
            found.append(await _try("model", _model(settings, service, engine_factory is None, on_bytes)))
            found += await asyncio.to_thread(_engine, service, factory)
    except OracleError as error:
        found.append(Finding("chain", False, f"{type(error).__name__}: {error}"))
    finally:
        await rpc.close()
        for signer in signers:
            if signer is not None:
                signer.close()
    return found


async def read_services(
    settings: Settings, contracts: Contracts, rpc: Rpc, head: Block, on_blocks: OnBlocks = lambda done, of: None
) -> list[ServiceRecord]:
    """The terms of the allow-list's services, from the events of their creation. Raises BadSettings."""
    reader = Reader(rpc, [contracts.oracle.address], [contracts.oracle.topic("ServiceCreated")])
    records = []
    wanted = set(settings.service_ids)
    async for piece in reader.history(contracts.deployment.block, head.number, on_blocks):
        for event in map(contracts.oracle.event, piece.logs):
            if event is not None and event.args["service"] in wanted:
                records.append(ServiceRecord(event.args["service"], Terms(*event.args["terms"].values())))
    if len(records) < len(wanted):
        raise BadSettings(
            f"{len(wanted) - len(records)} of {len(wanted)} services exist, if at all, without their creation in the "
            "logs: the endpoint leaves some out, or the deployment file's first block is too late"
        )
    return records


async def _try(what: str, work: Awaitable[str]) -> Finding:
    try:
        return Finding(what, True, await work)
    except OracleError as error:
        return Finding(what, False, f"{type(error).__name__}: {error}")


async def _contracts(contracts: Contracts, rpc: Rpc, head: Block) -> str:
    await contracts.check(rpc, head)
    return "the code on the chain is this version's"


async def _services(settings: Settings, contracts: Contracts, rpc: Rpc, head: Block) -> str:
    await check_services(settings, contracts, rpc, head)
    return f"{len(settings.services)} found, judged by this deployment's contracts"


async def _promises(contracts: Contracts, rpc: Rpc, head: Block, services: Sequence[ServiceRecord]) -> str:
    """Whether the chain can keep what the services' terms say."""
    kept = await measured(rpc, head)
    for service in services:
        why = kept.broken(service.terms.lifetime_seconds, by_game=contracts.plays(service.terms.arbiter))
        if why is not None:
            raise BadSettings(f"service 0x{service.id.hex()} cannot be served here: {why}")
    known = "too few blocks to say for how long seeds are known"
    if math.isfinite(kept.remembers_seconds):
        known = f"seeds are known for {kept.remembers_seconds:.0f} s"
    return f"{known}; headers {'' if kept.shows_headers else 'do not '}hash"


async def _tee(settings: Settings, contracts: Contracts, services: Sequence[ServiceRecord]) -> str:
    """Whether this machine makes quotes, and the services believe what they measure."""
    producer, _ = tee_of(settings, contracts)
    quote = await asyncio.to_thread(producer.quote, bytes(64))
    measurement, platform = measurement_id(quote, is_dev=settings.tee == "dev"), platform_id(quote)
    for service in services:
        policy = service.terms.policy
        if policy is not None and measurement not in policy.measurements:
            raise BadSettings(f"service 0x{service.id.hex()} does not believe the measurement 0x{measurement.hex()}")
    return f"measurement 0x{measurement.hex()}, machine 0x{platform.hex()}"


async def _balance(name: str, signer: Signer, settings: Settings, rpc: Rpc, head: Block) -> Finding:
    balance = await rpc.balance(signer.address, head)
    detail = f"{signer.address} has {balance / ETHER:.6f} ether, the reserve is {settings.reserve_wei / ETHER:.6f}"
    return Finding(name, balance > settings.reserve_wei, detail)


async def _model(settings: Settings, service: ServiceRecord, by_store: bool, on_bytes: OnBytes) -> str:
    if not by_store:
        return "served by an engine of your own"
    store = ModelStore(settings.models)
    manifest = store.manifest(service.terms.model)
    await asyncio.to_thread(store.file(manifest).verify, on_bytes)
    await asyncio.to_thread(recomputed.verify, store, manifest, on_bytes)
    bears_out = " and the numbers that its manifest commits to" if recomputed.commits(manifest) else ""
    return f"{manifest.name}: {manifest.file_bytes:,} bytes with the right SHA-256{bears_out}"


def _engine(service: ServiceRecord, factory: EngineFactory) -> list[Finding]:
    """Whether the service's engine loads, proves itself and answers, as the node has it do."""
    found: list[Finding] = []
    engine: Engine | None = None
    try:
        engine = factory(service)
        found.append(Finding("engine", True, f"proven: {engine.prove()}"))
        found.append(Finding("inference", True, _inference(engine, service)))
    except OracleError as error:
        what = "engine" if not found else "inference"
        found.append(Finding(what, False, f"{type(error).__name__}: {error}"))
    finally:
        if engine is not None:
            engine.close()
    return found


def _inference(engine: Engine, service: ServiceRecord) -> str:
    """Answers a question and checks the answer, as the node does with each of its own."""
    params = Params(max_tokens=min(8, service.terms.max_tokens))
    prompt = engine.tokenize(SELF_TEST)
    completion = engine.generate(prompt, params)
    verdict = engine.check(prompt, completion.tokens, params)
    if not verdict.correct:
        raise BadSettings(f"the engine rejects its own answer: {verdict.reason}")
    digest = hashlib.sha256(completion.text).hexdigest()[:16]
    return f"{len(completion.tokens)} tokens, output digest {digest}, passes its own check"
