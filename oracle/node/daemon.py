"""The daemon: one loop that reads the chain, plans, computes, sends, and starts again.

Each round looks at the journal and the chain and takes the next steps; there is no separate recovery, so a kill at any
instant costs time only. Expected errors are caught here and nowhere else: transient ones are waited out, fatal ones end
the process with an explanation.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import replace

import structlog

from oracle.chain.contracts import Contracts
from oracle.chain.deployment import Deployment
from oracle.chain.fees import FeePolicy
from oracle.chain.follower import Progress
from oracle.chain.heralds import Heralds
from oracle.chain.keys import Signer
from oracle.chain.promises import Promises, measured
from oracle.chain.reader import DOUBT_BLOCKS
from oracle.chain.rpc import Rpc
from oracle.chain.sender import Sender, SenderSettings
from oracle.chain.types import Block
from oracle.chain.units import NOBODY
from oracle.engines.base import Trouble
from oracle.errors import NotForThisKey, ReorgedAway, SignerFailed, Transient
from oracle.ids import RequestId
from oracle.journal.crashpoints import crashpoint
from oracle.journal.journal import BlockRef, Journal
from oracle.models.store import ModelStore
from oracle.node import secret
from oracle.node.assembly import check_services, load_signers, make_enclave, make_follower, make_rpc, open_journal
from oracle.node.budget import Budget
from oracle.node.checks import count_late
from oracle.node.clock import disagreement
from oracle.node.doubts import Doubts
from oracle.node.engines import EngineFactory, llama_engines, logged_progress
from oracle.node.games.litigant import Litigant, OpenGame
from oracle.node.housekeeping import Housekeeping
from oracle.node.outgoing import Outgoing
from oracle.node.plan import Rules, View, Wanted
from oracle.node.planner import Planner
from oracle.node.records import ServiceRecord
from oracle.node.settings import Settings
from oracle.node.standby import make_standby
from oracle.node.status import Status
from oracle.node.tee.enclave import Enclave
from oracle.node.vigil import Vigil
from oracle.node.working_set import WorkingSet
from oracle.node.workshop import Workshop

log = structlog.get_logger()

HOUSEKEEPING_BLOCKS = 50
SEEDS_AT_ONCE = 50
LONGEST_BACKOFF_SECONDS = 30.0
STALE_SECONDS = 120.0


class Node:
    """One running node. Make it with `open_node`."""

    def __init__(
        self,
        settings: Settings,
        contracts: Contracts,
        rpc: Rpc,
        journal: Journal,
        *,
        operator: Signer | None,
        disputer: Signer | None,
        node_secret: secret.Secret | None,
        engine_factory: EngineFactory,
        enclave: Enclave | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """wall: the machine's clock. It is compared with the chain's, and nothing is decided by it."""
        self.settings = settings
        self.contracts = contracts
        self.rpc = rpc
        self.journal = journal
        self.status = Status()
        self._promises: Promises | None = None
        self._clock = clock
        self._wall = wall
        self._secret = node_secret
        self._signers = [signer for signer in (operator, disputer) if signer is not None]
        self.standby = make_standby(settings, journal, self._signers, rpc.chain_id)
        self._operator = self._sender(operator)
        self._disputer = self._operator if disputer is None else self._sender(disputer)
        self.outgoing = Outgoing(journal, self._operator, self._disputer)
        if self._operator.address != NOBODY:
            with journal.write() as tx:  # whose reports are made from the journal
                tx.set("operator", self._operator.address)
        self._planner = Planner(
            contracts,
            Rules(
                answer=settings.answer,
                watch=settings.watch,
                vote=settings.vote,
                finalize_batch=settings.finalize_batch,
                finalize_wait_seconds=settings.finalize_wait_seconds,
                finalize_others=settings.finalize_others,
                refund_expired=settings.refund_expired,
                stagger_seconds=settings.stagger_seconds,
            ),
        )
        self._working = WorkingSet(journal)
        self._wake = asyncio.Event()
        self._news = asyncio.Event()
        self._heralds = Heralds(settings.ws_urls, self._news.set)
        self._stop = asyncio.Event()
        self._follower = make_follower(settings, contracts, rpc, journal, stopping=self._stop.is_set)
        self._doubts = Doubts(contracts, rpc, journal, settings.service_ids)
        self.workshop = Workshop(
            journal,
            engine_factory,
            settings.data_dir / "wrong_answers",
            enclave=enclave,
            wake=self._wake.set,
            clock=clock,
        )
        self.vigil = Vigil(clock, contracts.plays)
        self.models = ModelStore(settings.models)
        engine_of, in_hand = self.workshop.engine, self.workshop.in_hand
        self._litigant = Litigant(contracts, rpc, self.models, engine_of, self._wake.set, settings.threads, in_hand)
        self.enclave = enclave
        self._seeds: dict[int, Block] = {}
        self._done: bytes | None = None  # hash of the head that the last complete round was about
        self._budget = Budget(journal, settings.bond_budget_wei)
        self._house = Housekeeping(settings, contracts, rpc, journal, self.status)
        self._kept_house_at = 0

    # -- for whoever runs it -------------------------------------------------------------------------------------

    @property
    def addresses(self) -> dict[str, str]:
        """The addresses of the node's keys."""
        found = {"operator": self._operator.address}
        return found if self._operator is self._disputer else {**found, "dispute": self._disputer.address}

    @property
    def games(self) -> list[OpenGame]:
        """How this node's dispute games stand."""
        return self._litigant.open_games

    def stop(self) -> None:
        """Asks the loop to end after the round in hand."""
        self.status.stopping = True
        self.workshop.rest()
        self._stop.set()
        self._wake.set()

    def leave(self, sealed: bytes) -> None:
        """Takes a private prompt that an open request names, and looks at it soon. Raises as `Mailbox.leave`."""
        if self.enclave is None:
            raise NotForThisKey("this node has no keys inside a TEE")
        self.enclave.leave(sealed)
        self._wake.set()

    def again(self) -> None:
        """Makes the next round look at everything, even if the head is the same."""
        self._done = None

    async def run(self) -> None:
        """Works until `stop`. Raises Fatal errors and bugs; waits transient errors out."""
        if self.standby is not None:
            self.standby.open(self._wake.set)
        await self._check_services()
        self._heralds.start()
        try:
            await self._loop()
        finally:
            await self._heralds.close()
        await self._wind_up()

    async def _loop(self) -> None:
        failures = 0
        while not self._stop.is_set():
            pause = self.settings.poll_seconds
            self._wake.clear()
            self._news.clear()
            try:
                await self.round()
                failures, self.status.trouble = 0, ""
            except Transient as error:
                failures += 1
                self.status.trouble = f"{type(error).__name__}: {error}"
                pause = min(max(pause, 0.5) * 2 ** min(failures, 10), LONGEST_BACKOFF_SECONDS)
                log.warning("round failed", reason=self.status.trouble, pause_seconds=pause)
            await self._rest(pause)

    async def _rest(self, seconds: float) -> None:
        """Until something is to be done, a new head is announced, or so many seconds have passed."""
        waits = [asyncio.create_task(event.wait()) for event in (self._wake, self._news)]
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for each in waits:
            each.cancel()
        if self._wake.is_set():
            self.again()

    async def round(self) -> None:
        """One look at the chain and the steps that follow from it. Raises Transient and Fatal errors."""
        self.workshop.raise_failures()
        progress = await self._follower.poll()
        self._note(progress)
        head = progress.head
        if progress.behind > max(self.settings.confirmations, DOUBT_BLOCKS) or head.hash == self._done:
            return
        if (late := await self._follower.late(head)) is not None:
            self._doubts.read_again(f"logs of block {late} were missing, and are shown now")
        if self._doubts.found or self._is_housekeeping(head):
            await self._doubts.look(progress)
        view = self._view(head)
        if await self._learn_seeds(view, progress):
            view = self._view(head)
        self.status.view = view
        if self.standby is not None and not await self.standby.look():
            await self._stand_by(view)
            return
        count_late(self.journal, self.vigil.look(view, self._planner.watched(view)))
        attested = await self._attest(view, progress.cursor)
        plan = self._planner.plan(self._attested(view))
        if not self._stop.is_set():
            self.workshop.offer(plan.work, view.services)
        wanted = [*plan.wanted, *await self._litigate(view, progress.cursor), *attested]
        wanted = self._budget.kept(wanted, view, progress.cursor.number)
        taken = () if self.standby is None else self.standby.taken
        self.outgoing.enter(wanted, head, (*self._litigant.undecided, *taken), self._working.batches)
        crashpoint("after_wanted")
        await self._send(head)
        if self._is_housekeeping(head):
            await self._house.keep(self.outgoing.senders, view)
            self._kept_house_at = head.number
        self._done = head.hash

    async def _stand_by(self, view: View) -> None:
        """Another daemon signs: this one keeps its engines ready, and finds out what became of what that one signed."""
        self.workshop.offer([], view.services)
        if self.standby is not None and self.standby.leads is not None:
            await self._send(view.head, signs=False)
            self._done = view.head.hash

    def troubles(self) -> list[str]:
        """Why the node is not ready; nothing if it is."""
        found = [self.status.trouble] if self.status.trouble else []
        if self.status.head is None:
            left = f"reading the chain: {self._follower.left:,} blocks to go" if self._follower.left else ""
            return [*found, left or "no head seen yet"]
        if not self.rpc.ready():
            found.append("no RPC endpoint is fresh")
        age = self._clock() - self.status.head_seen_at
        if age > max(STALE_SECONDS, 3 * self.settings.poll_seconds):
            found.append(f"the chain's head has not changed for {age:.0f} s")
        progress = self.status.progress
        if self._follower.left:
            found.append(f"still reading the chain: {self._follower.left:,} blocks to go")
        elif progress is None or self.status.view is None or (progress.behind and not progress.doubt):
            found.append("still reading the chain")
        if progress is not None and progress.doubt:
            found.append(progress.doubt)
        if self.rpc.waiting:
            found.append(self.rpc.waiting)
        found += self._doubts.found
        found += [self.standby.trouble] if self.standby is not None and self.standby.trouble else []
        if self.journal.full:
            found.append("the disk is full: nothing but dispute moves is signed")
        if self.status.view is not None and not self.status.view.solvent:
            found.append("the balance is below the reserve for disputes: no turns are taken")
        found += [f"{key} key: {report.holding}" for key, report in self.status.reports.items() if report.holding]
        found += [f"service 0x{service.hex()}: {trouble.text}" for service, trouble in self.service_troubles()]
        if self.status.stopping:
            found.append("stopping")
        return found

    def warnings(self) -> list[str]:
        """What somebody should look at, though the node does its work."""
        said = (self.status.clock, "" if self.standby is None else self.standby.warning)
        found = [each for each in said if each]
        if self._budget.refused:
            found.append(f"{len(self._budget.refused)} challenges are not sent: bond_budget_wei is used up")
        return found

    def service_troubles(self) -> list[tuple[bytes, Trouble]]:
        """Why services are not answered or watched as they should be."""
        view, workshop = self.status.view, self.workshop
        unproven = Trouble("unproven", "the engine is being loaded")
        loading = dict.fromkeys(() if view is None else view.services.keys() - workshop.proofs.keys(), unproven)
        broken = {service: Trouble("chain", why) for service, why in self.status.broken.items()}
        return [*(loading | workshop.troubles | broken).items(), *self.vigil.troubles(workshop.proven_at).items()]

    # -- the steps of a round ------------------------------------------------------------------------------------

    def _note(self, progress: Progress) -> None:
        if self.status.head is None or self.status.head.hash != progress.head.hash:
            self.status.head_seen_at = self._clock()
            if self.status.head is not None:  # this one came while the node looked on
                self._compare_clocks(progress.head)
        self.status.head, self.status.progress = progress.head, progress
        if progress.reorg_depth:
            self.status.last_reorg_depth = progress.reorg_depth
            self._seeds.clear()
            for sender in self.outgoing.senders:
                sender.reorganised()

    def _compare_clocks(self, head: Block) -> None:
        was = self.status.clock
        self.status.clock = disagreement(self._wall(), head.timestamp, self.settings.poll_seconds)
        if self.status.clock and not was:
            log.warning("clocks disagree", reason=self.status.clock)

    def _broken(self, service: ServiceRecord) -> str | None:
        """Which of the service's terms this chain cannot keep; None if none."""
        if self._promises is None:
            return None
        by_game = self.contracts.plays(service.terms.arbiter)
        return self._promises.broken(service.terms.lifetime_seconds, by_game=by_game)

    def _view(self, head: Block) -> View:
        now = self._working
        now.refresh()
        report = self.status.reports.get("operator")
        self.status.note_broken({s.id: why for s in now.services if (why := self._broken(s)) is not None})
        return View(
            head=head,
            operator=self._operator.address,
            disputer=self._disputer.address,
            services={service.id: service for service in now.services if service.id not in self.status.broken},
            seats=now.seats,
            left=now.left,
            places=now.places,
            requests=now.requests,
            cases=now.cases,
            seeds=self._seeds,
            outputs=now.outputs,
            verdicts=now.verdicts,
            checks=now.checks,
            games=now.games,
            batched=frozenset(self.outgoing.covered(now.batches)),
            solvent=report is None or not self.settings.can_sign or report.balance_wei > self.settings.reserve_wei,
            sampled=self._sampled,
            salt=None if self._secret is None else self._secret.salt,
        )

    def _attested(self, view: View) -> View:
        """The view, with what this node's keys inside a TEE can read and have signed."""
        enclave = self.enclave
        if enclave is None:
            return view
        waiting = [record for record in view.requests if record.state == "open"]
        signed = {}
        for record in waiting:
            seed = view.seeds.get(record.request.seed_block)
            output = None if seed is None else view.outputs.get((record.id, seed.hash))
            if seed is None or output is None or output.refusal:
                continue
            attestation = enclave.attestation(record, output, seed)
            if attestation is not None:
                signed[record.id, seed.hash] = attestation
        readable = frozenset(record.id for record in waiting if record.request.is_private and enclave.opens(record))
        return replace(view, readable=readable, attestations=signed)

    def _sampled(self, request: RequestId) -> bool:
        percent = self.settings.watch_percent
        return percent == 100 if self._secret is None else self._secret.sampled(request, percent)

    async def _litigate(self, view: View, at: BlockRef) -> list[Wanted]:
        """What this node's dispute games need."""
        now = self._working
        return await self._litigant.wanted(view, now.games, now.openings, now.rewards, at, watch=self.settings.watch)

    async def _attest(self, view: View, at: BlockRef) -> list[Wanted]:
        """What this node's keys inside a TEE need."""
        return [] if self.enclave is None or not self.settings.can_sign else await self.enclave.wanted(view, at)

    async def _learn_seeds(self, view: View, progress: Progress) -> bool:
        """Fetches confirmed headers that live requests need. Returns whether there were any."""
        needed = {record.request.seed_block for record in view.requests}
        for number in self._seeds.keys() - needed:
            del self._seeds[number]
        missing = sorted(n for n in needed - self._seeds.keys() if n <= progress.cursor.number)
        for number in missing[:SEEDS_AT_ONCE]:
            block = await self.rpc.block(number)
            with self.journal.read() as tx:
                known = tx.block_at_or_below(number)
            is_known = known is not None and known.number == number
            if block is None or (is_known and known is not None and known.hash != block.hash):
                raise ReorgedAway(f"block {number} is not the one that was applied")
            if not is_known:  # read in a range: one endpoint's word until another agrees
                await self.rpc.check_final(number, block.hash)
            self._seeds[number] = block
        return bool(missing)

    async def _send(self, head: Block, *, signs: bool = True) -> None:
        """Lets the senders work: the dispute key's first."""
        names = {address: name for name, address in self.addresses.items()}
        for sender in self.outgoing.senders:
            name = names[sender.address]
            report = await sender.tick(head, signs=signs)
            was = self.status.reports.get(name)
            if report.low_funds and self.settings.can_sign and not (was and was.low_funds):
                log.error("balance too low", key=name, address=sender.address, balance_wei=report.balance_wei)
            if report.holding and not (was and was.holding):
                log.warning("nothing new is signed", key=name, reason=report.holding)
            self.status.reports[name] = report
            signed = report.sent + report.bumped + report.cancelled
            self.status.signed[name] = self.status.signed.get(name, 0) + signed
            self.status.failed[name] = self.status.failed.get(name, 0) + report.failed
            self.status.fee_cap_hits[name] = self.status.fee_cap_hits.get(name, 0) + report.fee_cap_hits

    def _is_housekeeping(self, head: Block) -> bool:
        return head.number - self._kept_house_at >= HOUSEKEEPING_BLOCKS or not self._kept_house_at

    # -- start and end -------------------------------------------------------------------------------------------

    async def _check_services(self) -> None:
        """Waits for the chain; raises ContractVersionMismatch, or BadSettings for a service that is not served here."""
        while not self._stop.is_set():
            try:
                head = await self.rpc.start()
                await self.contracts.check(self.rpc, head)
                await check_services(self.settings, self.contracts, self.rpc, head)
                self._promises = await measured(self.rpc, head)
                log.info("node started", head=head.number, **self.addresses, dry_run=not self.settings.can_sign)
                return
            except Transient as error:
                self.status.trouble = f"{type(error).__name__}: {error}"
                log.warning("waiting for the chain", reason=self.status.trouble)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), max(self.settings.poll_seconds, 0.5))

    async def _wind_up(self) -> None:
        """Finishes what is in hand, at most for the grace, and hands its result to the sender once more."""
        log.info("stopping", jobs=len(self.workshop.running))
        self._litigant.close()
        if self.enclave is not None:
            await self.enclave.close()
        await self.workshop.close(self.settings.grace_seconds)
        self._done = None
        try:
            await asyncio.wait_for(self.round(), self.settings.rpc_timeout_seconds)
        except (Transient, TimeoutError) as error:
            log.warning("last round failed; the next start goes on from here", reason=type(error).__name__)

    def _sender(self, signer: Signer | None) -> Sender:
        settings = SenderSettings(
            depth=self.settings.finality,
            reserve_wei=self.settings.reserve_wei,
            fees=FeePolicy(ceiling_wei=self.settings.max_fee_gwei * 10**9, min_tip_wei=self.settings.min_tip_wei),
        )
        address = self.settings.address or NOBODY
        told = None if self.standby is None else self.standby.record
        explain = self.contracts.explain
        return Sender(self.rpc, self.journal, signer, address=address, settings=settings, explain=explain, record=told)

    async def close(self) -> None:
        """Frees the journal, the keys and the connections."""
        if self.standby is not None:
            self.standby.close()
        for signer in self._signers:
            signer.close()
        self.journal.close()
        await self.rpc.close()


async def open_node(settings: Settings, engine_factory: EngineFactory | None = None) -> Node:
    """Opens journal and keys; whatever is missing or locked is a Fatal error."""
    deployment = Deployment.load(settings.deployment)
    operator, disputer = await load_signers(settings)
    journal = open_journal(settings, deployment)
    node_secret: secret.Secret | None = None
    if operator is not None:
        try:
            node_secret = await secret.derive(operator, deployment.chain_id)
        except SignerFailed as error:
            log.error("this node cannot vote on panels", reason=str(error))
    contracts, rpc = Contracts.at(deployment), make_rpc(settings, deployment)
    enclave = None if operator is None else make_enclave(settings, contracts, rpc, operator.address)
    nonce = None if enclave is None else enclave.gpu_nonce
    return Node(
        settings,
        contracts,
        rpc,
        journal,
        enclave=enclave,
        operator=operator,
        disputer=disputer,
        node_secret=node_secret,
        engine_factory=engine_factory or llama_engines(settings, contracts.plays, logged_progress(), gpu_nonce=nonce),
    )
