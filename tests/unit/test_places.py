"""How many transactions of one key wait for blocks at once, and which of them."""

from rig import contract
from rig.stack import intent, stack


async def test_tick__many_intents__urgent_first_and_within_the_pending_limit(chain, tmp_path):
    async with stack(chain, tmp_path, max_pending=3) as s:
        for n in range(5):
            await s.plan(intent(n))
        await s.plan(intent(9, urgent=True))
        report = await s.tick()
        assert (report.sent, report.pending, report.waiting, report.holding) == (3, 3, 3, "")
        assert s.nonces()[0].key == "answer:9"
        await s.run(8)
        assert contract.count(chain) == 6


async def test_tick__blocks_take_many__more_are_sent_and_some_places_left_to_those_without_a_deadline(chain, tmp_path):
    async with stack(chain, tmp_path, first_pending=4, max_pending=8) as s:
        now = (await s.rpc.head()).timestamp
        for n in range(20):
            await s.plan(intent(n, deadline=now + 5_000))
        await s.plan(intent(30))
        report = await s.tick()
        assert (report.sent, report.waiting) == (4, 17)  # three with a deadline, and the one without
        assert s.nonces()[-1].key == "answer:30"
        chain.mine()
        assert (await s.tick()).sent == 6  # a block took four, so eight may wait; two places stay free
        chain.mine()
        await s.run(6)
        assert contract.count(chain) == 21


async def test_tick__moves_of_many_games__few_stand_before_one_that_is_due_sooner(chain, tmp_path):
    """Nonces are an order: what is sent is mined before what comes later, however urgent that is."""
    async with stack(chain, tmp_path) as s:
        now = (await s.rpc.head()).timestamp
        for n in range(9):
            await s.plan(intent(n, urgent=True, deadline=now + 5_000 + n))
        report = await s.tick()
        assert (report.sent, report.pending, report.holding) == (4, 4, "")
        await s.plan(intent(20, urgent=True, deadline=now + 1_000))
        await s.run(1)
        assert [row.key for row in s.nonces()][:5] == [*(f"answer:{n}" for n in range(4)), "answer:20"]
        await s.run(8)
        assert contract.count(chain) == 10


async def test_tick__no_move_among_them__are_sent_together(chain, tmp_path):
    async with stack(chain, tmp_path) as s:
        for n in range(9):
            await s.plan(intent(n))
        assert (await s.tick()).sent == 9
