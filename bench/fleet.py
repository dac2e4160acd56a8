"""`make bench-fleet`: 160 workers that compute nothing, on a real Postgres, of which a tenth vanishes every minute, and
two daemons with one key, of which the leading one then vanishes a few times; writes bench.json and pictures in docs/.

    python -m bench.fleet --minutes 10

What is real: Postgres (Debian's, on this machine, without fsync), the protocol, leases, the sweep, who leads, and what
is written down before it is sent. Workers are many in a few processes; one that is killed takes its workers with it,
and says nothing. Jobs are turns that come due at a steady rate; a worker sleeps over each for a time that follows from
the turn, so what an answer took beyond it is the fleet's doing, both ways. In place of a chain, turns are counted. Who
comes in place of those that vanished was started before: on machines of their own they would not take this one's time.
"""

import argparse
import asyncio
import contextlib
import hashlib
import json
import math
import os
import queue
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from rig.fake_engine import FakeEngine
from rig.postgres import Postgres

from bench.plots import DOCS, svg
from oracle.engines.base import Completion, Params, TokenId
from oracle.errors import FleetUnavailable, OracleError
from oracle.fleet.board import Board
from oracle.fleet.engine import FleetEngine, queue_of
from oracle.fleet.leader import Leader
from oracle.fleet.tables import prepare
from oracle.fleet.work import FleetWorker
from oracle.journal.outbox import Attempt, Intent
from oracle.journal.signed import Signed

ROOT = Path(__file__).resolve().parent.parent
QUEUE = queue_of(bytes(32), None)
PARAMS = Params(max_tokens=16)
KEY = "0x" + "11" * 20
IN_HAND = 320
WINDOW_SECONDS = 10
SETTLE_SECONDS = 60.0

Figures = dict[str, float]


@dataclass(frozen=True)
class Load:
    """What comes, and what befalls it. Times in seconds."""

    seconds: float
    """While workers vanish; then `leaders` do."""
    workers: int = 160
    processes: int = 20
    turns_a_second: float = 10.0
    shortest: float = 4.0
    longest: float = 12.0
    kill_every: float = 60.0
    leaders: int = 3
    leader_every: float = 45.0
    seed: int = 1

    def takes(self, turn: int) -> float:
        """How long a worker computes."""
        share = int.from_bytes(hashlib.sha256(turn.to_bytes(8, "big")).digest()[:4], "big") / (1 << 32)
        return self.shortest + (self.longest - self.shortest) * share

    @property
    def all_seconds(self) -> float:
        return self.seconds + self.leaders * self.leader_every

    @property
    def turns(self) -> int:
        return int(self.all_seconds * self.turns_a_second)


@dataclass
class Outcome:
    """What was measured. Times in seconds since the first turn was due."""

    seconds: float = 0
    """Until the first leader vanished."""
    turns: int = 0
    signed: Counter[int] = field(default_factory=Counter)
    """How often each turn was signed for."""
    wrong: int = 0
    delays: list[tuple[float, float]] = field(default_factory=list)
    """When an answer came, and what it took beyond its computing."""
    takeovers: list[float] = field(default_factory=list)
    killed: int = 0
    """Workers."""
    leaders: int = 0
    """Leaders killed or frozen."""

    @property
    def lost(self) -> int:
        return self.turns - len(self.signed)

    @property
    def twice(self) -> int:
        return sum(count > 1 for count in self.signed.values())

    def delay(self, percent: float, after: bool = False) -> float:
        """While workers vanished, or after."""
        return quantile([delay for at, delay in self.delays if (at >= self.seconds) == after], percent)

    def figures(self) -> Figures:
        return {
            "fleet_minutes": self.seconds / 60,
            "fleet_jobs": self.turns,
            "fleet_jobs_lost": self.lost,
            "fleet_signed_twice": self.twice,
            "fleet_wrong_answers": self.wrong,
            "fleet_workers_killed": self.killed,
            "fleet_leaders_killed": self.leaders,
            "fleet_dispatch_p50_ms": 1000 * self.delay(50),
            "fleet_dispatch_p95_ms": 1000 * self.delay(95),
            "fleet_dispatch_p99_ms": 1000 * self.delay(99),
            "fleet_longest_delay_s": self.delay(100),
            "fleet_takeover_s": max(self.takeovers, default=math.nan),
            "fleet_takeover_dispatch_p95_ms": 1000 * self.delay(95, after=True),
        }


def quantile(values: Sequence[float], percent: float) -> float:
    """The least value that so many of a hundred do not exceed; not a number where there are none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)] if ordered else math.nan


# -- a process with workers


class Sleeper(FakeEngine):
    """Answers as the fake engine does, after as long as the prompt says: a turn, and milliseconds."""

    def generate(self, prompt: Sequence[TokenId], params: Params) -> Completion:
        time.sleep(prompt[1] / 1000)
        return super().generate(prompt, params)


async def work(url: str, count: int) -> None:
    stop = asyncio.Event()
    await asyncio.gather(*(FleetWorker(url, {QUEUE: Sleeper()}).run(stop) for _ in range(count)))


# -- a process that leads or stands by


class Daemon:
    """Has turns answered and signs for them, while it leads. One line of JSON to standard output for each event."""

    def __init__(self, url: str, load: Load, began: float) -> None:
        self._load, self._began = load, began
        self._board = Board(url, connections=16).open()
        self._engine = FleetEngine(self._board, QUEUE, 300.0)
        self._leader = Leader(url, [KEY])
        self._threads = ThreadPoolExecutor(IN_HAND)
        self._answers: queue.Queue[tuple[int, int, Completion | None, float]] = queue.Queue()
        self._signed: set[int] = set()
        self._next = self._nonce = 0

    def run(self) -> None:
        self._engine._watch.start()
        self._leader.open()
        epoch = None
        while True:
            now = self._leader.epoch
            if now != epoch:
                epoch = now
                with contextlib.suppress(FleetUnavailable):
                    self._begin(epoch)
            if epoch is None:
                time.sleep(0.05)
                continue
            due = min(int((time.time() - self._began) * self._load.turns_a_second), self._load.turns)
            for turn in range(self._next, due):
                if turn not in self._signed:
                    self._threads.submit(self._ask, turn, epoch)
            self._next = max(self._next, due)
            with contextlib.suppress(queue.Empty):
                self._sign(epoch, *self._answers.get(timeout=0.02))

    def _begin(self, epoch: int | None) -> None:
        """Learns what others have signed."""
        self._next = 0
        if epoch is None:
            return
        number = 0
        while found := self._leader.signed_after(number, KEY, 0):
            number = found[-1][0]
            self._signed |= {int(str(signed.key)) for _, signed in found}
            self._nonce = max(self._nonce, *(signed.attempt.nonce + 1 for _, signed in found))
        say("leads", epoch=epoch)

    def _ask(self, turn: int, epoch: int) -> None:
        begun, completion = time.monotonic(), None
        milliseconds = int(1000 * self._load.takes(turn))
        with contextlib.suppress(OracleError):
            completion = self._engine.generate([TokenId(turn), TokenId(milliseconds)], PARAMS)
        beyond = time.monotonic() - begun - milliseconds / 1000  # below zero where a leader before had asked
        self._answers.put((turn, epoch, completion, max(0.0, beyond)))

    def _sign(self, epoch: int, turn: int, asked_in: int, completion: Completion | None, delay: float) -> None:
        if asked_in != epoch:
            return  # of a leadership that is over
        if completion is None:
            self._threads.submit(self._ask, turn, epoch)
            return
        raw = hashlib.sha256(f"{turn} {self._leader.name} {self._nonce}".encode()).digest()
        intent = Intent(str(turn), "0x" + "22" * 20, completion.text, stake_wei=1)
        attempt = Attempt(raw, self._nonce, False, raw, 21_000, 1, 1, turn, "")
        with contextlib.suppress(OracleError):
            self._leader.record(epoch, Signed(KEY, str(turn), intent, turn, attempt))
            self._signed.add(turn)
            self._nonce += 1
            say("signed", turn=turn, delay=delay)


def say(event: str, **fields: Any) -> None:
    print(json.dumps({"event": event, "at": time.time(), **fields}), flush=True)


# -- the play


class Play:
    """Starts everything, takes parts of it away, and counts."""

    def __init__(self, load: Load, folder: Path) -> None:
        self._load, self._folder = load, folder
        self._chance = random.Random(load.seed)
        self._workers: list[subprocess.Popen[str]] = []
        self._daemons: list[subprocess.Popen[str]] = []
        self._spare_workers: list[subprocess.Popen[str]] = []
        self._spare_daemons: list[subprocess.Popen[str]] = []
        self._heard: list[tuple[int, dict[str, Any]]] = []
        self._began = 0.0
        self.outcome = Outcome(load.seconds, load.turns)

    def run(self) -> Outcome:
        server = Postgres()
        try:
            prepare(server.url)
            return self._run(server.url)
        finally:
            for process in (*self._workers, *self._daemons, *self._spare_workers, *self._spare_daemons):
                process.kill()
                process.wait()
            server.remove()

    def _run(self, url: str) -> Outcome:
        load = self._load
        kills = at_each(load.kill_every, load.seconds)
        each = load.workers // load.processes
        for _ in range(load.processes + len(kills) * self._lost_at_once):
            self._spare_workers.append(waiting("work", url, str(each)))
        for _ in range(load.processes):
            self._workers.append(begun(self._spare_workers.pop()))
        with Board(url, asks=False) as board:
            while len(board.offers(QUEUE)) < load.workers:
                time.sleep(0.2)
        self._began = time.time() + 5
        told = json.dumps([vars(load), self._began])
        for _ in range(2 + load.leaders):
            self._spare_daemons.append(waiting("daemon", url, told))
        for _ in range(2):
            self._daemons.append(self._daemon())
        leaders = [load.seconds + load.leader_every * count for count in range(load.leaders)]
        end = self._began + load.all_seconds
        while time.time() < end:
            if kills and time.time() - self._began >= kills[0]:
                kills.pop(0)
                self._kill_workers()
            if leaders and time.time() - self._began >= leaders[0]:
                leaders.pop(0)
                self._kill_leader(frozen=len(leaders) % 2 == 1)
            time.sleep(0.05)
        while len(self._signed()) < self._load.turns and time.time() < end + SETTLE_SECONDS:
            time.sleep(0.2)
        return self._count(url)

    @property
    def _lost_at_once(self) -> int:
        """Processes."""
        return max(1, self._load.processes // 10)

    def _daemon(self) -> "subprocess.Popen[str]":
        process = begun(self._spare_daemons.pop())
        threading.Thread(target=self._listen, args=(process,), daemon=True).start()
        return process

    def _listen(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("{"):
                self._heard.append((process.pid, json.loads(line)))

    def _signed(self) -> set[int]:
        return {told["turn"] for _, told in self._heard if told["event"] == "signed"}

    def _kill_workers(self) -> None:
        """A tenth of them, without a word; as many others come."""
        for at in self._chance.sample(range(len(self._workers)), self._lost_at_once):
            self._workers[at].kill()
            self._workers[at].wait()
            self._workers[at] = begun(self._spare_workers.pop())
            self.outcome.killed += self._load.workers // self._load.processes

    def _kill_leader(self, *, frozen: bool) -> None:
        """By turns dead, and frozen until another leads."""
        leads = [(pid, told) for pid, told in [*self._heard] if told["event"] == "leads"]
        assert leads, "nobody leads"
        (leader,) = [daemon for daemon in self._daemons if daemon.pid == leads[-1][0]]
        os.kill(leader.pid, signal.SIGSTOP if frozen else signal.SIGKILL)
        since = time.time()
        self.outcome.leaders += 1

        def wait() -> None:
            while time.time() < since + SETTLE_SECONDS:
                after = [told["at"] for pid, told in [*self._heard] if told["event"] == "leads" and told["at"] > since]
                if after:
                    self.outcome.takeovers.append(min(after) - since)
                    break
                time.sleep(0.05)
            if frozen:
                os.kill(leader.pid, signal.SIGCONT)
            else:
                leader.wait()
                self._daemons[self._daemons.index(leader)] = self._daemon()

        threading.Thread(target=wait).start()

    def _count(self, url: str) -> Outcome:
        found = self.outcome
        with psycopg.connect(url) as connection:
            for (entry,) in connection.execute("SELECT entry FROM didyma_signed"):
                turn = int(entry["key"])
                found.signed[turn] += 1
                tokens = [TokenId(turn), TokenId(int(1000 * self._load.takes(turn)))]
                right = FakeEngine().generate(tokens, PARAMS).text
                found.wrong += bytes.fromhex(entry["intent"]["data"]) != right
        signed = [told for _, told in self._heard if told["event"] == "signed"]
        found.delays = [(told["at"] - self._began, told["delay"]) for told in signed]
        return found


def waiting(part: str, *told: str) -> "subprocess.Popen[str]":
    """A process that has started, and begins its part when it is told to."""
    command = [sys.executable, "-m", "bench.fleet", "--part", part, *told]
    to = subprocess.PIPE if part == "daemon" else subprocess.DEVNULL
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=to, stderr=subprocess.DEVNULL, text=True)


def begun(process: "subprocess.Popen[str]") -> "subprocess.Popen[str]":
    assert process.stdin is not None
    process.stdin.close()
    return process


def at_each(every: float, until: float) -> list[float]:
    """Multiples of `every` from the first on, before `until`."""
    return [every * count for count in range(1, math.ceil(until / every))]


def windows(delays: Sequence[tuple[float, float]], percent: float) -> Iterator[tuple[float, float]]:
    """In each stretch of WINDOW_SECONDS, what so many of a hundred answers do not exceed, in milliseconds."""
    grouped: dict[int, list[float]] = {}
    for at, delay in delays:
        grouped.setdefault(int(at // WINDOW_SECONDS), []).append(delay)
    for number, values in sorted(grouped.items()):
        yield (number + 0.5) * WINDOW_SECONDS / 60, 1000 * quantile(values, percent)


def pictures(outcome: Outcome) -> dict[str, str]:
    """By file."""
    lines = {"": list(windows(outcome.delays, 50)), " ": list(windows(outcome.delays, 95))}
    worst = [(at, value / 1000) for at, value in windows(outcome.delays, 100)]
    return {
        "fleet-dispatch.svg": svg(
            "Time beyond computing, of answers in ten seconds: p50 (blue), p95 (brown)", "minutes", "ms", lines
        ),
        "fleet-worst.svg": svg("The longest of these: workers and leaders vanish", "minutes", "s", {"": worst}),
    }


def play(load: Load) -> Outcome:
    """Raises AssertionError if nobody leads when a leader is due to vanish."""
    with tempfile.TemporaryDirectory() as folder:
        return Play(load, Path(folder)).run()


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--part", nargs=3, metavar=("PART", "URL", "WITH"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part is None:
        outcome = play(Load(60 * given.minutes))
        figures = outcome.figures()
        for name, value in figures.items():
            print(f"{name:24} {value:.4g}")
        out = ROOT / "bench.json"
        known = json.loads(out.read_text()) | {name: float(f"{value:.4g}") for name, value in figures.items()}
        out.write_text(json.dumps(dict(sorted(known.items())), indent=2) + "\n")
        for name, drawn in pictures(outcome).items():
            (DOCS / name).write_text(drawn)
        return
    part, url, told = given.part
    sys.stdin.read()
    if part == "work":
        asyncio.run(work(url, int(told)))
    load, began = json.loads(told)
    Daemon(url, Load(**load), began).run()


if __name__ == "__main__":
    main()
