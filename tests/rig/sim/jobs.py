"""The daemon's threads, one at a time: which job comes next is drawn by a seed, so that a life can be played again.

With threads of its own, the daemon's rounds would meet now this job's end and now another's, as the machine is busy: a
life that fails would be another one when somebody looks for the reason.
"""

import random
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any


class Jobs(Executor):
    """Stands for all of a daemon's thread pools. A job waits until `run_one` draws it."""

    def __init__(self) -> None:
        self.chance = random.Random(0)
        self._waiting: list[tuple[Future[Any], Callable[[], Any]]] = []
        self._hanging: list[threading.Thread] = []
        self._rests = threading.Event()
        """The job that was drawn is over, or hangs."""

    def submit(self, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self._waiting.append((future, partial(work, *args, **kwargs)))
        return future

    def run_one(self) -> bool:
        """Does one of the jobs that wait, until it is over or hangs. Returns whether there was one."""
        while self._waiting:
            future, work = self._waiting.pop(self.chance.randrange(len(self._waiting)))
            if not future.set_running_or_notify_cancel():
                continue
            self._rests.clear()
            thread = threading.Thread(target=self._do, args=(future, work))
            thread.start()
            self._rests.wait()
            if not future.done():
                self._hanging.append(thread)
            return True
        return False

    def hangs(self) -> None:
        """Called by a job that will not go on before somebody frees it: the daemon does without it meanwhile."""
        self._rests.set()

    def freed(self) -> None:
        """Waits until the jobs that hung are over."""
        while self._hanging:
            self._hanging.pop().join()

    def _do(self, future: Future[Any], work: Callable[[], Any]) -> None:
        try:
            found = work()
        except BaseException as error:  # as `ThreadPoolExecutor` does: also a death belongs to who waits for it
            future.set_exception(error)
        else:
            future.set_result(found)
        self._rests.set()
