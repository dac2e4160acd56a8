"""How much memory workers take, as the kernel counts it."""

import os
from collections.abc import Collection
from pathlib import Path

GROUP, RESIDENT = 2, 21
"""Fields of /proc/PID/stat after the process's name: its group, and its resident memory in pages."""


def resident_bytes(groups: Collection[int], proc: Path = Path("/proc")) -> int:
    """Resident memory of all processes of these groups; 0 where the kernel does not say (only Linux does)."""
    if not groups:
        return 0
    pages = 0
    for entry in proc.glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()  # a name may hold blanks and brackets
        except OSError:  # it has ended
            continue
        if int(fields[GROUP]) in groups:
            pages += int(fields[RESIDENT])
    return pages * os.sysconf("SC_PAGE_SIZE")
