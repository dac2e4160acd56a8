"""What all tests share."""

import signal
from collections.abc import Iterator

import pytest
import structlog

# What a shell starts in the background ignores Ctrl-C, and so does whatever that starts: commands under test would too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def logging() -> Iterator[None]:
    """Commands set it for their process."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)
