"""Everything that searches for faults rather than checks a case, at full length: `make prove`.

    python tests/prove.py [--seed N] [PART ...]

Every run of the tests takes a seeded share of this. Here the seed is the date's unless it is given. What was run, and
how it ended, goes on top of the table in docs/proofs.md; a part that fails fails the run.
"""

import argparse
import ast
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import newcomers  # noqa: E402
from disputes.search import best_lines, broken, every_line  # noqa: E402
from e2e.siege import FLOOD, WHOLE, Force, sieges  # noqa: E402
from invariants.faults import forge, found, lives  # noqa: E402
from mutants import run as mutation  # noqa: E402
from sim import faults as daemon_faults  # noqa: E402
from symbolic import run as conservation  # noqa: E402

RECORD = ROOT / "docs" / "proofs.md"
RULE = "|---|---|---|---|---|---|\n"
LINES = 30_000  # of each of four searches
DOCUMENT_SETS = 2_000
BATCHES = 60
TYPED = 10_000
CLAIMS = 100_000  # of each vocabulary
LIVES = 200
TWINS = 20  # runs of forge, each with 64 seeds of 40 calls
SOAK_SECONDS = 3_600
SIEGE_PACE = 1.0  # seconds to a block, of twelve on the chain


def search(seed: int) -> str:
    """Lines of play on the dispute game's rules."""
    games = 0
    for lying in (False, True):
        for outcomes in (every_line(lying, LINES), best_lines(lying, LINES, seed)):
            for outcome in outcomes:
                games += 1
                if promise := broken(outcome, lying):
                    raise AssertionError(f"{promise}: {outcome.line}")
    return f"{games} games, none gains"


def whole(tests: str, seed: int, setting: str, count: int) -> None:
    """Runs tests that take a share otherwise. setting: the environment's name for how much of it."""
    environment = {**os.environ, setting: str(count), "DIDYMA_SEED": str(seed)}
    command = [sys.executable, "-m", "pytest", "-p", "no:ape_test", tests]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise AssertionError(done.stdout + done.stderr)


def verdicts(seed: int) -> str:
    """Generated and changed TEE evidence, judged by contract, Python and dcap-qvl."""
    whole("tests/attestation/test_verdicts.py", seed, "DIDYMA_VERDICTS", DOCUMENT_SETS)
    return f"{DOCUMENT_SETS} sets of documents and what was made of each, equal verdicts"


def text(seed: int) -> str:
    """Rows of tokens that are not a text's, each shown wrong."""
    whole("tests/disputes/test_text_proofs.py", seed, "DIDYMA_CLAIMS", CLAIMS)
    return f"{CLAIMS} wrong rows of tokens for each of two vocabularies, each shown wrong"


def answers(seed: int) -> str:
    """Answers that a typed prompt does not have, each shown wrong."""
    for tests in ("test_answer_referee.py", "test_pattern_referee.py"):
        whole(f"tests/disputes/{tests}", seed, "DIDYMA_TYPED_CLAIMS", CLAIMS)
    choices = f"{CLAIMS} wrong answers to choices and malformed types for each of three vocabularies' sizes"
    return f"{choices}, {CLAIMS} to patterns for each of two vocabularies, each shown wrong"


def batches(seed: int) -> str:
    """Jobs that join, wait, share, guess and leave in one batch of the exact engine."""
    whole("tests/exact/test_batch.py", seed, "DIDYMA_BATCHES", BATCHES)
    return f"{BATCHES} batches of some 20 jobs, every logit that of a job alone"


def typed(seed: int) -> str:
    """Choices that the exact engine is asked for."""
    whole("tests/exact/test_typed.py", seed, "DIDYMA_TYPED", TYPED)
    return f"{TYPED} random prompts with a type each on two models, no answer outside its type"


def patterns(seed: int) -> str:
    """Patterns that the exact engine is asked for."""
    whole("tests/exact/test_typed_patterns.py", seed, "DIDYMA_TYPED", TYPED)
    return f"{TYPED} random prompts with a pattern each on two models, no answer outside its type"


def besieged(seed: int, force: Force) -> str:
    """A node's process under attack."""
    told = []
    with tempfile.TemporaryDirectory(prefix="didyma-siege-") as folder:
        for kind, costs in sieges(Path(folder), seed, SIEGE_PACE, force):
            print(f"{kind}: {costs}", flush=True)
            told.append(f"{costs.games} games lost {costs.lost_wei / 10**18:.2f} ether")
    return f"{', '.join(told)}; no move late, no bond lost"


def adversary(seed: int) -> str:
    """Lives of an adversary over the real referee."""
    counts = lives(ROOT, seed, LIVES)
    return f"{LIVES} lives, {sum(counts.values())} endings of {len(counts)} kinds, every promise kept"


def mock(seed: int) -> str:
    """The same calls on `MockOracle` and on the oracle."""
    tests = ("test", "--match-path", "tests/invariants/Twins.t.sol", "--match-test", "any_calls")
    for run in range(TWINS):
        played = forge(ROOT, *tests, "--fuzz-seed", hex(seed + (run << 64)))
        if played.returncode != 0 or "(runs: 64," not in played.stdout:
            raise AssertionError(played.stdout + played.stderr)
    return f"{TWINS * 64 * 40} calls on mock and oracle, equal results, errors, events and balances"


def first_projects(_: int) -> str:
    """Projects by `didyma new` and by hand, with packages from the registries."""
    count = 0
    with tempfile.TemporaryDirectory(prefix="didyma newcomer ") as folder:
        for what, done in newcomers.made(Path(folder)):
            print(f"{what}: {done.command} ({done.seconds:.1f} s, {done.cpu_seconds:.1f} of the processor)", flush=True)
            count += 1
    return f"{count} commands of six projects, each answered by the whole oracle"


def faults(seed: int) -> str:
    """What the adversary finds where a fault is put back, in as many lives as CI plays."""
    told = []
    with tempfile.TemporaryDirectory(prefix="didyma-faults-") as folder:
        for fault, how, seconds in found(Path(folder), seed):
            print(f"{fault.row}, {fault.what}: {how} ({seconds:.0f} s)", flush=True)
            told.append(f"{fault.row} {seconds:.0f} s")
    return f"{len(told)} faults put back, each found: {', '.join(told)}"


def mutants(seed: int) -> str:
    """Changes of the contracts on lines that move money, and which of them no test notices."""
    return mutation.run(seed, ("ledger", "game"))


def referees(seed: int) -> str:
    """Changes of the referees, of which the seed draws a share, and which of them no test notices."""
    return mutation.run(seed, ("referee",))


def symbolic(_: int) -> str:
    """That what goes in is what is credited, for all inputs, and that errors in it are found."""
    return conservation.proven()


def daemon(seed: int) -> str:
    """A real daemon through any order of faults and disputes: six lives, each with every move three times."""
    return f"6 lives, {daily(seed, 6, 3)['turns of the daemon']} turns of the daemon, every promise kept"


def daily(seed: int, lives: int, rounds: int) -> dict[str, int]:
    """How often what happened in so many lives, each with every move so many times."""
    environment = {**os.environ, "SIM_SEED": str(seed), "SIM_RUNS": str(lives), "SIM_ROUNDS": str(rounds)}
    command = [sys.executable, "-m", "pytest", "-p", "no:ape_test", "tests/sim/test_machine.py"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise AssertionError(done.stdout + done.stderr)
    (said,) = re.findall(r"^seed \d+: (\{.*\})$", done.stdout, re.MULTILINE)
    return dict(ast.literal_eval(said))


def soak(seed: int) -> str:
    """Two lives of the same, with every move twice, for more than an hour of the chain's time each."""
    played = daily(seed, 2, 2)
    seconds, turns = played["seconds of the chain"], played["turns of the daemon"]
    if seconds < 2 * SOAK_SECONDS:
        raise AssertionError(f"no more than {seconds} s of the chain's time")
    return f"{seconds} s of the chain's time, {turns} turns of the daemon, every promise kept"


def put_back(seed: int) -> str:
    """What the daemon's state machine finds where a fault is put back, in as many lives as CI plays."""
    told, missed = [], []
    for fault, words, turns, seconds in daemon_faults.found(seed):
        print(f"{fault.row}, {fault.what}: {words or 'not found'} ({turns} turns, {seconds:.0f} s)", flush=True)
        (told if words else missed).append(f"{fault.row} {turns}")
    if missed:
        raise AssertionError(f"not found: {', '.join(missed)}; found, in so many turns: {', '.join(told)}")
    return f"{len(told)} faults put back, each found, in so many turns of the daemon: {', '.join(told)}"


PARTS: dict[str, Callable[[int], str]] = {
    "search": search,
    "adversary": adversary,
    "mock": mock,
    "newcomers": first_projects,
    "faults": faults,
    "mutants": mutants,
    "referees": referees,
    "symbolic": symbolic,
    "daemon": daemon,
    "soak": soak,
    "daemon-faults": put_back,
    "siege": partial(besieged, force=WHOLE),
    "flood": partial(besieged, force=FLOOD),
    "verdicts": verdicts,
    "text": text,
    "answers": answers,
    "batches": batches,
    "typed": typed,
    "patterns": patterns,
}


def record(row: str) -> None:
    text = RECORD.read_text()
    RECORD.write_text(text.replace(RULE, RULE + row, 1))


def main() -> int:
    today = datetime.now(UTC).date()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=int(today.strftime("%Y%m%d")))
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    options = parser.parse_args()
    described = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(described, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    failed = 0
    for part in options.parts or PARTS:
        start = time.monotonic()
        try:
            result = PARTS[part](options.seed)
        except AssertionError as error:
            failed += 1
            result = "FAILED: " + str(error).strip().splitlines()[-1]
            print(error, file=sys.stderr)
        seconds = time.monotonic() - start
        print(f"{part}: {result} ({seconds:.0f} s)", flush=True)
        record(f"| {today} | {commit} | {part} | {options.seed} | {result.replace('|', '/')} | {seconds:.0f} |\n")
    return failed


if __name__ == "__main__":
    sys.exit(main())
