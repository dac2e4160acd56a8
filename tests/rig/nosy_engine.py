"""An engine that tells what a hostile model file could see and do from inside the worker."""

import json
import os
import resource
import socket
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from oracle.engines.base import TokenId


class NosyEngine:
    def __init__(self, look_at: list[str]) -> None:
        self._look_at = look_at

    def detokenize(self, tokens: Sequence[TokenId]) -> bytes:
        """A report as JSON, in place of a text."""
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        report = {
            "environment": dict(os.environ),
            "network": self._connect(),
            "core_limit": resource.getrlimit(resource.RLIMIT_CORE),
            "no_new_privileges": int(status["NoNewPrivs"]),
            "write": self._write(),
            "visible": [path for path in self._look_at if os.path.exists(path)],
        }
        return json.dumps(report).encode()

    @staticmethod
    def _connect() -> str:
        """Over UDP no packet need be sent: without a route the call itself fails."""
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.connect(("192.0.2.1", 9))
        except OSError as error:
            return str(error)
        return "connected"

    @staticmethod
    def _write() -> str:
        try:
            with tempfile.TemporaryFile() as file:
                file.write(bytes(4 << 20))
        except OSError as error:
            return str(error)
        return "written"


def load(arguments: dict[str, Any], progress: Callable[[str, int, int], None]) -> NosyEngine:
    return NosyEngine(arguments.get("look_at", []))
