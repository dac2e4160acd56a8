"""When blocks are asked for again whose logs nobody shows, although their bloom filter speaks of some."""

from unit.test_heads import block

from oracle.chain.unseen import LAST_PAUSE, MOST, Unseen


def test_due__nobody_ever_shows_it__is_asked_for_twice_as_late_each_time_and_given_up_in_the_end():
    unseen, asked = Unseen(), []
    unseen.add(block(100), 105)
    for head in range(105, 105 + 4 * LAST_PAUSE):
        for each in unseen.due(head):
            asked.append(head - 105)
            unseen.still(each, head)
    assert asked == [5 * (2**n - 1) for n in range(1, 10)]
    assert asked[-1] * 12 > 8 * 3_600  # seconds: hours on a chain with a block every 12


def test_due__settled__is_asked_for_no_more():
    unseen = Unseen()
    unseen.add(block(100), 105)
    unseen.forget(block(100))
    assert unseen.due(105 + LAST_PAUSE) == []


def test_add__more_than_it_remembers__the_oldest_is_forgotten():
    unseen = Unseen()
    for number in range(MOST + 1):
        unseen.add(block(number), number)
    assert [each.number for each in unseen.due(MOST + LAST_PAUSE)] == list(range(1, MOST + 1))
