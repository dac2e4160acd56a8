"""What a node has computed, output by output and verdict by verdict, and when it may be forgotten."""

import sqlalchemy as sa

from oracle.chain.requests import RequestId
from oracle.journal.journal import Tx
from oracle.journal.schema import jobs
from oracle.node.records import CLOSED_REQUEST, request_key


def finding_of(key: str) -> tuple[RequestId, bytes]:
    """The request, and the hash of the seed block or the answer, that a job's key names."""
    _, request, digest = key.split(":")
    return RequestId(int(request, 16)), bytes.fromhex(digest)


def forget_findings(tx: Tx, final_block: int) -> int:
    """Deletes outputs and verdicts about requests that closed at or before a final block. Returns how many."""
    kinds = ("output", "verdict", "batch")
    rows = tx.connection.execute(sa.select(jobs.c.key).where(jobs.c.kind.in_(kinds))).scalars().all()
    gone = []
    for key in rows:
        about = tx.job(request_key(finding_of(key)[0]))
        closed = about is not None and about.state in CLOSED_REQUEST
        if about is not None and closed and (about.updated_block or 0) <= final_block:
            gone.append(key)
    tx.connection.execute(sa.delete(jobs).where(jobs.c.key.in_(gone)))
    return len(gone)
