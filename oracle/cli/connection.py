"""Which oracle a command talks to, and through which endpoint: one way for all commands.

A deployment file says where the contracts are. `--deployment` names it, or $DIDYMA_DEPLOYMENT; without either it is
the one that a running `didyma dev` keeps. `didyma dev` also writes into it where its chain answers and where its
models are, so that its file alone is enough; other chains are named with `--rpc-url` or $DIDYMA_RPC_URLS, as for a
node. Of several endpoints commands use the first.

A decorator gives a command these options, and what they lead to as its first argument:

    @app.command()
    @reading
    def show(client: OracleClient, service: ServiceArgument) -> None: ...

`sending` adds who sends. Every command that sends takes `--dry-run`, which prints target, value and calldata for a
wallet on another machine, and `--json`, which prints one object with the transactions and whatever else the command
tells with `Wallet.say`.
"""

import functools
import inspect
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_typing import ChecksumAddress
from rich.console import Console
from web3.contract.contract import ContractFunction

from oracle.chain.connect import connect
from oracle.chain.deployment import Deployment
from oracle.chain.units import NOBODY
from oracle.cli.report import BlocksBar, JsonOption, print_json, reported
from oracle.client import OracleClient, devnet
from oracle.errors import Refused, RpcUnavailable
from oracle.ids import ServiceId
from oracle.models.files import at_home

DEV_FOLDER = Path("~/.didyma/dev")
DEPLOYMENT_NAME = "deployment.json"
LOCAL_RPC_URL = "http://127.0.0.1:8545"
console = Console(highlight=False, soft_wrap=True, markup=False)

RpcUrlOption = Annotated[
    str | None,
    typer.Option(
        help="RPC endpoint; if not given, the one in the deployment file, or http://127.0.0.1:8545.",
        envvar="DIDYMA_RPC_URLS",
        show_default=False,
    ),
]
DeploymentOption = Annotated[
    Path | None,
    typer.Option(
        help="Deployment file of the contracts; if not given, the running `didyma dev`'s.",
        envvar="DIDYMA_DEPLOYMENT",
        show_default=False,
    ),
]
KeystoreOption = Annotated[Path | None, typer.Option(help="Keystore of the account that sends.", show_default=False)]
PasswordOption = Annotated[
    Path | None, typer.Option(help="File with the keystore's password; asked for if not given.", show_default=False)
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Print the transaction and send nothing.")]

READING = {"rpc_url": (RpcUrlOption, None), "deployment": (DeploymentOption, None)}
SENDING = READING | {
    "keystore": (KeystoreOption, None),
    "password_file": (PasswordOption, None),
    "dry_run": (DryRunOption, False),
    "as_json": (JsonOption, False),
}
"""Options that commands share: name -> type, default."""


@dataclass(frozen=True)
class Network:
    """A deployment, where its chain answers, and where its models are if it is a `didyma dev`'s."""

    deployment: Deployment
    rpc_url: str = field(repr=False)
    """It may hold a credential."""
    models: Path | None = None
    service: ServiceId | None = None
    """The one that it opened."""

    @classmethod
    def find(cls, deployment: Path | None, rpc_url: str | None) -> "Network":
        """The network that a command's options name. Raises Refused, BadDeployment."""
        path = dev_deployment() if deployment is None else at_home(deployment)
        if deployment is None and not path.exists():
            raise Refused(
                f"no dev network is running: start one with `didyma dev`, or name a deployment file with --deployment "
                f"or DIDYMA_DEPLOYMENT (looked for {path})"
            )
        loaded = Deployment.load(path)
        more = json.loads(path.read_text())
        models = more.get("models")
        urls = (rpc_url or str(more.get("rpc_url", ""))).replace(",", " ").split() or [LOCAL_RPC_URL]
        return cls(loaded, urls[0], Path(str(models)) if models else None)

    def save(self, path: Path) -> None:
        """Writes the file that `find` reads, whole or not at all."""
        fields = asdict(self.deployment) | {"rpc_url": self.rpc_url}
        if self.models is not None:
            fields["models"] = str(self.models)
        if self.service is not None:
            fields["service"] = "0x" + self.service.hex()
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(path.name + ".new")
        new.write_text(json.dumps(fields, indent=2) + "\n")
        os.replace(new, path)

    def client(self, account: LocalAccount | ChecksumAddress = NOBODY) -> OracleClient:
        """Raises Refused if the endpoint serves another chain, or one without these contracts; RpcUnavailable."""
        w3, wanted = connect(self.rpc_url), self.deployment.chain_id
        try:
            found = w3.eth.chain_id
        except RpcUnavailable as error:
            hint = "; `didyma dev` starts a chain" if wanted == devnet.CHAIN_ID else ""
            raise RpcUnavailable(f"{error}{hint}") from None
        if found != wanted:
            raise Refused(
                f"the RPC endpoint serves chain {found}, and the deployment is on chain {wanted}: name an endpoint of "
                f"that chain with --rpc-url, or another deployment with --deployment"
            )
        if not w3.eth.get_code(self.deployment.oracle):
            raise Refused(
                "the chain has no contract where the deployment says: it is another deployment's, or was restarted"
            )
        client = OracleClient(w3, self.deployment, account)
        client.on_blocks = BlocksBar()
        return client


@dataclass(frozen=True)
class Wallet:
    """A client that sends what it is given, or prints it."""

    network: Network
    client: OracleClient
    dry_run: bool
    as_json: bool = False
    told: dict[str, Any] = field(default_factory=lambda: {"transactions": []})
    """What is printed as JSON at the end."""

    def send(self, call: ContractFunction | Any, value_wei: int = 0) -> None:
        """Sends after a simulation; a contract's refusal is raised before anything is sent."""
        made: dict[str, Any] = {"call": call.fn_name, "to": call.address, "value_wei": value_wei}
        if self.dry_run:
            made["data"] = call._encode_transaction_data()
            line = f"to         {call.address}\nvalue      {value_wei}\ndata       {made['data']}"
        else:
            receipt = self.client.send(call, value_wei)
            made |= {"transaction": bytes(receipt["transactionHash"]), "gas_used": receipt["gasUsed"]}
            line = f"{call.fn_name:<10} {receipt['transactionHash'].to_0x_hex()}  gas {receipt['gasUsed']:,}"
        self.told["transactions"].append(made)
        self.say(line)

    def say(self, line: str, **fields: Any) -> None:
        """A line for people; fields for scripts."""
        self.told.update(fields)
        if not self.as_json:
            console.print(line)


def dev_deployment() -> Path:
    """Where `didyma dev` keeps its deployment file while it runs, unless it is given another folder."""
    return at_home(DEV_FOLDER) / DEPLOYMENT_NAME


def unlocked(keystore: Path, password_file: Path | None) -> LocalAccount:
    """The account of a keystore. Raises Refused."""
    try:
        encrypted = keystore.read_text()
        password = (
            str(typer.prompt("Password", hide_input=True, err=True))
            if password_file is None
            else password_file.read_text().removesuffix("\n").removesuffix("\r")
        )
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"{keystore if password_file is None else password_file} cannot be read: {error}") from None
    try:
        signer: LocalAccount = Account.from_key(Account.decrypt(encrypted, password))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Refused(f"{keystore} cannot be opened: {error}") from None
    return signer


def shared(options: Mapping[str, tuple[Any, Any]], lead: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator: the command gets what `lead` makes of the shared options as its first argument."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(**given: Any) -> None:
            with reported():
                first = lead(**{name: given.pop(name) for name in options})
                command(first, **given)
                if isinstance(first, Wallet) and first.as_json:
                    print_json(first.told)

        own = list(inspect.signature(command).parameters.values())[1:]
        more = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
            for name, (kind, default) in options.items()
        ]
        run.__signature__ = inspect.Signature([*own, *more])  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in (*own, *more)}
        return run

    return decorate


def reader(rpc_url: str | None, deployment: Path | None) -> OracleClient:
    """A client that sends nothing."""
    return Network.find(deployment, rpc_url).client()


def wallet(
    rpc_url: str | None,
    deployment: Path | None,
    keystore: Path | None,
    password_file: Path | None,
    dry_run: bool,
    as_json: bool,
    *,
    dev_asker: bool = False,
) -> Wallet:
    """dev_asker: on a development chain, whoever asks there needs no key store. Raises Refused."""
    network = Network.find(deployment, rpc_url)
    if keystore is not None:
        return Wallet(network, network.client(unlocked(keystore, password_file)), dry_run, as_json)
    if dry_run:
        return Wallet(network, network.client(), dry_run, as_json)
    if dev_asker and network.deployment.chain_id == devnet.CHAIN_ID:
        return Wallet(network, network.client(devnet.account(devnet.ASKER)), dry_run, as_json)
    raise Refused("give --keystore, or --dry-run to print the transaction for another wallet")


payer = functools.partial(wallet, dev_asker=True)
reading, sending, paying = shared(READING, reader), shared(SENDING, wallet), shared(SENDING, payer)
