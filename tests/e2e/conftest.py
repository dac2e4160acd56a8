"""One chain for each module, rewound for each test; one stage of played games for all tests of the dashboard."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from e2e.browsing import Watched, chromium, watched_page
from e2e.dashboard import PICTURED, Stage, served, stage
from e2e.world import World, rewound, running_node, world
from fastapi.testclient import TestClient
from playwright.sync_api import Browser

from oracle.api.app import create_app
from oracle.node.daemon import Node


@pytest.fixture(scope="module")
def built() -> Iterator[World]:
    with world() as made:
        yield made


@pytest.fixture
def earth(built: World) -> Iterator[World]:
    with rewound(built) as fresh:
        yield fresh


@pytest.fixture
async def opened(earth: World) -> AsyncIterator[Callable[..., Awaitable[Node]]]:
    """Makes nodes, in a folder and with the changes that `make_node` takes, and closes them after the test."""
    async with AsyncExitStack() as stack:

        async def make(folder: Path, *account_and_engine: Any, **changes: Any) -> Node:
            return await stack.enter_async_context(running_node(earth, folder, *account_and_engine, **changes))

        yield make


# -- the dashboard


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    named = ["a-model-of-two-layers"] if PICTURED else []
    with stage(tmp_path_factory.mktemp("stage"), *named) as made:
        yield made


@pytest.fixture(scope="session")
def api(played: Stage) -> TestClient:
    return TestClient(create_app(played.node), headers={"host": "127.0.0.1:8000"})


@pytest.fixture(scope="session")
def site(played: Stage) -> Iterator[str]:
    with served(played.node) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Of one module: as long as it is there, its driver's loop runs, and no asynchronous test can."""
    with chromium() as made:
        yield made


@pytest.fixture
def watched(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Watched]:
    """At desktop width in the light, unless the test's parameters say otherwise."""
    with watched_page(browser, *getattr(request, "param", ())) as made:
        yield made
