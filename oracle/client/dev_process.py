"""A `didyma dev` in a process of its own, for tests: started, asked, moved on in time, and stopped."""

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from web3 import Web3

from oracle.chain.connect import connect
from oracle.chain.deployment import Deployment
from oracle.client import devnet, devnodes
from oracle.client.client import OracleClient
from oracle.client.given import service_of
from oracle.errors import Refused, printable
from oracle.ids import ServiceId

READY_SECONDS = 300.0
LAST_BYTES = 2000
DEPLOYMENT_NAME = "deployment.json"


@dataclass(frozen=True)
class DevNetwork:
    """A running network."""

    file: Path
    """Its deployment file."""
    rpc_url: str
    service: ServiceId
    """The one that it opened, of the model that it was given."""

    @classmethod
    def of(cls, file: Path, place: Mapping[str, str] = MappingProxyType({})) -> "DevNetwork":
        """The network that a deployment file tells of. place: what is known better. Raises Refused, BadArgument."""
        try:
            fields = {**json.loads(file.read_text()), **place}
        except (OSError, ValueError, TypeError) as error:
            what = f"DIDYMA_DEPLOYMENT names no deployment ({error}): if its network has ended, unset the variable"
            raise Refused(what) from None
        urls, service = str(fields.get("rpc_url", "")).replace(",", " ").split(), fields.get("service")
        if not urls or service is None:
            raise Refused(f"{file} names no endpoint or no service: set DIDYMA_RPC_URLS and DIDYMA_SERVICE")
        return cls(file, urls[0], service_of(_bytes_of(service)))

    @property
    def deployment(self) -> Deployment:
        return Deployment.load(self.file)

    @property
    def w3(self) -> Web3:
        return connect(self.rpc_url)

    def client(self, index: int = devnet.ASKER) -> OracleClient:
        """Of a development account."""
        return OracleClient(self.w3, self.deployment, devnet.account(index))

    def pass_time(self, seconds: int) -> None:
        """Moves the chain's clock ahead. Its nodes go on: they go by the chain's clock."""
        devnet.pass_time(self.w3, seconds)


def found(environment: Mapping[str, str]) -> DevNetwork | None:
    """The network around this process, as `didyma dev -- COMMAND` tells of it."""
    file = environment.get("DIDYMA_DEPLOYMENT")
    if file is None or "DIDYMA_SERVICE" not in environment:
        return None
    names = {"service": "DIDYMA_SERVICE", "rpc_url": "DIDYMA_RPC_URLS"}
    return DevNetwork.of(Path(file), {field: environment[name] for field, name in names.items() if name in environment})


def _bytes_of(text: object) -> bytes:
    """What is written in hexadecimal; nothing where it is not."""
    try:
        return bytes.fromhex(str(text).removeprefix("0x"))
    except ValueError:
        return b""


@contextlib.contextmanager
def running(folder: Path, *options: str) -> Iterator[DevNetwork]:
    """A network of its own, on a free port. options: more of `didyma dev`. Raises Refused where it is not ready."""
    folder.mkdir(parents=True, exist_ok=True)
    log, file = folder / "dev.log", folder / "network" / DEPLOYMENT_NAME
    command = [sys.executable, "-m", "oracle.cli", "dev", "--port", "0", "--folder", str(file.parent), *options]
    with log.open("wb") as out:
        process = devnodes.start(command, out, os.environ)
    try:
        end = time.monotonic() + READY_SECONDS
        while not file.exists():
            if process.poll() is not None or time.monotonic() > end:
                said = printable(log.read_text(errors="replace")[-LAST_BYTES:].strip())
                raise Refused(f"`didyma dev` is not ready; it said: {said}")
            time.sleep(0.2)
        yield DevNetwork.of(file)
    finally:
        devnodes.stop([process])
