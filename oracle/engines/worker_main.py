"""The worker process: loads one model, then does one job after the other until its parent closes the socket.

It first gives up what it can (`worker_sandbox.confine`), then imports the engine. An error that the parent expects
goes back by name; any other is a bug and ends the process, which the parent notices.
"""

import importlib
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

from oracle import errors
from oracle.engines.base import Engine, TokenId
from oracle.engines.worker_sandbox import Confinement, confine
from oracle.engines.worker_wire import Channel, ChannelClosed, Message, params_from_wire

HEARTBEAT_SECONDS = 1.0
PROGRESS_SECONDS = 0.1

T = TypeVar("T")


class Heartbeat:
    """While a job runs, tells the parent once a second that this process still schedules its threads."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._done.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._done.wait(HEARTBEAT_SECONDS):
            try:
                self._channel.send({"event": "heartbeat"})
            except ChannelClosed:
                os._exit(0)  # the parent is gone, and the main thread may be in native code for hours


class Throttle:
    """Passes on at most ten progress events a second, and the last of each kind."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._sent = 0.0

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if done >= total or now - self._sent >= PROGRESS_SECONDS:
            self._sent = now
            self._channel.send({"event": "progress", "what": what, "done": done, "total": total})


def perform(engine: Any, message: Message) -> Any:
    """One job's result as plain data. engine: an `Engine`, or for "describe" a `Vocabulary`."""
    result: Any
    match message["op"]:
        case "prove":
            result = engine.prove()
        case "tokenize":
            result = engine.tokenize(bytes.fromhex(message["prompt"]))
        case "detokenize":
            result = engine.detokenize([TokenId(token) for token in message["tokens"]]).hex()
        case "generate":
            completion = engine.generate(message["prompt"], params_from_wire(message["params"]))
            result = {"tokens": list(completion.tokens), "text": completion.text.hex(), "root": completion.root.hex()}
        case "check":
            verdict = engine.check(message["prompt"], message["output"], params_from_wire(message["params"]))
            result = {"correct": verdict.correct, "position": verdict.position, "reason": verdict.reason}
        case "recover":
            text, root = bytes.fromhex(message["text"]), bytes.fromhex(message["root"])
            params = params_from_wire(message["params"])
            result = engine.recover(message["prompt"], text, message["count"], root, params)
        case "describe":
            result = asdict(engine.describe([bytes.fromhex(text) for text in message["texts"]]))
        case other:
            raise ValueError(f"no such operation: {other}")
    return result


def attempt(channel: Channel, work: Callable[[], T], as_result: Callable[[T], Any]) -> T | None:
    """Does the work and sends its result, or the error that the parent expects."""
    result = None
    try:
        with Heartbeat(channel):
            result = work()
        reply = {"result": as_result(result)}
    except errors.OracleError as error:
        reply = {"error": type(error).__name__, "message": str(error)}
    channel.send(reply)
    return result


def serve(channel: Channel, load: Message) -> None:
    """Raises ChannelClosed when the parent is gone."""
    module, _, function = load["factory"].partition(":")

    def open_engine() -> Engine:
        engine: Engine = getattr(importlib.import_module(module), function)(load["arguments"], Throttle(channel))
        return engine

    engine = attempt(channel, open_engine, lambda _: None)
    while engine is not None:
        attempt(channel, partial(perform, engine, channel.receive()), lambda result: result)


def main() -> None:
    channel = Channel(socket.socket(fileno=int(sys.argv[1])))
    try:
        load = channel.receive()
        confine(Confinement(**load["confinement"]))
        serve(channel, load)
    except ChannelClosed:
        os._exit(0)


if __name__ == "__main__":
    main()
