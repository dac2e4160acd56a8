"""What all tests share."""

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def logging() -> Iterator[None]:
    """Commands set it for their process."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)
