"""One worker process, from its start to its end: what it is told, what it replies, and how it ended.

Its other side is `worker_main.py`. Nothing here starts a process again: `worker.py` does.
"""

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from oracle import errors
from oracle.engines import worker_sandbox
from oracle.engines.base import OnProgress, ignore_progress
from oracle.engines.worker_wire import (
    BadMessage,
    Channel,
    ChannelClosed,
    Message,
    text_from_wire,
)

LAST_WORDS_BYTES = 400
ASK_SECONDS = 0.5  # between two looks at whether a job is still wanted
SIGNAL_NAMES = {int(number): number.name for number in signal.Signals}
NATIVE = ("SIGSEGV", "SIGILL", "SIGBUS", "SIGFPE", "SIGABRT")
CURES = {name: "if native code fails again, install the package again on this machine" for name in NATIVE}
CURES["SIGKILL"] = "most often the kernel, for want of memory: give it more, or serve a smaller model"
MEANWHILE_WHAT = "{meanwhile}"  # stands for one of these:
MEANWHILE = {"load": "while it loaded the model", "prove": "while it answered its known question"}
REFUSALS = {
    cls.__name__: cls
    for cls in (
        errors.BadManifest,
        errors.BadModelFile,
        errors.EngineServerFailed,
        errors.JobCancelled,
        errors.NotServed,
        errors.ProofFailed,
        errors.PromptTooLong,
        errors.WrongNumbers,
    )
}
"""All that a worker may raise; another error from there is a broken message."""


class Relay(Protocol):
    """Whom a worker may ask, which has no network of its own: the worker's parent asks for it."""

    def answer(self, question: Message) -> Message:
        """Called in a thread of its own. The question is as little to be trusted as the worker.

        Raises BadMessage, EngineServerFailed.
        """


@dataclass(frozen=True)
class WorkerSetup:
    """How a worker makes its engine."""

    factory: str
    """`module:function`; called in the worker with `arguments` and a progress callback, returns an `Engine`."""
    arguments: Message
    """Plain JSON values."""
    model_file: Path | None = None
    """The one file that the sandbox shows, read-only; None with `model_fd`."""
    model_fd: int | None = None
    """An open file that each worker inherits under the same number. It must stay open as long as the engine is used:
    a closed number may come to mean another file."""
    gpu: str | None = None
    """CUDA_VISIBLE_DEVICES of the worker; None for no GPU. One worker per GPU."""
    kernel_cache: Path | None = None
    """Where kernels compiled for a GPU are kept, unless the operator names another folder; None for nowhere."""
    memory_bytes: int | None = None
    """Limit of the worker's address space; leave None with a GPU."""
    python_path: tuple[Path, ...] = ()
    """More places to import `factory` from."""
    proves: bool = True
    """Whether it must answer its known question before any job; False for what computes nothing."""
    together: int = 1
    """Jobs that its engine takes at a time; more than one, and it must bear calls from as many threads."""
    relay: Relay | None = None
    """What its engine asks while it works; the factory then gets a third argument, to ask by. Only with one job at a
    time."""


@dataclass(frozen=True)
class Limits:
    """How long to wait for what, in seconds."""

    job: float = 600
    load: float = 1800
    heartbeat: float = 20
    """Without a sign of life for so long the worker counts as hung; it sends one every second."""
    first_pause: float = 0.5
    longest_pause: float = 300


class Died(Exception):
    """The worker is no longer usable. The message says how it ended."""


class WorkerProcess:
    """One worker process, from start to end. A thread of its own reads its messages."""

    def __init__(self, setup: WorkerSetup, limits: Limits, on_progress: OnProgress) -> None:
        self._limits = limits
        self._on_progress = on_progress
        self._together = setup.together
        self._relay = setup.relay
        self.is_buried = False
        self.saturated = 0
        bwrap = worker_sandbox.bubblewrap()
        kernels = worker_sandbox.kernel_cache(setup.gpu, setup.kernel_cache)
        ours, theirs = socket.socketpair()
        self._stderr = os.memfd_create("stderr")
        with theirs:
            self._popen = subprocess.Popen(
                worker_sandbox.command(bwrap, theirs.fileno(), setup.model_file, setup.gpu, setup.python_path, kernels),
                env=worker_sandbox.environment(setup.gpu, setup.python_path, kernels),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._stderr,
                pass_fds=[theirs.fileno(), *([] if setup.model_fd is None else [setup.model_fd])],
                start_new_session=True,  # its own process group: killed whole, and not by the terminal's Ctrl-C
            )
        self._channel = Channel(ours)
        self.pid = self._popen.pid
        self._load = {
            "factory": setup.factory,
            "arguments": setup.arguments,
            "confinement": {"unshare_network": bwrap is None, "memory_bytes": setup.memory_bytes},
            "together": setup.together,
            "asks": setup.relay is not None,
        }
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._replies: dict[int, Message] = {}
        """By the job's number, until it is picked up."""
        self._told: dict[int, OnProgress] = {}
        """Who hears how far a job is, by its number."""
        self._told_of_start: OnProgress = ignore_progress
        self._fallen: str | None = None
        """Once nothing more is heard: why; empty if the worker is gone."""
        self._ears = threading.Thread(target=self._listen, name=f"worker {self.pid}", daemon=True)
        self._ears.start()

    def start(self, told: OnProgress, *, proves: bool) -> str:
        """Loads, and proves itself unless it computes nothing; what the engine shows of itself. told: of both.

        Raises Died, BadMessage, or what the engine refused with.
        """
        self._told_of_start = told
        try:
            self.call(self._load, self._limits.load)
            return text_from_wire(self.call({"op": "prove"}, self._limits.load)) if proves else ""
        finally:
            self._told_of_start = ignore_progress

    def alive(self) -> bool:
        return self._popen.poll() is None and self._fallen is None

    def call(
        self,
        message: Message,
        limit_seconds: float,
        wanted: Callable[[], bool] = lambda: True,
        told: OnProgress = ignore_progress,
    ) -> Any:
        """The reply's result. told: how far it is. Raises Died, or what the engine refused with."""
        number = next(self._numbers)
        self._told[number] = told
        try:
            return self._called(number, message, limit_seconds, wanted)
        finally:
            del self._told[number]

    def _called(self, number: int, message: Message, limit_seconds: float, wanted: Callable[[], bool]) -> Any:
        deadline = time.monotonic() + limit_seconds
        doing = str(message.get("op", "load"))
        meanwhile = MEANWHILE.get(doing, f"in a job ({doing})")
        late = f"it took longer than {limit_seconds:g} s {meanwhile}"
        try:
            self._channel.send({"job": number, **message})
        except ChannelClosed:
            raise Died(self.how_it_ended(meanwhile)) from None
        with self._changed:
            while number not in self._replies:
                if self._fallen is not None:
                    break
                if (left := deadline - time.monotonic()) > 0 and wanted():
                    self._changed.wait(min(left, ASK_SECONDS))
                elif self._together > 1:
                    return self._cancelled(number, late if left <= 0 else "nobody wants it any more")
                elif left <= 0:
                    raise Died(late)
                else:  # what takes one job at a time does not stop in the middle of it
                    self._changed.wait(min(left, ASK_SECONDS))
            reply = self._replies.pop(number, None)
        if reply is None:
            raise Died(self._how_it_fell(meanwhile))
        return self._result(reply)

    def _cancelled(self, number: int, why: str) -> Any:
        """Cancels one of several jobs; its result, if that comes first. Raises Died if the worker does not react."""
        with contextlib.suppress(ChannelClosed):
            self._channel.send({"cancel": number})
        self._changed.wait_for(lambda: number in self._replies or self._fallen is not None, self._limits.heartbeat)
        reply = self._replies.pop(number, None)
        if reply is None:
            raise Died(f"{why}, and it did not stop")
        try:
            return self._result(reply)
        except errors.JobCancelled:
            raise errors.JobCancelled(why) from None

    def _listen(self) -> None:
        """Until the worker is gone, is silent or talks nonsense."""
        while True:
            try:
                reply = self._channel.receive(self._limits.heartbeat)
                if reply.get("event") == "progress":
                    self._report(reply)
                elif reply.get("event") == "ask":
                    self._pass_on(reply)
                elif "event" not in reply:
                    with self._changed:
                        self.saturated = max(self.saturated, int(reply.get("saturated", 0)))
                        self._replies[int(reply["job"])] = reply
                        self._changed.notify_all()
                continue
            except TimeoutError:
                fallen = f"it gave no sign of life for {self._limits.heartbeat:g} s {MEANWHILE_WHAT}"
            except ChannelClosed:
                fallen = ""
            except (BadMessage, KeyError, TypeError, ValueError) as error:
                fallen = f"its reply {MEANWHILE_WHAT} was unusable: {error}"
            break
        with self._changed:
            self._fallen = fallen
            self._changed.notify_all()

    def _how_it_fell(self, meanwhile: str) -> str:
        return self._fallen.replace(MEANWHILE_WHAT, meanwhile, 1) if self._fallen else self.how_it_ended(meanwhile)

    def kill(self) -> None:
        """Ends the worker and everything it started. Safe to call twice."""
        if self._popen.returncode is None:  # else its id may by now belong to somebody else
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self._popen.wait()
        self._channel.close()
        self._ears.join()
        with self._changed:  # another job's caller may read it
            if self._stderr >= 0:
                os.close(self._stderr)
                self._stderr = -1

    def _report(self, reply: Message) -> None:
        what, done, total = reply.get("what"), reply.get("done"), reply.get("total")
        if not (isinstance(what, str) and type(done) is int and type(total) is int):
            raise BadMessage("a progress event without its numbers")
        told = self._told.get(reply["job"], ignore_progress) if "job" in reply else self._told_of_start
        for each in (self._on_progress, told):
            each(what[:40], done, total)

    def _pass_on(self, question: Message) -> None:
        """Raises BadMessage where there is nobody to ask."""
        relay = self._relay
        if relay is None:
            raise BadMessage("a question, of a worker that has nobody to ask")

        def ask() -> None:
            try:
                reply = relay.answer(question)
            except (errors.EngineServerFailed, BadMessage) as error:
                reply = {"failed": str(error)}
            with contextlib.suppress(ChannelClosed, BadMessage):  # else it waits until its time is over
                self._channel.send(reply)

        threading.Thread(target=ask, daemon=True).start()

    def _result(self, reply: Message) -> Any:
        if "error" in reply:
            kind = REFUSALS.get(str(reply["error"]))
            if kind is None:
                raise BadMessage("an error that no engine raises")
            raise kind(str(reply.get("message"))[:1000])
        return reply.get("result")

    def how_it_ended(self, meanwhile: str) -> str:
        """How and when it ended, what to do, and its last words, for people."""
        try:
            status = self._popen.wait(timeout=1)
        except subprocess.TimeoutExpired:
            return f"it no longer listens {meanwhile}"
        if status > 128:  # bubblewrap reports its child's signal like a shell
            status = 128 - status
        name = SIGNAL_NAMES.get(-status, "a signal") if status < 0 else ""
        ended = f"{f'killed by {name}' if name else f'exit status {status}'} {meanwhile}"
        ended += f"; {CURES[name]}" if name in CURES else ""
        with self._changed:
            if self._stderr < 0:
                return ended
            size = os.fstat(self._stderr).st_size
            last_words = os.pread(self._stderr, LAST_WORDS_BYTES, max(0, size - LAST_WORDS_BYTES))
        return f"{ended}; {last_words!a}" if last_words else ended
