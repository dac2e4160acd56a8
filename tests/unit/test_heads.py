"""Which head counts when endpoints say different things."""

import pytest

from oracle.chain.heads import DEEPEST_FORK, STILL_SECONDS, Heads
from oracle.chain.types import Block
from oracle.errors import Doubtful

MAX_LAG = 3


def block(number: int, fork: str = "a", since: int = 0) -> Block:
    """A fork's block; below `since` it is fork "a"'s."""
    name = [fork if n >= since else "a" for n in (number, number - 1)]
    hashes = [f"{each}{n}".encode() for each, n in zip(name, (number, number - 1), strict=True)]
    return Block(number, hashes[0], hashes[1], number, 1, b"", b"")


class Endpoints:
    """Each has a fork, from a block on, up to a height."""

    def __init__(self) -> None:
        self.now = 0.0
        self.asked = 0
        self.forks: dict[int, tuple[str, int, int]] = {}
        self.heads = Heads(MAX_LAG, lambda: self.now)

    def has(self, endpoint: int, height: int, fork: str = "a", since: int = 0) -> "Endpoints":
        self.forks[endpoint] = fork, since, height
        return self

    async def ask(self, endpoint: int, number: int) -> Block | None:
        self.asked += 1
        fork, since, height = self.forks[endpoint]
        return block(number, fork, since) if number <= height else None

    async def agreed(self) -> Block:
        said = [(n, block(height, fork, since)) for n, (fork, since, height) in self.forks.items()]
        return await self.heads.agreed(said, self.ask)


@pytest.mark.parametrize(("heights", "counts"), [((9,), 9), ((9, 9), 9), ((9, 8), 8), ((5, 9), 5), ((9, 8, 3), 8)])
async def test_head__endpoints_differ__the_highest_that_two_have_counts(heights, counts):
    told = Endpoints()
    for endpoint, height in enumerate(heights):
        told.has(endpoint, height)
    assert await told.agreed() == block(counts)


async def test_head__equal_or_next__nobody_is_asked_again():
    told = Endpoints().has(0, 9).has(1, 8).has(2, 8)
    await told.agreed()
    assert told.asked == 0


async def test_head__one_invents_a_long_chain__what_it_shares_with_another_counts_and_is_told():
    told = Endpoints().has(0, 1_000, "lie", 8).has(1, 9)
    assert await told.agreed() == block(7)
    assert told.heads.waiting == "endpoint 0 has block 1000, no other confirms it; block 7 counts"
    told.has(0, 9)
    assert await told.agreed() == block(9)
    assert told.heads.waiting == ""


async def test_head__one_of_three_invents_a_chain__the_other_two_decide():
    assert await Endpoints().has(0, 1_000, "lie", 2).has(1, 9).has(2, 9).agreed() == block(9)


async def test_head__two_share_nothing_recent__is_in_doubt():
    with pytest.raises(Doubtful, match=f"^endpoints disagree on all blocks from {90 - DEEPEST_FORK} to 90"):
        await Endpoints().has(0, 100, "lie", 2).has(1, 90).agreed()


async def test_head__one_stands_still_while_another_goes_on__is_left_out_until_it_moves():
    told = Endpoints().has(0, 9).has(1, 9)
    await told.agreed()
    told.has(0, 50)
    assert await told.agreed() == block(9)
    told.now += STILL_SECONDS
    assert await told.agreed() == block(50)
    told.has(1, 49)
    assert await told.agreed() == block(49)


async def test_head__one_falls_far_behind_what_it_has_agreed_to__is_left_out():
    told = Endpoints().has(0, 50).has(1, 50)
    await told.agreed()
    told.has(1, 50 - MAX_LAG).has(0, 51)
    assert (await told.agreed()).number == 47
    told.has(1, 20).has(0, 52)
    assert (await told.agreed()).number == 52


async def test_head__all_endpoints_are_set_back__the_lower_one_counts():
    told = Endpoints().has(0, 50).has(1, 50)
    await told.agreed()
    assert await told.has(0, 20).has(1, 20).agreed() == block(20)
