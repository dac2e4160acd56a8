"""Accounts and storage as plain dictionaries with an undo list: what py-evm asks of its database, without tries.

A state is cheap to copy, so every block keeps its own, and a reorganisation of any depth goes back to one. There is no
state root: nothing that this project runs reads one.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from eth.abc import AccountDatabaseAPI
from eth_utils.crypto import keccak

Slot = tuple[bytes, int]
NOBODY = (0, 0, b"")
"""An account without nonce, balance (wei) and code."""
_ABSENT: Any = object()


@dataclass(frozen=True)
class Snapshot:
    """The state after a block. Nobody changes it."""

    accounts: dict[bytes, tuple[int, int, bytes]] = field(default_factory=dict)
    """By address: nonce, balance in wei, code."""
    storage: dict[Slot, int] = field(default_factory=dict)
    """Values that are not zero."""


class State(AccountDatabaseAPI):
    """A copy of a snapshot that transactions may change and take back."""

    state_root = b""  # of a trie that there is none of

    def __init__(self, db: Snapshot, state_root: bytes = b"") -> None:
        self.accounts = dict(db.accounts)
        self.storage = dict(db.storage)
        self.transient: dict[Slot, bytes] = {}
        self._warm: dict[Any, bool] = {}
        self._before: dict[Slot, int] = {}
        self._undo: list[tuple[dict[Any, Any], Any, Any]] = []

    def frozen(self) -> Snapshot:
        """This state as a block keeps it. Use the state no more."""
        return Snapshot(self.accounts, self.storage)

    def lock_changes(self) -> None:
        """Begins a transaction: nothing is warm, and what stands now can no longer be taken back."""
        self.transient, self._warm, self._before, self._undo = {}, {}, {}, []

    def record(self) -> Any:
        return len(self._undo)

    def discard(self, checkpoint: Any) -> None:
        while len(self._undo) > checkpoint:
            where, key, old = self._undo.pop()
            if old is _ABSENT:
                del where[key]
            else:
                where[key] = old

    def commit(self, checkpoint: Any) -> None:
        """Nothing: the undo list of the caller goes on."""

    def put(self, where: dict[Any, Any], key: Any, value: Any) -> None:
        """Changes one entry, so that `discard` can take it back."""
        self._undo.append((where, key, where.get(key, _ABSENT)))
        where[key] = value

    def drop(self, where: dict[Any, Any], key: Any) -> None:
        """Deletes one entry, if it is there, so that `discard` can take it back."""
        if key in where:
            self._undo.append((where, key, where.pop(key)))

    # -- storage -------------------------------------------------------------------------------------------------

    def get_storage(self, address: bytes, slot: int, from_journal: bool = True) -> int:
        key = (address, slot)
        if not from_journal and key in self._before:
            return self._before[key]
        return self.storage.get(key, 0)

    def set_storage(self, address: bytes, slot: int, value: int) -> None:
        key = (address, slot)
        self._before.setdefault(key, self.storage.get(key, 0))
        if value:
            self.put(self.storage, key, value)
        else:
            self.drop(self.storage, key)

    def delete_storage(self, address: bytes) -> None:
        for key in [key for key in self.storage if key[0] == address]:
            self.drop(self.storage, key)

    def is_storage_warm(self, address: bytes, slot: int) -> bool:
        return (address, slot) in self._warm

    def mark_storage_warm(self, address: bytes, slot: int) -> None:
        self.put(self._warm, (address, slot), True)

    def is_address_warm(self, address: bytes) -> bool:
        return address in self._warm

    def mark_address_warm(self, address: bytes) -> None:
        self.put(self._warm, address, True)

    # -- accounts ------------------------------------------------------------------------------------------------

    def get_nonce(self, address: bytes) -> int:
        return self.accounts.get(address, NOBODY)[0]

    def get_balance(self, address: bytes) -> int:
        return self.accounts.get(address, NOBODY)[1]

    def get_code(self, address: bytes) -> bytes:
        return self.accounts.get(address, NOBODY)[2]

    def get_code_hash(self, address: bytes) -> Any:
        return _hash(self.get_code(address)) if not self.account_is_empty(address) else b""

    def set_nonce(self, address: bytes, nonce: int) -> None:
        _, balance, code = self.accounts.get(address, NOBODY)
        self.put(self.accounts, address, (nonce, balance, code))

    def increment_nonce(self, address: bytes) -> None:
        self.set_nonce(address, self.get_nonce(address) + 1)

    def set_balance(self, address: bytes, balance: int) -> None:
        nonce, _, code = self.accounts.get(address, NOBODY)
        self.put(self.accounts, address, (nonce, balance, code))

    def set_code(self, address: bytes, code: bytes) -> None:
        nonce, balance, _ = self.accounts.get(address, NOBODY)
        self.put(self.accounts, address, (nonce, balance, code))

    def delete_code(self, address: bytes) -> None:
        self.set_code(address, b"")

    def account_has_code_or_nonce(self, address: bytes) -> bool:
        nonce, _, code = self.accounts.get(address, NOBODY)
        return bool(nonce or code)

    def delete_account(self, address: bytes) -> None:
        self.delete_storage(address)
        self.drop(self.accounts, address)

    def account_exists(self, address: bytes) -> bool:
        return address in self.accounts

    def touch_account(self, address: bytes) -> None:
        self.put(self.accounts, address, self.accounts.get(address, NOBODY))

    def account_is_empty(self, address: bytes) -> bool:
        return self.accounts.get(address, NOBODY) == NOBODY

    # -- what only tries need ------------------------------------------------------------------------------------

    def has_root(self, state_root: bytes) -> bool:
        raise NotImplementedError

    def make_state_root(self) -> Any:
        raise NotImplementedError

    def persist(self) -> Any:
        raise NotImplementedError


@lru_cache(maxsize=256)
def _hash(code: bytes) -> bytes:
    return keccak(code)
