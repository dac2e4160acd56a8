"""The fleet's tables in Postgres, and what each kind of role may do with them."""

from collections.abc import Sequence

from procrastinate import App, SyncPsycopgConnector
from psycopg import sql

from oracle.errors import BadSettings
from oracle.fleet.session import connect, told

TABLES = """
CREATE TABLE IF NOT EXISTS didyma_work (
    job bigint PRIMARY KEY,
    worker text NOT NULL,
    beat timestamptz NOT NULL DEFAULT clock_timestamp(),
    reply jsonb
);
CREATE TABLE IF NOT EXISTS didyma_workers (
    worker text NOT NULL,
    queue text NOT NULL,
    together integer NOT NULL,
    shown text NOT NULL,
    saturated bigint NOT NULL,
    beat timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (worker, queue)
);
CREATE TABLE IF NOT EXISTS didyma_askers (
    asker text PRIMARY KEY,
    session integer,
    beat timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE IF NOT EXISTS didyma_asked (
    job bigint PRIMARY KEY,
    asker text NOT NULL,
    queue text NOT NULL,
    digest bytea
);
CREATE INDEX IF NOT EXISTS didyma_asked_by_digest ON didyma_asked (digest);
CREATE TABLE IF NOT EXISTS didyma_leader (
    keys text PRIMARY KEY,
    epoch bigint NOT NULL,
    holder text NOT NULL,
    beat timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE IF NOT EXISTS didyma_signed (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    signer text NOT NULL,
    nonce bigint NOT NULL,
    epoch bigint NOT NULL,
    hash bytea NOT NULL UNIQUE,
    entry jsonb NOT NULL
);
CREATE INDEX IF NOT EXISTS didyma_signed_by_signer ON didyma_signed (signer, number);
"""
_QUEUES = "procrastinate_jobs, procrastinate_events, procrastinate_workers, procrastinate_periodic_defers"
_RIGHTS = {
    "both": (
        "GRANT USAGE ON SCHEMA {schema} TO {role}",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON {_QUEUES}, didyma_work, didyma_workers TO {{role}}",
        "GRANT USAGE ON SEQUENCE procrastinate_jobs_id_seq, procrastinate_events_id_seq TO {role}",
        "GRANT USAGE ON SEQUENCE procrastinate_workers_id_seq TO {role}",
    ),
    "node": (
        "GRANT SELECT, INSERT, UPDATE, DELETE ON didyma_asked, didyma_askers TO {role}",
        "GRANT SELECT, INSERT, UPDATE ON didyma_leader TO {role}",
        "GRANT SELECT, INSERT ON didyma_signed TO {role}",
    ),
    "worker": (),
}
"""By kind of role. What was signed, nobody may change or delete; of workers, none may read it."""


def prepare(url: str, nodes: Sequence[str] = (), workers: Sequence[str] = ()) -> None:
    """Makes the tables that are not there, and lets roles use them. Raises FleetUnavailable, BadSettings."""
    with told(), connect(url) as connection:
        connection.execute(TABLES)
        known = connection.execute("SELECT to_regclass('procrastinate_jobs')").fetchone()
    if known is None or known[0] is None:
        with told(), App(connector=SyncPsycopgConnector(conninfo=url)).open() as app:
            app.schema_manager.apply_schema()
    with told(), connect(url) as connection:
        here = connection.execute("SELECT current_schema()").fetchone()
        assert here is not None
        if nodes or workers:  # a function made here can stand in for one that others call; Postgres 14 lets everybody
            connection.execute(sql.SQL("REVOKE CREATE ON SCHEMA {} FROM PUBLIC").format(sql.Identifier(here[0])))
        for kind, roles in (("node", nodes), ("worker", workers)):
            for role in roles:
                if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone() is None:
                    raise BadSettings(f"the database has no role {role!r}: CREATE ROLE makes one")
                for right in (*_RIGHTS["both"], *_RIGHTS[kind]):
                    named = sql.SQL(right).format(schema=sql.Identifier(here[0]), role=sql.Identifier(role))
                    connection.execute(named)
