"""The development chain's own means."""

import pytest
from rig.anvil import anvil

from oracle import devnet


@pytest.mark.parametrize("later", [0, 3])
def test_mine_again__blocks_stand_on_it__that_block_and_they_are_others_and_what_is_before_stays(later):
    with anvil() as chain:
        w3 = chain.w3()
        chain.mine(5 + later)
        before = [bytes(w3.eth.get_block(number)["hash"]) for number in range(6 + later)]
        devnet.mine_again(w3, 5)
        after = [bytes(w3.eth.get_block(number)["hash"]) for number in range(6 + later)]
        assert w3.eth.block_number == 5 + later
        assert after[:5] == before[:5]
        assert not set(after[5:]) & set(before)


def test_mine_again__many_times__is_another_block_each_time():
    with anvil() as chain:
        w3, seen = chain.w3(), set()
        chain.mine(60)
        for _ in range(30):
            devnet.mine_again(w3, 60)
            seen.add(bytes(w3.eth.get_block(60)["hash"]))
        assert len(seen) == 30
