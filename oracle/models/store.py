"""The operator's models: a folder of files named by their SHA-256, and manifests named by their model id.

What lies in it is the operator's allow-list: a node serves, watches and votes on these models and no others, whatever
the chain says. Files get in only whole and hashed. Several manifests may share one file (other wrappers, say).
"""

import os
from dataclasses import dataclass
from pathlib import Path

from oracle.errors import BadManifest, BadModelFile, UnknownModel
from oracle.ids import ModelId
from oracle.models.download import OnBytes, disk_errors, file_sha256, ignore_bytes, need_space
from oracle.models.files import ModelFile
from oracle.models.manifest import Manifest

COPY_BYTES = 1 << 20


@dataclass(frozen=True)
class ModelStore:
    root: Path

    def manifests(self) -> list[Manifest]:
        """Every allowed model, by name. Raises BadManifest for a file that was edited."""
        found = [self._read(path) for path in (self.root / "manifests").glob("*.json")]
        return sorted(found, key=lambda manifest: (manifest.name, manifest.model_id))

    def manifest(self, model_id: ModelId) -> Manifest:
        """Raises UnknownModel, BadManifest."""
        path = self._manifest_path(model_id)
        if not path.exists():
            raise UnknownModel(f"model 0x{model_id.hex()} is not in {self.root}; see `didyma model add`")
        return self._read(path)

    def find(self, start: str) -> Manifest:
        """The one model whose hexadecimal id begins with `start`. Raises UnknownModel."""
        prefix = start.lower().removeprefix("0x")
        found = [manifest for manifest in self.manifests() if manifest.model_id.hex().startswith(prefix)]
        if len(found) != 1:
            raise UnknownModel(f"{len(found)} models in {self.root} have an id that begins with 0x{prefix}")
        return found[0]

    def file(self, manifest: Manifest) -> ModelFile:
        return ModelFile.of(manifest, self.file_path(manifest.file_sha256))

    def file_path(self, sha256: bytes) -> Path:
        return self.root / "files" / f"{sha256.hex()}.gguf"

    def incoming_path(self, name: str) -> Path:
        """Where to download a file whose hash is not known yet."""
        return self.root / "files" / f"incoming-{name}"

    def take_copy(self, source: Path, on_bytes: OnBytes = ignore_bytes) -> bytes:
        """Copies a local file in; returns its SHA-256. Raises BadModelFile, DiskFull."""
        try:
            size = source.stat().st_size
            reader = source.open("rb")
        except OSError as error:
            raise BadModelFile(f"{source} cannot be read: {error.strerror}") from error
        incoming = self.incoming_path("copy")
        incoming.parent.mkdir(parents=True, exist_ok=True)
        need_space(incoming.parent, size)
        try:
            with reader, disk_errors(), incoming.open("wb") as writer:
                while chunk := reader.read(COPY_BYTES):
                    writer.write(chunk)
                    on_bytes(writer.tell(), size)
            return self.take(incoming)
        finally:
            incoming.unlink(missing_ok=True)

    def take(self, incoming: Path) -> bytes:
        """Moves a complete file of this folder to its name; returns its SHA-256."""
        digest = file_sha256(incoming)
        os.replace(incoming, self.file_path(digest))
        return digest

    def allow(self, manifest: Manifest) -> None:
        """Adds `manifest`, whose file must be here and right. Raises BadModelFile, DiskFull."""
        self.file(manifest).verify()
        path = self._manifest_path(manifest.model_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        with disk_errors():
            partial.write_text(manifest.to_json())
        os.replace(partial, path)

    def _manifest_path(self, model_id: ModelId) -> Path:
        return self.root / "manifests" / f"{model_id.hex()}.json"

    @staticmethod
    def _read(path: Path) -> Manifest:
        try:
            manifest = Manifest.from_json(path.read_bytes())
        except BadManifest as error:
            raise BadManifest(f"{path}: {error}") from error
        if manifest.model_id.hex() != path.stem:
            raise BadManifest(f"{path} was changed: it now describes model 0x{manifest.model_id.hex()}")
        return manifest
