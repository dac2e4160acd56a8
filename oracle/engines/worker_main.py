"""The worker process: loads one model, then does what jobs come until its parent closes the socket.

An engine that computes several together gets each in a thread of its own; any other gets one after the other. It first
gives up what it can (`worker_sandbox.confine`), then imports the engine. An error that the parent expects goes back by
name; any other is a bug and ends the process, which the parent notices.
"""

import importlib
import os
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any, TypeVar

from oracle import errors
from oracle.engines.base import Engine, Job, TokenId, as_job
from oracle.engines.worker_sandbox import Confinement, confine
from oracle.engines.worker_wire import Channel, ChannelClosed, Message, params_from_wire, weighed_to_wire

HEARTBEAT_SECONDS = 1.0
PROGRESS_SECONDS = 0.1

T = TypeVar("T")


def beat(channel: Channel) -> None:
    """Tells the parent once a second that this process still schedules its threads."""
    while True:
        try:
            channel.send({"event": "heartbeat"})
        except ChannelClosed:
            os._exit(0)  # the parent is gone, and other threads may be in native code for hours
        time.sleep(HEARTBEAT_SECONDS)


class Throttle:
    """Passes on at most ten progress events a second, and the last of each kind."""

    def __init__(self, channel: Channel, job: int | None = None) -> None:
        """job: the number of the one that it is about; None for loading and proving."""
        self._channel, self._about = channel, {} if job is None else {"job": job}
        self._sent = 0.0

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if done >= total or now - self._sent >= PROGRESS_SECONDS:
            self._sent = now
            self._channel.send({"event": "progress", "what": what, "done": done, "total": total, **self._about})


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
            params, text = params_from_wire(message["params"]), bytes.fromhex(message["text"])
            verdict = engine.check(message["prompt"], message["output"], params, text)
            result = {"correct": verdict.correct, "position": verdict.position, "reason": verdict.reason}
        case "weigh":
            found = engine.weigh(message["prompt"], message["output"], message["likeliest"])
            result = [weighed_to_wire(each) for each in found]
        case "recover":
            text, root = bytes.fromhex(message["text"]), bytes.fromhex(message["root"])
            params = params_from_wire(message["params"])
            result = engine.recover(message["prompt"], text, message["count"], root, params)
        case "describe":
            result = asdict(engine.describe([bytes.fromhex(text) for text in message["texts"]]))
        case other:
            raise ValueError(f"no such operation: {other}")
    return result


def attempt(
    channel: Channel,
    number: int,
    work: Callable[[], T],
    as_result: Callable[[T], Any],
    saturated: Callable[[], int] = lambda: 0,
) -> T | None:
    """Does the work and sends its result, or the error that the parent expects. saturated: as `Engine` has it."""
    result = None
    try:
        result = work()
        reply = {"result": as_result(result)}
    except errors.OracleError as error:
        reply = {"error": type(error).__name__, "message": str(error)}
    channel.send({"job": number, "saturated": saturated(), **reply})
    return result


class Jobs:
    """Those in hand, each in its thread."""

    def __init__(self, channel: Channel, engine: Engine) -> None:
        self._channel, self._engine = channel, engine
        self._cancelled: dict[int, threading.Event] = {}

    def begin(self, message: Message) -> None:
        stop = self._cancelled[message["job"]] = threading.Event()
        told = Throttle(self._channel, message["job"])
        job = Job(message.get("priority", 0), lambda: not stop.is_set(), message.get("anew", False), told)
        threading.Thread(target=self._do, args=(message, job)).start()

    def cancel(self, number: int) -> None:
        if number in self._cancelled:  # else its result is on its way
            self._cancelled[number].set()

    def _do(self, message: Message, job: Job) -> None:
        try:
            with as_job(job):
                attempt(
                    self._channel,
                    message["job"],
                    partial(perform, self._engine, message),
                    lambda result: result,
                    lambda: self._engine.saturated,
                )
        except ChannelClosed:
            os._exit(0)
        except BaseException:  # a bug: the whole process ends, as with one job at a time
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        finally:
            self._cancelled.pop(message["job"], None)


def ask(channel: Channel, question: Message) -> Message:
    """What the parent's relay says. The parent sends nothing else before this job is done.

    Raises EngineServerFailed.
    """
    channel.send({"event": "ask", **question})
    reply = channel.receive()
    if "failed" in reply:
        raise errors.EngineServerFailed(str(reply["failed"]))
    return reply


def serve(channel: Channel, load: Message) -> None:
    """Raises ChannelClosed when the parent is gone."""
    module, _, function = load["factory"].partition(":")

    def open_engine() -> Engine:
        asks = [partial(ask, channel)] if load["asks"] else []
        factory = getattr(importlib.import_module(module), function)
        engine: Engine = factory(load["arguments"], Throttle(channel), *asks)
        return engine

    engine = attempt(channel, load["job"], open_engine, lambda _: None)
    if engine is None:
        return
    jobs = Jobs(channel, engine)
    while True:
        message = channel.receive()
        if "cancel" in message:
            jobs.cancel(message["cancel"])
        elif load["together"] > 1:
            jobs.begin(message)
        else:
            with as_job(Job(told=Throttle(channel, message["job"]))):
                attempt(channel, message["job"], partial(perform, engine, message), lambda result: result)


def main() -> None:
    channel = Channel(socket.socket(fileno=int(sys.argv[1])))
    try:
        load = channel.receive()
        confine(Confinement(**load["confinement"]))
        threading.Thread(target=beat, args=(channel,), daemon=True).start()
        serve(channel, load)
    except ChannelClosed:
        os._exit(0)


if __name__ == "__main__":
    main()
