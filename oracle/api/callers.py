"""Who may ask this node over HTTP, and how much: a file with a caller in each line, and a budget for each."""

import hmac
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from oracle.errors import BadSettings

LEAST_TOKEN = 16
LINE = re.compile(r"(?P<name>[A-Za-z0-9_.-]{1,64})\s+(?P<token>\S+)\s+(?P<budget>\d{1,9})")
MINUTE = 60.0


@dataclass
class Caller:
    """Somebody with a token."""

    name: str
    token: bytes
    budget: int
    """Model tokens a minute, of prompts and answers; as many may be used at once."""
    left: float
    seen_at: float


class Callers:
    """Those of a file: name, token and model tokens a minute in each line; # begins a comment."""

    def __init__(self, file: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises BadSettings."""
        self._clock = clock
        self._callers: list[Caller] = []
        try:
            lines = file.read_text().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise BadSettings(f"inference_callers: {file} cannot be read ({error})") from None
        for number, line in enumerate(lines, 1):
            if not line.partition("#")[0].strip():
                continue
            found = LINE.fullmatch(line.partition("#")[0].strip())
            if found is None or len(found["token"]) < LEAST_TOKEN:
                raise BadSettings(
                    f"{file}, line {number}: a name, a token of {LEAST_TOKEN} characters or more, model tokens a minute"
                )
            budget = int(found["budget"])
            self._callers.append(Caller(found["name"], found["token"].encode(), budget, budget, clock()))
        if not self._callers:
            raise BadSettings(f"{file} names no caller")
        if len({caller.token for caller in self._callers}) < len(self._callers):
            raise BadSettings(f"{file}: two callers have the same token")

    def find(self, authorization: str) -> Caller | None:
        """The caller whose token a header carries. Every token is compared, each in constant time."""
        given = authorization.encode("latin-1", "replace")
        found = None
        for caller in self._callers:
            if hmac.compare_digest(given, b"Bearer " + caller.token):
                found = caller
        return found

    def take(self, caller: Caller, tokens: int) -> float:
        """Takes from a caller's budget. Returns 0, or in how many seconds there will be enough; infinity if never."""
        now = self._clock()
        caller.left = min(caller.budget, caller.left + (now - caller.seen_at) * caller.budget / MINUTE)
        caller.seen_at = now
        if tokens > caller.budget:
            return float("inf")
        if tokens > caller.left:
            return (tokens - caller.left) * MINUTE / caller.budget
        caller.left -= tokens
        return 0.0

    def give_back(self, caller: Caller, tokens: int) -> None:
        """What was taken and not used."""
        caller.left = min(caller.budget, caller.left + tokens)
