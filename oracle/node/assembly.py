"""The parts of a node, made as its settings say; whatever is missing or locked is a Fatal error."""

from typing import Any

import structlog
from web3 import Web3

from oracle.attestation.attested_keys import QuoteProducer
from oracle.attestation.configfs import ConfigfsTsm
from oracle.attestation.dev import LOCAL_CHAINS, MACHINE
from oracle.attestation.keeper import DevSource, Pccs, Source
from oracle.chain.contracts import Contracts, viewed
from oracle.chain.deployment import Deployment
from oracle.chain.follower import Follower
from oracle.chain.keys import RemoteSigner, Signer, load_keystore_async
from oracle.chain.rpc import Rpc
from oracle.chain.types import Block
from oracle.errors import BadSettings
from oracle.journal.journal import Journal
from oracle.node import ledger
from oracle.node.ledger import Ledger
from oracle.node.settings import Settings
from oracle.node.tee.enclave import Enclave

log = structlog.get_logger()

JOURNAL = "journal.sqlite"
"""In the data directory."""


def make_follower(settings: Settings, contracts: Contracts, rpc: Rpc, journal: Journal, **options: Any) -> Follower:
    """The reader of this deployment's events. options: as Follower takes them."""
    return Follower(
        rpc,
        journal,
        Ledger(contracts, settings.service_ids),
        addresses=contracts.addresses,
        topics=contracts.topics,
        start_block=contracts.deployment.block,
        confirmations=settings.confirmations,
        finality=settings.finality,
        **options,
    )


def make_rpc(settings: Settings, deployment: Deployment) -> Rpc:
    """The configured endpoints."""
    return Rpc(settings.rpc_urls, deployment.chain_id, timeout_seconds=settings.rpc_timeout_seconds)


def bare_journal(settings: Settings, deployment: Deployment) -> Journal:
    """The journal of this deployment as it is. Raises as Journal does."""
    identity = f"{deployment.chain_id}:{deployment.oracle}"
    return Journal(settings.data_dir / JOURNAL, identity, ballast_bytes=settings.ballast_mib << 20)


def open_journal(settings: Settings, deployment: Deployment) -> Journal:
    """The journal of this deployment; read again from its start if the allow-list has grown. Raises as Journal does."""
    journal = bare_journal(settings, deployment)
    wanted = set(settings.services)
    with journal.write() as tx:
        known = set((tx.get("services") or "").split())
        if not wanted <= known and tx.cursor() is not None:
            log.info("new services: reading the chain again", services=len(wanted - known))
            ledger.restart(tx)
        tx.set("services", " ".join(sorted(wanted)))
    return journal


def make_enclave(settings: Settings, contracts: Contracts, rpc: Rpc, node: str) -> Enclave | None:
    """The enclave that the settings name; None without a TEE. Raises BadSettings."""
    if settings.tee == "none":
        return None
    return Enclave(contracts, rpc, *tee_of(settings, contracts), Web3.to_checksum_address(node))


def tee_of(settings: Settings, contracts: Contracts) -> tuple[QuoteProducer, Source]:
    """What makes evidence, and where the documents behind it come from. Raises BadSettings."""
    if contracts.attester is None:
        raise BadSettings("this deployment knows no TEEs; leave the setting `tee` out")
    if settings.tee == "dev":
        if contracts.deployment.chain_id not in LOCAL_CHAINS:
            raise BadSettings("the dev TEE proves nothing: it is for local chains alone")
        return MACHINE, DevSource(MACHINE)
    return ConfigfsTsm(), Pccs(settings.collateral_url)


async def check_services(settings: Settings, contracts: Contracts, rpc: Rpc, head: Block) -> None:
    """Raises BadSettings for a service that does not exist or has an arbiter other than this deployment's, and for a
    chain on which nothing can be signed for any."""
    if not head.has_base_fee:
        raise BadSettings("this chain has no base fee (EIP-1559), and the node signs no transactions of older kinds")
    for service in settings.service_ids:
        arbiter = await viewed(rpc, contracts.oracle, "arbiterOf", service, block=head)
        if int(arbiter, 16) == 0:
            raise BadSettings(f"service 0x{service.hex()} does not exist at {contracts.oracle.address}")
        if arbiter.lower() != contracts.panel.address.lower() and not contracts.plays(arbiter):
            raise BadSettings(f"service 0x{service.hex()} is judged by {arbiter}, which this node cannot serve")


async def load_signers(settings: Settings) -> tuple[Signer | None, Signer | None]:
    """The operator's and the dispute key. Raises InsecureKeyFile, AlreadyRunning, BadSettings."""
    operator: Signer | None = None
    if settings.keystore is not None:
        operator = await load_keystore_async(settings.keystore, settings.password_file, settings.data_dir)
    elif settings.signer_url is not None and settings.address is not None:
        operator = RemoteSigner(settings.signer_url, settings.address)
    if operator is not None and settings.address not in (None, operator.address):
        raise BadSettings(f"the key is {operator.address}, the settings say {settings.address}")
    disputer: Signer | None = None
    if settings.dispute_keystore is not None:
        password_file = settings.dispute_password_file
        disputer = await load_keystore_async(settings.dispute_keystore, password_file, settings.data_dir)
        if operator is not None and disputer.address == operator.address:
            raise BadSettings("the dispute key must be another key than the operator's; or leave it out")
    return operator, disputer
