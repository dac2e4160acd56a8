"""From wanted transactions to intents."""

from rig import contract
from rig.anvil import anvil
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
