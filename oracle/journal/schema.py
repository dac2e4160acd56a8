"""The journal's tables, and how an older file becomes a current one.

Amounts in wei do not fit SQLite's integers and are stored as decimal text. A released migration is never edited.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Dialect

from oracle.errors import JournalCorrupt


class Wei(sa.types.TypeDecorator[int]):
    """An integer of any size."""

    impl = sa.String
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> str | None:
        return None if value is None else str(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> int | None:
        try:
            return None if value is None else int(value)
        except ValueError:
            raise JournalCorrupt("the journal holds an amount that is no number") from None


class Json(sa.types.TypeDecorator[Any]):
    """JSON text with sorted keys, so that equal values are equal bytes."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else json.dumps(value, sort_keys=True, separators=(",", ":"))

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        try:
            return None if value is None else json.loads(value)
        except ValueError:
            raise JournalCorrupt("the journal holds JSON that does not parse") from None


metadata = sa.MetaData()

meta = sa.Table(
    "meta",
    metadata,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("value", sa.String, nullable=False),
)

blocks = sa.Table(
    "blocks",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("hash", sa.LargeBinary, nullable=False),
    sa.Column("timestamp", sa.Integer, nullable=False),
    comment="blocks whose events are applied; the highest is the follower's cursor",
)

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("key", sa.String, nullable=False, unique=True),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("payload", Json, nullable=False),
    sa.Column("block", sa.Integer, comment="that brought the job; null if no block did"),
    sa.Column("updated_block", sa.Integer, comment="last block that changed the job"),
    sa.Index("jobs_by_state", "state", "kind"),
    sa.Index("jobs_by_kind", "kind"),
)

undo = sa.Table(
    "undo",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("block", sa.Integer, nullable=False, index=True),
    sa.Column("key", sa.String, nullable=False),
    sa.Column("previous", Json, comment="the job before the block changed it; null if it did not exist"),
)

intents = sa.Table(
    "intents",
    metadata,
    sa.Column("key", sa.String, primary_key=True),
    sa.Column("signer", sa.String, nullable=False),
    sa.Column("to", sa.String, nullable=False),
    sa.Column("data", sa.LargeBinary, nullable=False),
    sa.Column("value_wei", Wei, nullable=False),
    sa.Column("stake_wei", Wei, nullable=False),
    sa.Column("deadline", sa.Integer),
    sa.Column("urgent", sa.Boolean, nullable=False),
    sa.Column("gas_limit", sa.Integer),
    sa.Column("digest", sa.LargeBinary, nullable=False),
    sa.Column("service", sa.LargeBinary, comment="that it is about; null if it is about several, or none"),
    sa.Column("planned_at", sa.Integer, nullable=False),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("reason", sa.String, nullable=False, default=""),
    sa.Column("nonce", sa.Integer),
    sa.Column("tx_hash", sa.LargeBinary),
    sa.Column("mined_block", sa.Integer),
    sa.Index("intents_by_state", "signer", "state"),
)

nonces = sa.Table(
    "nonces",
    metadata,
    sa.Column("signer", sa.String, primary_key=True),
    sa.Column("nonce", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("key", sa.String, comment="the intent it serves; null for a filled gap"),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("seen_at", sa.Integer, nullable=False, comment="highest head at which the state was seen"),
    sa.Column("gas_used", sa.Integer, comment="of the mined transaction; null until its receipt is read"),
    sa.Column("fee_wei", Wei, comment="that it paid for gas"),
    sa.Column("paid_at", sa.Integer, comment="Unix seconds of the head at which it was first seen mined"),
    sa.Index("nonces_by_state", "signer", "state"),
    comment="contiguous for each signer; rows are never deleted",
)

attempts = sa.Table(
    "attempts",
    metadata,
    sa.Column("hash", sa.LargeBinary, primary_key=True),
    sa.Column("signer", sa.String, nullable=False),
    sa.Column("nonce", sa.Integer, nullable=False),
    sa.Column("cancels", sa.Boolean, nullable=False, comment="a self-transfer in place of the intent"),
    sa.Column("raw", sa.LargeBinary, nullable=False),
    sa.Column("gas_limit", sa.Integer, nullable=False),
    sa.Column("max_fee_wei", Wei, nullable=False),
    sa.Column("tip_wei", Wei, nullable=False),
    sa.Column(
        "block", sa.Integer, nullable=False, comment="head when it was signed, or had to start again after a reorg"
    ),
    sa.Column("outcome", sa.String, nullable=False, comment="what the endpoints said last"),
    sa.Index("attempts_by_nonce", "signer", "nonce"),
)


def _first(connection: Connection) -> None:
    metadata.create_all(connection)


def _second(connection: Connection) -> None:
    """What transactions cost and are about. What comes from events is read again, since more of it is kept."""
    known = {name: {column["name"] for column in sa.inspect(connection).get_columns(name)} for name in SECOND}
    for table, columns in SECOND.items():
        for column, kind in columns.items():
            if column not in known[table]:  # `_first` makes a new file's tables as they are now
                connection.exec_driver_sql(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")
    connection.exec_driver_sql("CREATE INDEX IF NOT EXISTS jobs_by_kind ON jobs (kind)")
    told = ("service", "seat", "place", "request", "case", "game", "opening", "reward")
    connection.execute(sa.delete(jobs).where(jobs.c.kind.in_(told)))
    connection.execute(sa.delete(undo))
    connection.execute(sa.delete(blocks))


SECOND: Final = {
    "intents": {"service": "BLOB"},
    "nonces": {"gas_used": "INTEGER", "fee_wei": "VARCHAR", "paid_at": "INTEGER"},
}
"""Columns that the second schema adds, by table."""

Migration = Callable[[Connection], None]

MIGRATIONS: Final[Sequence[Migration]] = (_first, _second)
"""Number n brings a file from schema n to schema n + 1; an empty file has schema 0."""
