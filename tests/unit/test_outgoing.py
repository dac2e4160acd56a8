"""From wanted transactions to intents."""

import pytest
from rig import contract
from rig.anvil import anvil
from rig.fault_rpc import fault_rpc
from rig.stack import ETHER, stack

from oracle.node.outgoing import Outgoing
from oracle.node.plan import Wanted


async def test_enter__wanted_sooner_than_planned__goes_before_what_is_due_between(tmp_path):
    """Two games ask for one opening, the later one with less time."""

    def move(number: int, deadline: int) -> Wanted:
        data = contract.call(number)
        return Wanted(f"move:{number}", contract.ADDRESS, data, ETHER, deadline=now + deadline, urgent=True)

    with anvil() as chain:
        contract.place(chain)
        chain.mine()
        async with stack(chain, tmp_path, max_before_moves=1) as s:
            outgoing, head = Outgoing(s.journal, s.sender, s.sender), await s.rpc.head()
            now = head.timestamp
            outgoing.enter([move(1, 5_000), move(2, 6_000)], head)
            outgoing.enter([move(2, 4_000), move(1, 5_000)], head)
            assert s.row("move:2").intent.deadline == now + 4_000
            outgoing.enter([move(1, 5_000), move(2, 6_000)], head)
            assert s.row("move:2").intent.deadline == now + 4_000
            await s.tick()
            assert [row.key for row in s.nonces()] == ["move:2"]


@pytest.mark.parametrize(
    ("once", "lacks_gas", "tries"), [(False, False, 2), (True, True, 2), (True, False, 1)], ids=["any", "gas", "once"]
)
async def test_n8_enter__failed_on_the_chain__is_tried_again_at_once_unless_it_may_be_signed_only_once(
    tmp_path, once, lacks_gas, tries
):
    """An answer that lacked gas is no other answer with more of it."""
    with anvil() as chain, fault_rpc(chain.url) as proxy:
        contract.place(chain)
        chain.mine()
        if lacks_gas:
            call = {"to": contract.ADDRESS, "data": "0x" + contract.call(1).hex()}
            needed = int(chain.rpc("eth_estimateGas", call), 16)
            proxy.script("eth_estimateGas", "result", hex(needed * 2 // 3))
        async with stack(chain, tmp_path, url=proxy.url, gas_margin_percent=0) as s:
            outgoing = Outgoing(s.journal, s.sender, s.sender)
            wanted = [Wanted("answer:1", contract.ADDRESS, contract.call(1), ETHER, once=once)]
            outgoing.enter(wanted, await s.rpc.head())
            await s.tick()
            contract.refuse(chain, not lacks_gas)
            chain.mine()
            contract.refuse(chain, False)
            await s.tick()
            assert s.row("answer:1").state == "failed"
            outgoing.enter(wanted, await s.rpc.head())
            await s.run(1)
            assert len(s.nonces()) == tries
            assert contract.count(chain) == tries - 1
