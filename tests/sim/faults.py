"""Faults that the daemon once had, put back one by one, to see that its state machine finds each: `make prove`.

A fault is a few words of the daemon and what stood there, in effect, before they were mended. A process of its own gets
the code of one fault's module with these words in it, on a chain that was made before, and plays the lives of
`test_machine.py`, as many as CI plays; they must fail. `tests/unit/test_put_back_daemon.py` sees that every fault still
fits. N11 to N13 are faults of tokenizers and readers of model files, which have no part in a life whose engines are
doubles and a model of this project's: `docs/proofs.md` names the tests that hold them.

    python tests/sim/faults.py [SEED [ROW ...]]
"""

import importlib
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from traceback import extract_tb
from types import FunctionType, ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from rig.sim.deaths import deaths  # noqa: E402
from rig.sim.disputed import Disputed  # noqa: E402
from rig.sim.life import play_lives  # noqa: E402
from rig.sim.play import Earth, simulated  # noqa: E402


@dataclass(frozen=True)
class Fault:
    """row: the name under which it was reported."""

    row: str
    what: str
    file: str
    mended: str
    faulty: str

    def changed(self) -> str:
        """The module with the fault in it. Raises ValueError unless the mended words stand there once."""
        text = (ROOT / "oracle" / self.file).read_text()
        if text.count(self.mended) != 1:
            raise ValueError(f"{self.row}: {self.file} has {text.count(self.mended)} times: {self.mended}")
        return text.replace(self.mended, self.faulty)

    def put_back(self) -> None:
        """Gives this process's functions of the module the code of the faulty ones."""
        module = importlib.import_module("oracle." + self.file.removesuffix(".py").replace("/", "."))
        faulty = ModuleType(module.__name__)
        sys.modules[module.__name__] = faulty  # dataclasses look their module up
        exec(compile(self.changed(), self.file, "exec"), faulty.__dict__)
        sys.modules[module.__name__] = module
        _replace(vars(module), vars(faulty), module.__name__)


def _replace(old: Any, new: Any, module: str) -> None:
    for name, value in list(new.items()):
        mine = old.get(name)
        if isinstance(value, FunctionType) and isinstance(mine, FunctionType) and value.__module__ == module:
            mine.__code__ = value.__code__
        elif isinstance(value, type) and isinstance(mine, type) and value.__module__ == module:
            _replace(vars(mine), vars(value), module)


FAULTS = (
    Fault(
        "N1",
        "the first endpoint's word about a block's logs is believed",
        "chain/reader.py",
        "        shown = {endpoint: self.wanted(logs) for endpoint, logs in said.items()}\n",
        "        return self.wanted(next(iter(said.values())))\n",
    ),
    Fault(
        "N1",
        "a block of which nobody had logs or receipts for long is empty for ever",
        "chain/reader.py",
        "            self._unseen.add(block, head.number)\n",
        "            pass\n",
    ),
    Fault(
        "N2",
        "an empty history is believed",
        "node/doubts.py",
        "        self.found = found\n",
        "        self.found = found = []\n",
    ),
    Fault(
        "N3",
        "a range that an endpoint refuses is not made shorter",
        "chain/spans.py",
        "                if start == end:\n",
        "                if start <= end:\n",
    ),
    Fault(
        "N4",
        "a receipt that is late is another wallet's transaction",
        "chain/confirmer.py",
        "        found = await self._identify(row.nonce, attempts, head, report)\n",
        "        raise ForeignTransaction(self._foreign(row.nonce, attempts[-1].hash))\n",
    ),
    Fault(
        "N5",
        "a round reads on until no block comes",
        "chain/follower.py",
        "            if is_near or part.behind or self._stopping() or (before is not None and read >= before):\n",
        "            if not read or self._stopping():\n",
    ),
    Fault(
        "N6",
        "a node whose engine has died is green",
        "node/daemon.py",
        "for service, trouble in self.service_troubles()]\n",
        "for service, trouble in self.service_troubles()][:0]\n",
    ),
    Fault(
        "N7",
        "refusals for a tip teach nothing",
        "chain/tips.py",
        "        self.floor_wei, self._refused_at = max(self.floor_wei, wanted), self._head\n",
        "        self._refused_at = self._head\n",
    ),
    Fault(
        "N8",
        "a transaction of ours that failed is noticed when it is final",
        "chain/confirmer.py",
        '            state = "reverted" if final else "failed"\n',
        '            state = "reverted" if final else "mined"\n',
    ),
    Fault(
        "N9",
        "an endpoint's address is told in its own words",
        "chain/endpoint.py",
        "quoted(words, self._url.get_secret_value())",
        "words",
    ),
    Fault(
        "N10",
        "headers of proof of authority cannot be read",
        "chain/connect.py",
        "    w3.middleware_onion.inject(ExtraDataToPOAMiddleware, layer=0)\n",
        "",
    ),
)


class Watched(Disputed):
    """Tells how it fails, and ends its process: hypothesis would play the failure again."""

    tell: int
    """A file descriptor."""

    def _begin(self, requests: int) -> None:
        self._watched(super()._begin, requests)

    def _play(self, data: Any, name: str) -> None:
        self._watched(super()._play, data, name)

    def _look(self) -> None:
        self._watched(super()._look)

    def teardown(self) -> None:
        self._watched(super().teardown)

    def _watched(self, step: Any, *given: Any) -> None:
        try:
            step(*given)
        except Exception as error:
            where = next((f.line for f in reversed(extract_tb(error.__traceback__)) if "rig/sim" in f.filename), "")
            words = (f"{type(error).__name__}: {error}".splitlines()[0] + ("" if str(error) else where or ""))[:200]
            os.write(self.tell, json.dumps([words, self.turns]).encode())
            os._exit(1)

    @property
    def turns(self) -> int:
        return self.played["turns of the daemon"] + self.play.turns


def play(earth: Earth, fault: Fault, seed: int) -> tuple[str, int]:
    """How the lives fail, and after how many turns of the daemon; no words if they do not."""
    read, write = os.pipe()
    if os.fork() == 0:
        status = 2
        try:
            fault.put_back()
            Watched.tell = write
            with deaths() as fates:
                play_lives(Watched, earth, fates, seed)
            status = 0
        finally:
            os._exit(status)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        said = pipe.read()
    os.wait()
    words, turns = json.loads(said) if said else ("", 0)
    return words, turns


def found(seed: int, rows: Sequence[str] = ()) -> Iterator[tuple[Fault, str, int, float]]:
    """Puts back each fault of these rows, or all, and plays. Yields how the play failed, after how many turns of the
    daemon, and seconds. No words where no life failed."""
    with simulated() as earth:
        for fault in FAULTS:
            if rows and fault.row not in rows:
                continue
            start = time.monotonic()
            words, turns = play(earth, fault, seed)
            yield fault, words, turns, time.monotonic() - start


def main() -> None:
    seed, rows = int((sys.argv[1:2] or ["1"])[0]), sys.argv[2:]
    for fault, words, turns, seconds in found(seed, rows):
        print(f"{fault.row}, {fault.what}: {words or 'NOT FOUND'} ({turns} turns, {seconds:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
