"""Deploy the contracts: `ape run deploy --network NETWORK --account ALIAS [--out FILE] [--dry-run]`.

Writes a deployment file that the node, the client and the development tools read. The code is the package's, so source
verifiers can be given `make sources`. Addresses follow from the code and from what the chain is told of itself: whoever
deploys, they are the same, and what a broken-off run has made is used.

A chain is refused by the name of what it lacks. `--dry-run` sends nothing and prints the addresses and the cost.
"""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from ape import accounts, networks
from ape.cli import ConnectedProviderCommand
from eth_typing import ChecksumAddress
from web3 import Web3

from oracle.chain.connect import connect
from oracle.chain.units import ETHER, GWEI
from oracle.client import chain_needs, deploying, devnet
from oracle.client.deploying import Planned
from oracle.errors import OracleError


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
@click.option("--dry-run", is_flag=True, help="Print addresses and cost, and send nothing.")
def cli(alias: str, out: Path, block_millis: int, dry_run: bool) -> None:
    """Deploy registry, oracle, panel, referees, dispute game and attester."""
    try:
        w3 = connect(networks.provider.http_uri)
        chain_id = w3.eth.chain_id
        planned = deploying.plan(chain_id, block_millis)
        lacking = list(chain_needs.lacking(w3, planned))
        if lacking:
            told = "".join(f"\n  {need.name}: {need.why}" for need in lacking)
            raise click.ClickException(f"chain {chain_id} lacks what the contracts need:{told}")
        if dry_run:
            _tell(w3, planned)
            return
        deployer = (
            accounts.test_accounts[int(alias.removeprefix("TEST::"))]
            if alias.startswith("TEST::")
            else accounts.load(alias)
        )

        def send(to: ChecksumAddress, data: bytes) -> None:
            deployer.call(deployer.provider.network.ecosystem.create_transaction(receiver=to, data=data))

        deploying.deploy(w3, planned, send).save(out)
    except OracleError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"deployed; wrote {out}")


def _tell(w3: Web3, planned: Sequence[Planned]) -> None:
    """Addresses and cost. Gas is that of the same transactions on a chain of this machine."""
    gas, wanted = _measured(planned), {each.name for each in deploying.missing(w3, planned)}
    for each in planned:
        told = f"{gas[each.name]:>10,} gas" if each.name in wanted else "is there already"
        click.echo(f"{each.name:<16} {each.address}  {len(each.code):>6,} bytes  {told}")
    total, price = sum(gas[name] for name in wanted), w3.eth.gas_price
    click.echo(f"in all {total:,} gas; at {price / GWEI:g} gwei, {total * price / ETHER:.6f} of the chain's currency")
    click.echo("a rollup adds the price of its data on the chain below")


def _measured(planned: Sequence[Planned]) -> dict[str, int]:
    """Gas of each transaction, by name."""
    gas: list[int] = []
    with TemporaryDirectory() as folder, devnet.anvil(devnet.free_port(), Path(folder) / "anvil.log") as w3:
        sender = devnet.account(devnet.DEPLOYER).address

        def send(to: ChecksumAddress, data: bytes) -> None:
            sent = w3.eth.send_transaction({"from": sender, "to": to, "data": data})
            gas.append(w3.eth.wait_for_transaction_receipt(sent)["gasUsed"])

        deploying.deploy(w3, planned, send)
    return dict(zip((each.name for each in planned), gas, strict=True))
