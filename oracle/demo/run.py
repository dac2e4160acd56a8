"""The whole oracle on a local chain, told as one story, with real transactions and real inference.

A dapp asks for one of a few words; the answer comes with a bond, and is final when its window has passed. A bribed
node lies; a watcher runs the question again and challenges; the dispute game narrows the lie down to one number,
which a contract computes, and the bond moves. Keys inside a TEE (of software) answer at once, and in private. A
request that nobody answers is refunded. With `--panel`, a panel judges a lie, too. At the end the demo shows what
everybody gained and lost, which adds up to zero. A step that does not happen is an error that says why. With a model
that people use, the dapp's question is all: it takes a node longer.
"""

import contextlib
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hexbytes import HexBytes
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from web3 import Web3

from oracle.chain.requests import Request
from oracle.chain.units import BURN, ETHER, GWEI
from oracle.client import OracleClient, Step, devnet, story
from oracle.client.choices import Choices
from oracle.client.private import question, readers
from oracle.demo import ledger
from oracle.demo.cast import BRIBED, LIAR, REVIEW, DidNotHappen, Model, Player, Role, explain, start
from oracle.demo.drawing import draw
from oracle.demo.ledger import Party
from oracle.demo.narrator import Narrator
from oracle.engines.answer_types import MARGIN_BITS, Verdict
from oracle.engines.exact import cpu_kernels
from oracle.engines.exact.text_prompts import text_prompt
from oracle.errors import OracleError, Refused
from oracle.ids import RequestId, ServiceId
from oracle.models.manifest import Manifest
from oracle.models.shipped import SHIPPED_MODEL
from oracle.models.store import ModelStore

SECRET = "My own soup was cold."
READY_SECONDS, SCENE_SECONDS, STOP_SECONDS = 180, 240, 60
MOST_DRAWS = 500
LATER_TURNS = 3  # that must not be the liar's too, so that an honest node is next
CALLBACK_GAS, CALLBACK_GAS_PRICE = 60_000, 2 * GWEI
LEAST_MARGIN = 1 << MARGIN_BITS
"""Of the dapp: a word that wins by less than a logit is unknown to it."""
UNKNOWN = 255  # of `VerdictConsumer`
COLUMNS = 100
ADA, BEN, CLEO, DAN, MALLORY, WANDA = (
    devnet.NodePlan(name, number) for number, name in enumerate(("Ada", "Ben", "Cleo", "Dan", "Mallory", "Wanda"))
)


@dataclass(frozen=True)
class Service:
    """One offer and the nodes with a seat in it, by number."""

    id: ServiceId
    plans: tuple[devnet.NodePlan, ...]


@dataclass(frozen=True)
class Asked:
    """A request and its block."""

    id: RequestId
    block: int


class Demo:
    """The chain, its people, and what they do."""

    def __init__(self, w3: Web3, folder: Path, console: Console, began: float, model: Model, *, panel: bool) -> None:
        """began: Unix time that the two times count from. panel: of the tiny model."""
        self.w3, self.folder, self.console, self.began, self.panel = w3, folder, console, began, panel
        self.kind, self.is_whole = model, model is Model.TINY
        self.models = folder / "models"
        self.initial = {devnet.account(n).address: 10_000 * ETHER for n in range(devnet.ACCOUNTS)}
        self.players: list[Player] = []
        self.first_answer: float | None = None

    # -- before the story ------------------------------------------------------------------------------------------

    def set_up(self, stack: contextlib.ExitStack, rpc_url: str) -> None:
        """Everything that a dapp finds on a chain where the oracle is at work."""
        self.console.rule("[bold]Setting up")
        rows = Table.grid(padding=(0, 2))
        with self.console.status("deploying the contracts, opening services, taking seats"):
            deployment = devnet.deploy(self.w3)
            deployment.save(self.folder / "deployment.json")
            self.user = OracleClient(self.w3, deployment, devnet.account(devnet.ASKER).address)
            self.deployer = OracleClient(self.w3, deployment, devnet.account(devnet.DEPLOYER))
            self.model = devnet.add_model(self.models, self.kind.description, committed=True)
            self.judged = self._open(self.model, devnet.Mode.GAME, ADA, BEN, *([MALLORY] if self.is_whole else []))
            services = [self.judged]
            if self.is_whole:
                self.sealed = self._open(self.model, devnet.Mode.TEE, ADA, BEN)
                services.append(self.sealed)
            if self.panel:
                plain = devnet.add_model(self.models, SHIPPED_MODEL)
                self.voted = self._open(plain, devnet.Mode.PANEL, ADA, BEN, CLEO, DAN, MALLORY)
                services.append(self.voted)
            file = ModelStore(self.models).file(self.model).path
            self.choices = Choices.of(self.kind.words, self.model, file)
            asks = (self.judged.id, self.choices.type_bytes, LEAST_MARGIN)
            self.dapp = self.deployer.deploy("Critic", self.user.oracle.address, *asks, self.deployer.address)
            self._name_everybody()
        count, gas = self.narrator.skip()
        rows.add_row("chain", "Anvil on this machine, under the rules of mainnet, a block a second")
        rows.add_row("contracts", f"from the package's bytecode; {count} transactions to set all up, {gas:,} gas")
        place = "in the package" if self.is_whole else "as it is published"
        rows.add_row("model", f"{self.model.name}, {self.model.file_bytes / 1e6:.1f} MB, {place}")
        keys = " and keys inside a TEE of software" if self.is_whole else ""
        rows.add_row("[green]Ada, Ben", f"run nodes that answer, with 5 ether at stake each{keys}")
        if self.is_whole:
            rows.add_row("[red]Mallory", "runs a node with the same stake, and was bribed to praise the Delphi")
        rows.add_row("[cyan]Wanda", "watches: she has no stake, runs answers again and challenges wrong ones")
        if self.panel:
            rows.add_row("[green]Cleo, Dan", "run nodes of the service that a panel judges")
        rows.add_row("turns", "fall by lot on a real chain; here lots are drawn until they suit the story")
        self.console.print(rows)
        devnet.mine_every(self.w3, 1)
        for role in self._roles(services):
            self.players.append(start(role, self.folder, rpc_url, self.models))
            stack.callback(self.players[-1].process.kill)
        self._until_ready()

    def _open(self, manifest: Manifest, mode: devnet.Mode, *plans: devnet.NodePlan) -> Service:
        terms = devnet.dev_terms(self.user.deployment, manifest, mode)
        service = devnet.open_service(self.deployer, manifest, terms)
        devnet.take_seats(self.w3, self.user.deployment, service, list(plans), terms)
        return Service(service, plans)

    def _roles(self, services: Sequence[Service]) -> Iterator[Role]:
        def seats(plan: devnet.NodePlan) -> tuple[ServiceId, ...]:
            return tuple(service.id for service in services if plan in service.plans)

        # One watcher is enough. It goes first with what anybody may send, so that no transaction races another.
        alone: dict[str, object] = {"watch": False, "stagger_seconds": 10}
        for plan in (ADA, BEN):
            yield Role(plan, "a node", seats(plan), alone, tee=self.is_whole)
        for plan in (CLEO, DAN) if self.panel else ():
            yield Role(plan, "a node", seats(plan), alone)
        if self.is_whole:
            yield Role(MALLORY, "the bribed node", seats(MALLORY), alone, LIAR)
        watched = tuple(service.id for service in services)
        yield Role(WANDA, "the watcher", watched, {"answer": False, "finalize_others": False, "stagger_seconds": 0})

    def _name_everybody(self) -> None:
        user, deployer = self.user, self.deployer
        self.narrator = Narrator(self.w3, self.console)
        self.narrator.words = self.choices.words
        names = self.narrator.names
        names |= {deployer.address: "the deployer", user.address: "the user", BURN: "burnt"}
        self.parties = [Party("the user and the dapp", (user.address, self.dapp.address))]
        plans = (ADA, BEN, *([CLEO, DAN] if self.panel else []), *([MALLORY] if self.is_whole else []))
        for plan in plans:
            names |= {plan.owner.address: plan.name, plan.operator.address: plan.name}
            self.parties.append(Party(plan.name, (plan.owner.address, plan.operator.address)))
        names[WANDA.operator.address] = WANDA.name
        self.parties.append(Party(WANDA.name, (WANDA.operator.address,), "bonds"))
        self.parties.append(Party("the deployer", (deployer.address,)))
        for contract, name in (
            (user.registry, "ModelRegistry"),
            (user.oracle, "Oracle"),
            (user.panel, "PanelArbiter"),
            (user.referee, "Referee"),
            (user.token_referee, "TokenReferee"),
            (user.answer_referee, "AnswerReferee"),
            (user.refutations, "Refutations"),
            (user.game, "DisputeGame"),
            (user.attester, "AttestedAnswers"),
            (user.collateral, "DcapCollateral"),
            (self.dapp, "the dapp"),
        ):
            self.narrator.knows(contract, name)

    def _until_ready(self) -> None:
        """All daemons at work, and the keys of those in the TEE admitted."""
        with self._bar("starting the nodes", READY_SECONDS) as tick:
            began = time.monotonic()
            while True:
                waiting = [player for player in self.players if player.reasons()]
                if not waiting and (not self.is_whole or self._keys() == len(self.sealed.plans)):
                    break
                if time.monotonic() - began > READY_SECONDS:
                    raise DidNotHappen("not everybody was ready in time")
                tick(1)
        self.narrator.skip()
        self.console.print(
            f"  {len(self.players)} daemons are ready, {time.time() - self.began:.0f} s after the start\n"
        )

    def _keys(self) -> int:
        with contextlib.suppress(Refused):
            return len(readers(self.user, self.sealed.id))
        return 0

    # -- the story -------------------------------------------------------------------------------------------------

    def answered(self) -> None:
        self._scene(f"A dapp asks: {' or '.join(self.choices.words)}? A node answers with a bond; nobody objects")
        asked = self._ask_dapp(self.kind.question, ADA)
        steps = self._follow(asked)
        self._expect(steps, "AnswerPosted", "RequestFinalized")
        self.first_answer = time.time()
        self._heard(asked, _last(steps, "AnswerPosted"))

    def attested(self) -> None:
        self._scene("A node answers from inside a TEE: final at once")
        asked = self._ask(self.sealed, self._prompt(REVIEW))
        steps = self._follow(asked)
        self._expect(steps, "AnswerPosted", "AnswerAttested", "RequestFinalized")
        if len({step.tx_hash for step in steps if step.name != "RequestPosted"}) != 1:
            raise DidNotHappen("the answer was not final in the transaction that posted it")

    def private(self) -> None:
        self._scene("The user asks in private: only a TEE can read the question, only the user the answer")
        params = self.user.params(16, is_private=True)
        asking = question(self.user, self.sealed.id, self._prompt(SECRET), params)
        self.narrator.texts[asking.prompt] = f"{len(asking.sealed)} bytes that only a TEE can read"
        asked = self._ask(self.sealed, asking.prompt, params)
        steps = self._follow(asked, told=False)
        self._expect(steps, "AnswerPosted", "AnswerAttested", "RequestFinalized")
        output = bytes(_last(steps, "AnswerPosted").args["output"])
        self.narrator.texts[output] = f"{len(output)} bytes for the user alone"
        self.narrator.catch_up()
        answer = asking.read(asked.id, steps)
        if answer in output:
            raise DidNotHappen("the private answer stands on chain in the clear")
        self.narrator.say("the user", f"asked {SECRET!r} and reads {answer.decode().strip()!r}")

    def proven(self) -> None:
        self._scene("Mallory lies; Wanda runs the question again; a contract computes who is right")
        asked = self._ask_dapp(BRIBED, MALLORY)
        steps = self._follow(asked)
        self._liar_lost(steps)
        self._heard(asked, _last(steps, "AnswerPosted"))
        for game in story.games(self.user, steps[0].args["requestId"]):
            self.console.print(draw(self.user, game, self.model, self.narrator.names))
            return
        raise DidNotHappen("the lie was not disputed by a game")

    def voted_down(self) -> None:
        self._scene("Mallory lies where llama.cpp answers; a panel of three runs it again and votes")
        self._liar_lost(self._follow(self._ask(self.voted, self._prompt(BRIBED), turn=MALLORY)))

    def _heard(self, asked: Asked, answer: Step) -> None:
        """The dapp heard what the answer says."""
        verdict = Verdict.of(bytes(answer.args["output"]))
        heard, choice, margin = self.dapp.functions.verdictOf(asked.id).call()
        if verdict is None or not heard or (choice, margin) != (verdict.index, verdict.margin):
            raise DidNotHappen(f"the dapp heard choice {choice} by {margin}, not {verdict}")
        self.narrator.say("the dapp", f"hears {self.narrator.verdict(choice, margin)}")

    def _liar_lost(self, steps: Sequence[Step]) -> None:
        self._expect(steps, "AnswerPosted", "AnswerDisputed", "AnswerRuled", "AnswerPosted", "RequestFinalized")
        if _last(steps, "AnswerRuled").args["slashedWei"] == 0:
            raise DidNotHappen("the liar's bond was not slashed")
        outputs = [step.args["output"] for step in steps if step.name == "AnswerPosted"]
        if outputs[0] == outputs[-1]:
            raise DidNotHappen("the rejected answer became final")

    def refunded(self) -> None:
        self._scene("All nodes go home; a request that nobody answers is refunded, and the dapp hears so")
        for player in self.players:
            player.process.terminate()
        for player in self.players:
            try:
                status = player.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                raise DidNotHappen(f"{player.name} did not stop within {STOP_SECONDS} s") from None
            if status != 0:
                raise DidNotHappen(f"{player.name} did not stop cleanly")
        self.narrator.catch_up()
        self.narrator.say("the nodes", "stop, all of them cleanly")
        asked = self._ask_dapp(REVIEW, seconds=60)
        devnet.live(self.w3, 120)
        self.narrator.say("", "two minutes pass, and the request's deadline with them")
        credit = self.user.oracle.functions.credit(self.dapp.address)
        before = credit.call()
        request = self.user.steps(asked.id, asked.block)[0].args["request"]
        self.user.send(self.user.oracle.functions.refund(tuple(request.values())))
        self.narrator.catch_up()
        self._expect(self.user.steps(asked.id, asked.block), "RequestRefunded")
        if credit.call() <= before:
            raise DidNotHappen("the payer got nothing back")
        self.user.send(self.dapp.functions.close(asked.id))
        self.narrator.catch_up()
        if self.dapp.functions.verdictOf(asked.id).call() != [True, UNKNOWN, 0]:
            raise DidNotHappen("the dapp did not hear that its question is over")
        self.narrator.say("the dapp", "hears: unknown")
        missed = self.user.oracle.events.TurnMissed().get_logs(
            from_block=asked.block, argument_filters={"requestId": asked.id}
        )
        fines = sum(log["args"]["penaltyWei"] for log in missed) / ETHER
        self.narrator.say(
            "", f"turns missed: {len(missed)}, for {fines:g} ether from the nodes and as much from the dapp"
        )

    def balances(self) -> None:
        self._scene("What everybody gained and lost, in ether")
        made = ledger.settle(self.user, self.parties, self.initial)
        self.console.print(made.table())
        if not made.sums_to_zero:
            raise DidNotHappen("the balances do not add up to zero")

    # -- asking and waiting ----------------------------------------------------------------------------------------

    def _scene(self, title: str) -> None:
        self.console.print()
        self.console.rule(f"[bold]{title}")
        self.narrator.restart_clock()

    def _prompt(self, text: str) -> bytes:
        """In its envelope, as services read prompts."""
        prompt = text_prompt(text.encode())
        self.narrator.texts[prompt] = text
        return prompt

    def _ask_dapp(self, text: str, turn: devnet.NodePlan | None = None, seconds: int = 500) -> Asked:
        """The user asks through the dapp."""
        words = text.encode()
        self.narrator.texts[words] = text
        deadline = self.w3.eth.get_block("latest")["timestamp"] + seconds
        params = (self.choices.least_tokens, 0, 0, CALLBACK_GAS, CALLBACK_GAS_PRICE, deadline, 0, False)
        price = self.dapp.functions.price(len(words), params).call({"from": self.user.address})
        sent = self.dapp.functions.ask(words, params)
        return self._drawn(lambda: sent.transact({"from": self.user.address, "value": price}), self.judged, turn)

    def _ask(
        self,
        service: Service,
        prompt: bytes,
        params: tuple[int, ...] | None = None,
        turn: devnet.NodePlan | None = None,
    ) -> Asked:
        """The user asks without a dapp."""
        params = self.user.params(16) if params is None else params
        price = sum(self.user.oracle.functions.quote(service.id, len(prompt), params).call()[:2])
        sent = self.user.oracle.functions.request(service.id, prompt, params)
        return self._drawn(lambda: sent.transact({"from": self.user.address, "value": price}), service, turn)

    def _drawn(self, send: Callable[[], HexBytes], service: Service, turn: devnet.NodePlan | None) -> Asked:
        """Has the request mined, and its seats drawn until the first turn is that node's and the next are not.

        On a real chain nobody could: the block that draws is not known when the request is made, and not made again.
        """
        devnet.mine_every(self.w3, 0)
        tx_hash = send()
        devnet.mine(self.w3)
        receipt = self.w3.eth.wait_for_transaction_receipt(tx_hash)
        asked = Asked(self.user.request_in(receipt), receipt["blockNumber"])
        fields = self.user.steps(asked.id, asked.block)[0].args["request"]
        request = Request.from_abi(fields)
        while self.w3.eth.block_number < request.seed_block:
            devnet.mine(self.w3)
        draws = 1
        while turn is not None and not self._falls_to(turn, request, service):
            if draws == MOST_DRAWS:
                raise DidNotHappen(f"the turn did not fall to {turn.name} in {MOST_DRAWS} draws")
            devnet.mine_again(self.w3, request.seed_block)
            draws += 1
        devnet.mine_every(self.w3, 1)
        self.narrator.catch_up()
        if turn is not None:
            self.narrator.say("the chain", f"draws lots: the turn is {turn.name}'s")
        return asked

    def _falls_to(self, turn: devnet.NodePlan, request: Request, service: Service) -> bool:
        seed = bytes(self.w3.eth.get_block(request.seed_block)["hash"])
        first, *later = (service.plans[request.place_of_turn(seed, number)] for number in range(1 + LATER_TURNS))
        return first == turn and turn not in later

    def _follow(self, asked: Asked, *, told: bool = True) -> list[Step]:
        """Every step of the request, with a bar for what is being waited for. told: each as it happens."""
        waits = {
            "RequestPosted": ("the node whose turn it is computes the answer", 20),
            "AnswerPosted": ("the challenge window", 20),
            "AnswerDisputed": ("the dispute", 60),
            "AnswerRuled": ("the node of the next turn computes the answer", 20),
        }
        steps = []
        with self._bar("", SCENE_SECONDS) as tick:

            def sleep(seconds: float) -> None:
                if told:
                    self.narrator.catch_up()
                tick(seconds)

            for step in self.user.follow(asked.id, asked.block, timeout_seconds=SCENE_SECONDS, sleep=sleep):
                steps.append(step)
                if step.name in waits:
                    tick(0, *waits[step.name])
            if told:
                self.narrator.catch_up()
        return steps

    @contextlib.contextmanager
    def _bar(self, what: str, total: float) -> Iterator[Callable[..., None]]:
        """A bar for what is waited for. Yields what waits, and says what for; it fails if somebody is gone."""
        columns = (TextColumn("  {task.description:<48}"), BarColumn(), TextColumn("{task.completed:.0f} s"))
        with Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal) as progress:
            bar = progress.add_task(what, total=total)

            def tick(seconds: float, now: str = "", most: float = 0) -> None:
                if now:
                    progress.reset(bar, description=now, total=most)
                gone = [player.name for player in self.players if player.process.poll() is not None]
                if gone:
                    raise DidNotHappen(f"the process of {' and '.join(gone)} has ended")
                time.sleep(seconds)
                progress.advance(bar, seconds)

            yield tick

    @staticmethod
    def _expect(steps: Sequence[Step], *names: str) -> None:
        """The named steps happened, in this order."""
        happened = iter(step.name for step in steps)
        for name in names:
            if name not in happened:
                raise DidNotHappen(f"{name} did not happen; there were {', '.join(step.name for step in steps)}")


def _last(steps: Sequence[Step], name: str) -> Step:
    return [step for step in steps if step.name == name][-1]


def play(
    *,
    model: Model = Model.TINY,
    panel: bool = False,
    short: bool = False,
    began: float | None = None,
    picture: Path | None = None,
) -> int:
    """The demo. Returns the exit status.

    panel: of the tiny model alone. short: up to the first answer. began: Unix time that the times count from; None for
    now. picture: an SVG to write.
    """
    began = time.time() if began is None else began
    console = Console(highlight=False, width=COLUMNS, record=picture is not None)
    folder = Path(tempfile.mkdtemp(prefix="didyma-demo-"))
    port = devnet.free_port()
    demo: Demo | None = None
    try:
        if not cpu_kernels.available():
            raise Refused("the exact engine's C kernels were not built; install a C compiler, then the package again")
        if panel and model is not Model.TINY:
            raise Refused("the scene with the panel is the tiny model's: leave --panel or --model out")
        devnet.read_description(model.description)  # whose file may be in a package that is missing
        with contextlib.ExitStack() as stack:
            w3 = stack.enter_context(devnet.anvil(port, folder / "anvil.log"))
            demo = Demo(w3, folder, console, began, model, panel=panel)
            try:
                _story(demo, stack, f"http://127.0.0.1:{port}", short=short)
            except (DidNotHappen, TimeoutError, OracleError) as error:
                console.print(f"[red]This did not happen:[/] {error}", soft_wrap=True)
                console.print(explain(demo.players), soft_wrap=True, markup=False)
                console.print(f"All logs are in {folder}", soft_wrap=True)
                return 1
    except OracleError as error:
        console.print(f"[red]The demo cannot start:[/] {error}", soft_wrap=True)
        return 1
    assert demo.first_answer is not None
    console.print("\nEverything happened as it should.")
    console.print(
        f"First final answer after {demo.first_answer - began:.0f} s, the whole demo after {time.time() - began:.0f} s."
    )
    if picture is not None:
        drawn = console.export_svg(title="didyma demo")
        picture.write_text(re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL))  # nothing from other hosts
    return 0


def _story(demo: Demo, stack: contextlib.ExitStack, rpc_url: str, *, short: bool) -> None:
    demo.set_up(stack, rpc_url)
    demo.answered()
    if short:
        return
    if not demo.is_whole:
        demo.balances()
        return
    demo.proven()
    if demo.panel:
        demo.voted_down()
    demo.attested()
    demo.private()
    demo.refunded()
    demo.balances()
