"""Deploy the contracts: `ape run deploy --network NETWORK --account ALIAS [--out FILE]`.

Writes a deployment file that the node, the client and the development tools read. The contracts take one parameter that
could be got wrong, the chain's block time; otherwise each knows those that it calls, the token referee checks its noise
table, and quotes of TEEs go back to Intel's root, or on a local chain to the dev TEE's.
"""

import json
from pathlib import Path

import click
from ape import accounts, networks, project
from ape.cli import ConnectedProviderCommand

from oracle.attestation.dev import root_key
from oracle.engines.sampling import table_code


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
    registry = project.ModelRegistry.deploy(sender=deployer)
    seats = project.Seats.deploy(registry, block_millis, sender=deployer)
    oracle = project.Oracle.deploy(seats, sender=deployer)
    lens = project.Lens.deploy(oracle, sender=deployer)
    panel = project.PanelArbiter.deploy(oracle, registry, sender=deployer)

    families = [
        family.deploy(sender=deployer)
        for family in (project.LinearReferee, project.RowReferee, project.AttentionReferee)
    ]
    referee = project.Referee.deploy(registry, *families, sender=deployer)
    table = deployer.provider.network.ecosystem.create_transaction(data=table_code(), sender=deployer.address)
    table_address = deployer.call(table).contract_address
    token_referee = project.TokenReferee.deploy(referee, table_address, sender=deployer)
    game = project.DisputeGame.deploy(oracle, referee, token_referee, sender=deployer)

    collateral = project.DcapCollateral.deploy(*root_key(networks.provider.chain_id), sender=deployer)
    verifier = project.DcapVerifier.deploy(collateral, sender=deployer)
    attester = project.AttestedAnswers.deploy(oracle, verifier, sender=deployer)

    known = (
        oracle.models(),
        oracle.seats(),
        lens.oracle(),
        panel.oracle(),
        referee.registry(),
        token_referee.referee(),
        game.oracle(),
    )
    others = (registry.address, referee.address, oracle.address)
    if known != (registry.address, seats.address, oracle.address, oracle.address, *others):
        raise click.ClickException("the contracts do not know each other; deploy again")
    deployment = {
        "chain_id": networks.provider.chain_id,
        "block": registry.creation_metadata.block,
        "registry": registry.address,
        "oracle": oracle.address,
        "seats": seats.address,
        "lens": lens.address,
        "panel": panel.address,
        "game": game.address,
        "referee": referee.address,
        "token_referee": token_referee.address,
        "refutations": game.refutations(),
        "attester": attester.address,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(deployment, indent=2) + "\n")
    click.echo(f"deployed; wrote {out}")
