"""`didyma watch` as a newcomer runs it: the service's model is added, and a process of its own watches; no seat."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from time import monotonic
from typing import Any

from e2e.test_games import (  # noqa: F401, the fixtures of worlds with games
    GAME,
    SecondTokenOff,
    asked_of,
    built,
    exact,
    games,
    store,
)
from e2e.world import ACCOUNTS, ETHER, NODES, World, step, team
from eth_account import Account
from typer.testing import CliRunner

from oracle.cli import app
from oracle.models.store import ModelStore

FIRST_CHECK_SECONDS = 600
NOTHING = {"checked": 0, "wrong": 0, "bonds_out_wei": 0, "ready": False}
WATCHER = ACCOUNTS[8]


class Watching:
    """A running `didyma watch --json`."""

    def __init__(self, earth: World, folder: Path, models: Path, *options: object) -> None:
        folder.mkdir()
        self._port = free_port()
        earth.deployment.save(folder / "deployment.json")
        words = ["watch", "0x" + earth.service.hex(), "--rpc-url", earth.chain.url, "--store", models, "--json"]
        words += ["--deployment", folder / "deployment.json", "--data-dir", folder / "data", "--port", self._port]
        self._out, self._log = folder / "out", folder / "log"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("DIDYMA_")}
        with self._out.open("w") as out, self._log.open("w") as log:
            command = [sys.executable, "-m", "oracle.cli", *map(str, (*words, *options))]
            self.process = subprocess.Popen(command, stdout=out, stderr=log, env=environment)

    @property
    def said(self) -> list[dict[str, Any]]:
        """Every line; the last may be half written."""
        lines = self._out.read_text().rpartition("\n")[0].splitlines()
        return [json.loads(line) for line in lines]

    @property
    def wrong(self) -> list[dict[str, Any]]:
        return [line for line in self.said if "reason" in line]

    @property
    def figures(self) -> dict[str, Any]:
        return next((line for line in reversed(self.said) if "checked" in line), NOTHING)

    def on_its_page(self, path: str) -> Any:
        """What its dashboard reads."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=30) as reply:
            return json.load(reply)

    def says_the_same_everywhere(self) -> bool:
        """Whether its page has the figures of its last line."""
        state, money, said = self.on_its_page("/view/state"), self.on_its_page("/view/money?weeks=520"), self.figures
        (service,) = state["services"]
        checks = service["checks"]
        return said == said | {
            "ready": state["ready"],
            "alerts_only": state["dry_run"],
            "checked": checks["made"],
            "wrong": checks["wrong"],
            "unchecked": checks["late"] + checks["unknown"],
            "seconds_each": checks["seconds_each"],
            "bonds_out_wei": int(money["challenges_wei"]),
            "rewards_wei": int(money["rewards_wei"]),
            "to_settle": money["to_settle"],
            "credit_wei": sum(int(key["credit_wei"]) for key in state["keys"]),
            "net_wei": int(money["total"]["net_wei"]),
        }

    def stopped(self) -> int:
        """Asks it to end. Returns its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def added(store: ModelStore, folder: Path) -> Path:  # noqa: F811
    """A store of the newcomer's own, with the model added from its file and the manifest that others show."""
    (manifest,) = store.manifests()
    shown = command("model", "show", f"0x{manifest.model_id.hex()}", "--store", store.root)
    (folder / "manifest.json").write_text(shown)
    own = folder / "models"
    command("model", "add", store.file(manifest).path, "--manifest", folder / "manifest.json", "--store", own)
    return own


def command(*words: object) -> str:
    """What `didyma` prints."""
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return done.stdout


async def test_watch__lie_posted__one_alerts_without_a_key_and_one_challenges_within_its_budget(
    earth,
    tmp_path,
    store,  # noqa: F811
):
    keystore, password = tmp_path / "key.json", tmp_path / "password"
    keystore.write_text(json.dumps(Account.encrypt(WATCHER.key, "word", kdf="pbkdf2", iterations=1000)))
    password.write_text("word\n")
    for file in (keystore, password):
        file.chmod(0o600)
    began = monotonic()
    models = added(store, tmp_path)

    def both_say(name: str, least: int) -> bool:
        assert monotonic() - began < FIRST_CHECK_SECONDS, (seeing.said[-3:], acting.said[-3:])
        assert seeing.process.poll() is None
        assert acting.process.poll() is None
        return all(each.figures[name] >= least for each in (seeing, acting))

    seeing = Watching(earth, tmp_path / "seeing", models)
    acting = Watching(
        earth, tmp_path / "acting", models, "--keystore", keystore, "--password-file", password, "--budget", "0.25"
    )
    try:
        async with team(earth, tmp_path, SecondTokenOff(exact(store)), models=store.root) as nodes:
            while not both_say("ready", 1):
                await step(earth, *nodes)
                await asyncio.sleep(1)
            request = await asked_of(earth, nodes, NODES[0].address)
            while not both_say("wrong", 1) or not acting.figures["bonds_out_wei"]:
                await step(earth, *nodes)
                await asyncio.sleep(1.5)  # they look every two seconds, and the window is 15 blocks
            for each in (seeing, acting):
                while not await asyncio.to_thread(each.says_the_same_everywhere):
                    assert monotonic() - began < FIRST_CHECK_SECONDS, (each.figures, each.on_its_page("/view/state"))
                    await asyncio.sleep(0.5)
        assert seeing.wrong[0]["wrong"] == f"0x{request:064x}"
        assert (seeing.figures["alerts_only"], seeing.figures["wrong"]) == (True, 1)
        assert seeing.figures["seconds_each"] > 0
        assert {args["challenger"] for args in games(earth)} == {WATCHER.address}
        bonds = [line["bonds_out_wei"] for line in acting.said if "checked" in line]
        assert GAME.challenge_bond_wei in bonds
        assert max(bonds) <= ETHER // 4
        assert seeing.figures["net_wei"] == 0
        assert seeing.stopped() == acting.stopped() == 0
    finally:
        for each in (seeing, acting):
            if each.process.poll() is None:
                each.process.kill()
