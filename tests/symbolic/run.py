"""Halmos over the tests in this folder: what goes in is what is credited, for all inputs. Run by `make symbolic`.

Halmos executes the contracts' bytecode with symbols for inputs and asks a solver for values that break an assertion.
It finds them or there are none; only loops are cut, at LOOPS rounds, and what reverts breaks nothing. That it would
find an error is shown as well: contracts with the PLANTED errors are checked, and the check beside each must find it.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HALMOS = ROOT / ".venv-symbolic" / "bin" / "halmos"
LOOPS = 4
SOLVER_SECONDS = 600
PLANTED = (
    (
        "Oracle.sol",
        "if (unusedWei > 0) credit[req.payer()] += unusedWei;",
        "if (unusedWei > 0) credit[req.payer()] += unusedWei + 1;",
        "check_finalize",
    ),
    ("Oracle.sol", "if (potWei > paidWei) credit[BURN] += potWei - paidWei;", "", "check_rule"),
    ("Turns.sol", "credit[BURN] += 2 * finesWei;", "credit[BURN] += finesWei;", "check_refund"),
    ("Seats.sol", "state.money.balanceWei -= amountWei;", "", "check_withdrawFromSeat"),
)
"""File, what it says, what it says instead, and what must find that."""


def checked(folder: Path, only: str = "") -> dict[str, bool]:
    """By check: whether it holds. folder: of a copy of foundry.toml, contracts and these tests."""
    environment = {**os.environ, "FOUNDRY_PROFILE": "symbolic"}
    command = [HALMOS, "--forge-build-out", ".build/symbolic", "--loop", str(LOOPS), "--no-status"]
    command += ["--solver-timeout-assertion", f"{SOLVER_SECONDS}s", "--solver-timeout-branching", "0"]
    command += ["--function", only or "check_"]
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


def main() -> int:
    held = checked(ROOT)
    found = planted()
    wrong = [name for name, holds in held.items() if not holds] + [name for name, holds in found.items() if holds]
    print(f"{sum(held.values())} of {len(held)} formulas hold; {len(found)} errors were planted", flush=True)
    for name in wrong:
        print(f"{name}: {'did not find its planted error' if held[name] else 'does not hold'}", file=sys.stderr)
    return len(wrong)


if __name__ == "__main__":
    sys.exit(main())
