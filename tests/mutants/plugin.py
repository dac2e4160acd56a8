"""Runs the contract tests once for each mutant, on one chain, each mutant until the first test that fails.

A pytest plugin: `pytest -p mutants.plugin --mutants FOLDER`. It takes the place of Ape's `project`, so that the tests
deploy what `schemata.py` built; and of pytest's loop over tests. Which mutant is on is the balance of an account, which
the chain takes back with everything else that a test did.

The order is learned: tests that killed another mutant of the same function come first, then those that kill most for
their time.
"""

import json
import random
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import ape
import pytest
from _pytest.runner import runtestprotocol
from ape.contracts.base import ContractContainer
from ethpm_types import ContractType
from mutants.schemata import ROOT
from mutants.switch import SWITCH


class Artifacts:
    """What forge built, by name, as Ape's `project` has it. What has no mutants comes from the usual build."""

    def __init__(self) -> None:
        self.folder = Path()
        self._found: dict[str, ContractContainer] = {}

    def load_contracts(self, **_: Any) -> None:
        """Nothing is compiled here."""

    def __getattr__(self, name: str) -> ContractContainer:
        if name not in self._found:
            places = [base / f"{name}.sol" / f"{name}.json" for base in (self.folder / "out", ROOT / ".build/forge")]
            built = json.loads(next(path for path in places if path.exists()).read_text())
            self._found[name] = ContractContainer(
                ContractType.model_validate(
                    {
                        "contractName": name,
                        "abi": built["abi"],
                        "deploymentBytecode": {"bytecode": built["bytecode"]["object"]},
                        "runtimeBytecode": {"bytecode": built["deployedBytecode"]["object"]},
                    }
                )
            )
        return self._found[name]


BUILT = Artifacts()
ape.project = BUILT  # before any test's own `from ape import project`


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--mutants", metavar="FOLDER", help="what tests/mutants/schemata.py wrote and forge built there")
    parser.addoption(
        "--mutants-for", type=float, default=3600.0, metavar="SECONDS", help="no mutant is begun after this"
    )
    parser.addoption("--mutants-seed", type=int, default=0, help="in which order they come")


def pytest_configure(config: pytest.Config) -> None:
    folder = Path(config.getoption("--mutants"))
    BUILT.folder = folder
    ape.logging.logger.set_level("CRITICAL")
    config.pluginmanager.register(Hunt(config, folder), "hunt")


class Hunt:
    """One run over mutants and tests. Results go to `results.jsonl` as they come; what is there is not done again."""

    def __init__(self, config: pytest.Config, folder: Path) -> None:
        self.config, self.folder = config, folder
        self.mutant = 0
        self.ready: list[Any] = []
        self.seconds: dict[Any, float] = {}
        self.kills: dict[Any, int] = defaultdict(int)
        self.near: dict[str, dict[Any, int]] = defaultdict(lambda: defaultdict(int))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        mutants = json.loads((self.folder / "mutants.json").read_text())
        results = self.folder / "results.jsonl"
        by_name = {item.nodeid: item for item in session.items}
        done = {}
        for line in results.read_text().splitlines() if results.exists() else []:
            told = json.loads(line)
            done[told["number"]] = told
            if told["killer"] in by_name:
                self._learn(mutants[told["number"] - 1], by_name[told["killer"]])
        self._baseline(session.items)
        order = [number for number in range(1, len(mutants) + 1) if number not in done]
        random.Random(self.config.getoption("--mutants-seed")).shuffle(order)
        ends = time.monotonic() + self.config.getoption("--mutants-for")
        with results.open("a") as file:
            for number in order:
                if time.monotonic() > ends:
                    break
                start = time.monotonic()
                killer = self._hunted(number, mutants[number - 1])
                told = {"number": number, "killer": killer, "seconds": round(time.monotonic() - start, 1)}
                file.write(json.dumps(told) + "\n")
                file.flush()
                mutant = mutants[number - 1]
                print(
                    f"{number} {mutant['file']}:{mutant['line']} {mutant['operator']}: {killer or 'SURVIVES'}",
                    flush=True,
                )
        return True

    def _baseline(self, items: list[Any]) -> None:
        """Which tests pass without a mutant, and how long they take: only those can kill one. Kept for later runs."""
        kept = self.folder / "baseline.json"
        known = json.loads(kept.read_text()) if kept.exists() else {}
        for item, following in zip(items, [*items[1:], items[0]], strict=True):
            if item.nodeid not in known:
                start = time.monotonic()
                passes = self._passes(item, following)
                known[item.nodeid] = time.monotonic() - start if passes else None
                kept.write_text(json.dumps(known, indent=1))
            if known[item.nodeid] is None:
                print(f"not used, since it fails without a mutant: {item.nodeid}", flush=True)
            else:
                self.ready.append(item)
                self.seconds[item] = known[item.nodeid]
        print(f"{len(self.ready)} of {len(items)} tests, {sum(self.seconds.values()):.0f} s", flush=True)

    def _hunted(self, number: int, mutant: dict[str, Any]) -> str:
        """The test that kills it; empty if none does."""
        near = self.near[mutant["file"] + mutant["function"]]
        order = sorted(self.ready, key=lambda item: (-near[item], -(self.kills[item] + 0.01) / self.seconds[item]))
        self.mutant = number
        try:
            for item, following in zip(order, [*order[1:], order[0]], strict=True):
                if not self._passes(item, following):
                    self._learn(mutant, item)
                    return str(item.nodeid)
        finally:
            self.mutant = 0
        return ""

    def _learn(self, mutant: dict[str, Any], item: Any) -> None:
        self.kills[item] += 1
        self.near[mutant["file"] + mutant["function"]][item] += 1

    def _passes(self, item: Any, following: Any) -> bool:
        failed = [report for report in runtestprotocol(item, log=False, nextitem=following) if report.failed]
        if failed and not self.mutant:
            print(failed[0].longreprtext[-1500:], flush=True)
        return not failed

    def _switch(self) -> None:
        ape.networks.provider.make_request("anvil_setBalance", [SWITCH, hex(self.mutant)])

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any, request: Any) -> Any:
        """Before anything that a test alone has made for it; what all share was made without a mutant."""
        if self.mutant and fixturedef.scope == "function" and fixturedef.argname in ("world", "hostile", "asked"):
            self._switch()
        return (yield)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self) -> None:
        if self.mutant:
            self._switch()
