"""What a key has signed, in a form that another daemon with the same key takes into its own journal."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from oracle.errors import BadRecord
from oracle.journal.journal import Tx
from oracle.journal.outbox import Attempt, Intent, IntentRow, Outbox

RECORD = 1
"""Of what `to_json` writes. Daemons of different versions may run while one is changed for the other."""


@dataclass(frozen=True)
class Signed:
    """One signed transaction, and what it is for."""

    signer: str
    key: str | None
    """Of the intent whose nonce it takes; None for a gap that had to be filled."""
    intent: Intent | None
    """None for a self-transfer."""
    planned_at: int
    attempt: Attempt

    def to_json(self) -> dict[str, Any]:
        """Plain data; bytes in hexadecimal, amounts as decimal text."""
        attempt, intent = self.attempt, self.intent
        return {
            "record": RECORD,
            "key": self.key,
            "planned_at": self.planned_at,
            "nonce": attempt.nonce,
            "cancels": attempt.cancels,
            "raw": attempt.raw.hex(),
            "hash": attempt.hash.hex(),
            "gas_limit": attempt.gas_limit,
            "max_fee_wei": str(attempt.max_fee_wei),
            "tip_wei": str(attempt.tip_wei),
            "block": attempt.block,
            "intent": None
            if intent is None
            else {
                "to": intent.to,
                "data": intent.data.hex(),
                "stake_wei": str(intent.stake_wei),
                "value_wei": str(intent.value_wei),
                "deadline": intent.deadline,
                "urgent": intent.urgent,
                "gas_limit": intent.gas_limit,
                "service": None if intent.service is None else intent.service.hex(),
            },
        }

    @classmethod
    def from_json(cls, signer: str, found: Any) -> "Signed":
        """Raises BadRecord for what `to_json` never writes. Whether the key has signed it is for the caller to see."""
        version = found.get("record") if isinstance(found, dict) else None
        if isinstance(version, int) and version != RECORD:
            raise BadRecord(
                f"a daemon of another version signed with this key: its records are of version {version}, this one's "
                f"of {RECORD}. Upgrade the older of the two"
            )
        try:
            return cls(
                signer=signer,
                key=_text_or_none(found["key"]),
                intent=None if found["intent"] is None else _intent(str(found["key"]), found["intent"]),
                planned_at=int(found["planned_at"]),
                attempt=Attempt(
                    hash=bytes.fromhex(found["hash"]),
                    nonce=int(found["nonce"]),
                    cancels=bool(found["cancels"]),
                    raw=bytes.fromhex(found["raw"]),
                    gas_limit=int(found["gas_limit"]),
                    max_fee_wei=int(found["max_fee_wei"]),
                    tip_wei=int(found["tip_wei"]),
                    block=int(found["block"]),
                    outcome="",
                ),
            )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            raise BadRecord("the fleet's database holds something else than signed transactions") from None


def _text_or_none(found: Any) -> str | None:
    return None if found is None else str(found)


def _intent(key: str, found: Mapping[str, Any]) -> Intent:
    return Intent(
        key=key,
        to=str(found["to"]),
        data=bytes.fromhex(found["data"]),
        stake_wei=int(found["stake_wei"]),
        value_wei=int(found["value_wei"]),
        deadline=None if found["deadline"] is None else int(found["deadline"]),
        urgent=bool(found["urgent"]),
        gas_limit=None if found["gas_limit"] is None else int(found["gas_limit"]),
        service=None if found["service"] is None else bytes.fromhex(found["service"]),
    )


def adopt(tx: Tx, signed: Signed) -> bool:
    """Enters it as if it had been signed here. Returns whether it was new.

    Raises BadRecord where this journal has another transaction for its nonce, or lacks the nonces before it, and
    ConflictingAnswer where it has another payload under its key.
    """
    outbox, attempt = Outbox(tx, signed.signer), signed.attempt
    place = outbox.nonce(attempt.nonce)
    if place is None:
        try:
            outbox.add_nonce(attempt.nonce, signed.key, attempt.block)
        except ValueError as error:
            raise BadRecord(f"this journal is older than what the fleet's database tells: {error}") from None
    elif attempt.hash in {each.hash for each in outbox.attempts(attempt.nonce)}:
        return False
    elif place.key != signed.key:
        raise BadRecord(
            f"nonce {attempt.nonce} serves {place.key} in this journal, {signed.key} in the fleet's database"
        )
    known = None if signed.key is None else outbox.intent(signed.key)
    if signed.intent is not None:
        _enter(outbox, signed, signed.intent, known)
    elif known is not None and known.nonce == attempt.nonce and known.state == "sent":
        outbox.drop(known.intent.key, "another daemon with this key gave it up")
    outbox.add_attempt(replace(attempt, outcome=""))
    return True


def _enter(outbox: Outbox, signed: Signed, intent: Intent, known: IntentRow | None) -> None:
    """Brings the intent to where its signature leaves it."""
    if known is not None and known.nonce == signed.attempt.nonce:
        if known.intent.digest == intent.digest:
            return  # a higher fee for what is on its way, or over
    elif known is not None and known.state == "planned" and known.intent.digest != intent.digest:
        outbox.drop(intent.key, "another daemon with this key signed it otherwise")
    outbox.plan(intent, signed.planned_at)
    taken = {"nonce": signed.attempt.nonce, "gas_limit": signed.attempt.gas_limit, "reason": ""}
    outbox.set_intent(intent.key, "sent", tx_hash=None, mined_block=None, **taken)


def signed_of(tx: Tx, signer: str, *states: str) -> list[Signed]:
    """What this journal has signed for nonces in those states, in the order of signing for each nonce."""
    outbox = Outbox(tx, signer)
    found = []
    for place in outbox.nonces(*states):
        known = None if place.key is None else outbox.intent(place.key)
        for attempt in outbox.attempts(place.nonce):
            intent = None if known is None or attempt.cancels else known.intent
            planned_at = 0 if known is None else known.planned_at
            found.append(Signed(signer, place.key, intent, planned_at, attempt))
    return found
