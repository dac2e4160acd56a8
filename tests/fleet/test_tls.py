"""A fleet's database over TLS, as the pages say: it serves URLs that verify, and a stranger in between is refused."""

import datetime
from ipaddress import IPv4Address

import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from fleet.conftest import QUEUE, Inside, proven, wait_for
from fleet.test_fleet import HELLO, PARAMS, rows
from fleet.test_leader import KEY
from rig.fake_engine import FakeEngine
from rig.postgres import Postgres, binaries

from oracle.errors import FleetUnavailable
from oracle.fleet.board import Board
from oracle.fleet.engine import FleetEngine
from oracle.fleet.leader import Leader
from oracle.fleet.tables import prepare

PASSWORD = "a word"
ROLES = ("didyma_node", "didyma_worker")


def certificate() -> tuple[bytes, bytes]:
    """For this machine, signed by itself: PEM texts of the certificate and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    names = [x509.DNSName("localhost"), x509.IPAddress(IPv4Address("127.0.0.1"))]
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(Encoding.PEM), key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.fixture
def server():
    """Reached over TLS alone, with a role for nodes and one for workers."""
    if binaries() is None:
        pytest.skip("Postgres is not installed: `apt-get install postgresql`")
    made = Postgres()
    prepare(made.url)
    for role in ROLES:
        rows(made.url, f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'")
    prepare(made.url, ROLES[:1], ROLES[1:])
    yield made
    made.remove()


def test_tls__urls_that_verify__fleet_works_and_whoever_cannot_be_verified_is_refused(server, tmp_path):
    (tmp_path / "stranger.pem").write_bytes(certificate()[0])
    shown, key = certificate()
    (tmp_path / "ca.pem").write_bytes(shown)
    server.over_tls_alone(shown, key)

    def url(role, **changes):
        values = {"sslmode": "verify-full", "sslrootcert": str(tmp_path / "ca.pem"), "password": PASSWORD, **changes}
        at = {"host": "localhost", "port": server.port, "dbname": "postgres"}
        return psycopg.conninfo.make_conninfo(**at, user=role, **values)

    worker = Inside(url("didyma_worker"), FakeEngine())
    leader = Leader(url("didyma_node"), [KEY])
    leader.open()
    try:
        with Board(url("didyma_node")) as board:
            engine = proven(FleetEngine(board, QUEUE, 20.0))
            assert engine.generate(HELLO, PARAMS) == FakeEngine().generate(HELLO, PARAMS)
            wait_for(lambda: leader.epoch == 1)
            sessions = rows(
                server.url,
                "SELECT usename, ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = ANY(%s)",
                list(ROLES),
            )
            engine.close()
        assert {role for role, _ in sessions} == set(ROLES)
        assert all(encrypted for _, encrypted in sessions)
    finally:
        leader.close()
        worker.stop()
    for changes in (
        {"sslmode": "disable", "sslrootcert": ""},  # the server refuses what is not encrypted
        {"sslrootcert": str(tmp_path / "stranger.pem")},
        {"password": "another word"},
    ):
        with pytest.raises(FleetUnavailable), Board(url("didyma_node", **changes)) as board:
            board.offers()
