"""The journal's live jobs as records: read and parsed once, and again only where a job has changed.

What is closed is not in it, so a round costs what is open and not what ever was. It believes that nobody but this
process writes the journal, which the journal's lock sees to.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Generic, TypeVar

from oracle.ids import CaseId, RequestId, ServiceId
from oracle.journal.journal import Job, Journal, Tx
from oracle.node.checks import Checks, service_of_checks
from oracle.node.findings import finding_of
from oracle.node.records import (
    LIVE_CASE,
    LIVE_GAME,
    LIVE_REQUEST,
    CaseRecord,
    GameRecord,
    Judgement,
    Output,
    PlaceRecord,
    RequestRecord,
    RewardRecord,
    SeatRecord,
    ServiceRecord,
)

R = TypeVar("R")


class _Kind(Generic[R]):
    """The records of one kind that are in certain states; any state for None."""

    def __init__(self, kind: str, states: Collection[str] | None, parse: Callable[[Job], R]) -> None:
        self.kind = kind
        self._states = states
        self._parse = parse
        self._found: dict[str, tuple[int, R]] = {}
        self._ordered: list[R] | None = None

    def load(self, tx: Tx) -> None:
        self._found = {job.key: (job.id, self._parse(job)) for job in tx.jobs(self.kind, self._states)}
        self._ordered = None

    def change(self, key: str, job: Job | None) -> None:
        """What became of the job of that key; None if it is no more."""
        if job is not None and (self._states is None or job.state in self._states):
            self._found[key] = job.id, self._parse(job)
        elif self._found.pop(key, None) is None:
            return
        self._ordered = None

    def records(self) -> list[R]:
        """Oldest first. Treat it as read-only: it is the same list until something changes."""
        if self._ordered is None:
            self._ordered = [record for _, record in sorted(self._found.values(), key=lambda found: found[0])]
        return self._ordered


class WorkingSet:
    """Call `refresh` before reading the rest."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._requests = _Kind("request", (*LIVE_REQUEST, "left"), RequestRecord.of)
        self._outputs = _Kind("output", None, lambda job: (finding_of(job.key), Output.of(job)))
        self._verdicts = _Kind("verdict", None, lambda job: (finding_of(job.key), Judgement.of(job)))
        self._batches = _Kind("batch", None, lambda job: (finding_of(job.key), str(job.payload["intent"])))
        self._cases = _Kind("case", LIVE_CASE, CaseRecord.of)
        self._services = _Kind("service", None, ServiceRecord.of)
        self._seats = _Kind("seat", None, SeatRecord.of)
        self._places = _Kind("place", None, PlaceRecord.of)
        self._games = _Kind("game", LIVE_GAME, GameRecord.of)
        self._rewards = _Kind("reward", ("waits",), RewardRecord.of)
        self._checks = _Kind("checks", None, lambda job: (service_of_checks(job.key), Checks.of(job)))
        kinds: Sequence[_Kind[Any]] = [value for value in vars(self).values() if isinstance(value, _Kind)]
        self._kinds: Mapping[str, _Kind[Any]] = {kind.kind: kind for kind in kinds}
        self._is_loaded = False
        self._openings: dict[bytes, list[bytes]] = {}
        self._openings_of: frozenset[CaseId] | None = None
        """The cases whose openings have been read; None if there may be more."""

    def refresh(self) -> None:
        """Reads what the journal says has changed; everything the first time, and after a failure."""
        all_changed = self._journal.changed()
        changed = {key for key in all_changed if key.partition(":")[0] in self._kinds}
        if any(key.startswith("opening:") for key in all_changed):
            self._openings_of = None
        if self._is_loaded and not changed:
            return
        is_loaded, self._is_loaded = self._is_loaded, False
        with self._journal.read() as tx:
            if not is_loaded:
                for kind in self._kinds.values():
                    kind.load(tx)
            else:
                jobs = {job.key: job for job in tx.jobs_of(changed)}
                for key in changed:
                    self._kinds[key.partition(":")[0]].change(key, jobs.get(key))
        self._is_loaded = True

    @property
    def requests(self) -> list[RequestRecord]:
        """Those that are not closed."""
        return [record for record in self._requests.records() if record.state != "left"]

    @property
    def left(self) -> list[RequestRecord]:
        """Those whose callbacks are left."""
        return [record for record in self._requests.records() if record.state == "left"]

    @property
    def outputs(self) -> dict[tuple[RequestId, bytes], Output]:
        """By request and seed block hash."""
        return dict(self._outputs.records())

    @property
    def verdicts(self) -> dict[tuple[RequestId, bytes], Judgement]:
        """By request and answer hash."""
        return dict(self._verdicts.records())

    @property
    def batches(self) -> dict[tuple[RequestId, bytes], str]:
        """By request and answer hash: the key of the finalizing transaction it went into, whatever became of it."""
        return dict(self._batches.records())

    @property
    def checks(self) -> dict[ServiceId, Checks]:
        """By service."""
        return dict(self._checks.records())

    @property
    def cases(self) -> dict[RequestId, CaseRecord]:
        """By request: those that are not decided."""
        return {case.request: case for case in self._cases.records()}

    @property
    def services(self) -> list[ServiceRecord]:
        return self._services.records()

    @property
    def seats(self) -> list[SeatRecord]:
        return self._seats.records()

    @property
    def places(self) -> dict[tuple[ServiceId, int], PlaceRecord]:
        """By service and place."""
        return {(place.service, place.place): place for place in self._places.records()}

    @property
    def games(self) -> list[GameRecord]:
        """Those that are not over."""
        return self._games.records()

    @property
    def openings(self) -> dict[bytes, list[bytes]]:
        """By place: what was opened in games that are not over. Read again only if some came, or other games go on."""
        cases = frozenset(game.case for game in self.games)
        if cases != self._openings_of:
            named = {case.hex() for case in cases}
            with self._journal.read() as tx:
                jobs = tx.jobs("opening") if cases else []
            self._openings = {
                bytes.fromhex(job.key.removeprefix("opening:")): [bytes.fromhex(node) for node in job.payload["nodes"]]
                for job in jobs
                if job.payload["case"] in named
            }
            self._openings_of = cases
        return self._openings

    @property
    def rewards(self) -> list[RewardRecord]:
        """Those that wait."""
        return self._rewards.records()
