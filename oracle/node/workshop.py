"""The workshop: engine jobs, by priority, in threads; what they find goes into the journal.

Jobs are pure functions of the request and the chain, so one that a crash interrupts is simply done again, and one that
the plan no longer asks for is given up. An engine gets as many at a time as it computes together, and is told which
come first; places are left for what is more urgent. An answer is checked as a watcher would before it is written down,
and an answer of somebody else's is called wrong only if two checks say so: a flipped bit must not cost a bond.

An engine gets no job before it has answered its known question (`Engine.prove`), and none between the death of its
workers and the next proof. An engine that is refused is made again after a while, because somebody may have replaced
its file. An engine that fails its own check is not used again until a person restarts the node. `troubles` reports all
that.

Guests ask an engine something that the chain does not want. Two are let in at a time, and only while nothing of the
plan waits; what they ask takes little time, and gives way (`Batch`), so that nothing of the plan waits long for them.
"""

import asyncio
import math
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import structlog

from oracle.engines.base import GUEST, Engine, Job, OnProgress, Trouble, as_job, ignore_progress
from oracle.engines.judging import Finding, Posted, judge
from oracle.errors import EngineCrashed, NotServed, OracleError, Refused, SelfCheckFailed, Transient
from oracle.ids import ServiceId
from oracle.journal.crashpoints import crashpoint
from oracle.journal.journal import Journal
from oracle.node import wrong_answers
from oracle.node.checks import count_checks
from oracle.node.engines import EngineFactory
from oracle.node.in_hand import InHand
from oracle.node.plan import Compute, Judge, priority
from oracle.node.records import Judgement, Output, ServiceRecord, output_key, verdict_key
from oracle.node.tee.enclave import Enclave

log = structlog.get_logger()
P = ParamSpec("P")
R = TypeVar("R")

RETRY_SECONDS = 1.0
RELOAD_SECONDS = 30.0
MOST_JOBS = 256
MOST_GUESTS = 2  # at a time, of all services together
KEPT = (0, 1 / 8, 1 / 4)  # of an engine's places, what votes, own turns and watching leave to what is more urgent


@dataclass
class Counters:
    """Counts for the metrics."""

    seconds: list[tuple[str, float]] = field(default_factory=list)
    """Kind and duration of finished jobs since the last scrape."""
    selfcheck_failures: int = 0
    wrong_answers: int = 0


@dataclass
class Done:
    """What a service's engine has done since the start, for people."""

    jobs: int = 0
    tokens: int = 0
    """Of answers computed and of answers checked."""
    busy_seconds: float = 0.0
    """In which it had a job in hand, of the plan's or a guest's."""
    busy_since: float = 0.0


class Workshop:
    """Runs what the planner asks for."""

    def __init__(
        self,
        journal: Journal,
        factory: EngineFactory,
        wrong_answers_folder: Path,
        *,
        enclave: Enclave | None = None,
        wake: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """enclave: what opens private prompts."""
        self._journal = journal
        self._factory = factory
        self._wrong_answers = wrong_answers_folder
        self._enclave = enclave
        self._wake = wake
        self._clock = clock
        self._engines: dict[ServiceId, Engine] = {}
        self._failures: dict[ServiceId, Trouble] = {}
        self._told: set[ServiceId] = set()
        self._restarts = self._saturated = 0  # of engines that were given up
        self._saturating: set[ServiceId] = set()
        self.proofs: dict[ServiceId, str] = {}
        """Services whose engine may work, and what it showed last."""
        self.proven_at: dict[ServiceId, float] = {}
        """By the workshop's clock, also of services that have no engine any more."""
        self._running: dict[str, asyncio.Task[None]] = {}
        self._wanted: frozenset[str] = frozenset()
        """Keys of what the last plan asks for."""
        self._busy: dict[ServiceId, int] = {}
        self._at_work: Counter[ServiceId] = Counter()
        """By service: jobs in hand, and guests at work."""
        self._dismissed: dict[asyncio.Future[None], Engine] = {}
        """Engines that were given up, until whoever is inside has left them."""
        self._queues: defaultdict[ServiceId, deque[Compute | Judge]] = defaultdict(deque)
        """By service: what the last plan asks for and nobody works on yet."""
        self._guests: deque[tuple[ServiceId, asyncio.Future[Engine]]] = deque()
        """Those that wait for a place."""
        self._invited = 0
        """How many have one."""
        self._guests_threads = ThreadPoolExecutor(MOST_GUESTS, thread_name_prefix="guest")
        self._is_closing = False
        self._not_before: dict[str, float] = {}
        self._threads = ThreadPoolExecutor(max_workers=MOST_JOBS, thread_name_prefix="engine")
        self.counters = Counters()
        self.in_hand = InHand(clock)
        """What is computed now, moves in games as well, and how far it is."""
        self.done: defaultdict[ServiceId, Done] = defaultdict(Done)

    @property
    def running(self) -> list[str]:
        """Keys of the jobs in hand."""
        return list(self._running)

    def engine(self, service: ServiceId) -> Engine | None:
        """A service's engine, once it has proven itself."""
        return self._engines.get(service) if service in self.proofs else None

    def busy_seconds(self, service: ServiceId) -> float:
        """How long its engine has worked since the start, until now: on a job in hand, or for a guest."""
        done, now = self.done[service], self._clock()
        return done.busy_seconds + (now - done.busy_since if self._at_work[service] else 0.0)

    def queued(self, service: ServiceId) -> tuple[int, int]:
        """Jobs of a service that its engine works on, and that wait for it."""
        return self._busy.get(service, 0), len(self._queues.get(service, ()))

    @property
    def troubles(self) -> dict[ServiceId, Trouble]:
        """Services whose engine cannot be relied on, and why."""
        found = {service: engine.trouble for service, engine in self._engines.items()}
        return {service: trouble for service, trouble in (found | self._failures).items() if trouble is not None}

    @property
    def restarts(self) -> int:
        """How often engines' workers were lost."""
        return self._restarts + sum(engine.restarts for engine in self._engines.values())

    @property
    def saturated(self) -> int:
        """How many numbers of exact engines stood at their limits."""
        return self._saturated + sum(engine.saturated for engine in self._engines.values())

    def offer(self, work: Sequence[Compute | Judge], services: Mapping[ServiceId, ServiceRecord]) -> None:
        """Starts as many of these jobs as there is room for, most urgent first, and the next whenever one ends.

        Call it with each new plan: what the plan before it asked for and nobody began is forgotten.
        """
        now = self._clock()
        for service in services.values():
            key = _loading(service.id)
            if self._unproven(service.id) and key not in self._running and self._not_before.get(key, 0) <= now:
                self._running[key] = asyncio.create_task(self._prepare(service))
        self._queues = defaultdict(deque)
        for item in work:
            self._queues[item.record.request.service].append(item)
        for service_id in self._queues:
            self._start(service_id)
        self._invite()
        self._wanted = frozenset(_key(item) for item in work)
        wanted = self._wanted | {_loading(service) for service in services}
        self._not_before = {key: at for key, at in self._not_before.items() if key in wanted}

    def _start(self, service: ServiceId) -> None:
        """Starts what waits for a service's engine, as far as there is room: also between two plans."""
        queue, engine, now = self._queues[service], self.engine(service), self._clock()
        while engine is not None and queue and self._busy.get(service, 0) < _places(engine, queue[0]):
            item = queue.popleft()
            key = _key(item)
            if key not in self._running and self._not_before.get(key, 0) <= now:
                self._begins(service)
                self._busy[service] = self._busy.get(service, 0) + 1
                self._running[key] = asyncio.create_task(self._run(item, engine, key))
        self._invite()

    def _begins(self, service: ServiceId) -> None:
        if not self._at_work[service]:
            self.done[service].busy_since = self._clock()
        self._at_work[service] += 1

    def _ends(self, service: ServiceId) -> None:
        self._at_work[service] -= 1
        if not self._at_work[service]:
            self.done[service].busy_seconds += self._clock() - self.done[service].busy_since

    async def beside(self, service: ServiceId, work: Callable[[Engine], R]) -> R:
        """Does for a guest what takes an engine little time, once there is a place.

        Cancelled, it ends the work as soon as the engine can. Raises NotServed, and what the work raises.
        """
        place: asyncio.Future[Engine] = asyncio.get_running_loop().create_future()
        self._guests.append((service, place))
        self._invite()
        try:
            engine = await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.exception() is None:
                self._leave(place)
            raise
        is_wanted = True
        job = Job(GUEST, lambda: is_wanted and not self._is_closing)
        loop = asyncio.get_running_loop()
        self._begins(service)
        working = asyncio.ensure_future(loop.run_in_executor(self._guests_threads, _placed, job, work, engine))
        working.add_done_callback(lambda _: self._ends(service))
        working.add_done_callback(self._leave)
        try:
            return await asyncio.shield(working)
        except EngineCrashed as error:
            self._fail(service, Trouble("crashed", str(error)))
            raise
        finally:
            is_wanted = False

    def _invite(self) -> None:
        """Gives guests their places, while nothing of the plan waits that could run."""
        while self._guests:
            service, place = self._guests[0]
            engine = self.engine(service)
            if engine is None or self._is_closing:
                self._guests.popleft()
                if not place.done():
                    place.set_exception(NotServed("no engine of this service works now: look at /readyz"))
                continue
            waits = any(queue and self.engine(each) is not None for each, queue in self._queues.items())
            if waits or self._invited >= MOST_GUESTS:
                return
            self._guests.popleft()
            if not place.done():  # else nobody waits for it any more
                self._invited += 1
                place.set_result(engine)

    def _leave(self, done: asyncio.Future[Any]) -> None:
        if not done.cancelled():
            done.exception()  # whoever has gone does not ask for it
        self._invited -= 1
        self._invite()

    def rest(self) -> None:
        """Begins nothing more until the next plan."""
        self._queues.clear()

    def raise_failures(self) -> None:
        """Raises what a job failed with that is not an expected error: a bug."""
        for key, task in list(self._running.items()):
            if task.done():
                del self._running[key]
                task.result()

    async def close(self, grace_seconds: float) -> None:
        """Waits for jobs in hand, at most so long, then ends the engines."""
        self.rest()
        self._is_closing = True
        self._invite()
        if self._running:
            await asyncio.wait(self._running.values(), timeout=grace_seconds)
        if any(not task.done() for task in self._running.values()):
            for engine in self._engines.values():
                engine.kill()  # the calls fail, and the jobs are done again after the restart
        for engine in self._dismissed.values():
            engine.kill()
        await asyncio.gather(*self._running.values(), *self._dismissed, return_exceptions=True)
        self._threads.shutdown()
        self._guests_threads.shutdown()
        for engine in self._engines.values():
            engine.close()

    # -- one job -------------------------------------------------------------------------------------------------

    async def _run(self, item: Compute | Judge, engine: Engine, key: str) -> None:
        started, service = self._clock(), item.record.request.service
        told = self.in_hand.begin(key, item.record.id)
        try:
            crashpoint("before_engine")
            if isinstance(item, Compute):
                await self._compute(engine, item, told)
            else:
                await self._judge(engine, item, told)
            self.counters.seconds.append((type(item).__name__.lower(), self._clock() - started))
            del self.counters.seconds[:-1000]
        except SelfCheckFailed as error:
            self.counters.selfcheck_failures += 1
            self._give_up(service, Trouble("self-check", str(error)), math.inf)
        except EngineCrashed as error:
            self._not_before[key] = self._clock() + RETRY_SECONDS
            self._fail(service, Trouble("crashed", str(error)))
        except Transient as error:
            self._not_before[key] = self._clock() + RETRY_SECONDS
            log.warning("engine job to be repeated", request_id=_id(item), reason=str(error))
        finally:
            self.in_hand.end(key)
            self._tell_of_limits(service, engine)
            self._busy[service] -= 1
            self.done[service].jobs += 1
            self._ends(service)
            self._start(service)
            self._wake()

    async def _compute(self, engine: Engine, item: Compute, told: OnProgress) -> None:
        record, seed = item.record, item.seed_block
        digest = record.request.prompt_hash.hex()
        log.info("answering", request_id=_id(item), prompt_digest=digest, prompt_bytes=record.prompt_bytes)
        try:
            output = await self._in_thread(_placed, self._job(item, told), _answer, engine, item, self._enclave)
        except SelfCheckFailed:
            raise
        except Refused as error:
            output = Output(refusal=f"{type(error).__name__}: {error}")
            log.warning("turn passed", request_id=_id(item), reason=output.refusal)
        crashpoint("after_engine")
        self.done[record.request.service].tokens += output.token_count
        with self._journal.write() as tx:
            key = output_key(record.id, seed.hash)
            if tx.job(key) is None:  # the first output stands, whatever a repetition finds
                tx.put_job("output", key, "refused" if output.refusal else "done", output.payload(), None)
        crashpoint("after_output")

    async def _judge(self, engine: Engine, item: Judge, told: OnProgress = ignore_progress) -> None:
        record, posted, started = item.record, item.posted, self._clock()
        found = await self._in_thread(_placed, self._job(item, told), _judge, engine, item)
        milliseconds = round(1000 * (self._clock() - started))
        fields = {"request_id": _id(item), "turn": posted.answer.turn, "operator": posted.operator}
        if found.correct is False:
            self.counters.wrong_answers += 1
            try:
                kept = str(wrong_answers.save(self._wrong_answers, record, posted, item.seed_block, found))
            except OSError as error:  # a full disk must not keep a lie from being challenged
                kept = f"none could be kept: {error.strerror}"
            log.warning("answer is wrong", reason=found.reason, file=kept, **fields)
        elif found.correct is None:
            log.error("answer cannot be judged", reason=found.reason, **fields)
        else:
            log.info("answer is right", **fields)
        state = {True: "right", False: "wrong", None: "unknown"}[found.correct]
        judgement = Judgement(found.correct, found.reason)
        with self._journal.write() as tx:
            tx.put_job("verdict", verdict_key(record.id, posted.answer.hash), state, judgement.payload(), None)
            count_checks(tx, record.request.service, **{state: 1, "milliseconds": milliseconds})
        self.done[record.request.service].tokens += posted.answer.token_count
        crashpoint("after_verdict")

    def _tell_of_limits(self, service: ServiceId, engine: Engine) -> None:
        """Once: the model works, and every node computes the same, but no longer what it was trained to."""
        if engine.saturated and service not in self._saturating:
            self._saturating.add(service)
            log.warning(
                "numbers reached the exact engine's limits", service="0x" + service.hex(), count=engine.saturated
            )

    def _job(self, item: Compute | Judge, told: OnProgress) -> Job:
        """The job as engines know it. Votes and moves in games come without one, and have priority 0."""
        kind, due = priority(item)
        key = _key(item)
        return Job((kind << 40) + due if kind else 0, lambda: key in self._wanted, told=told)

    # -- engines -------------------------------------------------------------------------------------------------

    async def _prepare(self, service: ServiceRecord) -> None:
        """Makes an engine if there is none, and lets it prove itself; also after it has lost a worker."""
        engine, key = self._engines.get(service.id), _loading(service.id)
        failure: OracleError | OSError | None = None
        shown, job = "", Job(told=self.in_hand.begin(key))
        try:
            if engine is None:
                engine = self._engines[service.id] = await self._in_thread(_placed, job, self._factory, service)
            shown = await self._in_thread(_placed, job, engine.prove)
        except (OracleError, OSError) as error:  # its file's disk may fail
            failure = error
        finally:
            self.in_hand.end(key)
            self._wake()
        if self._engines.get(service.id) is not engine:
            return  # given up meanwhile
        self._not_before[key] = self._clock() + RETRY_SECONDS
        if engine is not None and failure is None:
            self._believe(service.id, shown, whole=engine.trouble is None)
        elif isinstance(failure, EngineCrashed):  # the next worker may do better
            self._fail(service.id, Trouble("crashed", str(failure)))
        else:
            self._give_up(service.id, Trouble("refused", f"{type(failure).__name__}: {failure}"), RELOAD_SECONDS)

    def _believe(self, service: ServiceId, shown: str, *, whole: bool) -> None:
        """whole: all of the engine's workers are proven."""
        if whole or service not in self.proofs:
            self.proven_at[service] = self._clock()
            log.info("engine proven", service="0x" + service.hex(), shown=shown)
        self.proofs[service] = shown
        self._failures.pop(service, None)
        self._told.discard(service)

    def _unproven(self, service: ServiceId) -> bool:
        """Whether the service's engine, or a worker of it, must prove itself before it is used."""
        if service not in self.proofs:
            return True
        trouble = self._engines[service].trouble
        return trouble is not None and trouble.kind != "crashing"

    def _fail(self, service: ServiceId, trouble: Trouble) -> None:
        """No more jobs for the service's engine until it has proven itself again."""
        self.proofs.pop(service, None)
        self._failures[service] = trouble
        if service not in self._told:  # once until the next proof: a worker that keeps dying tells of each death itself
            self._told.add(service)
            log.error("service has no engine", service="0x" + service.hex(), reason=trouble.text)

    def _give_up(self, service: ServiceId, trouble: Trouble, seconds: float) -> None:
        """Does without the service's engine for a time, then makes it anew."""
        self._told.discard(service)
        self._fail(service, trouble)
        self._not_before[_loading(service)] = self._clock() + seconds
        engine = self._engines.pop(service, None)
        if engine is not None:
            self._restarts += engine.restarts
            self._saturated += engine.saturated
            closing = asyncio.get_running_loop().run_in_executor(self._threads, engine.close)  # guests may be inside
            self._dismissed[closing] = engine
            closing.add_done_callback(self._dismissed.pop)

    async def _in_thread(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(work, *args, **kwargs))


def _placed(job: Job, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    with as_job(job):
        return work(*args, **kwargs)


def _places(engine: Engine, item: Compute | Judge) -> int:
    """How many jobs an engine may have in hand before it gets none like this one."""
    return engine.together - int(engine.together * KEPT[priority(item)[0]])


def _answer(engine: Engine, item: Compute, enclave: Enclave | None = None) -> Output:
    """Generates, and checks as a watcher would. Raises Refused and Transient errors."""
    record, request = item.record, item.record.request
    text, reply_key = record.prompt, None
    if request.is_private and enclave is not None:
        opened = enclave.opened(record)
        text, reply_key = opened.prompt, opened.reply_key
    params = request.engine_params(item.seed_block.prev_randao, text)
    prompt = engine.tokenize(text)
    completion = engine.generate(prompt, params)
    if not 0 < len(completion.tokens) <= params.max_tokens:
        raise SelfCheckFailed(f"the engine gave {len(completion.tokens)} tokens where {params.max_tokens} were allowed")
    verdict = engine.check(prompt, completion.tokens, params, completion.text)
    if not verdict.correct:
        raise SelfCheckFailed(f"the engine rejects its own answer at token {verdict.position}: {verdict.reason}")
    output = Output(completion.text, len(completion.tokens), completion.root)
    if reply_key is not None and enclave is not None:  # a root would let others try what the tokens are
        output = replace(output, text=enclave.sealed(record, reply_key, output.text), tokens_root=bytes(32))
    return output


def _judge(engine: Engine, item: Judge) -> Finding:
    """Judges as a watcher does. Raises Transient errors."""
    answer, prompt = item.posted.answer, item.record.prompt
    params = item.record.request.engine_params(item.seed_block.prev_randao, prompt)
    return judge(engine, prompt, Posted(item.posted.output, answer.token_count, answer.tokens_root), params)


def _loading(service: ServiceId) -> str:
    return f"engine:{service.hex()}"


def _key(item: Compute | Judge) -> str:
    if isinstance(item, Compute):
        return output_key(item.record.id, item.seed_block.hash)
    return verdict_key(item.record.id, item.posted.answer.hash)


def _id(item: Compute | Judge) -> str:
    return f"0x{item.record.id:064x}"
