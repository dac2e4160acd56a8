"""`didyma dev -- ape run ask`: deploys the critic, asks it, and prints what it heard.

`didyma dev --` says where the oracle, the service and the endpoint are; on another network set the same variables
(DIDYMA_DEPLOYMENT, DIDYMA_SERVICE, DIDYMA_RPC_URLS), and ACCOUNT to an alias of Ape's.
"""

import os

import ape
from ape.api import AccountAPI
from ape.contracts import ContractInstance

from oracle.client.dev_process import DevNetwork, found

GAS_PRICE = 10 * 10**9
REVIEW = "The soup was cold and the waiter was rude."
FEES = {"gas_limit": 3_000_000}


def heard(network: DevNetwork, review: str, sender: AccountAPI) -> tuple[ContractInstance, int]:
    """A critic, and what it heard about a review: 1 negative, 2 positive. Ape must be connected to the network."""
    critic = sender.deploy(ape.project.Critic, network.deployment.oracle, network.service, **FEES)
    words = review.encode()
    receipt = critic.ask(words, GAS_PRICE, value=critic.price(len(words), GAS_PRICE), sender=sender, **FEES)
    asked = critic.last()
    for step in network.client().follow(asked, receipt.block_number):
        print(f"{step.name:<18} block {step.block}")
    return critic, critic.moods(asked)


def main() -> None:
    network = found(os.environ)
    if network is None:
        raise SystemExit("no network: run `didyma dev -- ape run ask`")
    alias = os.environ.get("ACCOUNT")
    with ape.networks.parse_network_choice(network.rpc_url):
        # The third account of every development chain, whose key is public.
        sender = ape.accounts.load(alias) if alias else ape.accounts.test_accounts[2]
        critic, mood = heard(network, os.environ.get("REVIEW", REVIEW), sender)
        print(f"{critic.address} mood {mood} (1 negative, 2 positive)")
