"""One chain for each module, rewound for each test."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from e2e.world import World, rewound, running_node, world

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
