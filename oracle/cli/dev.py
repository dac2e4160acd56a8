"""`didyma dev`: a local chain with contracts, five nodes and the shipped model, until Ctrl-C or a command's end."""

import contextlib
import fcntl
import importlib.util
import os
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from web3 import Web3

from oracle.chain.connect import connect
from oracle.chain.deployment import Deployment
from oracle.cli.connection import DEPLOYMENT_NAME, DEV_FOLDER, Network
from oracle.cli.report import reported, waiting
from oracle.client import OracleClient, devnet, devnodes
from oracle.client.devnodes import NodeProcess
from oracle.demo.cast import BRIBED, LIAR
from oracle.errors import Refused, RpcUnavailable
from oracle.ids import ServiceId
from oracle.models.files import at_home
from oracle.models.shipped import SHIPPED_MODEL

NODES = 5
MOST_NODES = devnet.FIRST_OPERATOR - devnet.FIRST_OWNER
LIAR_SEATS = 3  # of 7, if there are five nodes: about every second question goes to the liar first
READY_SECONDS = 300.0
PORT = 8545
CHAIN_NAME = "chain.bin"
"""The chain, in the folder of a network that is kept."""
console = Console(highlight=False, soft_wrap=True)


def dev(
    command: Annotated[
        list[str] | None,
        typer.Argument(
            help="After `--`: what to run once the network is ready. It then ends, with the command's exit status.",
            show_default=False,
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65_535,
            help="Port of the chain's RPC, on loopback; 0 for any that is free.",
            show_default=f"{PORT}; around a command any",
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the deployment, the models, and the nodes' logs and files.",
            show_default=f"{DEV_FOLDER}; around a command a new one",
        ),
    ] = None,
    model: Annotated[
        Path, typer.Option(help="JSON description of the model; the model's file lies beside it.")
    ] = SHIPPED_MODEL,
    nodes: Annotated[int, typer.Option(min=2, max=MOST_NODES, help="Nodes, a seat each. Panels need five.")] = NODES,
    block_time: Annotated[int, typer.Option(min=1, max=60, help="Seconds between blocks.")] = 1,
    fork: Annotated[
        str | None,
        typer.Option(help="RPC endpoint of a chain to continue, with all that is there.", show_default=False),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(help="Folder to go on from, and to keep chain and nodes in for next time.", show_default=False),
    ] = None,
    mode: Annotated[devnet.Mode, typer.Option(help="How answers are computed and judged.")] = devnet.Mode.GAME,
    liar: Annotated[bool, typer.Option("--liar", help="Bribe one node, to see a dispute.")] = False,
) -> None:
    """Keep a local testnet with the whole oracle running, until Ctrl-C or while a command runs."""
    status = 0
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, signal.default_int_handler)
    with reported(), contextlib.ExitStack() as stack:
        started = time.monotonic()
        _possible(mode, liar, nodes, model, fork, command or ())
        port = _port(port, of_its_own=bool(command))
        own = Path(tempfile.mkdtemp(prefix="didyma-dev-")) if command and folder is None else None
        folder = at_home(own or folder or DEV_FOLDER).resolve()
        stack.enter_context(_locked(folder))
        for log in folder.glob("run-*/anvil.log"):  # of networks that have ended
            shutil.rmtree(log.parent)
        run = Path(tempfile.mkdtemp(prefix="run-", dir=folder)) if state is None else _kept(stack, state)
        with waiting("starting a chain", console) as say:
            w3 = _chain(stack, port, run, fork, keeps=state is not None)
            say("deploying the contracts")
            deployment = _deployed(w3, run / DEPLOYMENT_NAME)
            say("reading the model")
            manifest = devnet.add_model(folder / "models", model, committed=mode.plays)
            (folder / "manifest.json").write_text(manifest.to_json() + "\n")
            say("opening a service, taking seats")
            client = OracleClient(w3, deployment, devnet.account(devnet.DEPLOYER))
            terms = devnet.dev_terms(deployment, manifest, mode)
            service = ServiceId(terms.service_id())
            network = Network(deployment, f"http://127.0.0.1:{port}", folder / "models", service)
            plans = [devnet.NodePlan(f"node {number}", number) for number in range(nodes)]
            if liar:
                plans[-1] = devnet.NodePlan("the liar", nodes - 1, LIAR_SEATS)
            if not client.oracle.functions.placesOf(service).call():
                devnet.open_service(client, manifest, terms)
                devnet.take_seats(w3, deployment, service, plans, terms)
            devnet.mine_every(w3, block_time)
            say("starting the nodes")
            daemons, mailboxes = _start(stack, run, plans, network, service, mode)
            admission = _admission(client, service, nodes) if mode is devnet.Mode.TEE else lambda: ""
            devnodes.await_ready(daemons, READY_SECONDS, say, admission)
        network.save(folder / DEPLOYMENT_NAME)
        stack.callback((folder / DEPLOYMENT_NAME).unlink, missing_ok=True)
        seconds = time.monotonic() - started
        if command:
            status = _run(command, network, folder / DEPLOYMENT_NAME)
        else:
            _print_network(network, folder, run, service, daemons, mailboxes)
            _print_hints(folder, mode, liar, nodes, seconds)
            with contextlib.suppress(KeyboardInterrupt):
                _watch(daemons, w3)
            console.print("stopping")
    if own is not None:  # what fails before this line leaves its logs
        shutil.rmtree(own, ignore_errors=True)
    raise typer.Exit(status)


# BEFORE ANYTHING STARTS


def _possible(mode: devnet.Mode, liar: bool, nodes: int, model: Path, fork: str | None, command: Sequence[str]) -> None:
    """Raises Refused, BadModelFile, RpcUnavailable for what could not work."""
    if command and shutil.which(command[0]) is None:
        raise Refused(f"{command[0]} cannot be started: it is no command on the PATH, and no program in this folder")
    devnet.read_description(model)
    if fork is not None:
        connect(fork).eth.chain_id  # noqa: B018
    if nodes < NODES and not mode.plays:
        raise Refused(f"--nodes {nodes}: a panel needs {NODES}, or nobody would be left to judge an answer")
    if mode is devnet.Mode.PANEL and importlib.util.find_spec("llama_cpp") is None:
        raise Refused("--mode panel needs llama.cpp: install didyma[llamacpp], or use another mode")
    if liar and mode is devnet.Mode.TEE:
        raise Refused("a TEE's answer is final at once, so there is no dispute to see: use --liar with another mode")


def _port(wanted: int | None, *, of_its_own: bool) -> int:
    """of_its_own: as around a command, where a network stands in no other's way. Raises Refused where it is taken."""
    port = (0 if of_its_own else PORT) if wanted is None else wanted
    port = port or devnet.free_port()
    _refuse_taken(port)
    return port


def _refuse_taken(port: int) -> None:
    """Raises Refused where something listens on the port, or nothing may."""
    use_another = f"use another with --port, such as --port {port + 1 if port < 65_535 else port - 1}"
    with socket.socket() as probe:
        probe.settimeout(1)
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            try:
                what = f"chain {connect(f'http://127.0.0.1:{port}', timeout_seconds=2).eth.chain_id}"
            except RpcUnavailable:
                what = "something that is no chain"
            raise Refused(f"port {port} is taken by {what}: stop it, or {use_another}")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # ended connections do not count
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise Refused(f"nothing can listen on port {port} ({error.strerror}): {use_another}") from None


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One network in a folder at a time. Raises Refused."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Refused(f"a dev network runs in {folder} already: give a second one --folder and --port") from None
        os.set_inheritable(file.fileno(), False)
        yield


def _kept(stack: contextlib.ExitStack, state: Path) -> Path:
    """The folder where chain and nodes are kept. One network uses it at a time. Raises Refused."""
    folder = at_home(state).resolve()
    stack.enter_context(_locked(folder))
    return folder


def _chain(stack: contextlib.ExitStack, port: int, run: Path, fork: str | None, *, keeps: bool) -> Web3:
    """Anvil, on what was kept in the folder if there is anything. keeps: whether that is kept again."""
    w3 = stack.enter_context(devnet.anvil(port, run / "anvil.log", fork=fork))
    if keeps:
        if (run / CHAIN_NAME).exists():
            devnet.load(w3, run / CHAIN_NAME)
        stack.callback(devnet.keep, w3, run / CHAIN_NAME)
    return w3


def _deployed(w3: Web3, kept: Path) -> Deployment:
    """The contracts: as a kept network has them, or made now. kept: the file of their addresses."""
    made = devnet.deploy(w3)
    if kept.exists():
        made = replace(made, block=Deployment.load(kept).block)
    made.save(kept)
    return made


# A COMMAND


def _run(command: Sequence[str], network: Network, deployment: Path) -> int:
    """Runs a command that finds the network in its environment. Returns its exit status. Raises Refused."""
    assert network.service is not None
    told = {
        "DIDYMA_DEPLOYMENT": str(deployment),
        "DIDYMA_RPC_URLS": network.rpc_url,
        "DIDYMA_ORACLE": network.deployment.oracle,
        "DIDYMA_SERVICE": Web3.to_hex(network.service),
        "ETH_RPC_URL": network.rpc_url,
    }
    try:
        with subprocess.Popen(command, env=os.environ | told) as process:
            try:
                return process.wait()
            except KeyboardInterrupt:
                process.terminate()
                return process.wait()
    except OSError as error:
        raise Refused(f"{command[0]} cannot be started: {error.strerror}") from None


# THE NODES


def _start(
    stack: contextlib.ExitStack,
    run: Path,
    plans: Sequence[devnet.NodePlan],
    network: Network,
    service: ServiceId,
    mode: devnet.Mode,
) -> tuple[list[NodeProcess], list[int]]:
    """The nodes, and the ports where those of TEEs take private prompts. They end with the stack."""
    nodes: list[NodeProcess] = []
    mailboxes = []
    stack.callback(lambda: devnodes.stop([node.process for node in nodes]))
    assert network.models is not None
    for plan in plans:
        folder, is_tee = run / f"node-{plan.number}", mode is devnet.Mode.TEE
        config = devnet.write_node(folder, plan, network.rpc_url, [service], network.models, tee=is_tee)
        log = run / f"node-{plan.number}.log"
        settings = tomllib.loads(config.read_text())  # alone: this shell's environment is for dapps, and not the nodes'
        process = devnet.start_node(config, log, LIAR if plan.name == "the liar" else devnet.NODE)
        nodes.append(NodeProcess(plan.name, process, settings["api_port"], log))
        if settings["prompts_port"]:
            mailboxes.append(settings["prompts_port"])
    return nodes, mailboxes


def _admission(client: OracleClient, service: ServiceId, wanted: int) -> Callable[[], str]:
    """What is missing until all nodes' answers are attested."""

    def missing() -> str:
        events = client.attester.events.KeyAdmitted().get_logs(
            from_block=client.deployment.block, argument_filters={"service": service}
        )
        signers = {event["args"]["signer"] for event in events}
        admitted = sum(client.attester.functions.isAdmitted(service, signer).call() for signer in signers)
        return "" if admitted >= wanted else f"{admitted} of {wanted} keys are admitted"

    return missing


def _watch(nodes: Sequence[NodeProcess], w3: Web3) -> None:
    """Says so when a node ends. Raises RpcUnavailable when the chain does."""
    told: set[str] = set()
    while True:
        time.sleep(1)
        w3.eth.chain_id  # noqa: B018
        for node in nodes:
            if node.name not in told and (why := node.ended()):
                told.add(node.name)
                console.print(why, style="red", markup=False)


# WHAT IS PRINTED


def _print_network(
    network: Network,
    folder: Path,
    run: Path,
    service: ServiceId,
    nodes: Sequence[NodeProcess],
    mailboxes: Sequence[int],
) -> None:
    def line(name: str, value: str) -> None:
        console.print(f"{name:<12} {value}", markup=False)

    line("RPC", f"{network.rpc_url}   chain {network.deployment.chain_id}")
    line("oracle", network.deployment.oracle)
    line("service", Web3.to_hex(service))
    line("deployment", str(folder / DEPLOYMENT_NAME))
    line("logs", str(run))
    line("accounts", f"from the mnemonic {devnet.MNEMONIC!r}, which is public: no chain with money may know them")
    for index, use in ((devnet.DEPLOYER, "deployed the contracts"), (devnet.ASKER, "pays for `didyma ask`")):
        line("", f"{index:>2}  {devnet.account(index).address}  {use}")
    for index in range(devnet.ASKER + 1, devnet.FIRST_OWNER):
        line("", f"{index:>2}  {devnet.account(index).address}  yours")
    line("", f"{devnet.FIRST_OWNER} and up own the nodes' seats, {devnet.FIRST_OPERATOR} and up are their keys")
    for node in nodes:
        line(node.name, node.page)
    if mailboxes:
        line("prompts at", " ".join(f"http://127.0.0.1:{port}" for port in mailboxes))


def _print_hints(folder: Path, mode: devnet.Mode, liar: bool, nodes: int, seconds: float) -> None:
    """What to type next; every line works as it stands, from any folder."""
    is_default = folder == Path(os.path.expanduser(DEV_FOLDER)).resolve()
    where = "" if is_default else f" --deployment {shlex.quote(str(folder / DEPLOYMENT_NAME))}"

    def hint(what: str, command: str) -> None:
        console.print(f"{what:<12} didyma {command}{where}", markup=False)

    console.print(f"\n[bold green]Ready[/] after {seconds:.0f} s. In another shell:")
    hint("Ask it:", 'ask "The soup was cold." --choice positive --choice negative')
    hint("In words:", 'ask "Simon lives in Portland. Where does Simon live?"')
    if mode is devnet.Mode.TEE:
        hint("In private:", 'ask --private "The soup was cold."')
        hint("Its keys:", "tee status")
    if liar:
        hint("Be lied to:", f'ask "{BRIBED}"')
        console.print(
            f"{'':<12} The liar answers `positive` if it is asked first: {LIAR_SEATS} times in "
            f"{nodes - 1 + LIAR_SEATS}. A watcher then disputes."
        )
        console.print(f"{'':<12} If an honest node was asked, ask again.")
        hint("See it lose:", "request show 0xREQUEST")
    console.print("Stop:        Ctrl-C")
