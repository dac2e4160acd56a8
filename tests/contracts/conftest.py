"""Fixtures of the contract tests: one chain, the contracts, a service with six bonded nodes, and named actors.

Ape takes the chain back after every test, so each starts from the same state. The clock starts at a fixed time and
goes one second a block, so that hashes, and with them seeds, turns and panels, are those of every other run.
ANVIL_GENESIS_TIME in the environment gives others.
"""

import json
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from ape import accounts, networks, project
from world import BLOCK_SECONDS, MODEL, World, maker, terms

from oracle.chain import wiring
from tools import ape_contracts

SEATS = 6
ROOT = Path(__file__).resolve().parents[2]
GAS_FILE = ROOT / "gas.json"
LIMITS = {
    "loop_100b": 200_000,
    "loop_1kb": 225_000,
    "verdict_loop_100b": 200_000,
    "finalize_batch50_each": 48_000,
    "dispute_8b_transactions": 12,
    "dispute_8b_total": 3_100_000,
    "dispute_8b_largest": 2_000_000,
    "refute_pair_usual": 80_000,
    "refute_pair_worst": 450_000,
    "refute_pair_limit": 16_000_000,
    "refute_cut_worst": 16_000_000,
    "refute_pattern_worst": 16_000_000,
    "prove_pattern_worst": 16_000_000,
    "tee_register": 260_000,
    "tee_loop_100b": 160_000,
    "tee_loop_100b_stored": 184_500,
    "tee_tcb_info": 700_000,
}
TOLERANCE = 0.005

os.environ.setdefault("ANVIL_GENESIS_TIME", "1800000000")  # read by tools/bin/anvil, which Ape starts


def pytest_addoption(parser):
    parser.addoption("--write-gas", action="store_true", help="write gas.json from what test_gas.py measures")


@pytest.fixture(scope="session")
def gas_file(request):
    """What is committed; with --write-gas, what was just measured replaces it in the end."""
    measured = {}
    committed = json.loads(GAS_FILE.read_text()) if GAS_FILE.exists() else {}
    yield SimpleNamespace(committed=committed, measured=measured, writing=request.config.getoption("--write-gas"))
    if request.config.getoption("--write-gas"):
        GAS_FILE.write_text(json.dumps(dict(sorted(measured.items())), indent=2) + "\n")


@pytest.fixture
def check(gas_file):
    """Compares a measurement with the committed one and its limit."""

    def compare(name: str, measured: int, tolerance: float = TOLERANCE) -> None:
        gas_file.measured[name] = measured
        assert measured <= LIMITS.get(name, measured), f"{name}: {measured} is above the limit {LIMITS[name]}"
        if not gas_file.writing:
            committed = gas_file.committed[name]
            assert abs(measured - committed) <= max(100, tolerance * committed), (
                f"{name}: {measured}, gas.json says {committed}; if that is meant, run `make gas`"
            )

    return compare


@pytest.fixture(scope="session", autouse=True)
def _fresh_build():
    """Compiles everything again where the manifest is of other sources: Ape looks at a file, not at what it imports.

    What `make ape-built` has given Ape is taken as it is.
    """
    is_fresh = ape_contracts.STAMP.exists() and ape_contracts.STAMP.read_text() == ape_contracts.digest()
    if not is_fresh:
        project.load_contracts(use_cache=False)
        ape_contracts.STAMP.write_text(ape_contracts.digest())


@pytest.fixture(scope="session", autouse=True)
def _clock():
    networks.provider.make_request("anvil_setBlockTimestampInterval", [1])


@pytest.fixture(scope="session")
def people(_fresh_build, _clock):
    """Named accounts. Owners are cold keys, operators hot ones; `stranger` has no part in anything."""
    test = accounts.test_accounts
    return SimpleNamespace(
        deployer=test[0],
        payer=test[1],
        challenger=test[2],
        stranger=test[3],
        watcher=test[4],
        owners=[test[5 + i] for i in range(SEATS)],
        operators=[test[5 + SEATS + i] for i in range(SEATS)],
        newcomers=[test[i] for i in range(5 + 2 * SEATS, 24)],
    )


@pytest.fixture(scope="session")
def deployed(people):
    """The contracts of every test, by name."""
    known = {"block_millis": 1_000 * BLOCK_SECONDS}
    return wiring.deploy(maker(people.deployer), known, ("ModelRegistry", "Seats", "Oracle", "Lens", "PanelArbiter"))


@pytest.fixture(scope="session")
def registry(deployed):
    return deployed["ModelRegistry"]


@pytest.fixture(scope="session")
def seats(deployed):
    return deployed["Seats"]


@pytest.fixture(scope="session")
def oracle(deployed):
    return deployed["Oracle"]


@pytest.fixture(scope="session")
def lens(deployed):
    return deployed["Lens"]


@pytest.fixture(scope="session")
def panel(deployed):
    return deployed["PanelArbiter"]


@pytest.fixture(scope="session")
def model(registry, people):
    tx = registry.register(MODEL, sender=people.deployer)
    return registry.ModelRegistered.from_receipt(tx)[0].model


@pytest.fixture
def world(founded):
    """A copy, for tests that put another service in it."""
    return replace(founded)


@pytest.fixture(scope="session")
def founded(oracle, lens, panel, model, people):
    """A service judged by a panel of three, with six active seats of six owners, and the moves of its life."""
    w = World(oracle, lens, panel, people)
    w.model = model
    w.service = w.create_service(terms(model, panel))
    for owner, operator in zip(people.owners, people.operators, strict=True):
        w.join(owner, operator)
    w.pass_time(w.terms["lifetimeSeconds"])
    for seat in range(SEATS):
        oracle.activate(w.service, seat, sender=people.stranger)
    return w


@pytest.fixture
def hostile(people):
    return project.Hostile.deploy(sender=people.stranger)


@pytest.fixture
def correspondent(world, people):
    return project.Correspondent.deploy(world.oracle, world.service, people.deployer, sender=people.deployer)


@pytest.fixture
def asked(world):
    """A request of the payer, without callback, whose seed is known."""
    return world.ask()


@pytest.fixture
def answered(world, asked):
    """An answer by the seat in turn, its window open."""
    return world.answer(asked)
