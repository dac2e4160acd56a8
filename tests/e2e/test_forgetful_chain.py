"""A chain that cannot keep what a service's terms say: named, and the service not served."""

import pytest
from e2e.world import step, team
from rig.fake_engine import FakeEngine

from oracle.chain.promises import SPAN
from oracle.node.operator.check import everything


def hurry(earth):
    """Blocks of no time: at their pace contracts know a hash for less than a request's lifetime."""
    earth.chain.rpc("anvil_setBlockTimestampInterval", 0)
    earth.chain.rpc("anvil_mine", hex(SPAN + 1))
    earth.chain.rpc("anvil_setBlockTimestampInterval", 1)


async def test_node__seeds_forgotten_within_a_lifetime__serves_nothing_and_says_why(earth, tmp_path):
    hurry(earth)
    request = earth.ask()
    async with team(earth, tmp_path, *[None] * 5) as nodes:
        for node in nodes:
            await node._check_services()
        for _ in range(3):
            await step(earth, *nodes, blocks=4)
        for node in nodes:
            assert any("forgets their seeds after" in trouble for trouble in node.troubles())
    assert earth.status(request) == "open"


async def test_check__seeds_forgotten_within_a_lifetime__names_the_service(earth, tmp_path):
    found = await everything(earth.settings(tmp_path), lambda service: FakeEngine())
    assert [finding.right for finding in found if finding.what == "promises"] == [True]
    hurry(earth)
    found = await everything(earth.settings(tmp_path), lambda service: FakeEngine())
    (named,) = [finding for finding in found if finding.what == "promises"]
    assert not named.right
    assert f"service 0x{earth.service.hex()} cannot be served here" in named.detail


@pytest.mark.parametrize(
    ("off", "says"), [(0, "agrees"), (3600, "ahead of the chain's"), (-3600, "behind the chain's")]
)
async def test_check__machine_s_clock_is_off__warns_and_is_no_reason_not_to_run(earth, tmp_path, off, says):
    wall = earth.client.w3.eth.get_block("latest")["timestamp"] + off
    found = await everything(earth.settings(tmp_path), lambda service: FakeEngine(), wall=lambda: wall)
    (clock,) = [finding for finding in found if finding.what == "clock"]
    assert (clock.right, clock.warns) == (True, off != 0)
    assert says in clock.detail
