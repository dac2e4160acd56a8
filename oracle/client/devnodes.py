"""The processes of a development network: their start, whether nodes are ready, why not, and their end."""

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from oracle.client.readiness import readiness
from oracle.errors import Refused, printable

GRACE_SECONDS = 25.0
"""A node finishes the answer in the making before it ends; see the setting `grace_seconds`."""
LAST_LINES = 3
"""Of a log that is quoted."""
MOST_LOG_BYTES = 1 << 24
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
TIED = 'exec 3<&0 </dev/null; (read -r _ <&3; kill -9 0) & exec "$@" 3<&-'
"""For sh: runs a command, and kills its process group once the other end of standard input is closed."""


@dataclass(frozen=True)
class NodeProcess:
    """One node: its daemon, where its page is, and where it logs."""

    name: str
    process: subprocess.Popen[bytes]
    api_port: int
    log: Path

    @property
    def page(self) -> str:
        return f"http://127.0.0.1:{self.api_port}/"

    def ended(self) -> str:
        """Why it has ended, as far as its log tells; empty while it runs."""
        status = self.process.poll()
        return "" if status is None else f"{self.name} has ended with status {status}{self._told()}"

    def reasons(self) -> list[str]:
        """Why it is not ready, by its own word; nothing if it is."""
        if (status := self.process.poll()) is not None:
            return [f"it ended with exit status {status}"]
        try:
            return readiness("127.0.0.1", self.api_port).reasons
        except Refused:
            return ["it does not answer yet"]

    def last_words(self, *, is_ready: bool) -> list[str]:
        """The last warnings and errors of its log; its last lines if there are none and it is not ready."""
        lines = self._log_lines()
        serious = [line for line in lines if re.search(r"\[(warning|error|critical) *\]|Error", line)]
        return (serious or ([] if is_ready else lines))[-LAST_LINES:]

    def _log_lines(self) -> list[str]:
        """The end of its log, without colours and empty lines."""
        with self.log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - MOST_LOG_BYTES))
            text = COLOURS.sub("", file.read().decode("utf-8", "replace"))
        return [printable(line.strip()) for line in text.splitlines() if line.strip()]

    def _told(self) -> str:
        """What its log says of that."""
        lines = self.last_words(is_ready=False)
        return f"; its log {self.log} says: {' / '.join(lines)}" if lines else f"; its log {self.log} is empty"


def start(command: Sequence[str], out: IO[bytes], env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """A process that leads a group of its own, out of reach of the terminal's Ctrl-C; `stop` ends it.

    If this process dies, by SIGKILL too, or forgets the result, the group is killed.
    """
    return subprocess.Popen(
        ["/bin/sh", "-c", TIED, "sh", *command],
        stdin=subprocess.PIPE,
        stdout=out,
        stderr=out,
        env=env,
        start_new_session=True,
    )


def await_ready(
    nodes: Sequence[NodeProcess],
    seconds: float,
    say: Callable[[str], None],
    more: Callable[[], str] = lambda: "",
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Waits until every node says that it is ready, and `more` has nothing to wait for either.

    say: told now and then what is waited for. Raises Refused when a node ends, or when time is up, and says why.
    """
    end = time.monotonic() + seconds
    while True:
        if over := [why for node in nodes if (why := node.ended())]:
            raise Refused(over[0])
        waiting = {node.name: reasons for node in nodes if (reasons := node.reasons())}
        pending = "" if waiting else more()
        if not waiting and not pending:
            return
        told = "; ".join(f"{name}: {', '.join(reasons)}" for name, reasons in waiting.items())
        if time.monotonic() > end:
            logs = "".join(node._told() for node in nodes if node.name in waiting)
            raise Refused(f"not ready after {seconds:.0f} s: {told or pending}{logs}")
        say(f"{len(nodes) - len(waiting)} of {len(nodes)} nodes are ready; {told or pending}")
        sleep(0.5)


def stop(processes: Sequence[subprocess.Popen[bytes]], grace_seconds: float = GRACE_SECONDS) -> None:
    """Ends processes that lead groups of their own: asked first, killed when time is up or Ctrl-C comes again."""
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
    end = time.monotonic() + grace_seconds
    with contextlib.suppress(KeyboardInterrupt, subprocess.TimeoutExpired):
        for process in processes:
            process.wait(max(0.0, end - time.monotonic()))
    for process in processes:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
