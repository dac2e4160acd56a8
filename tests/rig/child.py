"""A child process that may die by its own hand, forked so that it starts in milliseconds.

Fork only from a process without threads that hold locks: not while a `fault_rpc` of the same test is running.
"""

import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

KILLED = -9


def run_child(work: Callable[[], None], environment: Mapping[str, str] | None = None) -> int:
    """Runs `work` in a child. Returns 0, 1 after an exception, or minus the signal that ended it."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.environ.update(environment or {})
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def alive(pid: int) -> bool:
    """Whether a process still runs after some seconds; one that waits to be buried does not."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return False
        except OSError:
            return False
        time.sleep(0.05)
    return True
