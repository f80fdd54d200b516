"""Received instances on disk, and which series are complete enough to work on.

    root/incoming/<series key>/<instance key>.dcm            the dataset exactly as received, as a DICOM file
    root/incoming/<series key>/associations/<id>.open        this association has not ended well (yet)
    root/incoming/<series key>/associations/<id>.closed      it has: released, nothing refused

Keys are hashes of UIDs; nothing a peer sends becomes part of a path.

Two rules are kept here. An instance is acknowledged only after its bytes *and* its name are on disk (part file, fsync,
rename, fsync of the directory), so a power cut loses nothing that was acknowledged and leaves nothing short under a
final name. And a series is never processed after an aborted transfer: the `.open` marker is durable before the first
instance is acknowledged and goes only when the association was released without a refusal, or when a later association
that sent something into the series was. kill -9 or a lost network leaves it: the series is `interrupted`.

One process works on a spool at a time; threads may share one `Spool`.
"""

import errno
import hashlib
import os
import shutil
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dicom_node.durable_files import make_directory, rename_directory, sync_directory, write_durably
from dicom_node.errors import InstanceConflict, InstanceMismatch, SeriesNotComplete, SpoolError, SpoolFull
from dicom_node.reception.encoded_dataset import InstanceHeader, read_header
from dicom_node.reception.part10 import dataset_offset, file_preamble

_LOCKS: Final = 16


@dataclass(frozen=True, slots=True)
class ReceivedBytes:
    """One C-STORE request as it came, nothing decoded."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    calling_ae_title: str
    association_id: str
    """Made by the receiver, unique for ever; letters and digits."""
    encoded_dataset: bytes


@dataclass(frozen=True, slots=True)
class ReceivedInstance:
    """An instance that is durably on disk."""

    header: InstanceHeader
    series_key: str
    path: Path
    is_new: bool
    """False if the same bytes were here already."""


@dataclass(frozen=True, slots=True)
class SpooledSeries:
    """One series in `incoming`, as it was at the moment of looking."""

    key: str
    directory: Path
    instances: tuple[Path, ...]
    """Sorted by name, which says nothing about slice order."""
    quiet_for_s: float
    """Seconds since something arrived; not fooled by a wall clock that is set back while the node runs."""
    open_associations: int
    """Associations that are sending into the series now."""
    interrupted: bool
    """An earlier transfer was cut off or partly refused, and no later one has ended well."""
    calling_ae_titles: tuple[str, ...]
    """Who sent, sorted."""

    @property
    def is_arriving(self) -> bool:
        """Whether an association that sent into the series still lives."""
        return self.open_associations > 0

    @property
    def is_complete(self) -> bool:
        """Whether nothing is arriving and nothing was cut off. There is no stronger sign of an end in DICOM."""
        return not self.is_arriving and not self.interrupted


@dataclass(slots=True)
class _Association:
    """What a living association has done so far."""

    series: set[str]
    refused_in: set[str]
    refused_somewhere: bool = False


class Spool:
    """The folder of received instances.

    Args:
        root: Folder of the spool; made if absent.
        minimum_free_mb: Below this much free space nothing more is kept.
    """

    def __init__(self, root: Path, *, minimum_free_mb: float = 1024.0) -> None:
        self.root = root
        self.incoming = root / "incoming"
        self._minimum_free_mb = minimum_free_mb
        self._locks = tuple(threading.RLock() for _ in range(_LOCKS))
        self._associations: dict[str, _Association] = {}
        self._last_activity: dict[str, float] = {}
        self._opened_at = time.monotonic()
        make_directory(self.incoming)

    # -- associations ------------------------------------------------------------------------------------------------

    def association_opened(self, association_id: str) -> None:
        """An association lives from now on."""
        self._associations[association_id] = _Association(set(), set())

    def association_released(self, association_id: str) -> None:
        """The sender ended the association with A-RELEASE: close its series, durably, and older interrupted ones.

        A series in which an instance of this association was refused stays open: it is not what the sender has.
        """
        association = self._associations.get(association_id)
        if association is not None and not association.refused_somewhere:
            for key in association.series - association.refused_in:
                self._close(key, association_id)
        self.association_ended(association_id)

    def association_ended(self, association_id: str) -> None:
        """The association is over, however it ended. Its open markers stay."""
        self._associations.pop(association_id, None)

    # -- instances ---------------------------------------------------------------------------------------------------

    def keep(self, received: ReceivedBytes) -> ReceivedInstance:
        """Put one instance durably on disk. When this returns, Success may be answered.

        Raises:
            InvalidInstance: The bytes are no complete image instance.
            InstanceMismatch: They are another instance than announced.
            InstanceConflict: The instance is here already with other content; the first one stays.
            SpoolFull: Too little free space.
            OSError: The disk failed; nothing was kept under a final name.
        """
        key: str | None = None
        try:
            self._check_space(len(received.encoded_dataset))
            header = read_header(received.encoded_dataset, received.transfer_syntax_uid)
            key = key_of(header.series_instance_uid)
            if (header.sop_instance_uid, header.sop_class_uid) != (received.sop_instance_uid, received.sop_class_uid):
                raise InstanceMismatch("the dataset has another SOP Instance or SOP Class UID than was announced")
            with self._lock(key):
                return self._commit(received, header, key)
        except (SpoolError, OSError) as error:
            self._note_refusal(received.association_id, key)
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise SpoolFull(self._free_mb(), self._minimum_free_mb) from error
            raise

    def sweep(self) -> int:
        """Remove what a killed process left half-written and return how many files that were. To be called at start."""
        leftovers = list(self.incoming.glob("*/*.part")) + list(self.incoming.glob("*/associations/*.part"))
        for path in leftovers:
            path.unlink()
        return len(leftovers)

    # -- series ------------------------------------------------------------------------------------------------------

    def series(self) -> list[SpooledSeries]:
        """All series with at least one instance, by key."""
        keys = sorted(entry.name for entry in os.scandir(self.incoming) if entry.is_dir())
        return [found for key in keys if (found := self._look(key)) is not None]

    def take(self, series: SpooledSeries, into: Path) -> None:
        """Move a complete series out of `incoming`, in one durable rename; slices that come later begin a new folder.

        If `into` exists already, an earlier call did it before a crash, and nothing happens: `into` must name this
        content (for instance after `content_digest`), not only the series.

        Raises:
            SeriesNotComplete: The series is arriving, interrupted, or not as `series` describes it any more.
        """
        self._move(series, into, require_complete=True)

    def set_aside(self, series: SpooledSeries, into: Path) -> None:
        """Move an interrupted series out of `incoming`, for a person to look at, never for processing.

        Raises:
            SeriesNotComplete: It is arriving, or not as `series` describes it any more.
        """
        self._move(series, into, require_complete=False)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _lock(self, key: str) -> threading.RLock:
        return self._locks[int(key[:2], 16) % _LOCKS]

    def _free_mb(self) -> float:
        return shutil.disk_usage(self.incoming).free / 1e6

    def _check_space(self, size_bytes: int) -> None:
        free_mb = self._free_mb()
        if free_mb - size_bytes / 1e6 < self._minimum_free_mb:
            raise SpoolFull(free_mb, self._minimum_free_mb)

    def _note_refusal(self, association_id: str, key: str | None) -> None:
        association = self._associations.get(association_id)
        if association is not None and key is not None:
            association.refused_in.add(key)
        elif association is not None:
            association.refused_somewhere = True  # which series the instance belonged to cannot be known

    def _commit(self, received: ReceivedBytes, header: InstanceHeader, key: str) -> ReceivedInstance:
        directory = self.incoming / key
        path = directory / f"{key_of(header.sop_instance_uid)}.dcm"
        self._last_activity[key] = time.monotonic()
        exists = path.exists()
        self._mark_open(directory, received)  # before a conflict, too: two versions of a slice block the series
        if exists and not _holds(path, received):
            raise InstanceConflict
        if exists:
            sync_directory(directory)  # the first copy's process may have died between the rename and this
        else:
            preamble = file_preamble(received.sop_class_uid, received.sop_instance_uid, received.transfer_syntax_uid)
            write_durably(path, preamble, received.encoded_dataset)
        self._last_activity[key] = time.monotonic()
        return ReceivedInstance(header, key, path, is_new=not exists)

    def _mark_open(self, directory: Path, received: ReceivedBytes) -> None:
        association = self._associations.get(received.association_id)
        if association is not None and directory.name in association.series:
            return
        associations = directory / "associations"
        make_directory(associations)
        marker = associations / f"{received.association_id}.open"
        if not marker.exists():
            write_durably(marker, received.calling_ae_title.encode("ascii", "replace"))
        if association is not None:
            association.series.add(directory.name)

    def _close(self, key: str, association_id: str) -> None:
        """Close the markers of this association and of all that do not live any more."""
        directory = self.incoming / key / "associations"
        with self._lock(key):
            for marker in directory.glob("*.open"):
                if marker.stem == association_id or marker.stem not in self._associations:
                    marker.rename(marker.with_suffix(".closed"))
            sync_directory(directory)
            self._last_activity[key] = time.monotonic()

    def _look(self, key: str) -> SpooledSeries | None:
        with self._lock(key):
            directory = self.incoming / key
            try:
                names = sorted(entry.name for entry in os.scandir(directory) if entry.name.endswith(".dcm"))
            except FileNotFoundError:  # taken since the folder was listed
                return None
            if not names:
                return None
            markers = sorted((directory / "associations").iterdir())
            newest = max(path.stat().st_mtime for path in (directory, directory / "associations"))
            alive = sum(marker.suffix == ".open" and marker.stem in self._associations for marker in markers)
            return SpooledSeries(
                key=key,
                directory=directory,
                instances=tuple(directory / name for name in names),
                quiet_for_s=self._quiet_for_s(key, newest),
                open_associations=alive,
                interrupted=sum(marker.suffix == ".open" for marker in markers) > alive,
                calling_ae_titles=tuple(sorted({_ae_title(m) for m in markers if m.suffix != ".part"})),
            )

    def _quiet_for_s(self, key: str, newest: float) -> float:
        seen = self._last_activity.get(key)
        if seen is not None:
            return time.monotonic() - seen
        # From before a restart: the wall clock counts, but a clock set back must not make the series wait for ever.
        return max(time.time() - newest, time.monotonic() - self._opened_at)

    def _move(self, series: SpooledSeries, into: Path, *, require_complete: bool) -> None:
        if into.exists():
            return
        with self._lock(series.key):
            now = self._look(series.key)
            if now is None or now.instances != series.instances:
                raise SeriesNotComplete("it has changed since it was looked at")
            if now.is_arriving:
                raise SeriesNotComplete("it is still arriving")
            if require_complete and now.interrupted:
                raise SeriesNotComplete("its transfer was interrupted")
            make_directory(into.parent)
            rename_directory(series.directory, into)
            self._last_activity.pop(series.key, None)


def key_of(uid: str) -> str:
    """A name for a UID that is safe in paths and says nothing about the patient in logs."""
    return hashlib.sha256(uid.encode("ascii", "replace")).hexdigest()[:32]


def content_digest(instances: tuple[Path, ...]) -> str:
    """SHA-256 over what a series holds: each instance's key with the hash of its transfer syntax and dataset bytes.

    The order of arrival, the sender and the version of this node do not change it; one other byte of a dataset does.
    """
    digest = hashlib.sha256()
    for path in sorted(instances, key=lambda path: path.name):
        content = path.read_bytes()
        offset, transfer_syntax_uid = dataset_offset(content)
        dataset = hashlib.sha256(transfer_syntax_uid.encode() + b"\n")
        dataset.update(memoryview(content)[offset:])
        digest.update(f"{path.stem} {dataset.hexdigest()}\n".encode())
    return digest.hexdigest()


def _holds(path: Path, received: ReceivedBytes) -> bool:
    content = path.read_bytes()
    offset, transfer_syntax_uid = dataset_offset(content)
    same_syntax = transfer_syntax_uid == received.transfer_syntax_uid
    return same_syntax and memoryview(content)[offset:] == received.encoded_dataset


def _ae_title(marker: Path) -> str:
    return marker.read_text("ascii").strip()
