"""The critic on the whole oracle, which `ape test --didyma` starts: nodes, the shipped model, the challenge window."""

import sys
from pathlib import Path

import ape

sys.path.insert(0, str(Path(__file__).parents[1]))

from scripts.ask import REVIEW, heard

NEGATIVE = 1


def test_critic__on_the_whole_oracle__hears_the_model(didyma):
    with ape.networks.parse_network_choice(didyma.rpc_url):
        assert heard(didyma, REVIEW, ape.accounts.test_accounts[2])[1] == NEGATIVE
