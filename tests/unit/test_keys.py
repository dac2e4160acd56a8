"""Keys: refused when others can read them, silent otherwise, and never trusted to have signed what was asked."""

import errno
import json
import os
import pickle
import resource
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from pydantic import SecretStr
from rig.anvil import KEYS
from rig.child import run_child

from oracle.chain.keys import LocalSigner, RemoteSigner, UnsignedTx, check_signed, load_keystore, load_keystore_async
from oracle.errors import AlreadyRunning, InsecureKeyFile, SignerFailed

NODE = Account.from_key(KEYS[0])
TX = UnsignedTx(31337, 7, Account.from_key(KEYS[1]).address, 5, b"\x01\x02", 50_000, 10**10, 10**9)


@pytest.fixture
def keystore(tmp_path: Path) -> Path:
    path = tmp_path / "key.json"
    path.write_text(json.dumps(Account.encrypt(KEYS[0], "open sesame", kdf="pbkdf2", iterations=10)))
    path.chmod(0o600)
    return path


@pytest.fixture
def password(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text("open sesame\n")
    path.chmod(0o600)
    return path


# -- keystores -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
@pytest.mark.parametrize("which", ["keystore", "password"])
def test_load__file_open_to_others__is_refused(request, keystore, password, mode, which):
    file = request.getfixturevalue(which)
    file.chmod(mode)
    with pytest.raises(InsecureKeyFile, match=rf"{file.name} is open to others \(0{mode:o}\): chmod 600 it"):
        load_keystore(keystore, password)


def test_load__wrong_password__is_refused_and_leaves_no_lock(keystore, password):
    password.write_text("open sesam")
    with pytest.raises(InsecureKeyFile, match="wrong password, or not a keystore"):
        load_keystore(keystore, password)
    password.write_text("open sesame")
    load_keystore(keystore, password).close()


@pytest.mark.parametrize("content", ["", "{}", "[]", "\x00", '{"crypto": {}, "version": 3}'])
def test_load__malformed_keystore__is_refused(keystore, password, content):
    keystore.write_text(content)
    with pytest.raises(InsecureKeyFile, match="not a keystore"):
        load_keystore(keystore, password)


def test_load__missing_file_or_no_way_to_ask__is_refused(keystore, password, tmp_path):
    with pytest.raises(InsecureKeyFile, match="cannot be read"):
        load_keystore(tmp_path / "nothing", password)
    with pytest.raises(InsecureKeyFile, match="no password file and no terminal"):
        load_keystore(keystore)


def test_load__second_process_with_the_same_key__is_refused(keystore, password):
    signer = load_keystore(keystore, password)

    def other_process() -> None:
        with pytest.raises(AlreadyRunning, match="uses this key"):
            load_keystore(keystore, password)

    assert run_child(other_process) == 0
    signer.close()
    load_keystore(keystore, password).close()


@pytest.fixture
def read_only(monkeypatch, keystore: Path) -> Callable[[int], None]:
    """Makes the keystore's folder one in which nothing can be opened for writing, with that error."""
    opens = os.open

    def make(error: int) -> None:
        def refuse(path: Any, flags: int, *rest: Any) -> int:
            if Path(path).parent == keystore.parent and flags & os.O_RDWR:
                raise OSError(error, os.strerror(error), path)
            return opens(path, flags, *rest)

        monkeypatch.setattr(os, "open", refuse)

    return make


@pytest.mark.parametrize("error", [errno.EROFS, errno.EACCES])
def test_load__keystore_in_a_read_only_folder__is_locked_in_the_other(keystore, password, tmp_path, read_only, error):
    read_only(error)
    locks = tmp_path / "data" / "node"
    signer = load_keystore(keystore, password, locks=locks)
    assert [path.name for path in locks.iterdir()] == [f"{NODE.address}.lock"]

    def other_process() -> None:
        with pytest.raises(AlreadyRunning, match="uses this key"):
            load_keystore(keystore, password, locks=locks)

    assert run_child(other_process) == 0
    signer.close()
    load_keystore(keystore, password, locks=locks).close()


def test_load__keystore_in_a_read_only_folder_and_no_other__is_refused(keystore, password, read_only):
    read_only(errno.EROFS)
    with pytest.raises(InsecureKeyFile, match=r"lock cannot be opened: .*key.json.lock \(Read-only file system\)"):
        load_keystore(keystore, password)


def test_load__lock_of_another_user_beside_the_keystore__is_not_passed_by(keystore, password, tmp_path, read_only):
    keystore.with_name("key.json.lock").touch()
    read_only(errno.EACCES)
    with pytest.raises(InsecureKeyFile, match=r"key.json.lock \(Permission denied\)"):
        load_keystore(keystore, password, locks=tmp_path / "data")


def test_load__folder_that_can_be_written__keeps_two_journals_apart(keystore, password, tmp_path):
    signer = load_keystore(keystore, password, locks=tmp_path / "one")

    def other_process() -> None:
        with pytest.raises(AlreadyRunning, match="uses this key"):
            load_keystore(keystore, password, locks=tmp_path / "two")

    assert run_child(other_process) == 0
    signer.close()


async def test_load__right_password__signs_and_switches_core_dumps_off(keystore, password):
    signer = await load_keystore_async(keystore, password, keystore.parent)
    assert signer.address == NODE.address
    assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
    signed = await signer.sign(TX)
    check_signed(signed.raw, TX, NODE.address)
    signer.close()


def test_load__prompt__is_asked_by_name(keystore):
    asked: list[str] = []
    signer = load_keystore(keystore, prompt=lambda text: asked.append(text) or "open sesame")
    assert asked == ["Password of key.json"]
    signer.close()


async def test_signer__shown_or_pickled__gives_nothing_away():
    signer = LocalSigner(NODE)
    shown = repr(signer) + str(signer) + repr(RemoteSigner(SecretStr("http://user:pass@host"), NODE.address))
    assert KEYS[0][2:] not in shown
    assert "pass" not in shown
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(signer)


# -- remote signers (F42) ------------------------------------------------------------------------------------


@pytest.fixture
def remote() -> Iterator[Callable[[Any], RemoteSigner]]:
    """A signer that replies what the test says."""
    reply: dict[str, Any] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            call = json.loads(self.rfile.read(int(self.headers["content-length"])))
            assert call["method"] == "eth_signTransaction"
            assert call["params"][0]["from"] == NODE.address
            body = json.dumps(reply["body"]).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()

    def make(body: Any) -> RemoteSigner:
        reply["body"] = body
        return RemoteSigner(SecretStr(f"http://127.0.0.1:{server.server_port}"), NODE.address, timeout_seconds=2)

    yield make
    server.shutdown()
    server.server_close()


async def raw(tx: UnsignedTx, key: str = KEYS[0]) -> str:
    return "0x" + (await LocalSigner(Account.from_key(key)).sign(tx)).raw.hex()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"to": NODE.address}, "to"),
        ({"value_wei": 6}, "value"),
        ({"data": b""}, "data"),
        ({"nonce": 8}, "nonce"),
        ({"chain_id": 1}, "chainId"),
        ({"gas_limit": 50_001}, "gas"),
        ({"max_fee_wei": 10**11}, "maxFeePerGas"),
        ({"tip_wei": 10**9 + 1}, "maxPriorityFeePerGas"),
    ],
)
async def test_remote__signs_something_else__is_refused(remote, changes, field):
    signer = remote({"result": await raw(replace(TX, **changes))})
    with pytest.raises(SignerFailed, match=f"^the remote signer changed the field {field}$"):
        await signer.sign(TX)


async def test_remote__signs_with_another_key__is_refused(remote):
    signer = remote({"result": await raw(TX, KEYS[1])})
    with pytest.raises(SignerFailed, match="signed as 0x7099"):
        await signer.sign(TX)


@pytest.mark.parametrize(
    "body", [{}, [], {"error": {"message": "no"}}, {"result": None}, {"result": "0xzz"}, {"result": "0x02"}]
)
async def test_remote__refuses_or_talks_nonsense__fails_for_now(remote, body):
    with pytest.raises(SignerFailed):
        await remote(body).sign(TX)


async def test_remote__unreachable__fails_for_now_without_its_url():
    signer = RemoteSigner(SecretStr("http://user:pass@127.0.0.1:1"), NODE.address)
    with pytest.raises(SignerFailed, match=r"^the remote signer is unreachable \(ConnectError\)$"):
        await signer.sign(TX)


@pytest.mark.parametrize("wrap", [lambda r: r, lambda r: {"raw": r, "tx": {}}])
async def test_remote__signs_as_asked__is_used(remote, wrap):
    signed = await remote({"result": wrap(await raw(TX))}).sign(TX)
    assert signed == await LocalSigner(NODE).sign(TX)
