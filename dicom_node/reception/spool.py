"""Received instances on disk, and which series are complete enough to work on.

    root/incoming/<series key>/<instance key>.dcm     the dataset exactly as received, as a DICOM file
    root/incoming/<series key>/associations/          who sent it and how that ended (`association_markers`)
    root/conflicts/<series key>/<instance key>-*.dcm  other versions of instances: refused, kept for a person to look at
    root/leaving/                                     series on their way to another file system (`leaving_series`)
    root/associations/, parts/, locks/                what processes hold while they work, nothing that must last

Keys are hashes of UIDs; nothing a peer sends becomes part of a path.

Three rules are kept here. An instance is acknowledged only after its bytes *and* its name are on disk (part file,
fsync, rename, fsync of the directory), so a power cut loses nothing that was acknowledged and leaves nothing short
under a final name. A series is never processed after an aborted transfer: the `.open` marker is durable before the
first instance is acknowledged and goes only when the association was released without a refusal, or when a later
association that sent something into the series was. kill -9 or a lost network leaves it: the series is `INTERRUPTED`.
And a series of which two versions of an instance came is never processed until a person has decided: `CONFLICT`.

Any number of processes and threads work on a spool at the same time: receivers, the intake, commands. What one must
know of another is in the file system, and the kernel takes it back when a process dies (`held_files`).
"""

import contextlib
import errno
import os
import shutil
from pathlib import Path
from typing import Final

from dicom_node.durable_files import make_directory, rename_directory, sync_directory
from dicom_node.errors import InstanceConflict, InstanceMismatch, SeriesNotComplete, SpoolError
from dicom_node.held_files import locked
from dicom_node.reception.association_markers import AssociationMarkers
from dicom_node.reception.encoded_dataset import InstanceHeader, read_header
from dicom_node.reception.free_space import FreeSpace
from dicom_node.reception.instance_files import content_digest, has_content, key_of
from dicom_node.reception.leaving_series import LeavingSeries
from dicom_node.reception.living_associations import LivingAssociation, LivingAssociations
from dicom_node.reception.other_versions import OtherVersions
from dicom_node.reception.part10 import file_preamble
from dicom_node.reception.part_files import PartFiles
from dicom_node.reception.received import ReceivedBytes, ReceivedInstance
from dicom_node.reception.sightings import Sightings
from dicom_node.reception.spooled_series import SeriesState, SpooledSeries

__all__ = [
    "ReceivedBytes",
    "ReceivedInstance",
    "SeriesState",
    "Spool",
    "SpooledSeries",
    "content_digest",
    "key_of",
]

_LOCK_DIGITS: Final = 2
"""Of a series key: series whose keys begin alike share a lock, so there are at most 256 lock files and none is ever
removed, which cannot be done safely."""


class Spool:
    """The folder of received instances. Threads may share one; so may processes share the folder.

    Args:
        root: Folder of the spool; made if absent.
        minimum_free_mb: Below this much free space nothing more is kept.
    """

    def __init__(self, root: Path, *, minimum_free_mb: float = 1024.0) -> None:
        self.root = root
        self.incoming = root / "incoming"
        self._living = root / "associations"
        self._locks = root / "locks"
        for directory in (self.incoming, self._locks):
            make_directory(directory)
        self._associations = LivingAssociations(self._living)
        self._parts = PartFiles(root / "parts")
        self._other_versions = OtherVersions(root / "conflicts", self._parts)
        self._space = FreeSpace(self.incoming, minimum_free_mb)
        self._sightings = Sightings()
        self._leaving = LeavingSeries(root / "leaving")

    # -- associations ------------------------------------------------------------------------------------------------

    def association_opened(self, association_id: str) -> None:
        """An association lives from now on, for as long as this process does."""
        self._associations.opened(association_id)

    def association_released(self, association_id: str) -> None:
        """The sender ended the association with A-RELEASE: close its series, durably, and older interrupted ones.

        A series of which an instance was refused, and not accepted in a later try of this association, stays open: it
        is not what the sender has.

        Raises:
            OSError: The disk failed; the series that are not closed are interrupted.
        """
        association = self._associations.find(association_id)
        try:
            for key in association.whole_series() if association is not None else ():
                with self._locked(key):
                    self._markers(key).close(association_id)
        finally:
            self.association_ended(association_id)

    def association_ended(self, association_id: str) -> None:
        """The association is over, however it ended. Its open markers stay."""
        self._associations.ended(association_id)

    # -- instances ---------------------------------------------------------------------------------------------------

    def keep(self, received: ReceivedBytes) -> ReceivedInstance:
        """Put one instance durably on disk. When this returns, Success may be answered.

        Raises:
            InvalidInstance: The bytes are no complete instance.
            InstanceMismatch: They are another instance than announced.
            InstanceConflict: The instance is here already with other content; the first one stays, and the series
                waits for a person (`SeriesState.CONFLICT`).
            SpoolFull: Too little free space.
            OSError: The disk failed; nothing was kept under a final name.
        """
        key: str | None = None
        try:
            self._space.require(len(received.encoded_dataset))
            header = read_header(received.encoded_dataset, received.transfer_syntax_uid)
            key = key_of(header.series_instance_uid)
            if (header.sop_instance_uid, header.sop_class_uid) != (received.sop_instance_uid, received.sop_class_uid):
                raise InstanceMismatch("the dataset has another SOP Instance or SOP Class UID than was announced")
            with self._associations.sending(received.association_id) as association:
                self._mark_open(key, received, association)
                instance = self._commit(received, header, key)
                association.kept(received.sop_instance_uid)
                return instance
        except InstanceConflict:  # recorded already, and a stronger block than a refusal
            raise
        except (SpoolError, OSError) as error:
            if (living := self._associations.find(received.association_id)) is not None:
                living.refused(received.sop_instance_uid, key)
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise self._space.full() from error
            raise

    def sweep(self) -> int:
        """Remove what dead processes left half-done and return how many part files that were.

        To be called at start; other processes may be receiving meanwhile.
        """
        leftovers = list(self.incoming.glob("*/*.part")) + list(self.incoming.glob("*/associations/*.part"))
        for path in leftovers:  # earlier versions of this node wrote there, this one does not
            path.unlink(missing_ok=True)
        self._associations.sweep()
        for directory in self.incoming.iterdir():
            self._remove_if_empty(directory)
        return len(leftovers) + self._parts.sweep()

    # -- series ------------------------------------------------------------------------------------------------------

    def series(self) -> list[SpooledSeries]:
        """All series with at least one instance, by key."""
        keys = sorted(entry.name for entry in os.scandir(self.incoming) if entry.is_dir())
        found = [series for key in keys if (series := self._look(key)) is not None]
        self._sightings.forget_all_but(keys)
        return found

    def take(self, series: SpooledSeries, into: Path) -> None:
        """Move a complete series out of `incoming`, durably; slices that come later begin a new folder.

        On another file system it is copied and then removed here. If `into` exists already, an earlier call did it
        before a crash, and nothing happens: `into` must name this content (for instance after `content_digest`), not
        only the series.

        Raises:
            SeriesNotComplete: The series is arriving, interrupted, in conflict, or not as `series` describes it any
                more.
            OSError: It could not be moved; `finish_moves` goes on with it.
        """
        self._move(series, into, require_complete=True)

    def set_aside(self, series: SpooledSeries, into: Path) -> None:
        """Move a series out of `incoming` that is not complete, because a person or a limit of time says so.

        Raises:
            SeriesNotComplete: It is arriving, or not as `series` describes it any more.
            OSError: It could not be moved; `finish_moves` goes on with it.
        """
        self._move(series, into, require_complete=False)

    def finish_moves(self) -> bool:
        """Go on with moves that a crash or a failing disk had stopped. Whether all are finished now."""
        return self._leaving.finish_all()

    def remove_other_versions(self, older_than_days: float) -> int:
        """Delete refused versions that were kept for a person longer than that; how many series had some."""
        return self._other_versions.remove_older_than(older_than_days)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _locked(self, key: str) -> contextlib.AbstractContextManager[None]:
        """The only right to change what a series consists of, among all threads and processes. Not for two at once."""
        return locked(self._locks / key[:_LOCK_DIGITS])

    def _markers(self, key: str) -> AssociationMarkers:
        return AssociationMarkers(self.incoming / key, self._living)

    def _mark_open(self, key: str, received: ReceivedBytes, association: LivingAssociation) -> None:
        if key not in association.series:
            with self._locked(key):
                self._markers(key).open(received.association_id, received.calling_ae_title, self._parts)
            association.series.add(key)

    def _commit(self, received: ReceivedBytes, header: InstanceHeader, key: str) -> ReceivedInstance:
        path = self.incoming / key / f"{key_of(header.sop_instance_uid)}.dcm"
        is_new = not path.exists() and self._give_name(received, path)
        if not is_new and not has_content(path, received.transfer_syntax_uid, received.encoded_dataset):
            self._note_conflict(received, path)
            raise InstanceConflict
        sync_directory(path.parent)  # if it was here, too: its process may have died between the rename and this
        return ReceivedInstance(header, key, path, is_new=is_new)

    def _give_name(self, received: ReceivedBytes, path: Path) -> bool:
        """Write the instance and give it its name; False if another process was faster."""
        preamble = file_preamble(received.sop_class_uid, received.sop_instance_uid, received.transfer_syntax_uid)
        part = self._parts.write(preamble, received.encoded_dataset)
        try:
            with self._locked(path.parent.name):
                if path.exists():
                    part.unlink()
                    return False
                part.rename(path)
                return True
        except OSError:
            part.unlink(missing_ok=True)
            raise

    def _note_conflict(self, received: ReceivedBytes, path: Path) -> None:
        key = path.parent.name
        with self._locked(key):
            self._markers(key).note_conflict(path.stem, received.calling_ae_title, self._parts)
        preamble = file_preamble(received.sop_class_uid, received.sop_instance_uid, received.transfer_syntax_uid)
        with contextlib.suppress(OSError):  # the copy is for convenience, the marker is what counts
            self._other_versions.keep(key, path.stem, preamble, received.encoded_dataset)

    def _remove_if_empty(self, directory: Path) -> None:
        """Remove the folder of a series of which nothing was ever acknowledged."""
        with self._locked(directory.name):
            if not directory.is_dir() or any(directory.glob("*.dcm")):
                return
            markers = self._markers(directory.name)
            if not markers.directory.is_dir() or markers.read().alive == 0:
                shutil.rmtree(directory)

    def _look(self, key: str) -> SpooledSeries | None:
        with self._locked(key):
            return self._look_locked(key)

    def _look_locked(self, key: str) -> SpooledSeries | None:
        directory, markers = self.incoming / key, self._markers(key)
        try:
            instances, quiet_for_s = self._sightings.look(key, directory, markers.directory)
        except FileNotFoundError:  # taken since the folder was listed, or not yet begun
            return None
        if not instances:
            return None
        transfers = markers.read()
        return SpooledSeries(
            key=key,
            directory=directory,
            instances=instances,
            quiet_for_s=quiet_for_s,
            open_associations=transfers.alive,
            interrupted=transfers.cut_off > 0,
            calling_ae_titles=transfers.calling_ae_titles,
            conflicts=transfers.conflicts,
        )

    def _move(self, series: SpooledSeries, into: Path, *, require_complete: bool) -> None:
        if into.exists():
            make_directory(into)
            return
        with self._locked(series.key):
            now = self._look_locked(series.key)
            if now is None or now.instances != series.instances:
                raise SeriesNotComplete("it has changed since it was looked at")
            if now.is_arriving:
                raise SeriesNotComplete("it is still arriving")
            if require_complete and not now.is_complete:
                raise SeriesNotComplete(_WHY_NOT[now.state])
            make_directory(into.parent)
            leaving = self._renamed(series.directory, into)
        if leaving is not None:
            self._leaving.finish(leaving)

    def _renamed(self, directory: Path, into: Path) -> Path | None:
        """Move the folder of a series at once, or if that is on another file system, to where it leaves from."""
        try:
            rename_directory(directory, into)
        except OSError as fault:
            if fault.errno != errno.EXDEV:
                raise
            return self._leaving.begin(directory, into)
        return None


_WHY_NOT: Final = {
    SeriesState.CONFLICT: "an instance came in two versions",
    SeriesState.INTERRUPTED: "its transfer was interrupted",
}
