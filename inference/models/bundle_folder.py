"""Writing a model bundle: all files and the manifest into a new folder, which gets its name when it is whole.

Equal content and the same key give equal bytes; there is no clock in a bundle. What is written is read back with every
check before it takes its place.
"""

import os
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from inference.errors import InvalidModelBundle
from inference.models.bundle import SUMS_FILE, read_bundle
from inference.models.manifest import MANIFEST_FILE, ListedFile, ModelManifest
from inference.models.signature import SIGNATURE_FILE, key_id


@dataclass(frozen=True, slots=True, eq=False)
class BundleDraft:
    """A bundle that is not written yet; the fields are those of `ModelManifest`."""

    name: str
    version: str
    trained_on: str
    intended_use: str
    caveat: str
    members: tuple[str, ...]
    signer: str
    files: Mapping[str, bytes] = field(repr=False)
    """Path inside the bundle to content."""
    made_from: Mapping[str, str] = field(default_factory=dict)
    parent_sha256: str = ""

    def manifest(self, key_id: str) -> ModelManifest:
        """The manifest for a key.

        Raises:
            ValueError: a field is not what a manifest may hold.
        """
        return ModelManifest(
            name=self.name,
            version=self.version,
            qualification="RESEARCH",
            trained_on=self.trained_on,
            intended_use=self.intended_use,
            caveat=self.caveat,
            members=self.members,
            signer=self.signer,
            key_id=key_id,
            files={path: ListedFile.of(content) for path, content in self.files.items()},
            made_from=dict(self.made_from),
            parent_sha256=self.parent_sha256,
        )


def write_bundle(folder: Path, draft: BundleDraft, key: Ed25519PrivateKey) -> ModelManifest:
    """Write and sign a bundle; one that lies in `folder` already is replaced.

    Raises:
        InvalidModelBundle: a field is impossible, or `folder` holds something that is no bundle.
        ModelError: what was written could not be read back; nothing was replaced.
    """
    _require_replaceable(folder)
    number = key_id(key.public_key())
    try:
        manifest = draft.manifest(number)
    except ValueError as fault:
        raise InvalidModelBundle(str(folder), f"its manifest would be wrong: {fault}") from fault
    encoded = manifest.encoded()
    files = {
        **draft.files,
        MANIFEST_FILE: encoded,
        SIGNATURE_FILE: key.sign(encoded),
        SUMS_FILE: manifest.sums().encode(),
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    try:
        for path, content in files.items():
            _write(part / path, content)
        read_bundle(part, {number: key.public_key()})
        _put_in_place(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return manifest


def _require_replaceable(folder: Path) -> None:
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MANIFEST_FILE).is_file():
        raise InvalidModelBundle(str(folder), "it holds other files, which are not overwritten")


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _put_in_place(part: Path, folder: Path) -> None:
    """Give the new folder its name; the one before goes first, and comes back if that fails."""
    before = folder.with_name(f".{folder.name}.before-{uuid.uuid4().hex}")
    existed = folder.exists()
    if existed:
        folder.replace(before)
    try:
        part.replace(folder)
    except OSError:
        if existed:
            before.replace(folder)
        raise
    shutil.rmtree(before, ignore_errors=True)
