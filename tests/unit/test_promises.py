"""What a chain cannot keep is found before a service is served on it."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from unit.test_node_planner import CONTRACTS, SERVICE, TERMS

from oracle.chain import promises
from oracle.chain.promises import Promises
from oracle.chain.types import Block
from oracle.engines.base import Trouble
from oracle.errors import UnknownHeader
from oracle.node.daemon import Node
from oracle.node.records import ServiceRecord
from oracle.node.status import Status

HEAD = Block(10_000, b"\x01" * 32, b"\x02" * 32, 2_000_000, 1, bytes(32), bytes(256))
DAY = 86_400


class Chain:
    """Blocks of one pace, headers that hash or do not."""

    def __init__(self, seconds: float, header: bytes | UnknownHeader | None = b"header") -> None:
        self.seconds, self._header = seconds, header

    async def block(self, number: int) -> Block | None:
        return replace(HEAD, number=number, timestamp=HEAD.timestamp - round((HEAD.number - number) * self.seconds))

    async def header(self, block_hash: bytes) -> bytes | None:
        if isinstance(self._header, UnknownHeader):
            raise self._header
        return self._header


async def test_measured__twelve_second_blocks__keep_the_longest_lifetime():
    kept = await promises.measured(Chain(12), HEAD)
    assert kept == Promises(True, 8_191 * 12)
    assert kept.broken(DAY, by_game=True) is None


async def test_measured__two_second_blocks__forget_before_a_day_is_over():
    kept = await promises.measured(Chain(2), HEAD)
    assert kept.broken(16_382, by_game=False) is None
    assert "forgets their seeds after 16382 s" in str(kept.broken(16_383, by_game=False))


@pytest.mark.parametrize("header", [None, UnknownHeader("other fields")])
async def test_measured__headers_that_do_not_hash__are_no_chain_for_the_game(header):
    kept = await promises.measured(Chain(12, header), HEAD)
    assert "no sampled answer could be proven wrong" in str(kept.broken(60, by_game=True))
    assert kept.broken(60, by_game=False) is None, "a panel needs no headers"


async def test_measured__chain_too_young_to_tell__promises_are_believed():
    kept = await promises.measured(Chain(0.1), replace(HEAD, number=promises.SPAN - 1))
    assert kept.broken(DAY, by_game=True) is None


def test_node__chain_that_cannot_keep_the_terms__has_the_service_in_trouble_and_not_in_view():
    """The daemon's own bookkeeping, on a node that has measured its chain."""
    node = object.__new__(Node)
    node.contracts, node.status = CONTRACTS, Status()
    node._promises = Promises(True, 10.0)
    served = ServiceRecord(SERVICE, replace(TERMS, lifetime_seconds=10))
    broken = ServiceRecord(bytes(31) + b"\x01", replace(TERMS, lifetime_seconds=11))
    assert node._broken(served) is None
    why = node._broken(broken)
    assert "forgets their seeds after 10 s" in str(why)
    node.status.note_broken({broken.id: str(why)})
    node.workshop = SimpleNamespace(proofs={}, troubles={}, proven_at={})
    node.vigil = SimpleNamespace(troubles=lambda proven_at: {})
    assert node.service_troubles() == [(broken.id, Trouble("chain", str(why)))]
