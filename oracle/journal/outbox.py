"""The part of the journal that decides what may be signed: intents, nonces, attempts.

An intent is one thing to get mined, under a key that is unique for ever ("answer:<chain>:<oracle>:<request>:<turn>:
<seed block hash>"): a second payload under the same key is refused, so two different answers to one question cannot
both be signed. A nonce row is one place in the account's sequence; rows are contiguous and stay. An attempt is one
signed transaction for a nonce; its bytes are stored here before they are sent to any endpoint.

States of an intent:
    planned -> sent -> mined -> final                     the usual way
    planned -> sent -> failed -> reverted                 mined, and without effect
    planned -> abandoned                                  nothing was ever signed
    sent -> replacing -> replaced                         a self-transfer took its nonce
A reorg leads from mined or failed back to sent (or replacing). States of a nonce: open -> mined -> final, and back
to open.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from eth_utils.crypto import keccak

from oracle.errors import ConflictingAnswer, JournalCorrupt
from oracle.journal.journal import KEYS_AT_ONCE, Tx, given
from oracle.journal.schema import attempts, intents, nonces

LIVE: Final = ("planned", "sent", "mined", "replacing")
"""States from which an intent may still have an effect."""

# Statements are made once, as the journal's.
_INTENT = sa.select(intents).where(intents.c.key == given("of"))
_ADD_INTENT, _CHANGE_INTENT = sa.insert(intents), sa.update(intents).where(intents.c.key == given("of"))
_HASTEN = _CHANGE_INTENT.where(intents.c.state == "planned", intents.c.deadline > given("most"))
_OWN_INTENTS = (intents.c.signer == given("by"), intents.c.state.in_(given("states", expanding=True)))
_IN_ORDER = (intents.c.urgent.desc(), intents.c.deadline.is_(None), intents.c.deadline, intents.c.planned_at)
_INTENTS = sa.select(intents).where(*_OWN_INTENTS).order_by(*_IN_ORDER)
_KEYS = sa.select(intents.c.key).where(*_OWN_INTENTS).order_by(*_IN_ORDER)
_AN_URGENT_ONE = sa.select(intents.c.key).where(*_OWN_INTENTS, intents.c.urgent).limit(1)
_DEADLINES = sa.select(intents.c.key, intents.c.deadline).where(*_OWN_INTENTS)
_BOUND = _DEADLINES.where(intents.c.deadline.is_not(None), sa.not_(intents.c.urgent))
_STATES = sa.select(intents.c.key, intents.c.state).where(intents.c.key.in_(given("keys", expanding=True)))

_OWN = nonces.c.signer == given("by")
_NONCES = (
    sa.select(nonces)
    .where(_OWN, nonces.c.state.in_(given("states", expanding=True)), nonces.c.nonce >= given("least"))
    .order_by(nonces.c.nonce)
)
_MINED_IN = sa.case((intents.c.nonce == nonces.c.nonce, intents.c.mined_block), else_=None)
_MINED = (
    sa.select(nonces)
    .join(intents, intents.c.key == nonces.c.key, isouter=True)
    .where(_OWN, nonces.c.state == "mined")
    .where(_MINED_IN.is_(None) | (given("most") >= _MINED_IN))
    .order_by(nonces.c.nonce)
)
_LOWEST = sa.select(nonces).where(_OWN).order_by(nonces.c.nonce).limit(1)
_HIGHEST = sa.select(nonces).where(_OWN).order_by(nonces.c.nonce.desc()).limit(1)
_HIGHEST_FINAL = _HIGHEST.where(nonces.c.state == "final")
_NONCE = sa.select(nonces).where(_OWN, nonces.c.nonce == given("of"))
_ADD_NONCE, _CHANGE_NONCE = sa.insert(nonces), sa.update(nonces).where(_OWN, nonces.c.nonce == given("of"))
_SET_COST = _CHANGE_NONCE.values(paid_at=sa.func.coalesce(nonces.c.paid_at, given("now")))

_ATTEMPTS = (
    sa.select(attempts)
    .where(attempts.c.signer == given("by"), attempts.c.nonce == given("of"))
    .order_by(sa.literal_column("rowid"))
)
_ADD_ATTEMPT, _CHANGE_ATTEMPT = sa.insert(attempts), sa.update(attempts).where(attempts.c.hash == given("of"))


@dataclass(frozen=True)
class Intent:
    """A transaction wanted, before nonce and fees."""

    key: str
    to: str
    data: bytes
    stake_wei: int
    """What getting it mined in time is worth: reward or bond. Fees stay below a share of it."""
    value_wei: int = 0
    deadline: int | None = None
    """Unix seconds of chain time from which on it is useless; None if it never is."""
    urgent: bool = False
    """A dispute move: goes first, may use the reserve and the ballast's space."""
    gas_limit: int | None = None
    """None: estimated, with a margin."""
    service: bytes | None = None
    """The id of the service that it is about; None if it is about several, or none."""

    @property
    def digest(self) -> bytes:
        """What must not change under one key."""
        return keccak(bytes.fromhex(self.to[2:]) + self.value_wei.to_bytes(32, "big") + self.data)


@dataclass(frozen=True)
class IntentRow:
    """An intent and what became of it."""

    intent: Intent
    signer: str
    state: str
    reason: str
    """Why it was abandoned, is being replaced, or reverted."""
    planned_at: int
    nonce: int | None
    tx_hash: bytes | None
    """Of the mined transaction."""
    mined_block: int | None


@dataclass(frozen=True)
class NonceRow:
    """One place in a key's sequence of transactions."""

    nonce: int
    key: str | None
    """The intent it serves; None for a gap that had to be filled."""
    state: str
    seen_at: int
    """Number of the head at which it took this state."""


@dataclass(frozen=True)
class Attempt:
    """One signed transaction."""

    hash: bytes
    nonce: int
    cancels: bool
    raw: bytes
    gas_limit: int
    max_fee_wei: int
    tip_wei: int
    block: int
    """Number of the head when it was signed, or when it had to start again after a reorg."""
    outcome: str
    """Value of the last SendOutcome; "" before the first."""


class Outbox:
    """The intents, nonces and attempts of one key, within one transaction of the journal."""

    def __init__(self, tx: Tx, signer: str) -> None:
        self._db = tx.connection
        self._signer = signer

    # -- intents -------------------------------------------------------------------------------------------------

    def plan(self, intent: Intent, planned_at: int) -> IntentRow:
        """Enters `intent`, or returns what became of it. Abandoned and replaced ones are planned anew.

        Raises ConflictingAnswer for another payload under a key that may have been signed.
        """
        known = self.intent(intent.key)
        if known is not None and known.intent.digest != intent.digest and known.nonce is not None:
            raise ConflictingAnswer(f"{intent.key}: another payload was signed with nonce {known.nonce}")
        if known is not None and known.intent.digest != intent.digest and known.state in LIVE:
            raise ConflictingAnswer(f"{intent.key}: another payload is planned")
        if known is not None and known.state not in ("abandoned", "replaced"):
            return known
        values: dict[str, Any] = {
            "signer": self._signer,
            "to": intent.to,
            "data": intent.data,
            "value_wei": intent.value_wei,
            "stake_wei": intent.stake_wei,
            "deadline": intent.deadline,
            "urgent": intent.urgent,
            "gas_limit": intent.gas_limit,
            "digest": intent.digest,
            "service": intent.service,
            "planned_at": planned_at,
            "state": "planned",
            "reason": "",
        }
        if known is None:
            self._db.execute(_ADD_INTENT, {"key": intent.key, **values})
        else:
            self._db.execute(_CHANGE_INTENT, {"of": intent.key, **values})
        return self.require(intent.key)

    def intent(self, key: str) -> IntentRow | None:
        """The intent of that key, whichever signer it belongs to."""
        row = self._db.execute(_INTENT, {"of": key}).one_or_none()
        return None if row is None else _intent(row)

    def require(self, key: str) -> IntentRow:
        """The intent of that key. Raises KeyError if there is none."""
        row = self.intent(key)
        if row is None:
            raise KeyError(key)
        return row

    def intents(self, *states: str) -> list[IntentRow]:
        """This signer's intents in those states: urgent ones first, then by deadline, then as planned."""
        return [_intent(row) for row in self._db.execute(_INTENTS, self._in(states))]

    def keys(self, *states: str) -> list[str]:
        """Keys of this signer's intents in those states, in the same order."""
        return list(self._db.execute(_KEYS, self._in(states)).scalars())

    def _in(self, states: Collection[str]) -> dict[str, Any]:
        return {"by": self._signer, "states": list(states)}

    def has_urgent(self, *states: str) -> bool:
        """Whether any of this signer's intents in those states is urgent."""
        return self._db.execute(_AN_URGENT_ONE, self._in(states)).one_or_none() is not None

    def bound(self, *states: str) -> dict[str, int]:
        """Deadlines of this signer's intents in those states that have one and are not urgent."""
        return {row.key: row.deadline for row in self._db.execute(_BOUND, self._in(states))}

    def deadlines(self, *states: str) -> list[tuple[str, int | None]]:
        """Key and deadline of this signer's intents in those states."""
        return [(row.key, row.deadline) for row in self._db.execute(_DEADLINES, self._in(states))]

    def states(self, keys: Collection[str]) -> dict[str, str]:
        """States of the intents of those keys, whichever signer they belong to; none of a key that has no intent."""
        found: dict[str, str] = {}
        ordered = sorted(keys)
        for start in range(0, len(ordered), KEYS_AT_ONCE):
            few = {"keys": ordered[start : start + KEYS_AT_ONCE]}
            found |= {row.key: row.state for row in self._db.execute(_STATES, few)}
        return found

    def hasten(self, key: str, deadline: int) -> None:
        """Gives an intent that is not signed yet an earlier deadline."""
        self._db.execute(_HASTEN, {"of": key, "most": deadline, "deadline": deadline})

    def drop(self, key: str, reason: str) -> None:
        """Declares an intent useless. A planned one is abandoned; a sent one loses its nonce to a self-transfer."""
        row = self.intent(key)
        if row is not None and row.state == "planned":
            self.set_intent(key, "abandoned", reason=reason)
        elif row is not None and row.state == "sent":
            self.set_intent(key, "replacing", reason=reason)

    def set_intent(self, key: str, state: str, **values: Any) -> None:
        """Moves an intent on."""
        self._db.execute(_CHANGE_INTENT, {"of": key, "state": state, **values})

    # -- nonces --------------------------------------------------------------------------------------------------

    def nonces(self, *states: str, at_least: int = 0) -> list[NonceRow]:
        """Nonce rows in those states, lowest first."""
        wanted = {**self._in(states), "least": at_least}
        return [NonceRow(row.nonce, row.key, row.state, row.seen_at) for row in self._db.execute(_NONCES, wanted)]

    def mined(self, at_or_below: int) -> list[NonceRow]:
        """Mined nonces, lowest first: those whose transaction is in a block not above that, as far as is known."""
        wanted = {"by": self._signer, "most": at_or_below}
        return [NonceRow(row.nonce, row.key, row.state, row.seen_at) for row in self._db.execute(_MINED, wanted)]

    def nonce_range(self) -> tuple[int, int] | None:
        """Lowest and highest nonce ever used; None before the first."""
        low, high = self._nonce(_LOWEST), self._nonce(_HIGHEST)
        return None if low is None or high is None else (low.nonce, high.nonce)

    def highest_final(self) -> NonceRow | None:
        """The highest nonce that is final."""
        return self._nonce(_HIGHEST_FINAL)

    def lowest(self) -> NonceRow | None:
        """The lowest nonce ever used."""
        return self._nonce(_LOWEST)

    def nonce(self, number: int) -> NonceRow | None:
        """The row of that nonce, if it is in use."""
        return self._nonce(_NONCE, of=number)

    def _nonce(self, query: sa.Select[Any], **wanted: int) -> NonceRow | None:
        row = self._db.execute(query, {"by": self._signer, **wanted}).one_or_none()
        return None if row is None else NonceRow(row.nonce, row.key, row.state, row.seen_at)

    def add_nonce(self, nonce: int, key: str | None, seen_at: int) -> None:
        """Takes the next nonce above, or below, those in use. Raises ValueError if that would leave a gap."""
        used = self.nonce_range()
        if used is not None and nonce not in (used[0] - 1, used[1] + 1):
            raise ValueError(f"nonce {nonce} does not adjoin {used[0]}..{used[1]}")
        row = {"signer": self._signer, "nonce": nonce, "key": key, "state": "open", "seen_at": seen_at}
        self._db.execute(_ADD_NONCE, row)

    def set_nonce(self, nonce: int, state: str, seen_at: int) -> None:
        """Moves a nonce on."""
        self._db.execute(_CHANGE_NONCE, {"by": self._signer, "of": nonce, "state": state, "seen_at": seen_at})

    def set_cost(self, nonce: int, gas_used: int, fee_wei: int, seen_at: int) -> None:
        """Notes what the transaction of a nonce cost. seen_at: Unix seconds of the head; the first one stays."""
        cost = {"gas_used": gas_used, "fee_wei": fee_wei, "now": seen_at}
        self._db.execute(_SET_COST, {"by": self._signer, "of": nonce, **cost})

    def forget_cost(self, nonce: int) -> None:
        """Takes `set_cost` back: a reorganisation threw the transaction out."""
        nothing = {"gas_used": None, "fee_wei": None, "paid_at": None}
        self._db.execute(_CHANGE_NONCE, {"by": self._signer, "of": nonce, **nothing})

    # -- attempts ------------------------------------------------------------------------------------------------

    def add_attempt(self, attempt: Attempt) -> None:
        """Writes a signed transaction down."""
        values = {name: getattr(attempt, name) for name in Attempt.__dataclass_fields__}
        self._db.execute(_ADD_ATTEMPT, {"signer": self._signer, **values})

    def attempts(self, nonce: int) -> list[Attempt]:
        """All transactions signed for a nonce, oldest first. Raises JournalCorrupt if bytes do not match their hash."""
        found = []
        for row in self._db.execute(_ATTEMPTS, {"by": self._signer, "of": nonce}):
            if keccak(row.raw) != row.hash:
                raise JournalCorrupt(f"the transaction stored for nonce {nonce} is damaged")
            found.append(Attempt(**{name: getattr(row, name) for name in Attempt.__dataclass_fields__}))
        return found

    def set_outcome(self, tx_hash: bytes, outcome: str) -> None:
        """Notes what the endpoints said."""
        self._db.execute(_CHANGE_ATTEMPT, {"of": tx_hash, "outcome": outcome})

    def restart(self, tx_hash: bytes, block: int) -> None:
        """Lets an attempt that a reorg threw out of the chain count as new."""
        self._db.execute(_CHANGE_ATTEMPT, {"of": tx_hash, "block": block, "outcome": ""})


def _intent(row: sa.Row[Any]) -> IntentRow:
    intent = Intent(
        key=row.key,
        to=row.to,
        data=row.data,
        stake_wei=row.stake_wei,
        value_wei=row.value_wei,
        deadline=row.deadline,
        urgent=row.urgent,
        gas_limit=row.gas_limit,
        service=row.service,
    )
    if intent.digest != row.digest:
        raise JournalCorrupt(f"the intent {row.key} is damaged")
    return IntentRow(
        intent=intent,
        signer=row.signer,
        state=row.state,
        reason=row.reason,
        planned_at=row.planned_at,
        nonce=row.nonce,
        tx_hash=row.tx_hash,
        mined_block=row.mined_block,
    )
