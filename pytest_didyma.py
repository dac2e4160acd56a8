"""A pytest plugin: `pytest --didyma` gives tests that use the fixture `didyma` a local network with the whole oracle.

Under `didyma dev -- pytest --didyma` it is that network; else one is started for the session, and stopped at its end.
Without the option such tests are skipped, and say so.
"""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from oracle.client.dev_process import DevNetwork


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds `--didyma`."""
    told = "Run the tests that use the fixture `didyma`, on a local network with the whole oracle."
    parser.getgroup("didyma").addoption("--didyma", action="store_true", help=told)


@pytest.fixture(scope="session")
def didyma(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> "Iterator[DevNetwork]":
    """A local network with the whole oracle: `rpc_url`, `service`, `deployment`, `client()`, `pass_time(seconds)`."""
    if not request.config.getoption("--didyma"):
        pytest.skip("it needs a local network: run pytest with --didyma")
    from oracle.client import dev_process  # noqa: PLC0415  # a second, which other sessions need not spend

    around = dev_process.found(os.environ)
    if around is not None:
        yield around
        return
    with dev_process.running(tmp_path_factory.mktemp("didyma")) as network:
        yield network
