"""`didyma dev`: a local chain with contracts, five nodes and the shipped model, until Ctrl-C."""

import contextlib
import signal
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from web3 import Web3

from oracle import devnet
from oracle.cli.connection import DEPLOYMENT_NAME, DEV_FOLDER, Network
from oracle.cli.report import reported
from oracle.client import OracleClient
from oracle.models.shipped import SHIPPED_MODEL
from oracle.node.settings import load

NODES = 5
console = Console(highlight=False)


def dev(
    port: Annotated[int, typer.Option(help="Port of the chain's RPC, on loopback.")] = 8545,
    folder: Annotated[
        Path, typer.Option(help="For the deployment, the manifest, and each run's logs and nodes.")
    ] = DEV_FOLDER,
    model: Annotated[Path, typer.Option(help="Description of the model, its file beside it.")] = SHIPPED_MODEL,
    block_seconds: Annotated[int, typer.Option(min=1)] = 1,
    mode: Annotated[devnet.Mode, typer.Option(help="How answers are computed and judged.")] = devnet.Mode.PANEL,
) -> None:
    """Keep a local testnet with the whole oracle running."""
    with reported(), contextlib.ExitStack() as stack:
        folder = folder.expanduser().resolve()
        folder.mkdir(parents=True, exist_ok=True)
        run = Path(tempfile.mkdtemp(dir=folder))
        with console.status("starting the chain, deploying, taking seats"):
            w3 = stack.enter_context(devnet.anvil(port, run / "anvil.log"))
            deployment = devnet.deploy(w3)
            deployment.save(run / "deployment.json")
            models = folder / "models"
            Network(deployment, f"http://127.0.0.1:{port}", models).save(folder / DEPLOYMENT_NAME)
            stack.callback((folder / DEPLOYMENT_NAME).unlink, missing_ok=True)
            manifest = devnet.add_model(models, model, committed=mode.plays)
            (folder / "manifest.json").write_text(manifest.to_json() + "\n")
            client = OracleClient(w3, deployment, devnet.account(devnet.DEPLOYER))
            terms = devnet.dev_terms(deployment, manifest.model_id, mode)
            service = devnet.open_service(client, manifest, terms)
            plans = [devnet.NodePlan(f"node {number}", number) for number in range(NODES)]
            devnet.take_seats(w3, deployment, service, plans, terms)
            devnet.mine_every(w3, block_seconds)
            mailboxes = []
            for plan in plans:
                settings = devnet.write_node(
                    run / f"node-{plan.number}",
                    plan,
                    f"http://127.0.0.1:{port}",
                    [service],
                    models,
                    tee=mode is devnet.Mode.TEE,
                )
                mailboxes.append(load(settings).prompts_port)
                process = devnet.start_node(settings, run / f"node-{plan.number}.log")
                stack.callback(process.wait)
                stack.callback(process.terminate)
        console.print(f"RPC          http://127.0.0.1:{port}   chain {deployment.chain_id}")
        console.print(f"oracle       {deployment.oracle}")
        console.print(f"service      {Web3.to_hex(service)}")
        console.print(f"deployment   {folder / DEPLOYMENT_NAME}")
        console.print(f"logs         {run}")
        if all(mailboxes):
            console.print(f"prompts at   {' '.join(f'http://127.0.0.1:{each}' for each in mailboxes)}", soft_wrap=True)
        elsewhere = "" if folder == DEV_FOLDER.expanduser().resolve() else f" --deployment {folder / DEPLOYMENT_NAME}"
        console.print(f'\nAsk it:      didyma ask "The soup was cold."{elsewhere}        Stop: Ctrl-C', soft_wrap=True)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                time.sleep(3600)
