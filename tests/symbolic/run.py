"""Halmos over the tests in this folder: what goes in is what is credited, for all inputs. Run by `make symbolic`.

    python tests/symbolic/run.py [CHECK ...]

Halmos executes the contracts' bytecode with symbols for inputs and asks a solver for values that break an assertion.
It finds them or there are none; what reverts breaks nothing. Each check is a run of its own with a limit of time. A
check holds if Halmos says so within it and cut no loop; all else is a failure, unless the check is one of the UNSHOWN.

That Halmos would find an error is shown as well: a copy of the contracts holds the PLANTED ones, each behind a switch,
and the check beside each must break with that one on.

Branches that the solver does not rule out within a millisecond, as halmos does by itself, are followed: what is
impossible there ends in a revert, or the solver of the assertion rules it out.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from invariants.faults import Fault  # noqa: E402
from mutants.switch import FILE, LIBRARY  # noqa: E402

HALMOS = ROOT / ".venv-symbolic" / "bin" / "halmos"
LOOPS = 4
SOLVER_SECONDS = 60
CHECK_SECONDS = 300
UNSHOWN = ("check_answerAfterOneTurnOfTwoSeats",)
"""Checks that did not end: docs/proofs.md says what was tried."""
QUICK = """
[profile.symbolic.optimizer_details]
yul = true

[profile.symbolic.optimizer_details.yulDetails]
stackAllocation = true
optimizerSteps = "dhfoDgvulfnTUtnIf:fDnTOcmu"
"""
"""How the contracts with errors are built: without the optimizer's long searches."""
PLANTED = (
    Fault(
        "check_withdrawFromSeat",
        "what leaves a seat stays in it as well",
        "Seats.sol",
        "state.money.balanceWei -= amountWei;",
        "if (!ON) state.money.balanceWei -= amountWei;",
    ),
    Fault(
        "check_fine",
        "a fine is not burnt",
        "Seats.sol",
        "credit[BURN] += finedWei;",
        "if (!ON) credit[BURN] += finedWei;",
    ),
    Fault(
        "check_finalizeForOneself",
        "tokens that were not used are kept",
        "Oracle.sol",
        "if (unusedWei > 0) credit[req.payer()]",
        "if (!ON && unusedWei > 0) credit[req.payer()]",
    ),
    Fault(
        "check_leaveCallbacks",
        "a callback that is left is paid all the same",
        "Oracle.sol",
        "uint256 callbackWei = leaves ?",
        "uint256 callbackWei = !ON && leaves ?",
    ),
    Fault(
        "check_leftAndReclaimed",
        "a callback is given back as often as one asks",
        "Oracle.sol",
        "_state[requestId] |= RequestLib.RETURNED;",
        "if (!ON) _state[requestId] |= RequestLib.RETURNED;",
    ),
    Fault(
        "check_cancel", "what the seat gets is refunded as well", "Oracle.sol", "refundWei -= promptWei;",
        "if (!ON) refundWei -= promptWei;",
    ),
    Fault(
        "check_refund", "a refund forgets the callback", "Oracle.sol", "credit[req.payer()] += refundWei;",
        "credit[req.payer()] += ON ? req.feeWei() : refundWei;",
    ),
    Fault(
        "check_refundAfterOneTurn",
        "of the fines, the payer's half is not burnt",
        "Turns.sol",
        "credit[BURN] += 2 * finesWei;",
        "credit[BURN] += (ON ? 1 : 2) * finesWei;",
    ),
    Fault(
        "check_answer", "an answer locks no bond", "Turns.sol", "state.balanceWei -= uint72(bondWei);",
        "if (!ON) state.balanceWei -= uint72(bondWei);",
    ),
    Fault(
        "check_upheld", "what an arbiter brings and does not pay out is kept", "Oracle.sol",
        "if (potWei > paidWei) credit[BURN]", "if (!ON && potWei > paidWei) credit[BURN]",
    ),
    Fault(
        "check_annulled", "what is slashed goes back as well", "Oracle.sol", "bondWei - slashWei, 1,",
        "ON ? bondWei : bondWei - slashWei, 1,",
    ),
)  # fmt: skip
"""By the check that must find it: what is wrong, file, what it says, what it says instead."""


def built(folder: Path) -> list[str]:
    """Builds the checks there. Returns their names."""
    command = [ROOT / "tools/bin/forge", "build", "--ast", "--extra-output", "storageLayout", "metadata"]
    environment = {**os.environ, "FOUNDRY_PROFILE": "symbolic"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise AssertionError(done.stdout + done.stderr)
    tests = sorted((folder / "tests/symbolic").glob("*.t.sol"))
    return [name for test in tests for name in re.findall(r"function (check_\w+)", test.read_text())]


def checked(folder: Path, check: str, fault: int = 0) -> str:
    """How a check ended: PASS, FAIL for values that break it, or what else Halmos said. fault: which one is on."""
    bin_folders = (HALMOS.parent, ROOT / "tools/bin", ROOT / "node_modules/.bin", os.environ["PATH"])
    environment = {
        **os.environ,
        "FOUNDRY_PROFILE": "symbolic",
        "DIDYMA_FAULT": str(fault),
        "PATH": ":".join(map(str, bin_folders)),
    }
    command = [str(HALMOS), "--forge-build-out", ".build/symbolic", "--loop", str(LOOPS), "--no-status", "--early-exit"]
    command += [
        "--solver-threads",
        "1",
        "--solver-timeout-assertion",
        f"{SOLVER_SECONDS}s",
        "--function",
        rf"{check}\(",
    ]
    running = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        told, _ = running.communicate(timeout=CHECK_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
        return f"did not end in {CHECK_SECONDS} s"
    told = re.sub(r"\x1b\[\d+m", "", told)
    said = re.findall(rf"^\[(\w+)\] {check}\(", told, re.MULTILINE)
    if said == ["PASS"] and "not been fully explored" in told:
        return "PASS, but loops were cut"
    return said[0] if len(said) == 1 else told


def put_in(folder: Path) -> None:
    """A copy of contracts and checks with all errors in it, each behind its switch."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for part in ("contracts", "tests/symbolic", "tools/solc"):
        shutil.copytree(ROOT / part, folder / part, symlinks=True)
    settings = (ROOT / "foundry.toml").read_text()
    (folder / "foundry.toml").write_text(settings.replace('deny = "warnings"', 'deny = "never"') + QUICK)
    (folder / "node_modules").symlink_to(ROOT / "node_modules")
    for number, fault in enumerate(PLANTED, 1):
        fault.put_back(folder, number)
    (folder / "contracts" / FILE).write_text(LIBRARY)
    ledger = folder / "tests/symbolic/Ledger.sol"
    text = ledger.read_text().replace(
        "        books = Books(", '        vm.deal(SWITCH, vm.envUint("DIDYMA_FAULT"));\n        books = Books('
    )
    ledger.write_text(text.replace("\n\n", '\n\nimport {SWITCH} from "../../contracts/Switch.sol";\n', 1))


def proven(only: list[str] | None = None) -> str:
    """What holds. Raises AssertionError if something does not, or a planted error is not found. only: these checks."""
    wrong, held, found = [], 0, 0
    for check in built(ROOT):
        if check not in UNSHOWN and (not only or check in only):
            start = time.monotonic()
            said = checked(ROOT, check)
            print(f"{check}: {said} ({time.monotonic() - start:.0f} s)", flush=True)
            held += said == "PASS"
            if said != "PASS":
                wrong.append(f"{check}: {said.strip().splitlines()[-1] if said.strip() else 'nothing said'}")
    folder = ROOT / ".build" / "planted"
    put_in(folder)
    built(folder)
    for number, fault in enumerate(PLANTED, 1):
        if not only or fault.row in only:
            start = time.monotonic()
            said = checked(folder, fault.row, number)
            print(f"{fault.row}, {fault.what}: {said} ({time.monotonic() - start:.0f} s)", flush=True)
            found += said == "FAIL"
            if said != "FAIL":
                wrong.append(f"{fault.row} did not find: {fault.what}")
    if wrong:
        raise AssertionError(", ".join(wrong))
    return f"{held} formulas hold for all inputs; {found} errors were planted, each found"


if __name__ == "__main__":
    print(proven(sys.argv[1:]))
