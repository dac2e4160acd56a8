"""A picture of a dispute game: from everything that a model computed down to the one number that was wrong."""

from collections.abc import Mapping

from rich.text import Text
from web3 import Web3

from oracle.client import OracleClient, story
from oracle.disputes import commitments, graph
from oracle.models.manifest import Manifest


def draw(client: OracleClient, opened: story.Opened, manifest: Manifest, names: Mapping[str, str]) -> Text:
    """One line a move, indented one step more with every round. names: of addresses."""
    lines = list(story.tell(client, opened))
    a = commitments.shape(manifest.architecture)
    positions = opened.positions
    operators = [operator for step in range(graph.steps(a)) for operator in graph.operators(a, step, positions)]
    numbers = sum(operator.rows * operator.columns for operator in operators)
    drawn = Text()
    drawn.append(f"\n  The dispute, from {numbers:,} numbers down to one:\n", "bold")
    for line in lines:
        who = names.get(Web3.to_checksum_address(line.who), line.who)
        said = line.text
        for address, name in names.items():
            said = said.replace(address, name)
        is_challenger = line.who == opened.challenger
        drawn.append("  " + "│  " * line.depth + "├─ ", "dim")
        drawn.append(f"{who} ", "cyan" if is_challenger else "red")
        drawn.append(f"{said}\n", "bold" if said.startswith(("proves", "has the answer")) else "")
    gas = sum(gas for _, gas in {(line.tx_hash, line.gas_used) for line in lines})
    count = len({line.tx_hash for line in lines})
    drawn.append(f"  {count} transactions, {gas:,} gas: no vote, no judge, no trust in either side.", "bold")
    return drawn
