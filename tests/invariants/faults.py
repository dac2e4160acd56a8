"""Faults that the contracts once had, put back one by one, to see that the adversary finds each: `make prove`.

A fault is a few words of a contract and what stood there before they were mended. A copy of the contracts gets one
fault at a time; the lives of `Adversary.t.sol` are played on it, as many as CI plays; they must fail.
`tests/unit/test_put_back.py` sees to it that every fault still fits.
"""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FORGE = ROOT / "tools" / "bin" / "forge"
ADVERSARY = "tests/invariants/Adversary.t.sol"
LIVES = ("--match-path", ADVERSARY, "--match-test", "test_lives")
LIBRARIES = tuple(
    f"node_modules/{name}" for name in ("@openzeppelin/contracts", "solady/src", "@uniswap/v4-core/lib/forge-std/src")
)


@dataclass(frozen=True)
class Fault:
    """row: the name under which it was reported."""

    row: str
    what: str
    file: str
    mended: str
    faulty: str

    def put_back(self, root: Path) -> None:
        """Raises ValueError unless the mended words stand there once."""
        path = root / "contracts" / self.file
        text = path.read_text()
        if text.count(self.mended) != 1:
            raise ValueError(f"{self.row}: {self.file} has {text.count(self.mended)} times: {self.mended}")
        path.write_text(text.replace(self.mended, self.faulty))


FAULTS = (
    Fault(
        "C1",
        "an index beyond the vocabulary is a token",
        "disputes/referee/Graph.sol",
        "        check(t, row, column);\n        return (row <<",
        "        return (row <<",
    ),
    Fault(
        "C2",
        "an opening takes the clocks of other games on its path",
        "disputes/Games.sol",
        "        g.turn.nodeSeconds = uint32(g.turn.deadline - openedAt);",
        "        g.turn.nodeSeconds = 0;",
    ),
    Fault(
        "C4",
        "a challenge costs exactly its price",
        "disputes/DisputeGame.sol",
        "if (msg.value < priceWei)",
        "if (msg.value != priceWei)",
    ),
    Fault(
        "C5",
        "a refunded payer gives up nothing",
        "Oracle.sol",
        "refundWei -= _chargeMissed(",
        "_chargeMissed(",
    ),
    Fault(
        "C7",
        "a seat that was given up is still drawn",
        "Seats.sol",
        "        if (_isDrawn(status)) _leaveDraw(service, state);\n        else if (status != SeatStatus.Suspended)",
        "        if (!_isDrawn(status) && status != SeatStatus.Suspended)",
    ),
    Fault(
        "C2",
        "a full clock for each game, however many",
        "disputes/Games.sol",
        "terms.clockSeconds + backlog;",
        "terms.clockSeconds + backlog * 0;",
    ),
    Fault(
        "C4",
        "the price of a challenge has no ceiling",
        "disputes/GameServices.sol",
        "rampWei < ceilingWei ? rampWei : ceilingWei;",
        "rampWei < ceilingWei ? rampWei : rampWei;",
    ),
    Fault(
        "C5",
        "a seat without a free bond is fined",
        "Turns.sol",
        "\n            && !_maybeShortAt(money, req.bondWei(), req.turnSeconds(), beganAt);",
        "\n            && money.balanceWei + beganAt + req.bondWei() > 0;",
    ),
    Fault(
        "C5",
        "a service takes prompts that leave no room for an answer",
        "disputes/referee/Referee.sol",
        "        Prompts.checkIds(n.contextLength, n.prefixCount + n.suffixCount, promptBytes);\n",
        "        Prompts.checkIds(n.contextLength, n.prefixCount + n.suffixCount, promptBytes * 0);\n",
    ),
    Fault(
        "C6",
        "a node must make a callback to get its bond back",
        "Oracle.sol",
        "bool leaves = leavesCallback && callbackGas > 0;",
        "bool leaves = leavesCallback && callbackGas > type(uint256).max / 2;",
    ),
    Fault(
        "C7",
        "a drained seat is still drawn",
        "Seats.sol",
        "        _leaveDraw(service, state);\n        state.money.status = SeatStatus.Suspended;",
        "        state.money.status = SeatStatus.Suspended;",
    ),
)


def copy(folder: Path) -> None:
    """All that the adversary plays on, with what was built of it."""
    for name in ("contracts", "tests/invariants", "tests/vectors", *LIBRARIES, ".build/forge", ".build/forge-cache"):
        if (ROOT / name).exists():
            shutil.copytree(ROOT / name, folder / name)
    shutil.copy2(ROOT / "foundry.toml", folder)
    (folder / "tools").symlink_to(ROOT / "tools")


def forge(folder: Path, *arguments: str, **settings: int | str) -> subprocess.CompletedProcess[str]:
    """settings: of the environment."""
    environment = {**os.environ, **{name: str(value) for name, value in settings.items()}}
    return subprocess.run(
        [str(FORGE), *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def lives(folder: Path, seed: int, count: int) -> dict[str, int]:
    """Plays many lives on the contracts as they are. Returns how often each ending was reached."""
    played = forge(folder, "test", *LIVES, "-vv", DIDYMA_SEED=seed, DIDYMA_LIVES=count)
    assert played.returncode == 0, played.stdout + played.stderr
    return {name: int(times) for name, times in re.findall(r"^  (.+) (\d+)$", played.stdout, re.MULTILINE)}


def found(folder: Path, seed: int, wanted: str = "") -> Iterator[tuple[Fault, str, float]]:
    """Puts back each fault of the rows that begin with `wanted`, and plays. Yields how the play failed, and seconds."""
    copy(folder)
    for fault in FAULTS:
        if not fault.row.startswith(wanted):
            continue
        path = folder / "contracts" / fault.file
        mended = path.read_text()
        fault.put_back(folder)
        built = forge(folder, "build", "contracts", ADVERSARY, FOUNDRY_DENY="never")
        assert built.returncode == 0, built.stdout + built.stderr
        start = time.monotonic()
        played = forge(folder, "test", *LIVES, DIDYMA_SEED=seed, FOUNDRY_DENY="never")
        seconds = time.monotonic() - start
        failures = re.findall(r"\[FAIL: (.*?)\] test_lives", played.stdout)
        assert failures, f"{fault.row}, {fault.what}: not found\n{played.stdout}"
        yield fault, failures[0], seconds
        path.write_text(mended)
