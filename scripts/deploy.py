"""Deploy the contracts: `ape run deploy --network NETWORK --account ALIAS [--out FILE]`.

Writes a deployment file that the node, the client and the development tools read. The contracts take no
parameters that could be got wrong: the oracle knows its registry, the panel its oracle.
"""

import json
from pathlib import Path

import click
from ape import accounts, networks, project
from ape.cli import ConnectedProviderCommand


@click.command(cls=ConnectedProviderCommand)
@click.option("--account", "alias", default="TEST::0", help="Ape account; TEST::N is a development account.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("deployment.json"), show_default=True)
def cli(alias: str, out: Path) -> None:
    """Deploy ModelRegistry, Oracle and PanelArbiter."""
    deployer = (
        accounts.test_accounts[int(alias.removeprefix("TEST::"))]
        if alias.startswith("TEST::")
        else accounts.load(alias)
    )
    registry = project.ModelRegistry.deploy(sender=deployer)
    oracle = project.Oracle.deploy(registry, sender=deployer)
    panel = project.PanelArbiter.deploy(oracle, sender=deployer)

    if oracle.models() != registry.address or panel.oracle() != oracle.address:
        raise click.ClickException("the contracts do not know each other; deploy again")
    deployment = {
        "chain_id": networks.provider.chain_id,
        "block": registry.creation_metadata.block,
        "registry": registry.address,
        "oracle": oracle.address,
        "panel": panel.address,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(deployment, indent=2) + "\n")
    click.echo(f"deployed; wrote {out}")
