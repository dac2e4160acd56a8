"""Runs tests once for each mutant, each until the first test that fails: for `ape_plugin.py` and `anvil_plugin.py`.

It takes the place of pytest's loop over tests. Which mutant is on is the balance of an account, which the chain takes
back with everything else that a test did.

The order is learned: tests that killed another mutant of the same function come first, then those that kill most for
their time.
"""

import json
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest
from _pytest.runner import runtestprotocol
from _pytest.scope import Scope

MOST_SECONDS = 4
"""That a test may take by itself, so that a change which nobody notices costs a minute; eight times as long where few
files of tests are tried on a contract."""
HUNG_SECONDS = 9
"""What a kill takes at least where a chain no longer answers: all that tests share is made anew then."""


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
        known_by: Mapping[str, Sequence[str]] | None = None,
        afresh: Set[str] = frozenset(),
    ) -> None:
        """switch: turns a mutant on, with zero none. prepared: fixtures of a test alone that the mutant is on for.
        apart: takes back what happens in it, for tests that share a chain by file and leave something behind.
        known_by: by contract, the files of tests that are tried on it; all where none are named. afresh: contracts
        whose mutants are on as well while what tests share is made."""
        self.folder, self._for, self._switch, self._prepared = folder, seconds, switch, prepared
        self._apart, self._by_file, self._known_by = apart or nullcontext, apart is not None, known_by or {}
        self._most = 8 * MOST_SECONDS if known_by else MOST_SECONDS
        self._afresh = afresh
        self.mutant, self.early = 0, False
        self.ready: list[Any] = []
        self.seconds: dict[Any, float | None] = {}
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
        order = [number for number in json.loads((self.folder / "alive.json").read_text()) if number not in done]
        ends = time.monotonic() + self._for
        with results.open("a") as file:
            for number in order:
                if time.monotonic() > ends:
                    break
                start = time.monotonic()
                killer = self._hunted(number, mutants[number - 1], session.items)
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
            if item in self.seconds:
                continue
            if item.nodeid not in known:
                item.session._setupstate.teardown_exact(item)
                passes, seconds = self._played(item, following)
                known[item.nodeid] = seconds if passes else None
                kept.write_text(json.dumps(known, indent=1))
            self.seconds[item] = known[item.nodeid]
            if known[item.nodeid] is None:
                print(f"not used, since it fails without a mutant: {item.nodeid}", flush=True)
            elif known[item.nodeid] > self._most:
                print(f"not used, since it takes {known[item.nodeid]:.0f} s: {item.nodeid}", flush=True)
            else:
                self.ready.append(item)

    def _hunted(self, number: int, mutant: dict[str, Any], items: list[Any]) -> str:
        """The test that kills it; empty if none does."""
        files = self._known_by.get(mutant["file"])
        parts = [items] if files is None else [[item for item in items if item.path.stem == file] for file in files]
        for part in parts:
            self._baseline(part)
            ready = [item for item in part if item in self.ready]
            if killer := ready and self._killed(number, mutant, ready):
                return killer
        return ""

    def _killed(self, number: int, mutant: dict[str, Any], ready: list[Any]) -> str:
        """The same of some tests."""
        near = self.near[mutant["file"] + mutant["function"]]

        def rank(item: Any) -> Any:
            return -near[item], -(self.kills[item] + 0.01) / max(self.seconds[item] or 0, 0.01)

        order = ranked = sorted(ready, key=rank)
        if self._by_file:
            # What tests share is made once.
            shared = list(dict.fromkeys(map(_shared, ranked)))
            order = sorted(ranked, key=lambda item: shared.index(_shared(item)))
        self.early = mutant["file"] in self._afresh
        # The mutant before may have ended among tests of another file.
        order[0].session._setupstate.teardown_exact(None if self.early else order[0])
        self.mutant = number
        start = time.monotonic()
        try:
            for item, following in zip(order, [*order[1:], order[0]], strict=True):
                start = time.monotonic()
                if not self._played(item, following)[0]:
                    self._learn(mutant, item)
                    return str(item.nodeid)
        finally:
            self.mutant = 0
            if self.early or time.monotonic() - start > HUNG_SECONDS:
                with suppress(Exception):
                    order[0].session._setupstate.teardown_exact(None)
        return ""

    def _learn(self, mutant: dict[str, Any], item: Any) -> None:
        self.kills[item] += 1
        self.near[mutant["file"] + mutant["function"]][item] += 1

    def _played(self, item: Any, following: Any) -> tuple[bool, float]:
        """Whether a test passes, and the seconds that it took by itself."""
        reports = runtestprotocol(item, log=False, nextitem=following)
        failed = [report for report in reports if report.failed]
        if failed and not self.mutant:
            print(failed[0].longreprtext[-1500:], flush=True)
        return not failed, sum(report.duration for report in reports if report.when == "call")

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any, request: Any) -> Any:
        """What tests share was made without a mutant, unless it is made afresh for each."""
        alone = fixturedef.scope == "function" and fixturedef.argname in self._prepared
        if self.mutant and (self.early or alone):
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


def _shared(item: Any) -> tuple[Any, ...]:
    """What a test shares with others: its file, and the parameters that are its file's."""
    call = getattr(item, "callspec", None)
    scopes = {} if call is None else call._arg2scope
    return item.path, *sorted((name, call.indices[name]) for name, scope in scopes.items() if scope is Scope.Module)
