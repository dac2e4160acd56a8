"""What the journal says a node earned and paid is what the chain gave and took, to the wei."""

from e2e.world import MOST_ASKED, NODES, LyingEngine, World, drive, finish, team

from oracle.node import money
from oracle.node.daemon import Node


def holdings(earth: World, address: str) -> int:
    """All that an account has: its ether, its credit, the balances of the seats that it operates."""
    oracle, service = earth.client.oracle.functions, earth.service
    seats = [earth.seat(number) for number in range(len(NODES))]
    balances = sum(seat[2] for number, seat in enumerate(seats) if oracle.operatorOf(service, number).call() == address)
    return int(earth.client.w3.eth.get_balance(address) + oracle.credit(address).call() + balances)


def report(node: Node) -> money.Line:
    with node.journal.read() as tx:
        return money.total(money.lines(tx))


def stakes(node: Node) -> money.Stakes:
    with node.journal.read() as tx:
        return money.stakes(tx)


async def test_lines__liar_rejected_by_a_panel_and_turns_missed__are_the_chain_s_sums(earth, tmp_path):
    """Five nodes: one lies, one takes no turns. Whoever gained or lost, its journal says how much."""
    async with team(earth, tmp_path, LyingEngine(), *[None] * 4) as nodes:
        lazy = nodes[4]
        lazy.workshop._factory = lambda service: (_ for _ in ()).throw(OSError("no disk"))
        before = [holdings(earth, account.address) for account in NODES]
        for _ in range(MOST_ASKED):
            request = earth.ask()
            await drive(earth, nodes, lambda request=request: earth.status(request) == "final", blocks=300)
            if report(nodes[0]).sums.slashed_wei and report(lazy).sums.fines_wei:
                break  # both were drawn
        for node in nodes:
            await finish(earth, node)
        lines = [report(node) for node in nodes]
        after = [holdings(earth, account.address) for account in NODES]
    assert [line.net_wei for line in lines] == [now - was for now, was in zip(after, before, strict=True)]
    liar, *honest = lines
    assert liar.sums.slashed_wei > 0 > liar.net_wei
    assert lines[4].sums.fines_wei > 0
    assert sum(line.sums.fees_wei for line in honest) > 0
    assert sum(line.sums.votes_wei for line in lines) > 0
    assert sum(line.sums.disputes_wei for line in honest) > sum(line.paid_in_wei for line in honest) > 0
