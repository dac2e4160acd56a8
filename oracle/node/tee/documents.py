"""The vendor's documents on chain, kept fresh: no key outlives them."""

import asyncio
from collections.abc import Awaitable, Callable, Set
from dataclasses import dataclass
from functools import partial

import structlog
from eth_utils.crypto import keccak

from oracle.attestation.attested_keys import QuoteProducer
from oracle.attestation.collateral import ROOT, Collateral
from oracle.attestation.keeper import OnChain, Source, changes, check, needed, reads
from oracle.attestation.quote import Quote
from oracle.chain.bindings import Binding
from oracle.chain.rpc import Rpc
from oracle.chain.types import Block
from oracle.node.plan import Wanted
from oracle.node.tee.beside import Beside

log = structlog.get_logger()

FETCH_SECONDS = 86_400
RETRY_SECONDS = 600
LOOK_SECONDS = 3_600
"""How often documents are fetched, how soon again when nobody answered, how often what stands on chain is looked at."""
REPLACE_SECONDS = 14 * 86_400
"""How long before the end of what stands on chain newer documents are posted that change nothing."""


@dataclass
class _Kept:
    """The vendor's documents in the lowest TCB evaluation that some service takes."""

    collateral: Collateral | None = None
    fetch_at: int = 0
    look_at: int = 0
    end: int | None = None
    """Unix time at which what stands on chain ends, as last looked at."""


class Documents:
    """Those of each TCB evaluation that services ask for."""

    def __init__(
        self,
        rpc: Rpc,
        producer: QuoteProducer,
        source: Source,
        beside: Beside,
        contract: Callable[[Block], Awaitable[Binding]],
        came: Callable[[int], None],
    ) -> None:
        """contract: `DcapCollateral`. came: told the evaluation whose documents were fetched and are sound."""
        self._rpc, self._producer, self._source, self._beside = rpc, producer, source, beside
        self._contract, self._came = contract, came
        self._platform: Quote | None = None
        self._kept: dict[int, _Kept] = {}

    @property
    def end(self) -> int | None:
        """Unix time at which the first of what stands on chain ends, as last looked at."""
        return min((each.end for each in self._kept.values() if each.end is not None), default=None)

    def keep_only(self, evaluations: Set[int]) -> None:
        """Forgets all other evaluations."""
        self._kept = {least: kept for least, kept in self._kept.items() if least in evaluations}

    def collateral(self, least: int) -> Collateral | None:
        """What was fetched last for an evaluation."""
        return self._kept[least].collateral

    async def wanted(self, least: int, block: Block, stake_wei: int) -> list[Wanted]:
        """What to post. Raises Refused, SourceUnavailable, TeeBusy."""
        kept = self._kept.setdefault(least, _Kept())
        if block.timestamp >= kept.fetch_at:
            fetched = self._beside.made(f"documents from {least}", partial(self._fetch, least))
            if fetched is not None:
                kept.fetch_at = block.timestamp + RETRY_SECONDS
                platform, collateral = fetched.result()
                check(collateral, platform, block.timestamp, self._source.root)
                self._platform, kept.collateral, kept.look_at = platform, collateral, 0
                kept.fetch_at = block.timestamp + FETCH_SECONDS
                self._came(least)
        if self._platform is None or kept.collateral is None or block.timestamp < kept.look_at:
            return []
        contract = await self._contract(block)
        read = reads(self._rpc, contract, block)
        on_chain = await OnChain.read(read, self._platform, kept.collateral.evaluation, kept.collateral)
        kept.end = on_chain.expires_at
        postings = needed(kept.collateral, self._platform, on_chain)
        is_pressing = on_chain.expires_at - block.timestamp <= REPLACE_SECONDS
        if not postings or not (is_pressing or changes(postings, on_chain)):
            kept.look_at = block.timestamp + LOOK_SECONDS
            if on_chain.alarm_due(block.timestamp):
                log.error("the vendor's documents end soon and nobody has newer ones", ends_at=on_chain.expires_at)
            return []
        signers = [each for each in postings if each.function == "postCertificate" and each.arguments[0] == ROOT]
        wanted, lists = [], set[bytes]()
        for posting in signers or postings:  # what they sign is refused until they are known
            if posting.function == "postCrl":
                if posting.arguments[0] in lists:
                    continue  # a long list's next slice needs the one before
                lists.add(posting.arguments[0])
            data = contract.encode(posting.function, *posting.arguments)
            wanted.append(Wanted(f"collateral:{keccak(data).hex()}", contract.address, data, stake_wei))
        return wanted

    async def _fetch(self, least: int) -> tuple[Quote, Collateral]:
        platform = self._platform
        if platform is None:
            platform = await asyncio.to_thread(self._producer.quote, bytes(64))
        return platform, await self._source.fetch(platform, least)
