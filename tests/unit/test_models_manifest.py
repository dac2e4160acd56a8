"""Manifests: the registry's hash in Python, and strict reading of what strangers send."""

import json
from dataclasses import replace

import pytest

from oracle.errors import BadManifest
from oracle.models.manifest import Manifest

MANIFEST = Manifest(
    name="tiny é",
    file_sha256=bytes(range(32)),
    file_bytes=554_400,
    uri="hf:org/repo/f.gguf@abc",
    context_length=2048,
    prefix_tokens=(1, 2),
    suffix_tokens=(3,),
    stop_tokens=(2, 7),
    replacement_token=4,
    weights_root=b"\x11" * 32,
    architecture=b"\x01\x02",
)


@pytest.mark.parametrize(
    "change",
    [
        {"file_sha256": bytes(31)},
        {"file_sha256": bytes(32)},
        {"file_bytes": 0},
        {"file_bytes": 1 << 64},
        {"file_bytes": True},
        {"context_length": 0},
        {"context_length": 4},
        {"context_length": 1 << 32},
        {"stop_tokens": ()},
        {"stop_tokens": (-1,)},
        {"prefix_tokens": (1 << 32,)},
        {"replacement_token": -1},
        {"weights_root": b""},
    ],
    ids=lambda change: repr(change)[:40],
)
def test_manifest__registry_would_refuse_it__bad_manifest(change):
    with pytest.raises(BadManifest):
        replace(MANIFEST, **change)


@pytest.mark.parametrize(
    "change",
    [
        {"extra": 1},
        {"fileSha256": "00"},
        {"fileSha256": "0x0g"},
        {"fileSha256": None},
        {"fileBytes": "554400"},
        {"fileBytes": 5.0},
        {"contextLength": True},
        {"stopTokens": 2},
        {"stopTokens": ["2"]},
        {"stopTokens": [[2]]},
        {"name": 7},
        {"name": "\ud800"},
    ],
    ids=repr,
)
def test_from_json__wrong_field__bad_manifest(change):
    data = json.loads(MANIFEST.to_json()) | change
    with pytest.raises(BadManifest):
        Manifest.from_json(json.dumps(data))


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b"\xff", b"[" * 100_000, b" " * (1 << 20) + b"{}"])
def test_from_json__not_a_manifest__bad_manifest(text):
    with pytest.raises(BadManifest):
        Manifest.from_json(text)


@pytest.mark.parametrize("data", [b"", bytes(32), b"\xff" * 640])
def test_decoded__not_a_manifest__bad_manifest(data):
    with pytest.raises(BadManifest):
        Manifest.decoded(data)


def test_manifest__to_json_and_abi_and_back__same():
    assert Manifest.from_json(MANIFEST.to_json()) == MANIFEST
    assert Manifest.decoded(MANIFEST.encoded()) == MANIFEST


def test_model_id__fixed_manifest__hash_that_foundry_computes():
    """`cast abi-encode "f((string,bytes32,...))" ... | cast keccak` gave this hash for the same values."""
    assert MANIFEST.model_id.hex() == "bc7586edaad096a09059e674b4c149598673b368ed5d87ebcce506df1650ed97"
