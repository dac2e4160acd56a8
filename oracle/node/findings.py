"""What a node has computed, output by output and verdict by verdict, and when it may be forgotten."""

import sqlalchemy as sa

from oracle.ids import RequestId
from oracle.journal.journal import KEYS_AT_ONCE, Tx
from oracle.journal.schema import jobs
from oracle.node.records import CLOSED_REQUEST, request_key


def finding_of(key: str) -> tuple[RequestId, bytes]:
    """The request, and the hash of the seed block or the answer, that a job's key names."""
    _, request, digest = key.split(":")
    return RequestId(int(request, 16)), bytes.fromhex(digest)


def forget_findings(tx: Tx, final_block: int) -> int:
    """Deletes outputs and verdicts about requests that closed at or before a final block. Returns how many."""
    of_kind = sa.select(jobs.c.key).where(jobs.c.kind.in_(("output", "verdict", "batch")))
    findings = tx.connection.execute(of_kind).scalars().all()
    closed = sa.select(jobs.c.key).where(
        jobs.c.kind == "request", jobs.c.state.in_(CLOSED_REQUEST), jobs.c.updated_block <= final_block
    )
    about = {key: request_key(finding_of(key)[0]) for key in findings}
    over: set[str] = set()
    wanted = sorted(set(about.values()))
    for start in range(0, len(wanted), KEYS_AT_ONCE):
        few = closed.where(jobs.c.key.in_(wanted[start : start + KEYS_AT_ONCE]))
        over |= set(tx.connection.execute(few).scalars())
    gone = [key for key in findings if about[key] in over]
    tx.delete_jobs(gone)
    return len(gone)
