"""Faults that the contracts once had, put back to see that the adversary finds each: `make prove`.

A fault is a few words of a contract, and what stands there with the fault behind a switch. One build of a copy of the
contracts holds them all; the lives of `Adversary.t.sol` are played on it with one fault on at a time, as many as CI
plays, and must fail. `tests/unit/test_put_back.py` sees to it that every fault still fits.
"""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mutants.schemata import JUDGED, imported, settings
from mutants.switch import FILE, LIBRARY, importing

ROOT = Path(__file__).resolve().parents[2]
FORGE = ROOT / "tools" / "bin" / "forge"
ADVERSARY = "tests/invariants/Adversary.t.sol"
FAULTY = "tests/invariants/Faulty.t.sol"
TEST = """// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {AdversaryInvariants} from "./Adversary.t.sol";
import {SWITCH} from "../../contracts/Switch.sol";

contract Faulty is AdversaryInvariants {
    constructor() {
        vm.deal(SWITCH, vm.envUint("DIDYMA_FAULT"));
    }
}
"""
LIVES = "test_lives"
PLAYERS = ("Adversary", "Adversary.t", "Book", "Honest", "Ledger", "Player", "Sybils", "Village")
"""What `Adversary.t.sol` is made of."""


@dataclass(frozen=True)
class Fault:
    """row: the name under which it was reported. faulty: what stands in the place of `mended`; ON is whether the fault
    is on."""

    row: str
    what: str
    file: str
    mended: str
    faulty: str

    def put_back(self, root: Path, number: int) -> None:
        """Raises ValueError unless the mended words stand there once."""
        path = root / "contracts" / self.file
        text = path.read_text()
        if text.count(self.mended) != 1:
            raise ValueError(f"{self.row}: {self.file} has {text.count(self.mended)} times: {self.mended}")
        text = text.replace(self.mended, self.faulty.replace("ON", f"on({number})"))
        path.write_text(importing(self.file, text))


FAULTS = (
    Fault(
        "C1",
        "an index beyond the vocabulary is a token",
        "disputes/referee/Graph.sol",
        "        check(t, row, column);\n        return (row <<",
        "        if (!ON) check(t, row, column);\n        return (row <<",
    ),
    Fault(
        "C2",
        "an opening takes the clocks of other games on its path",
        "disputes/Games.sol",
        "g.turn.nodeSeconds = uint32(g.turn.deadline - openedAt);",
        "g.turn.nodeSeconds = ON ? 0 : uint32(g.turn.deadline - openedAt);",
    ),
    Fault(
        "C2",
        "a full clock for each game, however many",
        "disputes/Games.sol",
        "terms.clockSeconds + backlog;",
        "terms.clockSeconds + (ON ? 0 : backlog);",
    ),
    Fault(
        "C4",
        "a challenge costs exactly its price",
        "disputes/DisputeGame.sol",
        "if (msg.value < priceWei)",
        "if (ON ? msg.value != priceWei : msg.value < priceWei)",
    ),
    Fault(
        "C4",
        "the price of a challenge has no ceiling",
        "disputes/GameServices.sol",
        "rampWei < ceilingWei ? rampWei",
        "ON || rampWei < ceilingWei ? rampWei",
    ),
    Fault(
        "C5",
        "a refunded payer gives up nothing",
        "Oracle.sol",
        "refundWei -= _chargeMissed(",
        "refundWei -= (ON ? 0 : 1) * _chargeMissed(",
    ),
    Fault(
        "C5",
        "a seat without a free bond is fined",
        "Turns.sol",
        "&& !_maybeShortAt(money, req.bondWei(), req.turnSeconds(), beganAt);",
        "&& (ON || !_maybeShortAt(money, req.bondWei(), req.turnSeconds(), beganAt));",
    ),
    Fault(
        "C5",
        "a service takes prompts that leave no room for an answer",
        "disputes/referee/Referee.sol",
        "n.prefixCount + n.suffixCount, promptBytes, takesText);",
        "n.prefixCount + n.suffixCount, ON ? 0 : promptBytes, takesText);",
    ),
    Fault(
        "C6",
        "a node must make a callback to get its bond back",
        "Oracle.sol",
        "bool leaves = leavesCallback &&",
        "bool leaves = !ON && leavesCallback &&",
    ),
    Fault(
        "C7",
        "a seat that was given up is still drawn",
        "Seats.sol",
        "if (_isDrawn(status)) _leaveDraw(service, state);",
        "if (ON && _isDrawn(status)) {} else if (_isDrawn(status)) _leaveDraw(service, state);",
    ),
    Fault(
        "C7",
        "a drained seat is still drawn",
        "Seats.sol",
        "        _leaveDraw(service, state);\n        state.money.status = SeatStatus.Suspended;",
        "        if (!ON) _leaveDraw(service, state);\n        state.money.status = SeatStatus.Suspended;",
    ),
)


def copy(folder: Path) -> None:
    """All that the adversary plays on, to be compiled without the optimizer's searches."""
    for file, text in imported(JUDGED).items():
        path = folder / "contracts" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / FAULTY).parent.mkdir(parents=True)
    for name in PLAYERS:
        shutil.copy2(ROOT / f"tests/invariants/{name}.sol", folder / "tests/invariants")
    shutil.copytree(ROOT / "tests/vectors", folder / "tests/vectors")
    settings(folder)


def forge(folder: Path, *arguments: str, **settings: int | str) -> subprocess.CompletedProcess[str]:
    """settings: of the environment."""
    environment = {**os.environ, **{name: str(value) for name, value in settings.items()}}
    return subprocess.run(
        [str(FORGE), *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def lives(folder: Path, seed: int, count: int) -> dict[str, int]:
    """Plays many lives on the contracts as they are. Returns how often each ending was reached."""
    played = forge(
        *(folder, "test", "--match-path", ADVERSARY, "--match-test", LIVES, "-vv"),
        DIDYMA_SEED=seed, DIDYMA_LIVES=count,
    )  # fmt: skip
    assert played.returncode == 0, played.stdout + played.stderr
    return {name: int(times) for name, times in re.findall(r"^  (.+) (\d+)$", played.stdout, re.MULTILINE)}


def put_all_back(folder: Path) -> None:
    """Every fault behind its switch; the first has number one."""
    for number, fault in enumerate(FAULTS, 1):
        fault.put_back(folder, number)
    (folder / "contracts" / FILE).write_text(LIBRARY)
    (folder / FAULTY).write_text(TEST)


def found(folder: Path, seed: int, wanted: str = "") -> Iterator[tuple[Fault, str, float]]:
    """Plays with each fault of the rows that begin with `wanted`. Yields how the play failed, and seconds.

    Raises AssertionError where one is not found, or something is found where no fault is on.
    """
    if not (folder / FAULTY).exists():
        copy(folder)
        put_all_back(folder)
    built = forge(folder, "build", FOUNDRY_DENY="never")
    assert built.returncode == 0, built.stdout + built.stderr
    assert (sound := _failure(folder, 0, seed)) is None, f"found without a fault: {sound}"
    for number, fault in enumerate(FAULTS, 1):
        if fault.row.startswith(wanted):
            start = time.monotonic()
            failure = _failure(folder, number, seed)
            assert failure is not None, f"{fault.row}, {fault.what}: not found"
            yield fault, failure, time.monotonic() - start


def _failure(folder: Path, number: int, seed: int) -> str | None:
    """How the lives fail with that fault on; None if they do not."""
    played = forge(
        *(folder, "test", "--match-path", FAULTY, "--match-test", LIVES),
        DIDYMA_SEED=seed, DIDYMA_FAULT=number, FOUNDRY_DENY="never",
    )  # fmt: skip
    failures = re.findall(rf"\[FAIL: (.*?)\] {LIVES}", played.stdout)
    assert failures or f"[PASS] {LIVES}" in played.stdout, played.stdout + played.stderr
    return failures[0] if failures else None
