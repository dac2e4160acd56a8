"""What a worker and its parent say to each other: JSON objects, each after its length in four bytes, on one socket.

The worker runs native code on a stranger's model file, so its parent trusts no reply: nothing is unpickled, lengths are
bounded and every value is checked for its type and range before it becomes a token, a text or a verdict.
"""

import contextlib
import json
import select
import socket
import threading
import time
from typing import Any

from oracle.engines.base import Completion, Description, Params, TokenId, Verdict, Weighed
from oracle.merkle.tokens import ID_BITS

MAX_MESSAGE_BYTES = 16 << 20  # 128 k token ids take about 1 MB
RECEIVE_BYTES = 1 << 16
SEND_SECONDS = 30  # the other side reads nothing else meanwhile; one that does not read is stopped or dead

Message = dict[str, Any]


class ChannelClosed(Exception):
    """The other side is gone."""


class BadMessage(Exception):
    """The other side sent something that is no valid message."""


class Channel:
    """One end of the socket. Sending is safe from several threads, receiving is not."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._sock.settimeout(SEND_SECONDS)
        self._sending = threading.Lock()
        self._received = bytearray()

    def send(self, message: Message) -> None:
        """Raises ChannelClosed."""
        body = json.dumps(message, separators=(",", ":")).encode()
        if len(body) > MAX_MESSAGE_BYTES:
            raise BadMessage(f"a message of {len(body)} bytes is longer than {MAX_MESSAGE_BYTES}")
        try:
            with self._sending:
                self._sock.sendall(len(body).to_bytes(4, "big") + body)
        except OSError as error:
            raise ChannelClosed from error

    def receive(self, timeout_seconds: float | None = None) -> Message:
        """The next message. Raises TimeoutError, ChannelClosed, BadMessage."""
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        size = int.from_bytes(self._take(4, deadline), "big")
        if size > MAX_MESSAGE_BYTES:
            raise BadMessage(f"a message of {size} bytes is longer than {MAX_MESSAGE_BYTES}")
        body = self._take(4 + size, deadline)[4:]
        del self._received[: 4 + size]
        try:
            message = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise BadMessage("not JSON") from error
        if not isinstance(message, dict):
            raise BadMessage("not an object")
        return message

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)  # wakes whoever waits to hear something
        self._sock.close()

    def _take(self, count: int, deadline: float | None) -> bytes:
        """The first `count` bytes not yet consumed; they stay buffered, so that a timeout loses nothing."""
        while len(self._received) < count:
            wait = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                if not select.select([self._sock], [], [], wait)[0]:
                    raise TimeoutError
                data = self._sock.recv(RECEIVE_BYTES)
            except TimeoutError:
                raise
            except (OSError, ValueError) as error:  # ValueError: closed here
                raise ChannelClosed from error
            if not data:
                raise ChannelClosed
            self._received += data
        return bytes(self._received[:count])


def params_to_wire(params: Params) -> Message:
    return {
        "max_tokens": params.max_tokens,
        "temperature": params.temperature,
        "cutoff": params.cutoff,
        "seed": params.seed.hex(),
        "answer_type": params.answer_type.hex(),
        "said": params.said,
        "later": params.later,
    }


def params_from_wire(data: Message) -> Params:
    seed, answer_type = (bytes.fromhex(data[name]) for name in ("seed", "answer_type"))
    named = {name: data[name] for name in ("max_tokens", "temperature", "cutoff", "said", "later")}
    return Params(**named, seed=seed, answer_type=answer_type)


def tokens_from_wire(data: Any, at_most: int, bits: int = ID_BITS) -> list[TokenId]:
    """bits: of each; twice as many with a prompt's marks. Raises BadMessage."""
    if not isinstance(data, list) or len(data) > at_most:
        raise BadMessage(f"expected a list of at most {at_most} tokens")
    if not all(type(token) is int and 0 <= token < 1 << bits for token in data):
        raise BadMessage(f"a token is not an unsigned {bits}-bit integer")
    return [TokenId(token) for token in data]


def text_from_wire(data: Any) -> str:
    """Raises BadMessage."""
    if not isinstance(data, str):
        raise BadMessage("expected a text")
    return data[:1000]


def bytes_from_wire(data: Any) -> bytes:
    """Raises BadMessage."""
    if not isinstance(data, str):
        raise BadMessage("expected hexadecimal text")
    try:
        return bytes.fromhex(data)
    except ValueError as error:
        raise BadMessage("expected hexadecimal text") from error


def completion_from_wire(data: Any, params: Params) -> Completion:
    """Raises BadMessage."""
    if not isinstance(data, dict):
        raise BadMessage("expected a completion")
    tokens = tokens_from_wire(data.get("tokens"), params.max_tokens)
    if not tokens:
        raise BadMessage("a completion holds at least one token")
    root = bytes_from_wire(data.get("root"))
    if len(root) != 32:
        raise BadMessage("a root is 32 bytes")
    return Completion(tuple(tokens), bytes_from_wire(data.get("text")), root)


def weighed_to_wire(weighed: Weighed) -> list[Any]:
    others = [[text.hex(), value] for text, value in weighed.likeliest]
    return [weighed.text.hex(), weighed.log_probability, others]


def weighed_from_wire(data: Any, count: int, likeliest: int) -> list[Weighed]:
    """Raises BadMessage."""
    if not isinstance(data, list) or len(data) != count:
        raise BadMessage(f"expected {count} weights")
    return [_one_weighed(each, likeliest) for each in data]


def _one_weighed(data: Any, likeliest: int) -> Weighed:
    if not isinstance(data, list) or len(data) != 3 or not isinstance(data[2], list) or len(data[2]) > likeliest:
        raise BadMessage("a weight of another form")
    if not all(isinstance(each, list) and len(each) == 2 for each in data[2]):
        raise BadMessage("a weight of another form")
    others = tuple((bytes_from_wire(text), _log_from_wire(value)) for text, value in data[2])
    return Weighed(bytes_from_wire(data[0]), _log_from_wire(data[1]), others)


def _log_from_wire(data: Any) -> float:
    if type(data) not in (int, float) or not -1e9 < data <= 0:
        raise BadMessage("expected a log-probability")
    return float(data)


def description_from_wire(data: Any) -> Description:
    """Raises BadMessage."""
    if not isinstance(data, dict) or not isinstance(data.get("tokens"), list):
        raise BadMessage("expected a description")
    start, context = data.get("start_token"), data.get("trained_context")
    if type(context) is not int or not 0 < context < 1 << 32:
        raise BadMessage("a trained context of no length")
    return Description(
        tokens=tuple(tuple(tokens_from_wire(tokens, MAX_MESSAGE_BYTES)) for tokens in data["tokens"]),
        start_token=None if start is None else tokens_from_wire([start], 1)[0],
        end_tokens=tuple(tokens_from_wire(data.get("end_tokens"), 16)),
        trained_context=context,
    )


def verdict_from_wire(data: Any, output_length: int) -> Verdict:
    """Raises BadMessage."""
    if not isinstance(data, dict) or type(data.get("correct")) is not bool or not isinstance(data.get("reason"), str):
        raise BadMessage("expected a verdict")
    position = data.get("position")
    if data["correct"] != (position is None):
        raise BadMessage("a verdict names a position if and only if the output is wrong")
    if position is not None and (type(position) is not int or not 0 <= position <= output_length):
        raise BadMessage("a verdict's position lies outside the output")
    return Verdict(data["correct"], position, data["reason"][:1000])
