"""Halmos over the tests in this folder: what goes in is what is credited, for all inputs. Run by `make symbolic`.

Halmos executes the contracts' bytecode with symbols for inputs and asks a solver for values that break an assertion.
It finds them or there are none; only loops are cut, at LOOPS rounds, and what reverts breaks nothing. That it would
find an error is shown as well: contracts with the PLANTED errors are checked, and the check beside each must find it.

Branches that the solver does not rule out within a millisecond, as halmos does by itself, are followed: what is
impossible there ends in a revert, or the solver of the assertion rules it out.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HALMOS = ROOT / ".venv-symbolic" / "bin" / "halmos"
LOOPS = 4
SOLVER_SECONDS = 600
UNENDED = ("finalize", "leaveCallbacks", "annulled", "refundAfter", "answerAfter")
"""How checks are called that did not end, or were not run, and are left out."""
PLANTED = (
    ("Oracle.sol", "refundWei -= promptWei;", "", "check_cancel"),
    ("Oracle.sol", "_state[requestId] |= RequestLib.RETURNED;", "", "check_leftAndReclaimed"),
    ("Oracle.sol", "if (potWei > paidWei) credit[BURN] += potWei - paidWei;", "", "check_upheld"),
    ("Turns.sol", "state.balanceWei -= uint72(bondWei);", "", "check_answer"),
    ("Seats.sol", "credit[BURN] += finedWei;", "", "check_fine"),
    ("Seats.sol", "state.money.balanceWei -= amountWei;", "", "check_withdrawFromSeat"),
)
"""File, what it says, what it says instead, and what must find that."""


def checked(folder: Path, only: str = "") -> dict[str, bool]:
    """By check: whether it holds. folder: of a copy of foundry.toml, contracts and these tests."""
    environment = {**os.environ, "FOUNDRY_PROFILE": "symbolic"}
    command = [HALMOS, "--forge-build-out", ".build/symbolic", "--loop", str(LOOPS), "--no-status"]
    command += ["--solver-timeout-assertion", f"{SOLVER_SECONDS}s"]
    command += ["--function", rf"{only}\(" if only else f"check_(?!{'|'.join(UNENDED)})"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    told = re.sub(r"\x1b\[\d+m", "", done.stdout)
    print(told, done.stderr, flush=True)
    found = {name: word == "PASS" for word, name in re.findall(r"^\[(\w+)\] (check_\w+)\(", told, re.MULTILINE)}
    if not found:
        raise AssertionError("Halmos ran no check:\n" + told + done.stderr)
    return found


def planted() -> dict[str, bool]:
    """The same on contracts with errors in them."""
    folder = ROOT / ".build" / "planted"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copytree(ROOT / "contracts", folder / "contracts")
    shutil.copytree(ROOT / "tests/symbolic", folder / "tests/symbolic")
    shutil.copytree(ROOT / "tools/solc", folder / "tools/solc", symlinks=True)
    shutil.copy(ROOT / "foundry.toml", folder)
    (folder / "node_modules").symlink_to(ROOT / "node_modules")
    for file, said, instead, _ in PLANTED:
        path = folder / "contracts" / file
        text = path.read_text()
        if text.count(said) != 1:
            raise AssertionError(f"{file} does not say once: {said}")
        path.write_text(text.replace(said, instead))
    return {check: checked(folder, check)[check] for *_, check in PLANTED}


def proven() -> str:
    """What holds. Raises AssertionError if something does not, or a planted error is not found."""
    held = checked(ROOT)
    found = planted()
    wrong = [f"{name} does not hold" for name, holds in held.items() if not holds]
    wrong += [f"{name} did not find its planted error" for name, holds in found.items() if holds]
    if wrong:
        raise AssertionError(", ".join(wrong))
    return f"{len(held)} formulas hold for all inputs; {len(found)} errors were planted, each found"


if __name__ == "__main__":
    print(proven())
