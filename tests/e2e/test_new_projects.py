"""A stranger's first project: each kind that `didyma new` makes, and each of docs/by-hand.md.

Each is made from the built packages alone, in an empty folder. Its tests on the mock pass, and on one `didyma dev` its
test and its script get an answer. That network goes on from another chain, and is kept: the last test goes on from it
by `startDev`.
"""

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from e2e.stranger import Stranger, hurried, install, packed_deployments, processes_about, told
from eth_utils.address import to_checksum_address
from rig.anvil import ROOT, anvil
from rig.by_hand import KINDS, SAYS, written

from oracle.client import dev_process
from oracle.client.dev_process import DevNetwork

THEIRS = to_checksum_address("0x" + "ab" * 20)
"""A contract of the chain that the network goes on from."""


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Stranger:
    return Stranger.arrived(tmp_path_factory.mktemp("a stranger's"))


@pytest.fixture(scope="module")
def running() -> Iterator[ExitStack]:
    """What runs until it is closed."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture(scope="module")
def network(stranger: Stranger, running: ExitStack) -> DevNetwork:
    """Started as `pytest --didyma` does, on a chain that has a contract."""
    other = running.enter_context(anvil(mining=True))
    other.rpc("anvil_setCode", THEIRS, "0xfe")
    other.mine(3)
    options = ("--nodes", "2", "--fork", other.url, "--state", str(stranger.folder / "state"))
    found = running.enter_context(dev_process.running(stranger.folder / "network", *options))
    running.enter_context(hurried(found))
    return found


def answered(network: DevNetwork) -> int:
    """Asks and waits for the end. Returns the request's id."""
    client = network.client()
    prompt = client.prompt(network.service, b"The soup was cold and the waiter was rude.")
    request_id, receipt = client.ask(network.service, prompt, client.params(8))
    steps = [step.name for step in client.follow(request_id, receipt["blockNumber"])]
    assert steps[-1] == "RequestFinalized"
    return request_id


def test_dev__on_a_fork__has_that_chain_s_contracts_and_its_own_where_the_package_says(network):
    assert network.w3.eth.get_code(THEIRS) == b"\xfe"
    assert network.deployment.oracle == packed_deployments()["31337"]["oracle"]


def test_foundry__from_the_packages__tests_pass_and_the_script_gets_an_answer(stranger, network):
    project = stranger.new("foundry")
    assert "5 passed" in stranger.run("forge", "test", cwd=project)
    assert "ok: the critic heard" in stranger.run("sh", "test/dev.sh", cwd=project, **told(network))


TYPED = """import { oracleAbi } from "didyma/abi";
import deployments from "didyma/deployments.json" with { type: "json" };
import { createPublicClient, http } from "viem";

const chain = createPublicClient({ transport: http() });
const oracle = { address: deployments[31337].oracle as `0x${string}`, abi: oracleAbi } as const;
export const status: number = await chain.readContract({ ...oracle, functionName: "statusOf", args: [7n] });
// @ts-expect-error: the contract has none of this name
export const nothing = chain.readContract({ ...oracle, functionName: "nothing" });
"""
"""What a compiler takes if ABIs come with types."""


def test_hardhat__from_the_packages__tests_pass_and_the_script_gets_an_answer(stranger, network):
    project = stranger.new("hardhat")
    hardhat = str(ROOT / "node_modules/.bin/hardhat")
    said = stranger.run(hardhat, "test", "test/critic.test.ts", "test/dev.test.ts", cwd=project, **told(network))
    assert "6 passing" in said
    assert "mood 1" in stranger.run(hardhat, "run", "scripts/ask.ts", cwd=project, **told(network))
    (project / "scripts/typed.ts").write_text(TYPED)
    stranger.run(str(ROOT / "node_modules/.bin/tsc"), "--project", ".", cwd=project)


def test_ape__from_the_packages__tests_pass_and_the_script_gets_an_answer(stranger, network):
    project = stranger.new("ape")
    assert "6 passed" in stranger.run("ape", "test", "--didyma", cwd=project, **told(network))
    assert "mood 1" in stranger.run("ape", "run", "ask", cwd=project, **told(network))


# BY HAND


@pytest.mark.parametrize("kind", KINDS)
def test_by_hand__files_and_commands_of_the_page__tests_pass_and_an_answer_comes(stranger, network, kind):
    (project := stranger.folder / f"by-hand-{kind}").mkdir()
    printed = ""
    for command in written(kind, project):
        if command.startswith("npm install didyma-"):
            for name in command.split()[3:]:
                assert (ROOT / "node_modules" / re.sub(r"(?<=.)@.*", "", name)).exists(), name
            install(project)
        elif command.startswith("pip install didyma-"):
            assert all(map(shutil.which, ("ape", "didyma"))), "the environment of the tests has these"
        else:  # one network is around all of them, as `didyma dev --` would be around each
            printed += stranger.run("sh", "-c", command.removeprefix("didyma dev -- "), cwd=project, **told(network))
    assert [said for said in SAYS[kind] if said not in printed] == [], printed


# WHAT THE NETWORK GOES THROUGH


def test_dev__clock_is_three_days_ahead__nodes_answer_on(network):
    network.pass_time(3 * 86_400)
    answered(network)


AGAIN = """import { OracleClient } from "didyma";
import { startDev } from "didyma/dev";
import { createPublicClient, createWalletClient, hexToString, http } from "viem";
import { mnemonicToAccount } from "viem/accounts";

const [before, ...options] = process.argv.slice(2);
const dev = await startDev({ options });
const transport = http(dev.rpcUrl);
const account = mnemonicToAccount("test test test test test test test test test test test junk", { addressIndex: 1 });
const chain = createPublicClient({ transport, cacheTime: 0 });
const client = await OracleClient.at(chain, dev.deployment, createWalletClient({ account, transport }));
const { isFinal } = await client.life(BigInt(before));
const { requestId } = await client.askText(dev.service, "The soup was cold and the waiter was rude.", { maxTokens: 8 });
const since = await chain.getBlock();
let blocks, seconds;
for await (const step of client.follow(requestId)) {
  if (step.name !== "AnswerPosted") continue;
  const last = await chain.getBlock();
  [blocks, seconds] = [Number(last.number - since.number), Number(last.timestamp - since.timestamp)];
  await dev.passTime(21);
}
const { output } = await client.life(requestId);
console.log(JSON.stringify({ isFinal, answer: hexToString(output), blocks, seconds }));
await dev.stop();
"""


def test_dev__kept__goes_on_by_start_dev_with_another_block_time_and_leaves_nothing(stranger, network, running):
    """The last test here: it ends the network."""
    asked = answered(network)
    running.close()
    assert processes_about(stranger.folder) == []
    install(project := stranger.folder / "starter")
    (project / "again.mjs").write_text(AGAIN)
    options = ("--nodes", "2", "--state", str(stranger.folder / "state"), "--block-time", "3")
    said = stranger.run("node", "again.mjs", hex(asked), *options, cwd=project)
    heard = json.loads(said)
    assert (heard["isFinal"], heard["answer"]) == (True, "negative")
    # The chain's clock shows whole seconds: over any number of blocks it can show one less than passed.
    assert heard["blocks"] >= 1
    assert heard["seconds"] >= 3 * heard["blocks"] - 1
    assert processes_about(stranger.folder) == []
    assert list((stranger.folder / "tmp").glob("didyma-*")) == []
