"""Several endpoints: whom to ask, and when again.

A read goes to the first healthy endpoint and moves on to the next on any trouble; an endpoint in trouble is left alone
for a while, and asked less often if it limits requests. Whatever still fails is RpcUnavailable, with every endpoint's
number, method, what happened, and its own words; never a URL.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from pydantic import SecretStr
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from oracle.chain.endpoint import Endpoint, EndpointHealth, Missing
from oracle.chain.heads import Heads
from oracle.chain.rpc_errors import Fault, Trouble
from oracle.chain.types import parse_int
from oracle.errors import Doubtful, RpcRefused, RpcUnavailable, WrongChain

T = TypeVar("T")

LONGEST_WAIT_SECONDS = 10.0
"""For an endpoint that limits requests, where there is no other; a read that would wait longer fails."""


class Endpoints:
    """Asks them."""

    def __init__(
        self,
        urls: Sequence[SecretStr],
        chain_id: int,
        *,
        timeout_seconds: float = 10.0,
        rounds: int = 3,
        max_lag: int = 3,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """rounds: how often a read goes through all endpoints. max_lag: blocks behind the best that count as fresh."""
        if not urls:
            raise ValueError("no RPC endpoint configured")
        self.chain_id = chain_id
        self.errors: Counter[tuple[int, str]] = Counter()
        """Faults by (endpoint index, kind), for metrics."""
        self._endpoints = [Endpoint(i, url, timeout_seconds, clock, sleep) for i, url in enumerate(urls)]
        self._rounds = rounds
        self._max_lag = max_lag
        self._heads = Heads(max_lag, clock)
        self._clock = clock
        self._sleep = sleep

    def __repr__(self) -> str:
        return f"Rpc(chain_id={self.chain_id}, endpoints={len(self._endpoints)})"

    async def close(self) -> None:
        """Closes the connections."""
        for endpoint in self._endpoints:
            await endpoint.close()

    def health(self) -> list[EndpointHealth]:
        """How each endpoint does, from what has been seen; asks nobody."""
        return [
            EndpointHealth(
                e.index,
                self._is_fresh(e),
                e.head,
                e.trouble.kind if e.trouble else None,
                str(e.trouble) if e.trouble else None,
                e.lies,
                dict(e.requests),
            )
            for e in self._endpoints
        ]

    def ready(self) -> bool:
        """Whether at least one endpoint is fresh."""
        return any(self._is_fresh(e) for e in self._endpoints)

    # -- asking --------------------------------------------------------------------------------------------------

    async def _read(self, method: str, params: Sequence[Any], parse: Callable[[Any], T]) -> T | None:
        async def ask(endpoint: Endpoint) -> T:
            result = await endpoint.request(method, params)
            if result is None:
                raise Missing
            return parse(result)

        return await self._ask(method, ask)

    async def _ask(self, method: str, ask: Callable[[Endpoint], Awaitable[T]]) -> T | None:
        """The first answer; None if nobody has one and somebody said so."""
        found = await self._ask_all(method, ask, most=1)
        return found[0][1] if found else None

    async def _ask_all(
        self,
        method: str,
        ask: Callable[[Endpoint], Awaitable[T]],
        most: int | None = None,
        serves: Callable[[Endpoint], bool] = lambda endpoint: True,
    ) -> list[tuple[Endpoint, T]]:
        """Answers of `most` endpoints, or of all; none if somebody said that there is none.

        Those that are thought to serve it are asked first, and the others only if none of these does.
        """

        async def one(endpoint: Endpoint) -> tuple[bool, list[tuple[Endpoint, T]]]:
            try:
                await self._verify(endpoint)
                answer = await ask(endpoint)
            except Fault as fault:
                self._failed(endpoint, fault.trouble)
            except (ValueError, KeyError, TypeError):
                self._failed(endpoint, Trouble(method, "malformed"))
            except Missing:
                endpoint.served()
                return True, []
            else:
                endpoint.served()
                return True, [(endpoint, answer)]
            return False, []

        async def once() -> list[tuple[Endpoint, T]]:
            due = await self._due()
            answered, found = False, list[tuple[Endpoint, T]]()
            waiting = [e for e in due if serves(e)], [e for e in due if not serves(e)]
            for group in waiting:
                while group and not (found and group is waiting[1]) and (most is None or len(found) < most):
                    now = len(group) if most is None else most - len(found)
                    asked, group[:now] = group[:now], []
                    for said, answers in await asyncio.gather(*map(one, asked)):
                        answered, found = answered or said, found + answers
            if not answered:
                raise self._nobody(due)
            return found

        return await self._retry(once)

    async def _of_each(self, method: str, params: Sequence[Any], parse: Callable[[Any], T]) -> list[T]:
        """What each endpoint answers to a method that endpoints may lack."""
        found = await asyncio.gather(*(self._if_served(e, method, params, parse) for e in await self._due()))
        return [each for each in found if each is not None]

    async def _if_served(
        self, endpoint: Endpoint, method: str, params: Sequence[Any], parse: Callable[[Any], T]
    ) -> T | None:
        """None where the endpoint lacks the method: that is no fault, and the method is not asked for again."""
        if method in endpoint.lacks:
            return None
        try:
            await self._verify(endpoint)
            result = await endpoint.request(method, params)
            return None if result is None else parse(result)
        except Fault as fault:
            if fault.trouble.lacks_method:
                endpoint.lacks.add(method)
            else:
                self._failed(endpoint, fault.trouble)
        except (ValueError, KeyError, TypeError, AttributeError):
            self._failed(endpoint, Trouble(method, "malformed"))
        except Missing:
            pass
        return None

    async def _try(self, endpoint: Endpoint, method: str, params: Sequence[Any], parse: Callable[[Any], T]) -> T | None:
        try:
            await self._verify(endpoint)
            result = await endpoint.request(method, params)
            found = None if result is None else parse(result)
            endpoint.served()
            return found
        except Fault as fault:
            self._failed(endpoint, fault.trouble)
        except (ValueError, KeyError, TypeError):
            self._failed(endpoint, Trouble(method, "malformed"))
        except Missing:
            pass
        return None

    async def _retry(self, once: Callable[[], Awaitable[T]]) -> T:
        retrying = AsyncRetrying(
            retry=retry_if_exception(lambda error: isinstance(error, RpcUnavailable) and not _is_answer(error)),
            stop=stop_after_attempt(self._rounds),
            wait=wait_random_exponential(multiplier=0.2, max=5),
            sleep=self._sleep,
            reraise=True,
        )
        return await retrying(once)

    async def _verify(self, endpoint: Endpoint) -> None:
        """Checks the chain id on the first use and after every fault. Raises WrongChain."""
        if endpoint.verified:
            return
        try:
            found = parse_int(await endpoint.request("eth_chainId", []))
        except ValueError:
            raise Fault(Trouble("eth_chainId", "malformed")) from None
        if found != self.chain_id:
            raise WrongChain(f"RPC endpoint {endpoint.index} serves chain {found}, configured is {self.chain_id}")
        endpoint.verified = True

    @staticmethod
    def _nobody(asked: Sequence[Endpoint]) -> RpcUnavailable:
        """Why no endpoint could answer. One that was asked and has no trouble said that it has no such block."""
        said = "; ".join(f"endpoint {e.index}: {e.trouble or 'no such block'}" for e in asked)
        advice = next((e.trouble.advice for e in asked if e.trouble), "wait until it has read the chain")
        return RpcUnavailable(f"no RPC endpoint answered: {said}; {advice}")

    def _failed(self, endpoint: Endpoint, trouble: Trouble) -> None:
        self.errors[endpoint.index, trouble.kind] += 1
        endpoint.failed(trouble)

    def lied(self, index: int, kind: str) -> None:
        """An endpoint left out what others show, or invented something: from now on it is asked last."""
        self.errors[index, kind] += 1
        self._endpoints[index].lies += 1

    def _is_fresh(self, endpoint: Endpoint) -> bool:
        best = max((e.head for e in self._endpoints if e.head is not None), default=0)
        return endpoint.verified and endpoint.head is not None and best - endpoint.head <= self._max_lag

    async def _due(self) -> list[Endpoint]:
        """Endpoints not backing off, the fresh and truthful ones first; all of them when all are backing off.

        Where all limit requests, it waits for the first of them. Raises RpcUnavailable if that takes long.
        """
        now = self._clock()
        due = [e for e in self._endpoints if e.retry_at <= now]
        due = due or [e for e in self._endpoints if not (e.trouble and e.trouble.limits)]
        if not due:
            first = min(self._endpoints, key=lambda e: e.retry_at)
            if first.retry_at - now > LONGEST_WAIT_SECONDS:
                raise self._nobody(self._endpoints)
            await self._sleep(first.retry_at - now)
            due = [first]
        return sorted(due, key=lambda e: (not self._is_fresh(e), e.lies, e.index))


def _is_answer(error: BaseException) -> bool:
    """Whether asking again at once would give the same error."""
    return isinstance(error, RpcRefused | Doubtful)
