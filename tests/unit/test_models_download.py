"""Downloads from a server on loopback that misbehaves on cue."""

import hashlib
import shutil
import socket
from collections import namedtuple

import httpx
import pytest
from rig.file_server import Behaviour, FileServer

from oracle.errors import BadModelFile, DiskFull, DownloadFailed
from oracle.models import download as module
from oracle.models.download import Source, download
from oracle.models.download_guard import open_checked

BODY = b"GGUF" + bytes(range(256)) * 40_000  # 10 MB: several chunks
SHA256 = hashlib.sha256(BODY).digest()


@pytest.fixture
def serve():
    servers = []

    def start(behaviour):
        servers.append(FileServer(behaviour))
        return servers[-1].origin + "/model.gguf"

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def target(tmp_path):
    return tmp_path / "store" / "model.gguf"


def fetch(url, target, sha256=SHA256):
    return download(Source(url, len(BODY), sha256), target, pause=lambda seconds: None)


def part_of(target):
    return target.with_name("model.gguf.part")


def left_behind(target):
    return list(target.parent.iterdir()) if target.parent.exists() else []


@pytest.mark.parametrize(
    ("behaviour", "says"),
    [
        (Behaviour(b"<!doctype html>", headers={"Content-Type": "text/html; charset=utf-8"}), "web page"),
        (Behaviour(b"<html>"), "no GGUF file"),
        (Behaviour(b"GGU"), "SHA-256"),
        (Behaviour(BODY + b"x"), "announces"),
        (Behaviour(BODY + b"x", announce=0, headers={"Connection": "close"}), "SHA-256"),
        (Behaviour(BODY[:-1] + b"x"), "SHA-256"),
    ],
    ids=["web page", "not GGUF", "too short", "announces more", "announces nothing", "other content"],
)
def test_download__server_has_something_else__bad_model_file_and_nothing_kept(serve, target, behaviour, says):
    with pytest.raises(BadModelFile, match=says):
        fetch(serve(behaviour), target)
    assert left_behind(target) == []


def test_download__server_sends_more_without_announcing__stopped_at_the_limit(serve, target):
    class Endless(httpx.SyncByteStream):
        sent = 0

        def __iter__(self):
            while True:
                Endless.sent += 1 << 20
                yield b"GGUF" + bytes((1 << 20) - 4)

    response = httpx.Response(200, stream=Endless())
    with pytest.raises(BadModelFile, match="more than 5000000 bytes"):
        module._copy(response, len, 0, 5_000_000, lambda done: None)
    assert Endless.sent <= 5_000_000 + (2 << 20)


@pytest.mark.parametrize(
    ("behaviour", "says"),
    [
        (Behaviour(BODY, status=404), "404"),
        (Behaviour(BODY, status=401), "401"),
        (Behaviour(BODY, status=503), "503"),
        (Behaviour(BODY, headers={"Content-Encoding": "gzip"}), "compresses"),
    ],
    ids=["missing", "private", "busy", "compressed"],
)
def test_download__server_refuses__download_failed(serve, target, behaviour, says):
    with pytest.raises(DownloadFailed, match=says):
        fetch(serve(behaviour), target)
    assert not target.exists()


@pytest.mark.parametrize(
    "url",
    [
        "http://192.0.2.1/model.gguf",
        "https://10.0.0.1/model.gguf",
        "https://192.168.1.1/model.gguf",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1%25lo]/model.gguf",
        "https://[::ffff:10.0.0.1]/model.gguf",
        "https://[fe80::1]/model.gguf",
        "https://[2002:0a00:0001::]/model.gguf",
        "https://0.0.0.0/model.gguf",
        "https://224.0.0.1/model.gguf",
        "https://user:password@example.com/model.gguf",
        "file:///etc/passwd",
        "ftp://example.com/model.gguf",
        "https://",
        "model.gguf",
    ],
)
def test_download__address_not_allowed__refused_before_connecting(target, url, monkeypatch):
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("connected"))
    with pytest.raises(DownloadFailed):
        fetch(url, target)


@pytest.mark.parametrize(
    "location", ["http://10.0.0.1/", "https://169.254.169.254/", "file:///etc/passwd", "http://example.invalid/"]
)
def test_download__redirect_into_a_private_network__refused(serve, target, location):
    with pytest.raises(DownloadFailed):
        fetch(serve(Behaviour(b"", status=302, headers={"Location": location})), target)


def test_download__redirects_without_end__refused(serve, target):
    with pytest.raises(DownloadFailed, match="redirects"):
        fetch(serve(Behaviour(b"", status=302, headers={"Location": "/again"})), target)


def resolve(monkeypatch, addresses):
    """Names resolve to these addresses, as a hostile name server may have it."""
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, port, **_: [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port)) for a in addresses.get(host, [host])
        ],
    )


def test_download__name_with_one_private_address__refused(target, monkeypatch):
    resolve(monkeypatch, {"models.example": ["93.184.216.34", "127.0.0.1"]})
    with pytest.raises(DownloadFailed, match="not a public address"):
        fetch("https://models.example/model.gguf", target)


def test_open_checked__public_name__connects_to_the_checked_address_under_the_name(monkeypatch):
    resolve(monkeypatch, {"models.example": ["93.184.216.34"], "mirror.example": ["93.184.216.35"]})
    seen = []

    def respond(request):
        seen.append(request)
        if len(seen) == 1:
            return httpx.Response(302, headers={"Location": "https://mirror.example:8443/file"})
        return httpx.Response(200, content=b"GGUF")

    client = httpx.Client(transport=httpx.MockTransport(respond))
    token = {"Authorization": "Bearer secret", "Range": "bytes=4-"}
    with open_checked(client, "https://models.example/model.gguf", token) as response:
        assert response.read() == b"GGUF"
    assert [str(request.url) for request in seen] == [
        "https://93.184.216.34/model.gguf",
        "https://93.184.216.35:8443/file",
    ]
    assert [request.headers["Host"] for request in seen] == ["models.example", "mirror.example:8443"]
    assert [request.extensions["sni_hostname"] for request in seen] == ["models.example", "mirror.example"]
    assert [request.headers.get("Authorization") for request in seen] == ["Bearer secret", None]
    assert [request.headers.get("Range") for request in seen] == ["bytes=4-", "bytes=4-"]


def test_open_checked__redirect_from_outside_to_this_machine__refused(monkeypatch):
    resolve(monkeypatch, {"models.example": ["93.184.216.34"]})
    client = httpx.Client(
        transport=httpx.MockTransport(lambda _: httpx.Response(302, headers={"Location": "http://127.0.0.1/"}))
    )
    with (
        pytest.raises(DownloadFailed, match="https"),
        open_checked(client, "https://models.example/model.gguf", {}),
    ):
        pass


def test_download__disk_nearly_full__refused_before_writing(serve, target, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1 << 30, 1 << 30, len(BODY)))
    with pytest.raises(DiskFull, match="free"):
        fetch(serve(Behaviour(BODY)), target)
    assert left_behind(target) == []


def test_download__disk_fills_while_writing__disk_full(serve, target):
    target.parent.mkdir()
    part_of(target).symlink_to("/dev/full")
    with pytest.raises(DiskFull, match="No space left"):
        fetch(serve(Behaviour(BODY)), target)
    assert not target.exists()


def test_download__cut_three_times__continues_where_it_broke_off(serve, target):
    behaviour = Behaviour(BODY, cut_after=[3_000_000, 2, 3_000_000])
    assert fetch(serve(behaviour), target) == SHA256
    assert target.read_bytes() == BODY
    starts = [int(asked.removeprefix("bytes=").rstrip("-")) for asked in behaviour.ranges_asked()[1:]]
    assert behaviour.ranges_asked()[0] is None
    assert starts == sorted(starts)
    assert starts[0] > 1_000_000
    assert left_behind(target) == [target]


def test_download__always_cut_at_once__gives_up_and_the_next_run_resumes(serve, target):
    behaviour = Behaviour(BODY, cut_after=[3_000_000] + [0] * 10)
    url = serve(behaviour)
    with pytest.raises(DownloadFailed, match="run this again"):
        fetch(url, target)
    kept = part_of(target).stat().st_size
    assert kept > 1_000_000
    behaviour.cut_after.clear()
    assert fetch(url, target) == SHA256
    assert behaviour.ranges_asked()[-1] == f"bytes={kept}-"


def test_download__server_ignores_range__starts_over(serve, target):
    target.parent.mkdir()
    part_of(target).write_bytes(BODY[:1000])
    assert fetch(serve(Behaviour(BODY, ranges=False)), target) == SHA256
    assert target.read_bytes() == BODY


def test_download__part_of_another_file__refused_then_fetched_afresh(serve, target):
    url = serve(Behaviour(BODY))
    target.parent.mkdir()
    part_of(target).write_bytes(b"GGUF" + bytes(996))
    with pytest.raises(BadModelFile, match="SHA-256"):
        fetch(url, target)
    assert fetch(url, target) == SHA256


def test_download__hash_unknown__never_continues_a_part(serve, target):
    target.parent.mkdir()
    part_of(target).write_bytes(b"GGUF" + bytes(996))
    behaviour = Behaviour(BODY)
    assert fetch(serve(behaviour), target, sha256=None) == SHA256
    assert behaviour.ranges_asked() == [None]


def test_download__progress__counts_to_the_end(serve, target):
    seen = []
    download(Source(serve(Behaviour(BODY)), len(BODY), SHA256), target, lambda *event: seen.append(event))
    assert seen[-1] == (len(BODY), len(BODY))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
