"""Places where a test can make the process kill itself, as the kernel or a power cut would.

`DIDYMA_CRASH_AT=name` makes `crashpoint("name")` send SIGKILL to its own process: no handler, no flush, no exit code of
its own choosing. `name:3` lets the first two passes go by. Unset, a crashpoint costs one dictionary look-up.
"""

import os
import signal
from collections import Counter
from typing import Final

POINTS: Final = (
    # follower
    "before_apply",  # blocks and logs are read, nothing is written
    "in_apply",  # inside the transaction that holds a batch, before its commit
    "after_apply",  # committed
    "in_rollback",  # inside the transaction that undoes blocks of a dead fork
    # sender
    "after_plan",  # an intent is about to be worked on
    "after_simulate",
    "after_sign",  # signed, not yet in the journal
    "after_persist",  # in the journal, not yet sent
    "after_send",  # sent, the outcome not yet written
    "after_cancel_sign",  # a self-transfer or a bump is signed, not yet in the journal
    "after_cancel_persist",
    "after_mined",  # a receipt is written
    "after_final",  # a nonce is final
    # journal
    "in_migration",  # inside the migration's transaction
    "after_backup",  # the backup is written, the migration not begun
)
"""Every name that code may use. A test fails when one has no case or no call."""

DAEMON_POINTS: Final = (
    "before_engine",  # a job is about to run
    "after_engine",  # an answer is computed, not yet in the journal
    "after_output",  # it is
    "after_verdict",  # somebody's answer is judged
    "after_wanted",  # the transactions of a plan are entered
)
"""Those that only the whole daemon passes."""

_passes: Counter[str] = Counter()


def crashpoint(name: str) -> None:
    """Kills the process here if DIDYMA_CRASH_AT says so."""
    wanted, _, nth = os.environ.get("DIDYMA_CRASH_AT", "").partition(":")
    if wanted != name:
        return
    _passes[name] += 1
    if _passes[name] == int(nth or 1):
        os.kill(os.getpid(), signal.SIGKILL)
