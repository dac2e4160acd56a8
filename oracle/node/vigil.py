"""The vigil: which answers of others this node should judge, and which it did not judge in time.

A wrong answer that nobody judges in time becomes final, so a watcher that cannot judge must say so as loudly as one
that finds a lie. An answer went unwatched if its window closed before this node had found it right or wrong, or if the
node found that it cannot tell. What opened and closed while the node was not running is not counted.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import structlog

from oracle.engines.base import Trouble
from oracle.ids import RequestId, ServiceId
from oracle.node.plan import View
from oracle.node.records import PostedAnswer, RequestRecord

log = structlog.get_logger()

LATE, UNKNOWN = "late", "unknown"
LONGEST_SECONDS = 3600.0
"""A lapse is told so long although the engine has proven itself since: it may prove itself and judge nothing."""

Watched = tuple[RequestRecord, PostedAnswer]


@dataclass(frozen=True)
class _Lapse:
    """What went unwatched of a service since this node last judged one of its answers."""

    count: int
    at: float
    why: str


class Vigil:
    """Looks at every view."""

    def __init__(self, clock: Callable[[], float], plays: Callable[[str], bool]) -> None:
        """clock: the one that proofs are dated by. plays: whether an arbiter is the dispute game."""
        self._clock, self._plays = clock, plays
        self._pending: dict[tuple[RequestId, bytes], Watched] = {}
        self._known_unknown: set[tuple[RequestId, bytes]] = set()
        self._lapses: dict[ServiceId, _Lapse] = {}
        self.unwatched = {LATE: 0, UNKNOWN: 0}
        """Answers since the start, by why."""

    def look(self, view: View, watched: Iterable[Watched]) -> Counter[ServiceId]:
        """Returns how many answers of each service went by unjudged since the last look.

        watched: the answers that this node means to judge at this head, judged or not.
        """
        late: Counter[ServiceId] = Counter()
        due = {(record.id, posted.answer.hash): (record, posted) for record, posted in watched}
        for key, (record, _) in due.items():
            verdict = view.verdicts.get(key)
            if verdict is not None and verdict.correct is None and key not in self._known_unknown:
                self._known_unknown.add(key)
                self._lapse(record, UNKNOWN, f"it cannot be judged: {verdict.reason}")
            elif verdict is not None and verdict.correct is not None and key in self._pending:
                self._lapses.pop(record.request.service, None)
        for key in self._pending.keys() - due.keys():
            record, posted = self._pending[key]
            if view.head.timestamp >= posted.answer.closes_at and self._stood(view, key):
                self._lapse(record, LATE, "its window closed before this node had judged it")
                late[record.request.service] += 1
        self._pending = {key: both for key, both in due.items() if key not in view.verdicts}
        self._known_unknown &= due.keys()
        return late

    def troubles(self, proven_at: Mapping[ServiceId, float]) -> dict[ServiceId, Trouble]:
        """Services whose answers go unwatched. proven_at: when their engines last proved themselves."""
        now = self._clock()
        return {
            service: Trouble("unwatched", f"{lapse.count} answers of others went unwatched; of the last: {lapse.why}")
            for service, lapse in self._lapses.items()
            if proven_at.get(service, lapse.at) <= lapse.at or now - lapse.at < LONGEST_SECONDS
        }

    def _stood(self, view: View, key: tuple[RequestId, bytes]) -> bool:
        """Whether an answer was the one that stood when its window closed, and no panel had been asked about it."""
        for record in view.requests:
            if record.id == key[0]:
                service = view.services.get(record.request.service)
                panel = service is not None and not self._plays(service.terms.arbiter)
                same = record.posted is not None and record.posted.answer.hash == key[1]
                return same and not (panel and record.state == "disputed")
        return True  # closed, most likely with this answer

    def _lapse(self, record: RequestRecord, kind: str, why: str) -> None:
        service = record.request.service
        self.unwatched[kind] += 1
        before = self._lapses.get(service)
        self._lapses[service] = _Lapse(1 if before is None else before.count + 1, self._clock(), why)
        log.error("answer went unwatched", request_id=f"0x{record.id:064x}", service="0x" + service.hex(), reason=why)
