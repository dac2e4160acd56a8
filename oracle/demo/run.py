"""The whole oracle on a local chain, with real transactions and real inference: `make demo`.

Five daemons, one of them bribed. A dapp's request is answered, finalized and called back. A wrong answer is noticed by
a watcher that ran the question again, challenged, and judged by the panel; the liar's bond moves, and the next turn
answers again. In a service that the dispute game judges, a lie about one number inside the model is found by bisection
and proven by arithmetic. Keys inside a TEE of software answer at once, one of them a prompt that nobody else can read.
A request that nobody answers is refunded. Ends with a table of balances that adds up to zero,
and with exit status 1 if anything did not happen.
"""

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from eth_typing import ChecksumAddress
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from web3 import Web3

from oracle import devnet
from oracle.attestation.asking import question, readers
from oracle.cli.dispute import drawn
from oracle.client import OracleClient, RequestId, ServiceId, Step
from oracle.demo.narrator import RULINGS, Narrator
from oracle.deployment import Deployment
from oracle.disputes import story
from oracle.disputes.tokens import tokenized
from oracle.errors import Refused
from oracle.models.shipped import SHIPPED_MODEL
from oracle.models.store import ModelStore

REVIEW = b"The soup was cold and the waiter was rude."
BRIBED = b"The food at the Delphi was awful."
HONEST_NODES, LIAR_SEATS = 4, 3
MOST_TRIES = 12  # each request falls to the liar with probability 3/7
BURN_ADDRESS = "0x000000000000000000000000000000000000dEaD"
CALLBACK_GAS, CALLBACK_GAS_PRICE = 60_000, 2 * devnet.GWEI
console = Console(highlight=False, width=120)


SECRET = b"My own soup was cold, and nobody may know."
KEY_SECONDS = 120


class DidNotHappen(Exception):
    """A step of the demo failed."""


class Demo:
    """The chain, its people, and what they do."""

    def __init__(self, w3: Web3, deployment: Deployment, folder: Path) -> None:
        self.w3 = w3
        self.folder = folder
        self.client = OracleClient(w3, deployment, devnet.account(devnet.ASKER))
        self.deployer = OracleClient(w3, deployment, devnet.account(devnet.DEPLOYER))
        self.plans = [devnet.NodePlan(f"node {n}", n) for n in range(HONEST_NODES)]
        self.plans.append(devnet.NodePlan("liar", HONEST_NODES, LIAR_SEATS))
        self.game_plans = [*self.plans[:2], replace(self.plans[-1], seats=2)]
        self.tee_plans = self.plans[:2]
        self.models = folder / "models"
        self.narrator = Narrator(w3, console)
        self.names = self.narrator.names
        self.names |= {self.deployer.address: "deployer", self.client.address: "user", BURN_ADDRESS: "burnt"}
        self.narrator.knows(self.client.registry, "ModelRegistry")
        self.narrator.knows(self.client.oracle, "Oracle")
        self.narrator.knows(self.client.panel, "PanelArbiter")
        self.narrator.knows(self.client.referee, "Referee")
        self.narrator.knows(self.client.game, "DisputeGame")
        self.narrator.knows(self.client.attester, "AttestedAnswers")
        self.narrator.knows(self.client.collateral, "DcapCollateral")
        for plan in self.plans:
            self.names |= {plan.owner.address: f"{plan.name}'s owner", plan.operator.address: plan.name}

    def set_up(self) -> ServiceId:
        manifest = devnet.add_model(self.models, SHIPPED_MODEL)
        terms = devnet.dev_terms(self.client.deployment, manifest.model_id)
        service = devnet.open_service(self.deployer, manifest, terms)
        devnet.take_seats(self.w3, self.client.deployment, service, self.plans, terms)
        self.waits = {
            "RequestPosted": ("waiting for the node whose turn it is", terms.turn_seconds),
            "AnswerPosted": ("challenge window", terms.window_seconds),
            "AnswerDisputed": ("panel votes", devnet.PANEL.commit_seconds + devnet.PANEL.reveal_seconds),
            "AnswerRuled": ("waiting for the node of the next turn", terms.turn_seconds),
        }
        self.dapp = self.deployer.deploy("Correspondent", self.deployer.oracle.address, service, self.deployer.address)
        self.narrator.knows(self.dapp, "the dapp Correspondent")
        self.narrator.catch_up()
        return service

    def set_up_game(self) -> ServiceId:
        """A second service, with fewer nodes, that arithmetic judges."""
        manifest = devnet.add_model(self.models, SHIPPED_MODEL, committed=True)
        terms = devnet.dev_terms(self.client.deployment, manifest.model_id, devnet.Mode.GAME)
        service = devnet.open_service(self.deployer, manifest, terms)
        devnet.take_seats(self.w3, self.client.deployment, service, self.game_plans, terms)
        self.file, self.committed = ModelStore(self.models).file(manifest).path, manifest.model_id
        self.narrator.catch_up()
        return service

    def set_up_tee(self) -> ServiceId:
        """A third one, like the second, with two nodes in the dev TEE."""
        manifest = ModelStore(self.models).find(self.committed.hex())
        terms = devnet.dev_terms(self.client.deployment, manifest.model_id, devnet.Mode.TEE)
        service = devnet.open_service(self.deployer, manifest, terms)
        devnet.take_seats(self.w3, self.client.deployment, service, self.tee_plans, terms)
        self.narrator.catch_up()
        return service

    def start_nodes(
        self, stack: contextlib.ExitStack, services: dict[ServiceId, list[devnet.NodePlan]], rpc_url: str
    ) -> list[subprocess.Popen[bytes]]:
        processes = []
        for plan in self.plans:
            own = [service for service, plans in services.items() if plan.name in [each.name for each in plans]]
            folder = self.folder / f"node-{plan.number}"
            settings = devnet.write_node(folder, plan, rpc_url, own, self.models, tee=plan in self.tee_plans)
            command = ("-m", "oracle.demo.liar") if plan.name == "liar" else devnet.NODE
            processes.append(devnet.start_node(settings, self.folder / f"node-{plan.number}.log", command))
            stack.callback(processes[-1].kill)
        return processes

    def ask_dapp(self, prompt: bytes, seconds: int = 500) -> tuple[RequestId, int]:
        """The user asks through the dapp. Returns the request and its block."""
        deadline = self.w3.eth.get_block("latest")["timestamp"] + seconds
        params = (16, 0, 0, CALLBACK_GAS, CALLBACK_GAS_PRICE, deadline, 0, False)
        price = self.dapp.functions.price(len(prompt), params).call({"from": self.client.address})
        receipt = self.client.send(self.dapp.functions.ask(prompt, params), price)
        self.narrator.catch_up()
        return self.client.request_in(receipt), receipt["blockNumber"]

    def follow(self, request_id: RequestId, block: int) -> list[Step]:
        """Every step of the request, with a bar for what is being waited for."""
        steps = []
        columns = (TextColumn("  {task.description:<54}"), BarColumn(), TextColumn("{task.completed:.0f} s"))
        with Progress(*columns, console=console, transient=True) as progress:
            bar = progress.add_task("")

            def sleep(seconds: float) -> None:
                self.narrator.catch_up()
                time.sleep(seconds)
                progress.advance(bar, seconds)

            for step in self.client.follow(request_id, block, timeout_seconds=700, sleep=sleep):
                steps.append(step)
                if step.name in self.waits:
                    what, total = self.waits[step.name]
                    progress.reset(bar, description=what, total=total)
            self.narrator.catch_up()
        return steps

    def answered(self) -> None:
        console.rule("[bold]A dapp asks, a bonded node answers, the dapp is called back")
        request_id, block = self.ask_dapp(REVIEW)
        steps = self.follow(request_id, block)
        self.expect(steps, "AnswerPosted", "RequestFinalized")
        output = [step for step in steps if step.name == "AnswerPosted"][-1].args["output"]
        if self.dapp.functions.answerHash(request_id).call() != Web3.keccak(output):
            raise DidNotHappen("the dapp did not store the answer's hash")
        self.narrator.say("the dapp", f"has stored the hash of {bytes(output).decode().strip()!r}")

    def attested(self, service: ServiceId) -> None:
        console.rule("[bold]A node answers from inside a TEE (of software, here): final at once, and in private")
        for _ in range(KEY_SECONDS):
            with contextlib.suppress(Refused):
                if len(readers(self.client, service)) == len(self.tee_plans):
                    break
            self.narrator.catch_up()
            time.sleep(1)
        else:
            raise DidNotHappen("the nodes' keys were not admitted")
        prompt = tokenized(self.file, REVIEW)
        self.narrator.texts[prompt] = REVIEW
        request_id, receipt = self.client.ask(service, prompt, self.client.params(16))
        steps = self.follow(request_id, receipt["blockNumber"])
        self.expect(steps, "AnswerPosted", "AnswerAttested", "RequestFinalized")
        if len({step.tx_hash for step in steps if step.name != "RequestPosted"}) != 1:
            raise DidNotHappen("the answer was not final in the transaction that posted it")

        params = self.client.params(16, is_private=True)
        asked = question(self.client, service, tokenized(self.file, SECRET), params)
        self.narrator.texts[asked.prompt] = b"%d bytes that only TEEs can read" % len(asked.sealed)
        request_id, receipt = self.client.ask(service, asked.prompt, params)
        (posted,) = [step for step in self.waited(request_id, receipt["blockNumber"]) if step.name == "AnswerPosted"]
        output = bytes(posted.args["output"])
        self.narrator.texts[output] = b"%d bytes that only the user can read" % len(output)
        self.narrator.catch_up()
        answer = asked.read(request_id, self.client.steps(request_id, receipt["blockNumber"]))
        if answer in output:
            raise DidNotHappen("the private answer stands on chain in the clear")
        self.narrator.say("the user", f"asked {SECRET.decode()!r} and reads {answer.decode().strip()!r}")

    def waited(self, request_id: RequestId, block: int) -> list[Step]:
        """All steps, without a word: what they say is explained first."""
        return list(self.client.follow(request_id, block, timeout_seconds=700))

    def disputed(self) -> None:
        console.rule("[bold]A bribed node lies; a watcher runs the question again")
        for attempt in range(MOST_TRIES):
            request_id, block = self.ask_dapp(BRIBED + b" Really." * attempt)
            steps = self.follow(request_id, block)
            rulings = [step.args for step in steps if step.name == "AnswerRuled"]
            if any(RULINGS[ruled["ruling"]] == "rejected" and ruled["slashedWei"] > 0 for ruled in rulings):
                self.expect(steps, "AnswerPosted", "AnswerDisputed", "AnswerRuled", "AnswerPosted", "RequestFinalized")
                outputs = [step.args["output"] for step in steps if step.name == "AnswerPosted"]
                if outputs[0] == outputs[-1]:
                    raise DidNotHappen("the rejected answer became final")
                return
            self.narrator.say("", "the turn fell to an honest node; the user asks again")
        raise DidNotHappen(f"the liar was never drawn in {MOST_TRIES} requests")

    def proven(self, service: ServiceId) -> None:
        console.rule("[bold]A bribed node lies where arithmetic judges; the game finds the number")
        self.waits["AnswerDisputed"] = ("the game: list by list, down to one number", 60)
        for attempt in range(MOST_TRIES):
            text = BRIBED + b" Really." * attempt
            prompt = tokenized(self.file, text)
            self.narrator.texts[prompt] = text
            request_id, receipt = self.client.ask(service, prompt, self.client.params(16))
            self.narrator.catch_up()
            steps = self.follow(request_id, receipt["blockNumber"])
            if any(step.name == "AnswerRuled" for step in steps):
                self.expect(steps, "AnswerPosted", "AnswerDisputed", "AnswerRuled", "AnswerPosted", "RequestFinalized")
                for game in story.games(self.client, request_id):
                    if any(line.text.startswith("proves") for line in story.tell(self.client, game)):
                        console.print(drawn(self.client, game, self.names), soft_wrap=True, markup=False)
                        return
                raise DidNotHappen("the lie was not proven")
            self.narrator.say("", "the turn fell to an honest node; the user asks again")
        raise DidNotHappen(f"the liar was never drawn in {MOST_TRIES} requests")

    def refunded(self, processes: list[subprocess.Popen[bytes]]) -> None:
        console.rule("[bold]All nodes go home; a request nobody answers is refunded")
        for process in processes:
            process.terminate()
        for plan, process in zip(self.plans, processes, strict=True):
            if process.wait(timeout=60) != 0:
                raise DidNotHappen(f"{plan.name} did not stop cleanly; see its log")
        self.narrator.catch_up()
        self.narrator.say("five nodes", "stop cleanly")
        request_id, block = self.ask_dapp(REVIEW, seconds=60)
        devnet.pass_time(self.w3, 120)
        request = self.client.steps(request_id, block)[0].args["request"]
        credit = self.client.oracle.functions.credit(self.dapp.address)
        before = credit.call()
        self.client.send(self.client.oracle.functions.refund(tuple(request.values())))
        self.narrator.catch_up()
        self.expect(self.client.steps(request_id, block), "RequestRefunded")
        if credit.call() <= before:
            raise DidNotHappen("the payer got nothing back")

    def expect(self, steps: list[Step], *names: str) -> None:
        """The named steps happened, in this order."""
        happened = iter(step.name for step in steps)
        for name in names:
            if name not in happened:
                raise DidNotHappen(f"{name} did not happen; steps: {[step.name for step in steps]}")

    def balances(self, initial: Mapping[ChecksumAddress, int]) -> None:
        """Who has how much more or less than at the start; what fees burnt included, it adds up to zero."""
        console.rule("[bold]Balances")
        self.client.send(self.client.oracle.functions.burn())
        self.narrator.catch_up()
        burnt_fees, touched = 0, set(self.names)
        for number in range(self.w3.eth.block_number + 1):
            block = self.w3.eth.get_block(number)
            burnt_fees += block["gasUsed"] * block.get("baseFeePerGas", 0)
            touched.add(block["miner"])
        table = Table("account", "ether", "of it with the oracle", box=None)
        credit = self.client.oracle.functions.credit
        total = burnt_fees
        for address in sorted(touched, key=lambda a: self.names.get(a, "block producer")):
            to = Web3.to_checksum_address(address)
            change = self.w3.eth.get_balance(to) - initial.get(to, 0)
            total += change
            owed = credit(to).call()
            name = self.names.get(address, "block producer")
            table.add_row(name, f"{change / devnet.ETHER:+.6f}", f"{owed / devnet.ETHER:.6f}" if owed else "")
        table.add_row("base fees", f"{burnt_fees / devnet.ETHER:+.6f}", "")
        table.add_row("[bold]sum", f"[bold]{total} wei", "")
        console.print(table)
        if total != 0:
            raise DidNotHappen("the balances do not add up to zero")


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="didyma-demo-"))
    port = devnet.free_port()
    rpc_url = f"http://127.0.0.1:{port}"
    try:
        with contextlib.ExitStack() as stack:
            console.rule("[bold]Setting up")
            w3 = stack.enter_context(devnet.anvil(port, folder / "anvil.log"))
            initial = {devnet.account(n).address: 10_000 * devnet.ETHER for n in range(devnet.ACCOUNTS)}
            with console.status("deploying the contracts"):
                deployment = devnet.deploy(w3)
                deployment.save(folder / "deployment.json")
            demo = Demo(w3, deployment, folder)
            with console.status("opening a service"):
                service, judged, sealed = demo.set_up(), demo.set_up_game(), demo.set_up_tee()
            devnet.mine_every(w3, 1)
            services = {service: demo.plans, judged: demo.game_plans, sealed: demo.tee_plans}
            processes = demo.start_nodes(stack, services, rpc_url)
            demo.answered()
            demo.attested(sealed)
            demo.disputed()
            demo.proven(judged)
            demo.refunded(processes)
            demo.balances(initial)
    except (DidNotHappen, TimeoutError) as error:
        console.print(f"[red]Failed:[/] {error}\nLogs are in {folder}")
        sys.exit(1)
    console.print("Everything happened as it should.")


if __name__ == "__main__":
    main()
