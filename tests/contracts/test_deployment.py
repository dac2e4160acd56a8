"""Deployment: nothing to initialise, nothing to own, and what the chain must offer is there."""

from ape import compilers, networks, project
from world import HISTORY

OWNERSHIP = {
    "owner",
    "pause",
    "unpause",
    "upgradeTo",
    "upgradeToAndCall",
    "initialize",
    "transferOwnership",
    "setOwner",
}


def test_deployment_a28__contracts__know_each_other_and_have_no_owner(oracle, seats, lens, panel, registry):
    assert oracle.models() == seats.models() == registry.address
    assert oracle.seats() == seats.address
    assert lens.oracle() == oracle.address
    assert panel.oracle() == oracle.address
    for contract in (oracle, seats, lens, panel, registry):
        names = {method.name for method in contract.contract_type.mutable_methods}
        assert not names & OWNERSHIP


def test_deployment_a28__chain__keeps_block_hashes_and_checks_p256():
    """EIP-2935 and the P-256 precompile of Osaka, without which answers and attestations could not be judged."""
    assert networks.provider.get_code(HISTORY)
    # The example of EIP-7951: a valid signature gives one.
    digest = "bb5a52f42f9c9261ed4361f59422a1e30036e7c32b270c8807a419feca605023"
    r = "2ba3a8be6b94d5ec80a6d9d1190a436effe50d85a1eee859b8cc6af9bd5c2e18"
    s = "4cd60b855d442f5b3c7b11eb6c4e0ae7525fe710fab9aa7c77a67f79e6fadd76"
    x = "2927b10512bae3eddcfe467828128bad2903269919f7086069c8c4df6c732838"
    y = "c7787964eaac00e5921fb1498a60f4606766b3d9685001558d1a974e7341513e"
    call = {"to": "0x0000000000000000000000000000000000000100", "data": "0x" + digest + r + s + x + y}
    assert int(networks.provider.make_request("eth_call", [call, "latest"]), 16) == 1


def test_deployment_a28__another_panel_for_the_same_oracle__has_no_power_over_its_services(
    world, oracle, registry, people
):
    impostor = project.PanelArbiter.deploy(oracle, registry, sender=people.stranger)
    assert oracle.arbiterOf(world.service) != impostor.address
    assert impostor.termsOf(world.service).panelSize == 0


def test_build__compiled_by_ape__is_the_code_that_forge_gave_it():
    """Tests play what forge compiled; Ape, asked for the same file, adds a digest of metadata and no more."""
    given = project.MerkleHarness.contract_type.runtime_bytecode.bytecode
    (compiled,) = (
        made.runtime_bytecode.bytecode
        for made in compilers.compile([project.path / "contracts/mocks/MerkleHarness.sol"], project=project)
        if made.name == "MerkleHarness"
    )
    assert len(given) > 1_000
    assert compiled.startswith(given + "fea264697066735822")
