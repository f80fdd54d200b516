"""Where weights of others lie on this machine, once a person has put them there.

    models/
        lungmask-r231.json          what the weights are and where they came from; written last, so it is never half
        files/<SHA-256>.pth         the weights, under the digest of their bytes

Nothing here uses the network, and engines only look: weights come by `perfnode models import` and `fetch`. A file is
compared with the digits that its publisher put into its name and read as the network it should be, without running
anything in it, before it is stored. Whoever changes the store holds its lock; a process that is killed leaves a part
file, which the next change removes. Importing the same file again changes nothing.
"""

import fcntl
import hashlib
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from io import BufferedIOBase
from pathlib import Path

from inference.errors import (
    ModelNotFound,
    ModelStoreUnwritable,
    StoredModelDamaged,
    UnusableWeights,
)
from inference.weights.published_weights import PUBLISHED, PublishedWeights, published
from inference.weights.weights_check import check_weights

_FILES = "files"
_LOCK = ".lock"
_PART = ".part"
_CHUNK = 1 << 20
_SUFFIX = {"lungmask": ".pth", "nnunet": ".safetensors"}
FOLDER_MODE, FILE_MODE = 0o755, 0o644
"""Weights are no patient data: whoever imports them, the account of the node must be able to read them."""


@dataclass(frozen=True, slots=True)
class StoredModel:
    """Weights in the store."""

    name: str
    path: Path
    sha256: str
    """Of the stored file."""
    imported_from: str
    """Name of the file, or the address, that they came from."""
    size_bytes: int
    source_sha256: str
    """Of the file that held the tensors where they came from; the same as `sha256` unless they were repacked."""
    imported_at: str
    """UTC, ISO 8601."""

    def read(self) -> bytes:
        """All bytes, once it is sure that they are those that were imported.

        Raises:
            StoredModelDamaged: the file is gone, cannot be read, or is another one.
        """
        try:
            content = self.path.read_bytes()
        except OSError as fault:
            raise StoredModelDamaged(self.name, f"the file cannot be read ({fault.strerror})") from fault
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise StoredModelDamaged(self.name, "the bytes of the file have changed")
        return content

    def require_intact(self) -> None:
        """Read the whole file and compare its digest, without keeping it in memory.

        Raises:
            StoredModelDamaged: the file is gone, cannot be read, or is another one.
        """
        try:
            with self.path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as fault:
            raise StoredModelDamaged(self.name, f"the file cannot be read ({fault.strerror})") from fault
        if digest != self.sha256:
            raise StoredModelDamaged(self.name, "the bytes of the file have changed")


class ModelStore:
    """The model store in a folder, which need not exist before the first import."""

    def __init__(self, folder: Path, known: Mapping[str, PublishedWeights] = PUBLISHED) -> None:
        self.folder = folder
        self._known = known

    def find(self, name: str) -> StoredModel | None:
        """The weights of that name, or None. Their bytes are not read.

        Raises:
            UnknownModel: no weights are known by that name.
            StoredModelDamaged: the entry cannot be read, or its file is gone or was cut.
        """
        weights = published(name, self._known)
        entry = self._entry(name)
        if not entry.is_file():
            return None
        try:
            fields = json.loads(entry.read_text(encoding="utf-8"))
            file = fields.pop("file")
            stored = StoredModel(path=self.folder / _FILES / Path(file).name, **fields)
            size_bytes = stored.path.stat().st_size
        except FileNotFoundError as fault:
            raise StoredModelDamaged(name, "its file is gone") from fault
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as fault:
            raise StoredModelDamaged(name, f"its entry cannot be read ({type(fault).__name__})") from fault
        if size_bytes != stored.size_bytes or stored.name != weights.name:
            raise StoredModelDamaged(name, f"its file has {size_bytes} bytes, not {stored.size_bytes}")
        return stored

    def require(self, name: str) -> StoredModel:
        """The weights of that name.

        Raises:
            ModelNotFound: they were never imported; the remedy names the command.
            UnknownModel: no weights are known by that name.
            StoredModelDamaged: the entry cannot be read, or its file is gone or was cut.
        """
        if (stored := self.find(name)) is None:
            raise self.absent(name)
        return stored

    def absent(self, name: str) -> ModelNotFound:
        """The error that says how weights of that name come into this store."""
        weights = published(name, self._known)
        fetch = f"With internet: perfnode models fetch {name}. Without: " if weights.sha256_start else ""
        return ModelNotFound(
            f"Weights {name}",
            f"{fetch}{weights.by_hand()} Or use the atlas engine, which needs none.",
        )

    def list(self) -> tuple[StoredModel, ...]:
        """All weights in the store, in the order in which they are known.

        Raises:
            StoredModelDamaged: an entry cannot be read, or its file is gone or was cut.
        """
        return tuple(stored for name in self._known if (stored := self.find(name)) is not None)

    def verify(self) -> dict[str, str]:
        """Read every file again: what is wrong with the weights of each name; empty text for nothing."""
        problems = {}
        for name in self._known:
            try:
                if (stored := self.find(name)) is not None:
                    stored.require_intact()
                    problems[name] = ""
            except StoredModelDamaged as fault:
                problems[name] = fault.reason
        return problems

    def import_file(self, name: str, path: Path) -> StoredModel:
        """Check a file, or a folder of nnU-Net, and store it; the weights that had that name before are replaced.

        Raises:
            UnknownModel: no weights are known by that name.
            ModelNotFound: there is no such file.
            WeightsDigestMismatch: it is not the published file; nothing was stored.
            UnusableWeights: it is not the network that it should be; nothing was stored.
            ModelStoreUnwritable: the folder cannot be written, or the disk is full.
        """
        weights = published(name, self._known)
        if weights.kind == "nnunet":
            from inference.weights.nnunet_model import pack

            packed, source_sha256 = pack(weights, path)
            return self._store(weights, iter([packed]), path.name, source_sha256)
        try:
            with path.open("rb") as file:
                return self.import_stream(name, file, path.name)
        except OSError as fault:
            raise ModelNotFound(f"File {path}", f"It cannot be read: {fault.strerror}.") from fault

    def import_stream(self, name: str, file: BufferedIOBase, origin: str) -> StoredModel:
        """`import_file` for an open file, which is read from where it stands; `origin` says where it came from."""
        weights = published(name, self._known)
        return self._store(weights, _chunks(weights, file), origin)

    def remove(self, name: str) -> bool:
        """Forget the weights of that name and delete their file; whether there were any.

        Raises:
            UnknownModel: no weights are known by that name.
            ModelStoreUnwritable: the folder cannot be written.
        """
        published(name, self._known)
        if not self.folder.is_dir():
            return False
        with self._changing():
            entry = self._entry(name)
            found = entry.exists()
            entry.unlink(missing_ok=True)
            _sync(self.folder)
            self._sweep()
        return found

    def _store(
        self, weights: PublishedWeights, chunks: Iterator[bytes], origin: str, source_sha256: str = ""
    ) -> StoredModel:
        with self._changing():
            part = self.folder / _FILES / f"{uuid.uuid4().hex}{_PART}"
            try:
                sha256 = _write(part, chunks)
                check_weights(weights, part, sha256)
                return self._publish(weights, part, sha256, source_sha256 or sha256, origin)
            finally:
                part.unlink(missing_ok=True)

    def _publish(
        self, weights: PublishedWeights, part: Path, sha256: str, source_sha256: str, origin: str
    ) -> StoredModel:
        """Give a checked file its name, then write the entry that makes it known."""
        stored = StoredModel(
            name=weights.name,
            path=self.folder / _FILES / f"{sha256}{_SUFFIX[weights.kind]}",
            sha256=sha256,
            imported_from=origin,
            size_bytes=part.stat().st_size,
            source_sha256=source_sha256,
            imported_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        part.replace(stored.path)  # the same bytes, if it was there: also cures a damaged file
        _sync(stored.path.parent)
        if (before := self._before(weights.name)) is not None and before.sha256 == sha256:
            return before
        fields = {key: value for key, value in asdict(stored).items() if key != "path"}
        text = json.dumps({**fields, "file": stored.path.name}, indent=1, sort_keys=True)
        entry_part = self.folder / _FILES / f"{uuid.uuid4().hex}{_PART}"
        _write(entry_part, iter([text.encode() + b"\n"]))
        entry_part.replace(self._entry(weights.name))
        _sync(self.folder)
        self._sweep()
        return stored

    def _before(self, name: str) -> StoredModel | None:
        try:
            return self.find(name)
        except StoredModelDamaged:
            return None

    def _sweep(self) -> None:
        """Delete files that no entry names: of weights that were replaced or removed, and of imports that died."""
        named = set()
        for entry in self.folder.glob("*.json"):
            try:
                named.add(json.loads(entry.read_text(encoding="utf-8"))["file"])
            except (OSError, ValueError, TypeError, KeyError):
                return  # an entry that cannot be read may name any of them
        for file in (self.folder / _FILES).iterdir():
            if file.name not in named:
                file.unlink(missing_ok=True)

    def _entry(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """The folder, made if absent, while no other process changes it; what a dead one left half is removed."""
        try:
            (self.folder / _FILES).mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            with (self.folder / _LOCK).open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                for abandoned in (self.folder / _FILES).glob(f"*{_PART}"):
                    abandoned.unlink(missing_ok=True)
                yield
        except OSError as fault:
            raise ModelStoreUnwritable(str(self.folder), fault.strerror or type(fault).__name__) from fault


def _chunks(weights: PublishedWeights, file: BufferedIOBase) -> Iterator[bytes]:
    try:
        yield from iter(lambda: file.read(_CHUNK), b"")
    except OSError as fault:
        raise UnusableWeights(weights.name, f"it cannot be read to its end ({fault.strerror})") from fault


def _write(path: Path, chunks: Iterator[bytes]) -> str:
    """Write a new file to the disk; its SHA-256."""
    digest = hashlib.sha256()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    with os.fdopen(descriptor, "wb") as file:
        for chunk in chunks:
            digest.update(chunk)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def _sync(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
