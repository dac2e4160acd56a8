"""The processes that hold one model together, a device each: this one, which has the first, and those that it starts.

The first tells the others what to do, in messages, and all meet in collectives of torch.distributed: gloo on CPUs, NCCL
on GPUs. They are in one sandbox, run the same code and see the same model, so messages are pickled. A process that
ends, fails or gives no sign of life is lost, and the whole group with it, since nobody else has its share: in a worker
this process then ends with the reason as its last words, and the node starts another (`worker.py`).
"""

import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from oracle.errors import WrongNumbers

SILENCE_SECONDS = 20.0  # as a worker's own (`worker_process.Limits`)
MEET = timedelta(seconds=300)  # that one device may be behind another
LAST_SECONDS = 5.0  # for the end of a process to be noticed, once a collective has failed of it


class DeviceLost(Exception):
    """The group is of no more use; the message says who was lost, and how."""


@dataclass(frozen=True)
class Place:
    """A process's place in its group."""

    kind: str
    """cpu or cuda."""
    number: int
    devices: int
    threads: int
    meeting: Path
    """The file through which they find each other."""

    @property
    def device(self) -> str:
        """As torch names it."""
        return self.kind if self.kind == "cpu" else f"{self.kind}:{self.number}"

    def join(self) -> None:
        """Waits for all others."""
        # Nobody else is on this network: a worker's sandbox has one of its own (`worker_sandbox.py`).
        os.environ["GLOO_SOCKET_IFNAME"] = os.environ["NCCL_SOCKET_IFNAME"] = "lo"
        os.environ["NCCL_SHM_DISABLE"] = "1"  # its segments are larger than a file of a worker may be
        torch.set_num_threads(self.threads)
        if self.kind != "cpu":
            torch.cuda.set_device(self.number)
        dist.init_process_group(
            "gloo" if self.kind == "cpu" else "nccl",
            init_method=f"file://{self.meeting}",
            rank=self.number,
            world_size=self.devices,
            timeout=MEET,
        )


class Meeting:
    """Collectives: each is called by all processes of the group, in the same order, with tensors of the same shape."""

    def largest(self, values: Tensor) -> Tensor:
        """Each number's largest over all devices, for all of them. May change `values`."""
        return self._meet(values, partial(dist.all_reduce, op=dist.ReduceOp.MAX))

    def total(self, values: Tensor) -> Tensor:
        """Each number's sum over all devices, for all of them. May change `values`."""
        return self._meet(values, dist.all_reduce)

    def collected(self, values: Tensor) -> Tensor:
        """Each number's sum, for the first device; others get nothing of use. May change `values`."""
        return self._meet(values, partial(dist.reduce, dst=0))

    def handed(self, values: Tensor) -> Tensor:
        """The first device's `values`, for all of them. May change `values`."""
        return self._meet(values, partial(dist.broadcast, src=0))

    def _meet(self, values: Tensor, collective: Callable[[Tensor], Any]) -> Tensor:
        if values.numel():
            collective(values)
        return values


class Group(Meeting):
    """All processes, as the first of them has them. One thread at a time."""

    def __init__(
        self,
        kind: str,
        devices: int,
        threads: int,
        on_loss: "Callable[[str], None] | None" = None,
        silence_seconds: float = SILENCE_SECONDS,
    ) -> None:
        """kind: cpu or cuda. threads: of the processors, for all of them together.

        on_loss: called once, in a thread of its own, when a process is lost; None ends this process.
        Raises DeviceLost.
        """
        self._on_loss = on_loss or end_process
        self._lost = ""
        self._is_lost, self._losing = threading.Event(), threading.Lock()
        self._folder = Path(tempfile.mkdtemp(prefix="didyma-devices-"))
        each = max(1, threads // devices)
        self.places = [Place(kind, number, devices, each, self._folder / "meeting") for number in range(devices)]
        self.others = [Other(place, self._lose, silence_seconds) for place in self.places[1:]]
        try:
            self.replies("started")
            for other, place in zip(self.others, self.places[1:], strict=True):
                self._told(other, place)
            self.places[0].join()
            self.replies("joined")  # until then they read the file through which they meet
        except RuntimeError as error:
            raise self._loss(error) from None
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def tell(self, *message: Any) -> None:
        """Tells all others the same. Raises DeviceLost."""
        for other in self.others:
            self._told(other, message)

    def tell_each(self, messages: Sequence[Any]) -> None:
        """Tells each of the others its own. Raises DeviceLost."""
        for other, message in zip(self.others, messages, strict=True):
            self._told(other, message)

    def replies(self, wanted: str) -> None:
        """Waits until each of the others has said so. Raises WrongNumbers where one says that instead, DeviceLost."""
        for other in self.others:
            kind, said = other.reply()
            if kind == WrongNumbers.__name__:
                raise WrongNumbers(said)
            if kind != wanted:
                raise self._loss(None)

    def close(self) -> None:
        """Ends the others."""
        with self._losing:
            self._lost = self._lost or "the group is closed"
        for other in self.others:
            other.close()
        if dist.is_initialized():
            dist.destroy_process_group()

    def _meet(self, values: Tensor, collective: Callable[[Tensor], Any]) -> Tensor:
        try:
            return super()._meet(values, collective)
        except RuntimeError as error:
            raise self._loss(error) from None

    def _told(self, other: "Other", message: Any) -> None:
        try:
            other.tell(message)
        except OSError as error:
            raise self._loss(error) from None

    def _lose(self, what: str) -> None:
        with self._losing:
            if self._lost:
                return
            self._lost = what
        self._is_lost.set()
        self._on_loss(what)

    def _loss(self, error: Exception | None) -> DeviceLost:
        """What to raise of an error whose cause may be noticed a little later."""
        self._is_lost.wait(LAST_SECONDS)
        return DeviceLost(self._lost or f"the devices of a model lost each other: {error}")


class Other:
    """Another process of the group, as the first sees it."""

    def __init__(self, place: Place, on_loss: Callable[[str], None], silence_seconds: float) -> None:
        """on_loss: called with what happened, once."""
        self._place, self._on_loss, self._silence = place, on_loss, silence_seconds
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-s", "-m", "oracle.engines.exact.share_main", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
        self.pid = self._process.pid
        self._connection = Connection(ours.detach())
        self._replies: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        self._ears = threading.Thread(target=self._listen, name=f"device {place.number}", daemon=True)
        self._ears.start()

    def tell(self, message: Any) -> None:
        """Raises OSError."""
        self._connection.send(message)

    def reply(self) -> tuple[str, str]:
        """A word and more about it; an empty word once nothing will come any more."""
        return self._replies.get()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._ears.join()
        self._connection.close()

    def _listen(self) -> None:
        try:
            while True:
                if not self._connection.poll(self._silence):
                    how = f"gave no sign of life for {self._silence:g} s"
                    break
                kind, said = self._connection.recv()
                if kind == "failed":
                    how = f"failed: {said}"
                    break
                if kind != "alive":
                    self._replies.put((kind, said))
        except (EOFError, OSError):
            how = self._how_it_ended()
        place = self._place
        self._on_loss(
            f"process {place.number + 1} of the {place.devices} that hold a model together ({place.device}) {how}"
        )
        self._replies.put(("", ""))

    def _how_it_ended(self) -> str:
        try:
            status = self._process.wait(LAST_SECONDS)
        except subprocess.TimeoutExpired:
            return "no longer listens"
        return f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"


def end_process(what: str) -> None:
    """A worker's: its parent reads these last words."""
    print(what, file=sys.stderr, flush=True)
    os._exit(1)
