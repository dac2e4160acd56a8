"""The store of allowed models, where files come from, and `didyma model`."""

import hashlib
import json
import re
import sys
from dataclasses import replace

import pytest
from exact.random_model import Shape, write
from rig import tiny_gguf
from rig.file_server import Behaviour, FileServer
from rig.tiny_gguf import CONTEXT_LENGTH, END, START, TURN_END, USER
from typer.testing import CliRunner

from oracle.cli.model import app
from oracle.errors import BadManifest, BadModelFile, DownloadFailed, UnknownModel, printable
from oracle.models.manifest import Manifest
from oracle.models.source import Located, fetch, locate
from oracle.models.store import ModelStore

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "tiny.gguf"
    return path, tiny_gguf.write(path)


@pytest.fixture
def store(tmp_path):
    return ModelStore(tmp_path / "store")


@pytest.fixture
def run(store):
    """Runs `didyma model ...`; returns (exit status, output); of `show` what others read."""

    def invoke(*words):
        result = CliRunner().invoke(app, [*words, "--store", str(store.root)], terminal_width=200)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.stdout if words[0] == "show" else result.output

    return invoke


@pytest.fixture
def hub(tiny, monkeypatch):
    """A hub on loopback that holds one repository with one file."""
    data = tiny[0].read_bytes()
    behaviour = Behaviour(
        data,
        headers={"X-Repo-Commit": COMMIT, "X-Linked-Etag": f'"{hashlib.sha256(data).hexdigest()}"'},
    )
    server = FileServer(behaviour)
    monkeypatch.setenv("HF_ENDPOINT", server.origin)
    yield behaviour
    server.close()


def test_manifest__unknown_model__error_says_where_to_add_it(store):
    with pytest.raises(UnknownModel, match="didyma model add"):
        store.manifest(bytes(32))
    assert store.manifests() == []


def test_manifests__file_edited__refused(store, tiny):
    path, manifest = tiny
    store.take_copy(path)
    store.allow(manifest)
    (kept,) = (store.root / "manifests").iterdir()
    kept.write_text(replace(manifest, context_length=200).to_json())
    with pytest.raises(BadManifest, match="was changed"):
        store.manifests()
    kept.write_text("{}")
    with pytest.raises(BadManifest, match="exactly these fields"):
        store.manifest(manifest.model_id)


def test_allow__file_absent_or_other__refused(store, tiny):
    path, manifest = tiny
    with pytest.raises(BadModelFile):
        store.allow(manifest)
    store.take_copy(path)
    store.file_path(manifest.file_sha256).write_bytes(path.read_bytes()[::-1])
    with pytest.raises(BadModelFile, match="SHA-256"):
        store.allow(manifest)
    assert store.manifests() == []


def test_find__beginning_of_two_ids__refused(store, tiny):
    path, manifest = tiny
    store.take_copy(path)
    other = replace(manifest, name="other")
    store.allow(manifest)
    store.allow(other)
    with pytest.raises(UnknownModel, match="2 models"):
        store.find("")
    assert store.find("0x" + other.model_id.hex()[:20].upper()) == other


@pytest.mark.parametrize(
    "text",
    [
        "hf:",
        "hf:org/file.gguf",
        "hf:org/repo/file.bin",
        "hf:org/repo/file.gguf@",
        "hf:org/repo/file.gguf@a b",
        "hf:org/repo/model-00001-of-00003.gguf",
        "https://host/model-00001-of-00003.gguf",
    ],
)
def test_locate__no_such_form_or_split_file__refused(text):
    with pytest.raises(BadModelFile):
        locate(text)


def test_locate__hub_without_the_extra__says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(BadModelFile, match=re.escape("didyma[hub]")):
        locate("hf:org/repo/file.gguf")


@pytest.mark.parametrize("status", [401, 403, 404])
def test_locate__hub_refuses__download_failed(hub, status):
    hub.status = status
    with pytest.raises(DownloadFailed):
        locate("hf:org/repo/file.gguf")


def test_locate__hub_does_not_answer__download_failed(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(DownloadFailed, match="cannot be reached"):
        locate("hf:org/repo/file.gguf")


def test_locate__hub_names_no_commit__download_failed(hub):
    del hub.headers["X-Repo-Commit"]
    with pytest.raises(DownloadFailed, match="neither commit nor size"):
        locate("hf:org/repo/file.gguf")


def test_locate__on_the_hub__commit_size_and_hash_pinned(hub, tiny):
    _, manifest = tiny
    located = locate("hf:org/repo/sub/file.gguf@main")
    assert located.uri == f"hf:org/repo/sub/file.gguf@{COMMIT}"
    assert located.url.endswith(f"/org/repo/resolve/{COMMIT}/sub/file.gguf")
    assert (located.sha256, located.size) == (manifest.file_sha256, manifest.file_bytes)
    assert hub.seen[0][:2] == ("HEAD", "/org/repo/resolve/main/sub/file.gguf")


def test_fetch__hub_breaks_off__continued_by_the_next_run(hub, store, monkeypatch):
    monkeypatch.setattr("oracle.models.download.TRIES_WITHOUT_PROGRESS", 1)
    hub.cut_after = [200_000] + [0] * 5
    with pytest.raises(DownloadFailed):
        fetch(locate("hf:org/repo/file.gguf"), store, lambda done, total: None)
    hub.cut_after = []
    digest = fetch(locate("hf:org/repo/file.gguf"), store, lambda done, total: None)
    assert hashlib.sha256(store.file_path(digest).read_bytes()).digest() == digest
    assert hub.ranges_asked()[-1] not in (None, "bytes=0-")


def test_fetch__already_in_the_store__not_fetched_again(hub, store):
    located = locate("hf:org/repo/file.gguf")
    fetch(located, store, lambda done, total: None)
    asked = len(hub.seen)
    fetch(located, store, lambda done, total: None)
    assert len(hub.seen) == asked


def test_fetch__hash_unknown__taken_under_the_hash_it_has(tiny, store):
    server = FileServer(Behaviour(tiny[0].read_bytes()))
    digest = fetch(Located("", server.origin + "/x.gguf"), store, lambda done, total: None)
    server.close()
    assert digest == tiny[1].file_sha256
    assert [path.name for path in (store.root / "files").iterdir()] == [f"{digest.hex()}.gguf"]


def test_add__local_file_with_wrapper__manifest_with_token_ids(run, store, tiny):
    status, output = run(
        "add", str(tiny[0]), "--name", "Tiny", "--prefix", "<|user|>", "--suffix", r"<|end|>\n", "--context", "200"
    )
    assert status == 0, output
    (manifest,) = store.manifests()
    assert f"0x{manifest.model_id.hex()}" in output
    assert manifest.prefix_tokens == (START, USER)
    assert (manifest.suffix_tokens[0], len(manifest.suffix_tokens)) == (TURN_END, 2)
    assert manifest.stop_tokens == (END, TURN_END)
    assert (manifest.name, manifest.context_length) == ("Tiny", 200)
    assert manifest.file_sha256 == tiny[1].file_sha256


def test_add__from_the_hub__pinned_uri_in_the_manifest(run, store, hub):
    status, output = run("add", "hf:org/repo/file.gguf", "--stop", "<|end|>", "--stop", "7")
    assert status == 0, output
    (manifest,) = store.manifests()
    assert manifest.uri == f"hf:org/repo/file.gguf@{COMMIT}"
    assert manifest.stop_tokens == (TURN_END, 7)
    assert (manifest.name, manifest.prefix_tokens) == ("file", (START,))
    assert manifest.context_length == CONTEXT_LENGTH


def test_add__manifest_of_somebody_else__same_model_id(run, store, tiny, tmp_path):
    path, manifest = tiny
    theirs = tmp_path / "theirs.json"
    theirs.write_text(manifest.to_json())
    status, output = run("add", str(path), "--manifest", str(theirs))
    assert status == 0, output
    assert store.manifests() == [manifest]
    assert Manifest.from_json(run("show", manifest.model_id.hex()[:12])[1]) == manifest
    assert manifest.model_id.hex() in run("list")[1]


def test_add__manifest_by_which_the_exact_engine_would_not_serve__is_said(run, store, tiny):
    """Whatever else the file is: the node would only hear of it when it starts."""
    status, output = run("add", str(tiny[0]), "--stop", "999999")
    assert status == 0, output
    assert "exact    no, because the manifest's stop names token 999999" in output
    (manifest,) = store.manifests()
    shown = CliRunner().invoke(app, ["show", manifest.model_id.hex(), "--store", str(store.root)])
    assert "exact: no, because the manifest's stop names token 999999" in shown.stderr


def test_add__reason_that_quotes_a_long_header__is_cut(run, tmp_path):
    path = write(tmp_path / "m.gguf", Shape(extra=(("rope.scaling.type", "y" * 100_000),)))
    status, output = run("add", str(path))
    assert (status, "rotary scaling 'yyy" in output) == (0, True)
    assert max(map(len, output.splitlines())) < 1100


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--context", "100000"], "trained on 256"),
        (["--stop", "not one token"], "a stop token is one"),
        (["--sha256", "00" * 32], "not 0000"),
        (["--manifest", "/no/such/file"], "no such file"),
    ],
)
def test_add__impossible_wish__one_line_and_nothing_allowed(run, store, tiny, words, says):
    status, output = run("add", str(tiny[0]), *words)
    assert status == 1
    assert says in output
    assert "Traceback" not in output
    assert store.manifests() == []


def test_add__hub_has_another_file_than_the_manifest_names__refused_without_a_download(run, hub, tiny, tmp_path):
    theirs = tmp_path / "theirs.json"
    theirs.write_text(replace(tiny[1], file_sha256=bytes([1]) * 32).to_json())
    status, output = run("add", "hf:org/repo/file.gguf", "--manifest", str(theirs))
    assert (status, "the hub's file" in output) == (1, True)
    assert all(method == "HEAD" for method, _, _ in hub.seen)


def test_add__json__is_what_list_says_and_nothing_else(run, store, tiny):
    done = CliRunner().invoke(app, ["add", str(tiny[0]), "--json", "--store", str(store.root)])
    added = json.loads(done.stdout)
    assert [added] == json.loads(run("list", "--json")[1])
    assert added["file_bytes"] == tiny[1].file_bytes


def test_verify__nothing_there__is_no_success(run):
    status, output = run("verify")
    assert (status, "nothing was verified" in output) == (1, True)


def test_verify__file_damaged__says_which_and_fails(run, store, tiny):
    path, manifest = tiny
    store.take_copy(path)
    store.allow(manifest)
    assert run("verify")[0] == 0
    kept = store.file_path(manifest.file_sha256)
    data = bytearray(kept.read_bytes())
    data[100_000] ^= 1
    kept.write_bytes(data)
    status, output = run("verify", manifest.model_id.hex())
    assert status == 1
    assert "WRONG" in output
    assert manifest.model_id.hex() in output


def test_printable__control_characters__shown_as_escapes():
    assert printable("a\x1b[31mb\u202ec\nd") == "a\\x1b[31mb\\u202ec\\nd"


def test_show__manifest__json_with_the_names_of_the_contract(run, store, tiny):
    store.take_copy(tiny[0])
    store.allow(tiny[1])
    assert json.loads(run("show", tiny[1].model_id.hex())[1])["fileBytes"] == tiny[1].file_bytes
