"""Manifests: what exactly a model is, named by one hash.

Mirrors `IModelRegistry.Manifest` field by field; `model_id` is what the registry computes. A manifest comes from the
chain or from a file somebody sent, so its JSON form is parsed strictly. It says nothing about whether the model is any
good, nor whether its file is still available at `uri`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from typing import Any

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError
from eth_utils.crypto import keccak

from oracle.errors import BadManifest
from oracle.ids import ModelId

ABI_TYPE = "(string,bytes32,uint64,string,uint32,uint32[],uint32[],uint32[],uint32,bytes32,bytes)"
JSON_NAMES = {
    "name": "name",
    "file_sha256": "fileSha256",
    "file_bytes": "fileBytes",
    "uri": "uri",
    "context_length": "contextLength",
    "prefix_tokens": "prefixTokens",
    "suffix_tokens": "suffixTokens",
    "stop_tokens": "stopTokens",
    "replacement_token": "replacementToken",
    "weights_root": "weightsRoot",
    "architecture": "architecture",
}
MAX_JSON_BYTES = 1 << 20


@dataclass(frozen=True)
class Manifest:
    """Everything that decides a model's output for given prompt bytes and parameters."""

    name: str
    file_sha256: bytes
    file_bytes: int
    uri: str
    context_length: int
    """Most tokens of wrapper, prompt and output together."""
    prefix_tokens: tuple[int, ...]
    """Before the prompt, the beginning-of-text token included."""
    suffix_tokens: tuple[int, ...]
    stop_tokens: tuple[int, ...]
    replacement_token: int
    """Read in place of an id outside the vocabulary, and where there is nothing else to read."""
    weights_root: bytes = bytes(32)
    architecture: bytes = b""

    def __post_init__(self) -> None:
        """Raises BadManifest for what the registry would refuse or could not encode."""
        for name in ("file_sha256", "weights_root"):
            if len(getattr(self, name)) != 32:
                raise BadManifest(f"{JSON_NAMES[name]} must be 32 bytes")
        _uint("fileBytes", self.file_bytes, 64)
        _uint("contextLength", self.context_length, 32)
        _uint("replacementToken", self.replacement_token, 32)
        for name in ("prefix_tokens", "suffix_tokens", "stop_tokens"):
            for token in getattr(self, name):
                _uint(JSON_NAMES[name], token, 32)
        if not (any(self.file_sha256) and self.file_bytes and self.context_length and self.stop_tokens):
            raise BadManifest("a manifest must name a file, its size, a context length and a stop token")
        if self.wrapper_tokens + 2 > self.context_length:
            raise BadManifest("the wrapper leaves no room for a prompt and an answer in the context")

    @property
    def wrapper_tokens(self) -> int:
        return len(self.prefix_tokens) + len(self.suffix_tokens)

    def wrapped(self, middle: Sequence[int]) -> list[int]:
        """The tokens before an output: a prompt's in the wrapper; the replacement token where there is neither."""
        return [*self.prefix_tokens, *middle, *self.suffix_tokens] or [self.replacement_token]

    def encoded(self) -> bytes:
        return encode([ABI_TYPE], [astuple(self)])

    @property
    def model_id(self) -> ModelId:
        """32 bytes: keccak256 of the ABI encoding."""
        return ModelId(keccak(self.encoded()))

    @classmethod
    def decoded(cls, data: bytes) -> "Manifest":
        """From its ABI encoding. Raises BadManifest."""
        try:
            (values,) = decode([ABI_TYPE], data)
        except (DecodingError, UnicodeDecodeError) as error:
            raise BadManifest("this is not the ABI encoding of a manifest") from error
        return cls(*values)

    @classmethod
    def from_abi(cls, named: Mapping[str, Any]) -> "Manifest":
        """From a decoded event. Raises BadManifest."""
        values: dict[str, Any] = {}
        for f in fields(cls):
            value = named[JSON_NAMES[f.name]]
            values[f.name] = tuple(value) if isinstance(value, list) else value
        return cls(**values)

    def to_json(self) -> str:
        return json.dumps({JSON_NAMES[f.name]: _plain(getattr(self, f.name)) for f in fields(self)}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> "Manifest":
        """Raises BadManifest for anything but exactly the fields of a manifest with their types."""
        if len(text) > MAX_JSON_BYTES:
            raise BadManifest("a manifest's JSON is at most 1 MiB")
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise BadManifest("the manifest is not JSON") from error
        if not isinstance(data, dict) or set(data) != set(JSON_NAMES.values()):
            raise BadManifest(f"a manifest holds exactly these fields: {', '.join(JSON_NAMES.values())}")
        return cls(**{f.name: _parsed(JSON_NAMES[f.name], f.type, data[JSON_NAMES[f.name]]) for f in fields(cls)})


def _uint(name: str, value: object, bits: int) -> None:
    if type(value) is not int or not 0 <= value < 1 << bits:
        raise BadManifest(f"{name} must be an unsigned integer of {bits} bits, not {value!r}")


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return "0x" + value.hex()
    return list(value) if isinstance(value, tuple) else value


def _parsed(name: str, kind: object, value: Any) -> Any:
    if kind is bytes and isinstance(value, str) and value.startswith("0x"):
        try:
            return bytes.fromhex(value[2:])
        except ValueError as error:
            raise BadManifest(f"{name} is not hexadecimal") from error
    if kind is str and isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise BadManifest(f"{name} is not Unicode text") from error
        return value
    if kind is int and type(value) is int:
        return value
    if kind == tuple[int, ...] and isinstance(value, list):
        return tuple(value)
    raise BadManifest(f"{name} has the wrong type")
