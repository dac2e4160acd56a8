"""Runs tests once for each mutant, each until the first test that fails: for `ape_plugin.py` and `anvil_plugin.py`.

It takes the place of pytest's loop over tests. Which mutant is on is the balance of an account, which the chain takes
back with everything else that a test did.

The order is learned: tests that killed another mutant of the same function come first, then those that kill most for
their time.
"""

import json
import time
from collections import defaultdict
from collections.abc import Callable, Set
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from _pytest.runner import runtestprotocol

MOST_SECONDS = 4
"""That a test may take, so that a change which nobody notices costs a minute."""


def add_options(parser: pytest.Parser) -> None:
    parser.addoption("--mutants", metavar="FOLDER", help="what tests/mutants/schemata.py wrote and forge built there")
    parser.addoption(
        "--mutants-for", type=float, default=3600.0, metavar="SECONDS", help="no mutant is begun after this"
    )


class Hunt:
    """One run over mutants and tests. Results go to `results.jsonl` as they come; what is there is not done again."""

    def __init__(
        self,
        folder: Path,
        seconds: float,
        switch: Callable[[int], None],
        prepared: Set[str] = frozenset(),
        apart: Callable[[], AbstractContextManager[None]] | None = None,
    ) -> None:
        """switch: turns a mutant on, with zero none. prepared: fixtures of a test alone that the mutant is on for.
        apart: takes back what happens in it, for tests that share a chain by file and leave something behind."""
        self.folder, self._for, self._switch, self._prepared = folder, seconds, switch, prepared
        self._apart, self._by_file = apart or nullcontext, apart is not None
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
            if told["by"] == "pytest" or told["killer"]:
                done[told["number"]] = told
            if told["killer"] in by_name:
                self._learn(mutants[told["number"] - 1], by_name[told["killer"]])
        self._baseline(session.items)
        order = [number for number in json.loads((self.folder / "alive.json").read_text()) if number not in done]
        ends = time.monotonic() + self._for
        with results.open("a") as file:
            for number in order:
                if time.monotonic() > ends:
                    break
                start = time.monotonic()
                killer = self._hunted(number, mutants[number - 1])
                told = {
                    "number": number,
                    "by": "pytest",
                    "killer": killer,
                    "seconds": round(time.monotonic() - start, 1),
                }
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
            elif known[item.nodeid] > MOST_SECONDS:
                print(f"not used, since it takes {known[item.nodeid]:.0f} s: {item.nodeid}", flush=True)
            else:
                self.ready.append(item)
                self.seconds[item] = known[item.nodeid]
        print(f"{len(self.ready)} of {len(items)} tests, {sum(self.seconds.values()):.0f} s", flush=True)

    def _hunted(self, number: int, mutant: dict[str, Any]) -> str:
        """The test that kills it; empty if none does."""
        near = self.near[mutant["file"] + mutant["function"]]
        ranked = sorted(self.ready, key=lambda item: (-near[item], -(self.kills[item] + 0.01) / self.seconds[item]))
        # What tests of one file share is made once.
        files = list(dict.fromkeys(item.path for item in ranked))
        order = sorted(ranked, key=lambda item: files.index(item.path)) if self._by_file else ranked
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

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any, request: Any) -> Any:
        """What all tests share was made without a mutant."""
        if self.mutant and fixturedef.scope == "function" and fixturedef.argname in self._prepared:
            self._switch(self.mutant)
        return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self) -> Any:
        with self._apart():
            self._switch(self.mutant)
            try:
                return (yield)
            finally:
                self._switch(0)
