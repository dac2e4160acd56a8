"""A Postgres server of a test's own: Debian's binaries, a folder, a port that was free; stopped by its process id."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import psycopg


def binaries() -> Path | None:
    """Where Debian's newest Postgres keeps its programs, if one is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


class Postgres:
    """A server with one empty database. Postgres refuses to run as root, so it runs as its own user there."""

    def __init__(self) -> None:
        programs = binaries()
        assert programs is not None, "ask `binaries` first"
        self._programs, self._folder = programs, Path(tempfile.mkdtemp(prefix="postgres-"))  # pytest's are root's alone
        self._as = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
        if self._as is not None:
            os.chown(self._folder, self._as.pw_uid, self._as.pw_gid)
        self._data = self._folder / "data"
        self._run("initdb", "-D", self._data, "-U", "didyma", "--auth=trust", "--no-sync")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._server: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"postgresql://didyma@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        options = {"listen_addresses": "127.0.0.1", "fsync": "off", "max_connections": "900"}
        options["unix_socket_directories"] = ""
        settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        self._server = subprocess.Popen(
            [self._programs / "postgres", "-D", self._data, "-p", str(self.port), *settings],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **self._user(),
        )
        deadline = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(self.url, connect_timeout=5).close()
                break
            except psycopg.OperationalError:
                assert self._server.poll() is None, "postgres ended when it started"
                assert time.monotonic() < deadline, "postgres does not take connections"
                time.sleep(0.05)

    def over_tls_alone(self, certificate: bytes, key: bytes) -> None:
        """From now on: without a password for `didyma`, and with one for all others. certificate, key: PEM texts."""
        files = {
            "server.crt": certificate,
            "server.key": key,
            "pg_hba.conf": b"hostssl all didyma 127.0.0.1/32 trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n",
        }
        for name, content in files.items():
            (self._data / name).write_bytes(content)
            (self._data / name).chmod(0o600)
            if self._as is not None:
                os.chown(self._data / name, self._as.pw_uid, self._as.pw_gid)
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET ssl = on")
            connection.execute("SELECT pg_reload_conf()")
        deadline = time.monotonic() + 10
        while True:
            with contextlib.suppress(psycopg.OperationalError):
                psycopg.connect(f"{self.url}?sslmode=require", connect_timeout=5).close()
                return
            assert time.monotonic() < deadline, "postgres does not speak TLS"
            time.sleep(0.05)

    def stop(self) -> None:
        """At once, as when its machine loses power."""
        assert self._server is not None
        self._server.send_signal(signal.SIGQUIT)
        self._server.wait(30)

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._folder)

    def _run(self, program: str, *arguments: object) -> None:
        command = [str(self._programs / program), *map(str, arguments)]
        subprocess.run(command, check=True, capture_output=True, **self._user())

    def _user(self) -> dict[str, Any]:
        found = self._as
        return {"cwd": "/"} if found is None else {"user": found.pw_uid, "group": found.pw_gid, "cwd": "/"}
