"""What of the journal is over for good, and may be deleted by hand: closed requests and all that belongs to them.

Intents, nonces and attempts are never deleted: they tell the node what it has signed. Whatever is deleted comes
back when the chain is read again.
"""

from collections import Counter
from collections.abc import Iterator

import sqlalchemy as sa

from oracle.errors import BadSettings
from oracle.ids import RequestId
from oracle.journal.journal import BlockRef, Job, Tx
from oracle.journal.schema import jobs
from oracle.node.findings import finding_of
from oracle.node.records import LIVE_CASE, LIVE_GAME, OVER_REQUEST, RequestRecord

KEEP_SECONDS = 60 * 86_400
"""Of the chain's time, after a request's deadline and window. Callbacks can be repeated for 30 days, and for as much
longer as a seat's way out takes: a lifetime (a day at most), a window and a dispute."""


def over(tx: Tx, finality: int, older_than: int | None = None) -> list[str]:
    """Keys of the jobs that may be deleted.

    older_than: blocks since anything about a request changed, instead of KEEP_SECONDS; `finality` counts in any case. A
    request whose callback was left is kept until somebody makes or reclaims it, and one in dispute until all its games
    have ended. Raises BadSettings.
    """
    if older_than is not None and older_than < finality:
        raise BadSettings(
            f"{older_than} blocks are less than `finality`: what changed in the last {finality} can go back"
        )
    at = tx.cursor()
    if at is None:
        return []
    last = at.number - max(older_than or 0, finality)
    gone = set(_requests(tx, at, last, whenever=older_than is not None))
    cases, games = tx.jobs("case"), tx.jobs("game")
    gone -= {_about(job) for job in cases if job.state in LIVE_CASE or _is_young(job, last)}
    gone -= {_about(job) for job in games if job.state in LIVE_GAME or _is_young(job, last)}
    disputes = {job.payload["case"] for job in games if _about(job) in gone}
    found = [job.key for job in tx.jobs("request", OVER_REQUEST) if _request_of(job.key) in gone]
    found += [job.key for job in (*cases, *games) if _about(job) in gone]
    found += [job.key for job in tx.jobs("opening") if job.payload["case"] in disputes]
    found += [key for key in _keys(tx, "move") if _request_of_move(key) in gone]
    found += [job.key for job in tx.jobs("reward", ("paid",)) if not _is_young(job, last)]
    return found + [key for key in _keys(tx, "output", "verdict", "batch") if finding_of(key)[0] in gone]


def counts(keys: list[str]) -> dict[str, int]:
    """How many of each kind."""
    by_kind = Counter(key.partition(":")[0] for key in keys)
    findings = sum(by_kind[kind] for kind in ("output", "verdict", "batch"))
    kinds = {f"{kind}s": by_kind[kind] for kind in ("request", "case", "game", "opening", "move", "reward")}
    return kinds | {"findings": findings}


def _requests(tx: Tx, at: BlockRef, last: int, *, whenever: bool) -> Iterator[RequestId]:
    """Requests that are over since block `last`, and, unless `whenever`, for KEEP_SECONDS."""
    for job in tx.jobs("request", OVER_REQUEST):
        if _is_young(job, last):
            continue
        record = RequestRecord.of(job)
        ended = max(record.request.deadline, 0 if record.posted is None else record.posted.answer.closes_at)
        if whenever or at.timestamp > ended + KEEP_SECONDS:
            yield record.id


def _keys(tx: Tx, *kinds: str) -> list[str]:
    return list(tx.connection.execute(sa.select(jobs.c.key).where(jobs.c.kind.in_(kinds))).scalars())


def _is_young(job: Job, last: int) -> bool:
    return job.updated_block is None or job.updated_block > last


def _about(job: Job) -> RequestId:
    """The request of a case or a game."""
    return RequestId(int(job.payload["request"], 16))


def _request_of_move(key: str) -> RequestId:
    return RequestId(int(key.split(":")[1], 16))


def _request_of(key: str) -> RequestId:
    return RequestId(int(key.removeprefix("request:"), 16))
