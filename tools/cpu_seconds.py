"""Run a command, and print what all its processes took of the processor: `python tools/cpu_seconds.py COMMAND...`.

Those count as well whose parents were killed before they ended: they become this process's children (prctl(2),
PR_SET_CHILD_SUBREAPER). What still runs when the command has ended is waited for, but not for long.
"""

import ctypes
import os
import resource
import subprocess
import sys
import time

SUBREAPER = 36  # of linux/prctl.h
GRACE_SECONDS = 30.0


def seconds(command: list[str]) -> tuple[int, float, float]:
    """Exit status of a command, and seconds that passed and that processors worked."""
    if ctypes.CDLL(None, use_errno=True).prctl(SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    began = time.monotonic()
    status = subprocess.run(command, check=False).returncode
    passed = time.monotonic() - began
    while time.monotonic() - began < passed + GRACE_SECONDS:
        try:
            ended, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            break
        if not ended:
            time.sleep(0.1)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return status, passed, used.ru_utime + used.ru_stime


def main() -> None:
    status, passed, worked = seconds(sys.argv[1:])
    print(f"{passed:.0f} s, of the processor {worked:.0f} s", file=sys.stderr)
    sys.exit(status)


if __name__ == "__main__":
    main()
