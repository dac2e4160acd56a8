"""What attested code may run: a copy of exactly the model's file, out of everybody's reach."""

import errno
import fcntl
import mmap
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from oracle.attestation import measured
from oracle.attestation.measured import NAME, MeasuredModel, measure
from oracle.client import devnet
from oracle.disputes import commitments
from oracle.engines.worker_sandbox import PACKAGE_ROOT
from oracle.errors import BadModelFile, NotEnoughMemory, WrongCommitments
from oracle.models.download import file_sha256
from oracle.models.manifest import Manifest
from oracle.models.shipped import SHIPPED_MODEL

SHIPPED = SHIPPED_MODEL.with_suffix(".gguf")
READ = "import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], 'rb').read()).hexdigest())"
CONFINED = "from oracle.engines.worker_sandbox import *; confine(Confinement(True, None)); " + READ


@pytest.fixture(scope="module")
def plain() -> Manifest:
    return devnet.read_description(SHIPPED.with_suffix(".json"))[0]


@pytest.fixture(scope="module")
def exact(plain) -> Manifest:
    made = commitments.commit(SHIPPED)
    return replace(plain, weights_root=made.weights_root, architecture=made.architecture)


@pytest.fixture
def file(tmp_path) -> Path:
    return Path(shutil.copy(SHIPPED, tmp_path / "model.gguf"))


def copies() -> list[Path]:
    """Copies of models that this process holds."""
    held = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            if os.readlink(link).startswith(f"/memfd:{NAME}"):
                held.append(link)
        except FileNotFoundError:
            pass  # what listed the folder
    return held


@pytest.fixture(autouse=True)
def nothing_left():
    """Every test frees its copies, whatever was refused."""
    assert not copies()
    yield
    assert not copies()


def flip(path: Path, position: int = 1_200_000) -> None:
    with path.open("r+b") as file:
        file.seek(position)
        (byte,) = file.read(1)
        file.seek(position)
        file.write(bytes([byte ^ 1]))


def refused(manifest: Manifest, file: Path, why: str) -> None:
    with pytest.raises(BadModelFile, match=why):
        measure(manifest, file)


# WHAT IS REFUSED


@pytest.mark.parametrize("position", [0, 1_200_000, -1])
def test_measure__one_bit_differs__is_refused(plain, file, position):
    flip(file, position % plain.file_bytes)
    refused(plain, file, "SHA-256")


def test_measure__file_too_short_or_too_long__is_refused(plain, file):
    os.truncate(file, plain.file_bytes - 1)
    refused(plain, file, f"has {plain.file_bytes - 1} bytes")
    os.truncate(file, plain.file_bytes + 1)
    refused(plain, file, f"has {plain.file_bytes + 1} bytes")


def test_measure__no_such_file__is_refused(plain, tmp_path):
    refused(plain, tmp_path / "absent.gguf", "cannot be read")
    refused(plain, tmp_path, "cannot be read")


def test_measure__other_weights_root__is_refused(exact, file):
    with pytest.raises(WrongCommitments, match="weights root 0x01"):
        measure(replace(exact, weights_root=b"\1" * 32), file)


def test_measure__other_architecture__is_refused(exact, file):
    with pytest.raises(WrongCommitments, match="architecture of 832 bytes cannot be read"):
        measure(replace(exact, architecture=exact.architecture[:-1] + b"\1"), file)


def test_measure__root_of_a_file_that_is_no_exact_model__is_refused(plain, tmp_path):
    path = tmp_path / "noise.gguf"
    path.write_bytes(b"GGUF")
    made_up = replace(plain, file_sha256=file_sha256(path), file_bytes=4, weights_root=b"\1" * 32)
    refused(made_up, path, "header")


# THE HOST MEDDLES


def meddling(when: Callable[[int], bool], act: Callable[[], None]) -> Callable[[int, int], None]:
    """Does it at the first report of progress that fits."""
    pending = [act]

    def on_bytes(done: int, total: int) -> None:
        if pending and when(done):
            pending.pop()()

    return on_bytes


def test_measure__file_edited_while_it_is_copied__is_refused(plain, file):
    with pytest.raises(BadModelFile, match="SHA-256"):
        measure(plain, file, meddling(lambda done: done > 0, lambda: flip(file)))


def test_measure__file_cut_while_it_is_copied__is_refused(plain, file):
    with pytest.raises(BadModelFile, match="shorter"):
        measure(plain, file, meddling(lambda done: done > 0, lambda: os.truncate(file, 5)))


def test_measure__file_replaced_while_it_is_copied__copies_the_one_that_was_opened(plain, file, tmp_path):
    other = tmp_path / "other.gguf"
    other.write_bytes(bytes(plain.file_bytes))
    with measure(plain, file, meddling(lambda done: done > 0, lambda: os.replace(other, file))) as model:
        assert model.path.read_bytes() == SHIPPED.read_bytes()


def test_measure__file_edited_between_copy_and_hash__changes_nothing(plain, file):
    with measure(plain, file, meddling(lambda done: done >= plain.file_bytes, lambda: flip(file))) as model:
        assert file.read_bytes() != SHIPPED.read_bytes()
        assert model.path.read_bytes() == SHIPPED.read_bytes()


def test_measure__copy_written_to_before_it_is_sealed__is_refused(plain, file):
    """Another process of this user could: the hash is of the sealed copy, not of what was read from the disk."""
    with pytest.raises(BadModelFile, match="SHA-256"):
        measure(plain, file, meddling(lambda done: done == plain.file_bytes, lambda: flip(copies()[0])))


def test_measured__file_changed_afterwards__copy_stays(plain, file):
    with measure(plain, file) as model:
        flip(file)
        assert model.path.read_bytes() == SHIPPED.read_bytes()
        os.truncate(file, 0)
        assert model.path.read_bytes() == SHIPPED.read_bytes()
        file.unlink()
        assert model.path.read_bytes() == SHIPPED.read_bytes()


# THE COPY


def test_measure__right_file__is_copied_whole_and_named_by_its_manifest(plain, file):
    with measure(plain, file) as model:
        assert model.path.read_bytes() == model.passed_path.read_bytes() == SHIPPED.read_bytes()
        assert model.model_root == plain.model_id


def test_measure__exact_model__is_copied_and_has_another_root_than_without_commitments(plain, exact, file):
    with measure(exact, file) as model:
        assert model.path.read_bytes() == SHIPPED.read_bytes()
        assert model.model_root == exact.model_id != plain.model_id


def test_measure__progress__counts_copying_and_hashing(plain, file):
    reports = []
    measure(plain, file, lambda done, total: reports.append((done, total))).close()
    size = plain.file_bytes
    assert [done for done, _ in reports] == [1 << 20, size, size + (1 << 20), 2 * size]
    assert {total for _, total in reports} == {2 * size}


def write_to(model: MeasuredModel) -> None:
    os.pwrite(model.fd, b"x", 0)


def append_to(model: MeasuredModel) -> None:
    os.pwrite(model.fd, b"x", os.fstat(model.fd).st_size)


def write_after_opening_again(model: MeasuredModel) -> None:
    with model.path.open("r+b", buffering=0) as again:
        again.write(b"x")


def map_to_write(model: MeasuredModel) -> None:
    mmap.mmap(model.fd, 0, prot=mmap.PROT_READ | mmap.PROT_WRITE).close()


def shrink(model: MeasuredModel) -> None:
    os.ftruncate(model.fd, 1)


def grow(model: MeasuredModel) -> None:
    os.ftruncate(model.fd, os.fstat(model.fd).st_size + 1)


def unseal(model: MeasuredModel) -> None:
    fcntl.fcntl(model.fd, fcntl.F_ADD_SEALS, 0)


WAYS = [write_to, append_to, write_after_opening_again, map_to_write, shrink, grow, unseal]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_measured__any_change_of_the_copy__is_forbidden_by_the_kernel(plain, file, way):
    with measure(plain, file) as model:
        with pytest.raises(PermissionError) as caught:
            way(model)
        assert caught.value.errno == errno.EPERM
        assert model.path.read_bytes() == SHIPPED.read_bytes()


def seen_by(code: str, path: Path, *fds: int) -> str:
    """SHA-256 that another process computes."""
    command = [sys.executable, "-c", code, str(path)]
    return subprocess.run(
        command, cwd=PACKAGE_ROOT, pass_fds=fds, capture_output=True, text=True, check=True
    ).stdout.strip()


def test_measured__process_outside_of_a_sandbox__reads_the_path(plain, file):
    with measure(plain, file) as model:
        assert seen_by(READ, model.path) == plain.file_sha256.hex()


def test_measured__confined_worker_that_inherits_the_copy__reads_the_passed_path(plain, file):
    """In namespaces of its own, not dumpable, few open files: as `worker_main` confines itself."""
    with measure(plain, file) as model:
        assert seen_by(CONFINED, model.passed_path, model.fd) == plain.file_sha256.hex()


def test_measured__process_that_does_not_inherit_it__has_no_such_file(plain, file):
    with measure(plain, file) as model, pytest.raises(subprocess.CalledProcessError) as caught:
        seen_by(READ, model.passed_path)
    assert "FileNotFoundError" in caught.value.stderr


def test_close__copy_nobody_else_uses__is_freed(plain, file):
    model = measure(plain, file)
    path = model.path
    assert len(copies()) == 1
    model.close()
    model.close()
    assert not copies()
    assert not path.exists()
    assert not model.path.exists()


# MEMORY


def test_measure__too_little_memory__is_refused_before_anything_is_copied(plain, file, monkeypatch):
    """The kernel would not refuse but kill."""
    meminfo = file.with_name("meminfo")
    meminfo.write_text("MemTotal:  2000 kB\nMemFree:  1900 kB\nMemAvailable:  1247 kB\nBuffers:  9 kB\n")
    monkeypatch.setattr(measured, "MEMORY", meminfo)
    reports = []
    with pytest.raises(NotEnoughMemory, match="1276960 bytes and this guest 1276928 bytes"):
        measure(plain, file, lambda done, total: reports.append(done))
    assert not reports
    meminfo.write_text("MemTotal:  2000 kB\n")
    with pytest.raises(NotEnoughMemory, match="does not say"):
        measure(plain, file)


def test_measure__limit_of_this_process__is_refused(plain, file):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        with pytest.raises(NotEnoughMemory, match="cannot be written to memory"):
            measure(plain, file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("number", [errno.ENOMEM, errno.ENOSPC])
def test_measure__kernel_has_no_page__is_refused(plain, file, monkeypatch, number):
    def full(fd: int, data: memoryview) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(measured.os, "write", full)
    with pytest.raises(NotEnoughMemory, match=os.strerror(number)):
        measure(plain, file)


def test_measure__python_has_no_memory__is_refused(exact, file, monkeypatch):
    def full(path: Path) -> None:
        raise MemoryError

    monkeypatch.setattr(commitments, "commit", full)
    with pytest.raises(NotEnoughMemory, match="ran out"):
        measure(exact, file)
