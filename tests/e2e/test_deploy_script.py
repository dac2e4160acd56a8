"""`scripts/deploy.py`: what operators deploy with on a real chain."""

import os
import re
import subprocess

from rig.anvil import ROOT, anvil

from oracle.chain.deployment import Deployment


def test_deploy_script__fresh_chain__deploys_contracts_that_know_each_other_and_writes_their_addresses(tmp_path):
    out = tmp_path / "made" / "deployment.json"
    with anvil(mining=True) as chain:
        chain.mine(3)
        command = ["ape", "run", "deploy", "--network", "ethereum:local:foundry", "--out", str(out)]
        environment = {**os.environ, "APE_FOUNDRY_HOST": chain.url}
        told = subprocess.run(
            [*command, "--dry-run"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        assert told.returncode == 0, told.stdout + told.stderr
        assert chain.height() == 3
        assert not out.exists()
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        deployment = Deployment.load(out)
        addresses = [address for name, address in vars(deployment).items() if name not in ("chain_id", "block")]
        assert len(set(addresses)) == len(addresses) > 0
        assert all(chain.w3().eth.get_code(address) for address in addresses)
        assert deployment.oracle in told.stdout
        gas = int(re.search(r"in all ([\d,]+) gas", told.stdout)[1].replace(",", ""))
        blocks = [chain.w3().eth.get_block(number)["gasUsed"] for number in range(4, chain.height() + 1)]
        assert gas == sum(blocks)


def test_deploy_script__chain_lacks_something__is_refused_by_its_name(tmp_path):
    with anvil("--hardfork", "prague", mining=True) as chain:
        chain.mine(3)
        command = ["ape", "run", "deploy", "--network", "ethereum:local:foundry", "--out", str(tmp_path / "x.json")]
        environment = {**os.environ, "APE_FOUNDRY_HOST": chain.url}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "lacks what the contracts need" in done.stderr + done.stdout
        assert "P-256 (EIP-7951)" in done.stderr + done.stdout
        assert chain.height() == 3
