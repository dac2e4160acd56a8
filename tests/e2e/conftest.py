"""One chain for each module, rewound for each test."""

from collections.abc import Iterator

import pytest
from e2e.world import World, rewound, world


@pytest.fixture(scope="module")
def built() -> Iterator[World]:
    with world() as made:
        yield made


@pytest.fixture
def earth(built: World) -> Iterator[World]:
    with rewound(built) as fresh:
        yield fresh
