"""`didyma dev -- ape run ask`: deploys the critic, asks it, and prints what it heard.

The oracle, the service and the endpoint come from the environment, as `didyma dev -- COMMAND` sets it.
"""

import os
from pathlib import Path

from ape import accounts, networks, project

from oracle.chain.connect import connect
from oracle.chain.deployment import Deployment
from oracle.client import OracleClient

GWEI = 10**9


def heard(url, deployment, service, review, index=2):
    """The mood that the critic heard: 1 negative, 2 positive. index: of a development account, which pays."""
    with networks.parse_network_choice("ethereum:local:foundry", provider_settings={"host": url}):
        payer = accounts.test_accounts[index]
        critic = payer.deploy(project.Critic, deployment.oracle, service, required_confirmations=1)
        price = critic.price(len(review), 10 * GWEI)
        receipt = critic.ask(review, 10 * GWEI, value=price, sender=payer, required_confirmations=1)
        requester = OracleClient(connect(url), deployment, payer.address)
        asked = critic.last()
        for step in requester.follow(asked, receipt.block_number):
            print(f"{step.name:<18} block {step.block}")
        return critic.moods(asked)


def main():
    found = Deployment.load(Path(os.environ["DIDYMA_DEPLOYMENT"]))
    review = os.environ.get("REVIEW", "The soup was cold and the waiter was rude.").encode()
    mood = heard(os.environ["DIDYMA_RPC_URLS"], found, bytes.fromhex(os.environ["DIDYMA_SERVICE"][2:]), review)
    print(f"mood {mood} (1 negative, 2 positive)")
