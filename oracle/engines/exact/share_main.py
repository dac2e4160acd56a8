"""A process that holds one device's share of a model: it does what the first of its group says (`group.py`), and ends
when that one does.
"""

import os
import sys
import threading
import time
import traceback
from multiprocessing.connection import Connection

from oracle.engines.worker_sandbox import Confinement, confine

ALIVE_SECONDS = 1.0


class Voice:
    """What this process says to the first of its group. Thread-safe."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._lock = connection, threading.Lock()

    def say(self, kind: str, said: str = "") -> None:
        """Ends this process if nobody listens: other threads may be in native code for hours."""
        try:
            with self._lock:
                self._connection.send((kind, said))
        except OSError:
            os._exit(0)

    def beat(self) -> None:
        while True:
            self.say("alive")
            time.sleep(ALIVE_SECONDS)


def main() -> None:
    confine(Confinement(unshare_network=False, memory_bytes=None))  # what a new program does not inherit of it
    connection = Connection(int(sys.argv[1]))
    voice = Voice(connection)
    threading.Thread(target=voice.beat, daemon=True).start()
    try:
        from oracle.engines.exact.shared_forward import serve  # noqa: PLC0415  torch takes longer than a beat

        serve(connection, voice.say)
    except EOFError:
        os._exit(0)
    except BaseException as error:
        traceback.print_exc()
        voice.say("failed", f"{type(error).__name__}: {error}"[:1000])
        os._exit(1)


if __name__ == "__main__":
    main()
