"""Keys: where they come from and what may be signed with them.

A key is an encrypted keystore file (v3, as geth, clef, cast and Ape write it) with its password in a file or typed in,
or it stays in a remote signer. Key bytes exist only inside eth-account's object: nothing here prints, logs or pickles
them, and core dumps are switched off before one is decrypted. What a remote signer returns is checked: the right
address must have signed exactly what was asked.
"""

import asyncio
import errno
import json
import logging
import os
import resource
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Protocol

import httpx
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from hexbytes import HexBytes
from pydantic import SecretStr

from oracle.errors import InsecureKeyFile, SignerFailed
from oracle.journal.lock import FileLock

for _name in ("httpx", "httpcore"):  # httpx logs every URL at INFO
    logging.getLogger(_name).setLevel(logging.WARNING)


@dataclass(frozen=True)
class UnsignedTx:
    """An EIP-1559 transaction, complete but for its signature."""

    chain_id: int
    nonce: int
    to: str
    value_wei: int
    data: bytes
    gas_limit: int
    max_fee_wei: int
    tip_wei: int

    def fields(self) -> dict[str, Any]:
        """As eth-account names them."""
        return {
            "type": 2,
            "chainId": self.chain_id,
            "nonce": self.nonce,
            "to": to_checksum_address(self.to),
            "value": self.value_wei,
            "data": self.data,
            "gas": self.gas_limit,
            "maxFeePerGas": self.max_fee_wei,
            "maxPriorityFeePerGas": self.tip_wei,
        }


@dataclass(frozen=True)
class SignedTx:
    """A transaction ready to be sent."""

    raw: bytes
    hash: bytes


class Signer(Protocol):
    """One key's ability to sign."""

    @property
    def address(self) -> str:
        """Checksummed."""

    async def sign(self, tx: UnsignedTx) -> SignedTx:
        """Signs. Raises SignerFailed."""

    def close(self) -> None:
        """Frees what is held, the lock of a key."""


class LocalSigner:
    """A key in this process's memory."""

    def __init__(self, account: LocalAccount, lock: FileLock | None = None) -> None:
        self._account = account
        self._lock = lock

    @property
    def address(self) -> str:
        """Checksummed."""
        return str(self._account.address)

    async def sign(self, tx: UnsignedTx) -> SignedTx:
        """Signs at once."""
        signed = self._account.sign_transaction(tx.fields())
        return SignedTx(bytes(signed.raw_transaction), bytes(signed.hash))

    def close(self) -> None:
        """Frees the lock of the key."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __repr__(self) -> str:
        return f"LocalSigner({self.address})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a signer cannot be pickled")


class RemoteSigner:
    """A key behind JSON-RPC `eth_signTransaction`, as clef and web3signer serve it."""

    def __init__(self, url: SecretStr, address: str, *, timeout_seconds: float = 10.0) -> None:
        self._address = str(to_checksum_address(address))
        self._url = url
        self._timeout = timeout_seconds
        self._certificates = httpx.create_ssl_context()  # read once: it takes longer than a signature

    @property
    def address(self) -> str:
        """Checksummed."""
        return self._address

    def __repr__(self) -> str:
        return f"RemoteSigner({self.address})"

    async def sign(self, tx: UnsignedTx) -> SignedTx:
        """Asks the signer, and checks who signed what. Raises SignerFailed."""
        wanted = {name: hex(value) if isinstance(value, int) else value for name, value in tx.fields().items()}
        wanted |= {"from": self._address, "data": "0x" + tx.data.hex(), "input": "0x" + tx.data.hex()}
        body = {"jsonrpc": "2.0", "id": 1, "method": "eth_signTransaction", "params": [wanted]}
        try:
            async with httpx.AsyncClient(timeout=self._timeout, verify=self._certificates) as client:
                response = await client.post(self._url.get_secret_value(), json=body)
            result = response.raise_for_status().json()["result"]
            raw = bytes.fromhex((result["raw"] if isinstance(result, Mapping) else result).removeprefix("0x"))
        except httpx.HTTPError as error:
            raise SignerFailed(f"the remote signer is unreachable ({type(error).__name__})") from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise SignerFailed("the remote signer refused, or its reply is no signed transaction") from None
        check_signed(raw, tx, self._address)
        return SignedTx(raw, keccak(raw))

    def close(self) -> None:
        """Nothing is held."""


def check_signed(raw: bytes, tx: UnsignedTx, address: str) -> None:
    """Raises SignerFailed unless `raw` is exactly `tx`, signed by `address`."""
    try:
        found = TypedTransaction.from_bytes(HexBytes(raw)).as_dict()
        signed_by = Account.recover_transaction(raw)
    except Exception:  # eth-account raises whatever rlp, hexbytes and eth-keys raise on bad bytes
        raise SignerFailed("the remote signer returned no signed transaction") from None
    if signed_by != address:
        raise SignerFailed(f"the remote signer signed as {signed_by}, not as {address}")
    for name, value in tx.fields().items():
        got = found.get(name)
        same = bytes(got or b"") == value if isinstance(value, bytes) else _plain(got) == _plain(value)
        if not same:
            raise SignerFailed(f"the remote signer changed the field {name}")
    if found.get("accessList"):
        raise SignerFailed("the remote signer added an access list")


def _plain(value: Any) -> Any:
    """Addresses as lower-case hex, whatever form they come in."""
    if isinstance(value, bytes):
        return "0x" + value.hex()
    return value.lower() if isinstance(value, str) else value


def load_keystore(
    keystore: Path,
    password_file: Path | None = None,
    *,
    prompt: Callable[[str], str] | None = None,
    locks: Path | None = None,
) -> LocalSigner:
    """Decrypts a keystore and locks its key against a second process.

    locks: folder for the lock where that of the keystore cannot be written; made if need be.
    Raises InsecureKeyFile (others may read it, malformed, wrong password, no place for the lock) or AlreadyRunning.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold the key
    encrypted = _encrypted(keystore)
    if password_file is not None:
        password = _read_private(password_file).removesuffix("\n").removesuffix("\r")
    elif prompt is not None:
        password = prompt(f"Password of {keystore.name}")
    else:
        raise InsecureKeyFile(f"{keystore}: no password file and no terminal to ask for the password")
    try:
        account: LocalAccount = Account.from_key(Account.decrypt(encrypted, password))
    except (ValueError, KeyError, TypeError, AttributeError, NotImplementedError):
        raise InsecureKeyFile(f"{keystore}: wrong password, or not a keystore") from None
    return LocalSigner(account, _lock(keystore, str(account.address), locks))


async def load_keystore_async(keystore: Path, password_file: Path | None, locks: Path) -> LocalSigner:
    """`load_keystore` off the event loop: scrypt takes a second on purpose."""
    return await asyncio.to_thread(load_keystore, keystore, password_file, locks=locks)


def _lock(keystore: Path, address: str, locks: Path | None) -> FileLock:
    """Beside the keystore, where daemons with different journals find it; in `locks` if that folder is read-only."""
    path = keystore.with_name(keystore.name + ".lock")
    try:
        try:
            return FileLock(path, "this key")
        except OSError as error:
            foreign = error.errno == errno.EACCES and path.exists()  # somebody may hold it: no second one elsewhere
            if locks is None or foreign or error.errno not in (errno.EROFS, errno.EACCES):
                raise
        path = locks / f"{address}.lock"
        locks.mkdir(mode=0o700, parents=True, exist_ok=True)
        return FileLock(path, "this key")
    except OSError as error:
        raise InsecureKeyFile(f"the key's lock cannot be opened: {path} ({error.strerror})") from None


def _encrypted(keystore: Path) -> dict[str, Any]:
    """A keystore as JSON: nobody is asked for the password of something else. Raises InsecureKeyFile."""
    try:
        found = json.loads(_read_private(keystore))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not {"crypto", "Crypto"} & set(found):
        raise InsecureKeyFile(f"{keystore} is not a keystore; `didyma keys new` makes one")
    return found


def _read_private(path: Path) -> str:
    """The text of a file that only its owner can read."""
    try:
        with path.open(encoding="utf-8") as file:
            mode = os.fstat(file.fileno()).st_mode
            if stat.S_IMODE(mode) & 0o077:
                raise InsecureKeyFile(f"{path} is open to others ({stat.S_IMODE(mode):04o}): chmod 600 it")
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise InsecureKeyFile(f"{path}: cannot be read ({type(error).__name__})") from None
