"""Quotes from the Linux kernel's configfs-tsm interface, inside a TDX guest (Linux 6.7 and later).

A report is a folder: 64 bytes are written to `inblob`, the quote is read from `outblob`. `generation` counts writes: if
it is not the one expected after reading, somebody else wrote, and the quote is not ours. Interface: the kernel's
Documentation/ABI/testing/configfs-tsm. Not tried on hardware; tested on a folder that behaves like the kernel's.
"""

import contextlib
import os
from pathlib import Path

from oracle.attestation.quote import Quote
from oracle.errors import NoTee, TeeBusy

REPORTS = Path("/sys/kernel/config/tsm/report")
PROVIDER = "tdx_guest"
TRIES = 5


class ConfigfsTsm:
    """A `QuoteProducer` of real hardware."""

    def __init__(self, reports: Path = REPORTS, name: str = "") -> None:
        """name: of this process's report; by default its number."""
        self._entry = reports / (name or f"didyma-{os.getpid()}")

    def quote(self, report_data: bytes) -> Quote:
        """report_data: 64 bytes. Raises NoTee, TeeBusy, BadQuote."""
        if len(report_data) != 64:
            raise ValueError(f"report data of {len(report_data)} bytes, not 64")
        try:
            self._entry.mkdir(exist_ok=True)
        except OSError as error:
            raise NoTee(f"{self._entry.parent}: {error.strerror}; is this a TDX guest with Linux 6.7?") from error
        try:
            made = self._asked(report_data)
            if not made.strip(b"\0"):
                raise NoTee(f"{self._entry}: the kernel gave an empty quote; does a quoting service run on the host?")
            return Quote.parse(made, is_padded=True)
        except OSError as error:
            raise NoTee(f"{self._entry}: {error.strerror}") from error
        finally:
            self._remove()

    def _asked(self, report_data: bytes) -> bytes:
        provider = self._read("provider").decode().strip()
        if provider != PROVIDER:
            raise NoTee(f"the kernel's provider of reports is {provider}, not {PROVIDER}")
        for _ in range(TRIES):
            expected = self._generation() + 1
            self._write(report_data)
            quote = self._read("outblob")
            if self._generation() == expected:
                return quote
        raise TeeBusy(f"{self._entry} is written to by others")

    def _generation(self) -> int:
        return int(self._read("generation"))

    def _read(self, name: str) -> bytes:
        return (self._entry / name).read_bytes()

    def _write(self, data: bytes) -> None:
        (self._entry / "inblob").write_bytes(data)

    def _remove(self) -> None:
        """Removes a report's folder; the kernel removes what is in it."""
        with contextlib.suppress(OSError):  # not the kernel's, or gone
            self._entry.rmdir()
