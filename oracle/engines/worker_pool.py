"""Several workers with the same model, one for each GPU, behind one `Engine`.

A job goes to the worker that has the fewest in hand. One that kills its worker is tried once on another, if one is
free; they share a quarantine, so if that one dies too the job is refused. Otherwise the crash is reported and the
caller tries again. The pool serves as long as one worker is proven, and is in trouble as long as one is not.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from oracle.engines.base import (
    Completion,
    OnProgress,
    Params,
    TokenId,
    Trouble,
    Verdict,
    Weighed,
    as_job,
    ignore_progress,
    the_job,
)
from oracle.engines.worker import Limits, Quarantine, WorkerEngine, WorkerSetup
from oracle.errors import EngineCrashed, OracleError

T = TypeVar("T")


class WorkerPool:
    """An `Engine`. Thread-safe: as many jobs run at a time as all workers take together."""

    def __init__(
        self, setups: Sequence[WorkerSetup], limits: Limits | None = None, on_progress: OnProgress = ignore_progress
    ) -> None:
        quarantine = Quarantine()
        self.workers = [WorkerEngine(setup, limits or Limits(), on_progress, quarantine) for setup in setups]
        self._hands = [0] * len(self.workers)  # jobs in hand
        self._changed = threading.Condition()

    @property
    def restarts(self) -> int:
        """How often any worker was lost, for the metrics."""
        return sum(worker.restarts for worker in self.workers)

    @property
    def saturated(self) -> int:
        return sum(worker.saturated for worker in self.workers)

    @property
    def together(self) -> int:
        return sum(worker.together for worker in self.workers)

    @property
    def groups(self) -> list[int]:
        return [group for worker in self.workers for group in worker.groups]

    @property
    def trouble(self) -> Trouble | None:
        """The trouble of the first worker that is in any."""
        return next((worker.trouble for worker in self.workers if worker.trouble is not None), None)

    def prove(self) -> str:
        """Starts the workers that do not run, side by side. Raises what the first was refused with if all were."""

        job = the_job()

        def prove(worker: WorkerEngine) -> str | OracleError:
            try:
                with as_job(job):
                    return worker.prove()
            except OracleError as error:
                return error

        with ThreadPoolExecutor(len(self.workers)) as threads:
            found = list(threads.map(prove, self.workers))
        shown = [each for each in found if isinstance(each, str)]
        if not shown:
            raise next(each for each in found if isinstance(each, OracleError))
        return shown[0] if len(found) == 1 else f"{len(shown)} of {len(found)} workers: {shown[0]}"

    def close(self) -> None:
        for worker in self.workers:
            worker.close()

    def kill(self) -> None:
        for worker in self.workers:
            worker.kill()

    def tokenize(self, prompt: bytes) -> list[TokenId]:
        return self._on_some(lambda engine: engine.tokenize(prompt))

    def detokenize(self, tokens: Sequence[TokenId]) -> bytes:
        return self._on_some(lambda engine: engine.detokenize(tokens))

    def generate(self, prompt: Sequence[TokenId], params: Params, **options: Any) -> Completion:
        return self._on_some(lambda engine: engine.generate(prompt, params, **options))

    def weigh(self, prompt: Sequence[TokenId], output: Sequence[TokenId], likeliest: int) -> list[Weighed]:
        return self._on_some(lambda engine: engine.weigh(prompt, output, likeliest))

    def check(
        self, prompt: Sequence[TokenId], output: Sequence[TokenId], params: Params, text: bytes = b"", **options: Any
    ) -> Verdict:
        return self._on_some(lambda engine: engine.check(prompt, output, params, text, **options))

    def recover(
        self, prompt: Sequence[TokenId], text: bytes, count: int, root: bytes, params: Params, **options: Any
    ) -> list[TokenId] | None:
        return self._on_some(lambda engine: engine.recover(prompt, text, count, root, params, **options))

    def _on_some(self, job: Callable[[WorkerEngine], T]) -> T:
        with self._changed:
            self._changed.wait_for(lambda: self._free() is not None)
            first = self._take(self._free())
        try:
            return job(self.workers[first])
        except EngineCrashed:
            with self._changed:
                other = self._free(but=first)
                if other is None:
                    raise
                self._take(other)
        finally:
            self._give(first)
        try:
            return job(self.workers[other])
        finally:
            self._give(other)

    def _free(self, but: int | None = None) -> int | None:
        """The worker with the fewest jobs, of those that take another."""
        free = [
            (held, index)
            for index, (held, worker) in enumerate(zip(self._hands, self.workers, strict=True))
            if held < worker.setup.together and index != but
        ]
        return min(free)[1] if free else None

    def _take(self, index: int | None) -> int:
        assert index is not None
        self._hands[index] += 1
        return index

    def _give(self, index: int) -> None:
        with self._changed:
            self._hands[index] -= 1
            self._changed.notify_all()
