"""`scripts/deploy.py`: what operators deploy with on a real chain, compiled from the sources."""

import os
import subprocess

from rig.anvil import ROOT, anvil

from oracle.chain.deployment import Deployment


def test_deploy_script__fresh_chain__deploys_contracts_that_know_each_other_and_writes_their_addresses(tmp_path):
    out = tmp_path / "made" / "deployment.json"
    with anvil(mining=True) as chain:
        command = ["ape", "run", "deploy", "--network", "ethereum:local:foundry", "--out", str(out)]
        environment = {**os.environ, "APE_FOUNDRY_HOST": chain.url}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        deployment = Deployment.load(out)
        addresses = [address for name, address in vars(deployment).items() if name not in ("chain_id", "block")]
        assert len(set(addresses)) == len(addresses) > 0
        assert all(chain.w3().eth.get_code(address) for address in addresses)
