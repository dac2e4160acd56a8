"""A manifest that lies about its file is refused, field by field: when it is added, by `node check` and by the node."""

import json
import os
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest
from eth_abi.abi import decode, encode
from exact.random_model import Shape, write
from structlog.testing import capture_logs
from typer.testing import CliRunner

from oracle.chain.services import PanelTerms
from oracle.cli import app
from oracle.disputes import commitments, recomputed
from oracle.errors import BadModelFile, WrongCommitments
from oracle.models.download import file_sha256
from oracle.models.manifest import Manifest
from oracle.models.store import ModelStore
from oracle.node.engines import llama_engines, logged_progress
from oracle.node.operator import check
from oracle.node.settings import Settings

SHAPE = Shape(family="qwen2", layers=2, width=64, hidden=96, heads=4, kv_heads=2, head_width=16, rope_width=16)
GAME, PANEL = "0xbb", "0xaa"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A popular file, and its manifest."""
    path = write(tmp_path_factory.mktemp("model") / "model.gguf", SHAPE)
    made = commitments.commit(path)
    size = path.stat().st_size
    roots = (made.weights_root, made.architecture)
    return path, Manifest("popular", file_sha256(path), size, "", 64, (1,), (), (2,), 3, *roots)


@pytest.fixture
def store(model, tmp_path):
    made = ModelStore(tmp_path / "store")
    made.take_copy(model[0])
    return made


@pytest.fixture
def counted(monkeypatch):
    """How often a file's commitments were made."""
    made = []
    true = commitments.commit

    def commit(path, *rest):
        made.append(path)
        return true(path, *rest)

    monkeypatch.setattr(commitments, "commit", commit)
    return made


def lying(manifest, field, value):
    """The manifest with one number of its architecture another."""
    numbers = list(decode(commitments.NUMBERS, manifest.architecture))
    numbers[commitments.FIELDS.index(field)] = value
    return replace(manifest, architecture=encode(commitments.NUMBERS, numbers))


def record_of(store, manifest):
    return store.root / recomputed.FOLDER / f"{manifest.file_sha256.hex()}.json"


ROOTS = ("rotations root", "vocabulary root")
OTHER = dict.fromkeys(commitments.FIELDS, 7) | dict.fromkeys(ROOTS, b"\x05" * 32)
OTHER |= {"family": 0, "kinds of tensors": b"\x08"}


# WHAT DIFFERS


def test_verify__true_manifest__passes(store, model):
    recomputed.verify(store, model[1])


def test_verify__manifest_without_commitments__asks_nothing_of_the_file(store, model, counted):
    recomputed.verify(store, replace(model[1], weights_root=bytes(32), architecture=b""))
    assert counted == []


@pytest.mark.parametrize("field", commitments.FIELDS)
def test_verify__one_number_is_another__is_refused_by_its_name(store, model, field):
    _, manifest = model
    with pytest.raises(WrongCommitments) as refusal:
        recomputed.verify(store, lying(manifest, field, OTHER[field]))
    said = OTHER[field] if isinstance(OTHER[field], int) else f"0x{OTHER[field].hex()}"
    assert f"{field} {said}, the file has" in str(refusal.value)
    assert str(refusal.value).count("the file has") == 1


def test_verify__several_lies__names_them_all(store, model):
    manifest = replace(lying(lying(model[1], "layers", 3), "vocabulary root", bytes(32)), weights_root=b"\x01" * 32)
    with pytest.raises(WrongCommitments, match=r"weights root 0x01.*layers 3.*vocabulary root 0x00"):
        recomputed.verify(store, manifest)


@pytest.mark.parametrize("architecture", [b"", b"\x01" * 40, b"\xff" * 640])
def test_verify__architecture_that_is_none__is_refused(store, model, architecture):
    with pytest.raises(WrongCommitments, match=f"architecture of {len(architecture)} bytes cannot be read"):
        recomputed.verify(store, replace(model[1], architecture=architecture))


def test_verify__same_numbers_encoded_otherwise__is_refused(store, model):
    with pytest.raises(WrongCommitments, match="encoded otherwise"):
        recomputed.verify(store, replace(model[1], architecture=model[1].architecture + bytes(32)))


def test_verify__architecture_without_a_weights_root__is_refused(store, model):
    with pytest.raises(WrongCommitments, match="weights root 0x00"):
        recomputed.verify(store, replace(model[1], weights_root=bytes(32)))


def test_verify__file_is_another_than_the_manifest_names__is_refused_and_nothing_is_remembered(store, model, tmp_path):
    manifest = model[1]
    path = store.file_path(manifest.file_sha256)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(BadModelFile, match="SHA-256"):
        recomputed.verify(store, manifest)
    assert not record_of(store, manifest).exists()


# WHAT IS REMEMBERED


def test_verify__second_time__is_remembered_also_in_another_process_s_store(store, model, counted):
    for _ in range(2):
        recomputed.verify(store, model[1])
        recomputed.verify(ModelStore(store.root), model[1])
    assert len(counted) == 1


def test_verify__remembered__a_lie_is_refused_all_the_same(store, model, counted):
    recomputed.verify(store, model[1])
    with pytest.raises(WrongCommitments, match="vocabulary root"):
        recomputed.verify(store, lying(model[1], "vocabulary root", b"\x05" * 32))
    assert len(counted) == 1


def edited(text, manifest):
    """What a thief writes who wants the lie believed."""
    record = json.loads(text)
    record["architecture"] = lying(manifest, "vocabulary root", b"\x05" * 32).architecture.hex()
    return json.dumps(record)


SPOILT = [
    pytest.param(lambda text, manifest: text[: len(text) // 2], id="truncated"),
    pytest.param(lambda text, manifest: "", id="empty"),
    pytest.param(lambda text, manifest: "[]", id="no object"),
    pytest.param(lambda text, manifest: "[" * 100_000, id="nested"),
    pytest.param(lambda text, manifest: "{}", id="no fields"),
    pytest.param(edited, id="edited"),
    pytest.param(lambda text, manifest: text.replace('"weightsRoot": "', '"weightsRoot": "zz'), id="not hexadecimal"),
]


@pytest.mark.parametrize("spoil", SPOILT)
def test_verify__record_spoilt__is_not_believed_and_made_again(store, model, counted, spoil):
    _, manifest = model
    recomputed.verify(store, manifest)
    record = record_of(store, manifest)
    good = record.read_text()
    record.write_text(spoil(good, manifest))
    with pytest.raises(WrongCommitments, match="vocabulary root"):
        recomputed.verify(store, lying(manifest, "vocabulary root", b"\x05" * 32))
    assert len(counted) == 2
    recomputed.verify(store, manifest)
    assert len(counted) == 2
    assert json.loads(record.read_text()) == json.loads(good)


def test_verify__record_by_other_rules__is_made_again(store, model, counted, monkeypatch):
    """A file that is read otherwise than before commits to something else, though it has not changed."""
    recomputed.verify(store, model[1])
    monkeypatch.setattr(recomputed, "RULES", recomputed.RULES + 1)
    recomputed.verify(store, model[1])
    assert len(counted) == 2


def test_verify__record_of_another_file__is_not_believed(store, model, counted, tmp_path):
    """Under this file's name: its roots are another model's."""
    _, manifest = model
    other_path = write(tmp_path / "other.gguf", replace(SHAPE, layers=3))
    other = replace(manifest, file_sha256=file_sha256(other_path), file_bytes=other_path.stat().st_size)
    store.take_copy(other_path)
    made = recomputed.of_file(store, other)
    shutil.copy(record_of(store, other), record_of(store, manifest))
    with pytest.raises(WrongCommitments):
        recomputed.verify(store, replace(manifest, weights_root=made.weights_root, architecture=made.architecture))
    assert len(counted) == 2


def test_verify__store_copied_from_a_stranger__its_records_are_not_believed(store, model, counted, tmp_path):
    recomputed.verify(store, model[1])
    theirs = ModelStore(shutil.copytree(store.root, tmp_path / "theirs"))
    recomputed.verify(theirs, model[1])
    assert len(counted) == 2


def test_verify__file_touched_since__is_read_again(store, model, counted):
    recomputed.verify(store, model[1])
    path = store.file_path(model[1].file_sha256)
    os.utime(path, ns=(1, 1))
    recomputed.verify(store, model[1])
    assert len(counted) == 2
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")
    with pytest.raises(BadModelFile):
        recomputed.verify(store, model[1])


def test_verify__record_cannot_be_written__refuses_and_passes_as_ever(store, model):
    (store.root / recomputed.FOLDER).write_text("a file where the folder should be")
    recomputed.verify(store, model[1])
    with pytest.raises(WrongCommitments):
        recomputed.verify(store, lying(model[1], "layers", 3))


def test_of_file__progress__counts_the_file_and_its_weights(store, model):
    seen = []
    recomputed.verify(store, model[1], lambda done, total: seen.append((done, total)))
    assert (model[1].file_bytes, model[1].file_bytes) in seen
    assert seen[-1][0] == seen[-1][1]


# WHERE IT IS ASKED


LIES = [("vocabulary root", b"\x05" * 32), ("layers", 3)]


@pytest.mark.parametrize(("field", "value"), LIES)
def test_model_add__popular_file_and_a_lying_manifest__is_refused_and_not_allowed(model, tmp_path, field, value):
    path, manifest = model
    file = tmp_path / "manifest.json"
    file.write_text(lying(manifest, field, value).to_json())
    words = ["model", "add", str(path), "--manifest", str(file), "--store", str(tmp_path / "store")]
    refused = CliRunner().invoke(app, words)
    assert refused.exit_code == 1
    assert f"WrongCommitments: the manifest of popular does not say what its file holds: {field}" in refused.output
    assert ModelStore(tmp_path / "store").manifests() == []
    file.write_text(manifest.to_json())
    added = CliRunner().invoke(app, words)
    assert added.exit_code == 0, added.output
    assert ModelStore(tmp_path / "store").manifests() == [manifest]


def test_model_add__manifest_of_too_many_stop_tokens__is_refused_and_not_allowed(model, tmp_path):
    path, manifest = model
    file = tmp_path / "manifest.json"
    file.write_text(replace(manifest, stop_tokens=(2,) * 33).to_json())
    words = ["model", "add", str(path), "--manifest", str(file), "--store", str(tmp_path / "store")]
    refused = CliRunner().invoke(app, words)
    assert refused.exit_code == 1
    assert "BadModelFile: the manifest names 33 stop tokens, more than 32" in refused.output
    assert ModelStore(tmp_path / "store").manifests() == []


def test_model_verify__lying_manifest_in_the_store__is_wrong_with_what_differs(store, model):
    """It may have been added before anybody looked."""
    for manifest in (model[1], replace(lying(model[1], "layers", 3), name="liar")):
        store.allow(manifest)
    found = CliRunner().invoke(app, ["model", "verify", "--store", str(store.root)])
    assert found.exit_code == 1
    wrong, right = sorted(line for line in found.output.splitlines() if line.startswith(("WRONG", "right")))
    assert "the manifest of liar does not say what its file holds: layers 3, the file has 2" in wrong
    assert right.endswith("popular")


def settings_of(store):
    return Settings(
        rpc_urls=["http://127.0.0.1:1"],
        deployment=store.root / "deployment.json",
        services=["0x" + "ab" * 32],
        models=store.root,
        threads=1,
    )


def service_of(manifest, arbiter):
    terms = SimpleNamespace(model=manifest.model_id, turn_seconds=60, window_seconds=60, arbiter=arbiter, max_tokens=4)
    return SimpleNamespace(terms=terms, panel=PanelTerms(1, 1, 1, 1, 1, 3, 0))


@pytest.mark.parametrize("arbiter", [GAME, PANEL])
@pytest.mark.parametrize(("field", "value"), LIES)
async def test_node__lying_manifest_got_into_the_store__check_and_engines_refuse_it(
    store, model, arbiter, field, value
):
    """By an older version of this program, say: `allow` itself does not look."""
    manifest = lying(model[1], field, value)
    store.allow(manifest)
    service, settings = service_of(manifest, arbiter), settings_of(store)
    with pytest.raises(WrongCommitments, match=f"{field} .*, the file has"):
        llama_engines(settings, lambda arbiter: arbiter == GAME)(service)
    with pytest.raises(WrongCommitments, match=f"{field} .*, the file has"):
        await check._model(settings, service, True, lambda done, total: None)


@pytest.mark.parametrize("arbiter", [GAME, PANEL])
async def test_node__true_manifest__is_checked_once_and_served(store, model, counted, arbiter):
    manifest = model[1]
    store.allow(manifest)
    service, settings = service_of(manifest, arbiter), settings_of(store)
    told = []
    factory = llama_engines(settings, lambda arbiter: arbiter == GAME, lambda *event: told.append(event[0]))
    assert [finding.right for finding in check._engine(service, factory)] == [True, True]
    assert "numbers that its manifest commits to" in await check._model(settings, service, True, lambda *_: None)
    assert len(counted) == 1
    assert "commit" in told


def test_logged_progress__a_long_step__is_told_once_in_a_while_and_jobs_never():
    with capture_logs() as logs:
        tell = logged_progress(seconds=60)
        for done in range(100):
            tell("commit", done, 100)
            tell("generate", done, 100)
        tell("load", 1, 1)
    assert [(line["event"], line["step"], line["percent"]) for line in logs] == [
        ("preparing an engine", "commit", 0),
        ("preparing an engine", "load", 100),
    ]
