"""The forward pass of one model on several devices of a host, with the bits of one device.

Each device runs `TorchForward` on its share of the weights (`shares.py`) and keeps the keys and values of its heads.
They meet twice for each of the two rows of a layer that are spread over them, the context and the gated units: for the
largest magnitude, since a row is quantized by one scale, and for the sums of the matrix that reads it, in int64 before
they are rounded. All else is a device's own, or the same on all of them.
"""

import itertools
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch
from torch import Tensor

from oracle.engines.exact import shares
from oracle.engines.exact.group import Group, Meeting, Place
from oracle.engines.exact.model import Chunk, Logits, Saturated
from oracle.engines.exact.torch_forward import TorchCache, TorchForward
from oracle.engines.exact.weights import Layer, Matrix, Weights
from oracle.errors import WrongNumbers

SPREAD = ("q", "k", "v", "q_norm", "k_norm", "q_rope", "k_rope", "score", "gate", "up", "act", "logits")
"""Operators of which each device computes a part of the numbers; the others' numbers are the same on all devices."""


class Share:
    """What one device does of every pass. All devices do it in the same order."""

    def __init__(
        self, weights: Weights, tokens: range, place: Place, meeting: Meeting, layers: Iterable[Layer] | None = None
    ) -> None:
        """weights: cut. tokens: whose logits are this device's. layers: as `TorchForward` has them."""
        self.forward = TorchForward(weights, place.device, peers=meeting, layers=layers)
        self.device, self._meeting, self._tokens = place.device, meeting, tokens
        self.counts = Saturated()
        """Of spread operators; on the first device of all together."""

    @torch.no_grad()
    def run(self, residual: Tensor, chunks: Sequence[Chunk]) -> Tensor:
        """residual: on the first device that of all tokens; on others of its shape.

        Returns all rows of all chunks, (rows, vocabulary), on the first device alone.
        """
        rows = torch.cat(self.forward.through(self._meeting.handed(residual), chunks))
        logits = rows.new_zeros(len(rows), self.forward.architecture.vocabulary)
        logits[:, self._tokens.start : self._tokens.stop] = rows
        logits = self._meeting.collected(logits)
        own = self.forward.saturated
        counts = torch.tensor([own[name] for name in SPREAD], device=self.device)
        self.counts = Saturated(dict(zip(SPREAD, self._meeting.collected(counts).tolist(), strict=True)))
        return logits


@dataclass(frozen=True)
class SharedBlock:
    own: tuple[Tensor, ...]
    number: int
    """Under which the others have theirs."""


class SharedCache:
    """Keys and values of a sequence: of the first device's heads here, of the others' there, under a number."""

    def __init__(self, own: TorchCache, number: int, forward: "SharedForward") -> None:
        self.own, self.number, self._forward = own, number, forward

    @property
    def length(self) -> int:
        return self.own.length

    @length.setter
    def length(self, length: int) -> None:
        self.own.length = length

    def truncate(self, length: int) -> None:
        """The others hear of it with what comes next."""
        self.own.truncate(length)

    def block(self, start: int, end: int) -> SharedBlock:
        return self._forward.block(self, start, end)

    def append(self, block: SharedBlock) -> None:
        self._forward.append(self, block)


class SharedForward:
    """`Forward` on all devices of a group, which has one model at a time: the last. Not thread-safe."""

    def __init__(self, weights: Weights, group: Group) -> None:
        """Raises WrongNumbers, DeviceLost."""
        self._group, places = group, group.places
        parts = [shares.cut(weights, place.number, place.devices) for place in places]
        tokens = [shares.logits(weights, place.number, place.devices) for place in places]
        count = len(weights.layers)
        group.tell_each([("load", _bare(part), some, count) for part, some in zip(parts[1:], tokens[1:], strict=True)])
        for index in range(count):  # one at a time, so that each lies twice in memory only for a moment
            group.tell_each([_held_layer(part.layers[index]) for part in parts[1:]])
        self._own = Share(parts[0], tokens[0], places[0], group)
        group.replies("loaded")
        self._numbers = itertools.count()
        self._dropped: deque[int] = deque()
        """Numbers of caches and blocks that nobody has here any more; the others hear of it with what comes next."""

    @property
    def saturated(self) -> Saturated:
        found = self._own.forward.saturated | self._own.counts
        return Saturated({name: count for name, count in found.items() if count})

    @property
    def position_bytes(self) -> int:
        """Of the first device, which has the most heads."""
        return self._own.forward.position_bytes

    def cache(self, capacity: int) -> SharedCache:
        cache = SharedCache(self._own.forward.cache(capacity), self._numbered(), self)
        self._tell("cache", cache.number, capacity)
        self._drop_with(cache, cache.number)
        return cache

    def run(self, chunks: Sequence[Chunk]) -> list[Logits]:
        own, told = [], []
        for chunk in chunks:
            cache = chunk.cache
            assert isinstance(cache, SharedCache)
            own.append(Chunk(chunk.tokens, cache.own, chunk.rows))
            told.append((cache.number, cache.length, len(chunk.tokens), chunk.rows))
        self._tell("run", told)
        logits = self._own.run(self._own.forward.embedded(chunks), own).cpu().numpy()
        ends = np.cumsum([chunk.rows for chunk in chunks])
        return [logits[end - chunk.rows : end] for chunk, end in zip(chunks, ends, strict=True)]

    def block(self, cache: SharedCache, start: int, end: int) -> SharedBlock:
        block = SharedBlock(cache.own.block(start, end), self._numbered())
        self._tell("block", block.number, cache.number, start, end)
        self._drop_with(block, block.number)
        return block

    def append(self, cache: SharedCache, block: SharedBlock) -> None:
        self._tell("append", cache.number, cache.length, block.number)
        cache.own.append(block.own)

    def _numbered(self) -> int:
        return next(self._numbers)

    def _drop_with(self, thing: Any, number: int) -> None:
        weakref.finalize(thing, self._dropped.append, number).atexit = False

    def _tell(self, *message: Any) -> None:
        dropped = []
        while self._dropped:
            dropped.append(self._dropped.popleft())
        self._group.tell(dropped, *message)


def serve(connection: Connection, say: Callable[..., None]) -> None:
    """What another process of a group does, until the first one is gone. Raises EOFError then."""
    say("started")
    place: Place = connection.recv()
    place.join()
    say("joined")
    message = connection.recv()
    try:
        while True:
            share = _loaded(message, place, connection)
            say("loaded")
            message = _follow(share, connection)
    except WrongNumbers as error:
        say(WrongNumbers.__name__, str(error))
        while True:  # until the first process has gone: it must not take this for a loss
            connection.recv()


def _loaded(message: Any, place: Place, connection: Connection) -> Share:
    """Raises WrongNumbers."""
    _, weights, tokens, count = message
    return Share(weights, tokens, place, Meeting(), (connection.recv() for _ in range(count)))


def _follow(share: Share, connection: Connection) -> Any:
    """Does with a model what the first process says; returns the message that names another model."""
    kept: dict[int, Any] = {}
    forward = share.forward
    while (message := connection.recv())[0] != "load":
        dropped, what, *more = message
        for number in dropped:
            del kept[number]
        match what, more:
            case "cache", (number, capacity):
                kept[number] = forward.cache(capacity)
            case "block", (number, cache, start, end):
                kept[number] = kept[cache].block(start, end)
            case "append", (cache, length, block):
                kept[cache].truncate(length)
                kept[cache].append(kept[block])
            case "run", (told,):
                chunks = []
                for number, length, tokens, rows in told:
                    kept[number].truncate(length)
                    chunks.append(Chunk(range(tokens), kept[number], rows))
                count = sum(len(chunk.tokens) for chunk in chunks)
                width = forward.architecture.width
                share.run(torch.empty(count, width, dtype=torch.int64, device=share.device), chunks)
            case _:
                raise ValueError(f"no such message: {what}")
    return message


def _bare(weights: Weights) -> Weights:
    """Without its layers, to be sent."""
    return replace(weights, layers=(), embedding=_held(weights.embedding), output=_held(weights.output))


def _held(matrix: Matrix) -> Matrix:
    """Cut free from its file, to be sent."""
    return replace(matrix, raw=np.array(matrix.raw))


def _held_layer(layer: Layer) -> Layer:
    matrices: dict[str, Any] = {name: _held(value) for name, value in vars(layer).items() if isinstance(value, Matrix)}
    return replace(layer, **matrices)
