"""Deploy the contracts: `ape run deploy --network NETWORK --account ALIAS [--out FILE]`.

Writes a deployment file that the node, the client and the development tools read. Only one parameter can be
wrong, the chain's block time: each contract names those that it calls, the token referee checks its noise table, and
quotes of TEEs go back to Intel's root, or on a local chain to the dev TEE's.
"""

from pathlib import Path
from typing import Any

import click
from ape import accounts, networks, project
from ape.cli import ConnectedProviderCommand
from ape.contracts import ContractInstance

from oracle.attestation.dev import root_key
from oracle.chain import wiring
from oracle.chain.deployment import Deployment
from oracle.engines.tables import creation_codes


@click.command(cls=ConnectedProviderCommand)
@click.option("--account", "alias", default="TEST::0", help="Ape account; TEST::N is a development account.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("deployment.json"), show_default=True)
@click.option(
    "--block-millis",
    type=click.IntRange(1),
    default=12_000,
    show_default=True,
    help="Least time between two blocks of the chain, in thousandths of a second.",
)
def cli(alias: str, out: Path, block_millis: int) -> None:
    """Deploy registry, oracle, panel, referees, dispute game and attester."""
    deployer = (
        accounts.test_accounts[int(alias.removeprefix("TEST::"))]
        if alias.startswith("TEST::")
        else accounts.load(alias)
    )

    def made_of(code: bytes) -> str:
        sent = deployer.provider.network.ecosystem.create_transaction(data=code, sender=deployer.address)
        return str(deployer.call(sent).contract_address)

    root_x, root_y = root_key(networks.provider.chain_id)
    known = {
        "block_millis": block_millis,
        **{name: made_of(code) for name, code in creation_codes().items()},
        "root_x": root_x,
        "root_y": root_y,
    }

    def make(name: str, arguments: list[Any]) -> ContractInstance:
        return getattr(project, name).deploy(*arguments, sender=deployer)

    made = wiring.deploy(make, known)
    game = made["DisputeGame"]
    if game.oracle() != made["Oracle"].address or made["Oracle"].models() != made["ModelRegistry"].address:
        raise click.ClickException("the contracts do not know each other; deploy again")
    addresses = {name: contract.address for name, contract in made.items()} | {"Refutations": game.refutations()}
    block = made["ModelRegistry"].creation_metadata.block
    Deployment.of(networks.provider.chain_id, block, addresses).save(out)
    click.echo(f"deployed; wrote {out}")
