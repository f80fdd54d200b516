"""Series from an archive into a folder, for pairs to train on or for a physicist's own work; the node sees none of it.

    FOLDER/<series key>/<instance key>.dcm     a series appears when all of it is there, in one go
    .FOLDER.part/                              beside it for as long as it lasts: what is not whole yet

What comes is checked and made durable as in the node's spool, by the same spool. With C-MOVE we listen meanwhile under
an AE title and at a port of their own, and take nothing but the series that was asked for: nobody else's images may
seem to have arrived. A series that did not come as a whole is thrown away and fetched anew the next time.
"""

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from dicom_node.audit.trail import AuditTrail
from dicom_node.durable_files import make_directory, rename_directory
from dicom_node.errors import InstanceMismatch, InvalidInstance, NodeBusy, RetrievalIncomplete
from dicom_node.network import archive
from dicom_node.network.archive import AnyPeer
from dicom_node.network.query import ArchivePeer, FoundSeries
from dicom_node.network.receiver import Receiver, ReceiverSettings
from dicom_node.network.retrieve import FOLDER_CLASSES
from dicom_node.reception.encoded_dataset import read_header
from dicom_node.reception.spool import ReceivedBytes, ReceivedInstance, Spool, SpooledSeries, key_of
from dicom_node.settings.config import NodeSettings

_ARRIVAL_S: Final = 15.0
"""From the archive's word that it has sent all to the end of its association with us; some keep it open a while."""


class OneSeriesSpool(Spool):
    """A spool that refuses all but one series, so that a stranger is told that nobody keeps what it sends."""

    expected: str = ""
    """Series Instance UID; empty: nothing is taken."""

    def keep(self, received: ReceivedBytes) -> ReceivedInstance:
        """As `Spool.keep`.

        Raises:
            InstanceMismatch: also if it is of another series.
        """
        try:
            header = read_header(received.encoded_dataset, received.transfer_syntax_uid)
        except InvalidInstance:
            return super().keep(received)  # which refuses it, too, and remembers that its series is not whole
        if header.series_instance_uid != self.expected:
            raise InstanceMismatch("nobody asked for its series")
        return super().keep(received)


@dataclass(frozen=True, slots=True)
class FolderLanding:
    """The folder. `into_folder` makes one.

    Args:
        folder: Where whole series lie.
        part: Where others do, on the same disk.
        peer: The archive.
        audit: Told what came.
        spool: In `part`.
    """

    folder: Path
    part: Path
    peer: AnyPeer
    audit: AuditTrail
    spool: OneSeriesSpool = field(repr=False)

    def holds(self, series: FoundSeries) -> bool:
        """Whether the folder has as many instances of a series as the archive."""
        held = sum(1 for _ in self._place(series).glob("*.dcm"))
        return series.instances is not None and 0 < series.instances <= held

    def bring(self, series: FoundSeries) -> None:
        """Fetch a series, in place of an older state of it.

        Raises:
            PeerUnreachable, QueryRefused, RetrievalIncomplete: It did not come, or not as a whole.
            SpoolError: It cannot be kept.
        """
        title = (self.peer.folder_ae_title or "") if isinstance(self.peer, ArchivePeer) else ""
        key = key_of(series.series_instance_uid)
        self.audit.operator_action("fetch-into-folder", f"series:{key[:16]}")
        self.spool.expected = series.series_instance_uid
        try:
            archive.fetch_series(self.peer, series, self.spool, self.audit, classes=FOLDER_CLASSES, to_ae_title=title)
            whole = self._arrived(series)
        finally:
            self.spool.expected = ""
        made = self.part / "whole" / key
        self.spool.take(whole, made)
        shutil.rmtree(made / "associations", ignore_errors=True)
        if self._place(series).exists():
            shutil.rmtree(self._place(series))
        rename_directory(made, self._place(series))

    def _place(self, series: FoundSeries) -> Path:
        return self.folder / key_of(series.series_instance_uid)

    def _arrived(self, series: FoundSeries) -> SpooledSeries:
        """The series as it lies in the spool, whole.

        Raises:
            RetrievalIncomplete: It is not, after a while.
        """
        deadline = time.monotonic() + _ARRIVAL_S
        key = key_of(series.series_instance_uid)
        while True:
            found = next((each for each in self.spool.series() if each.key == key), None)
            held = 0 if found is None else len(found.instances)
            if found is not None and found.is_complete and held >= (series.instances or 1):
                return found
            if time.monotonic() > deadline or not archive.comes_through_receiver(self.peer):
                reason = f"{held} of {series.instances or '?'} instances came to their end"
                if held == 0:
                    reason += "; does it know this host and the folder's port for the folder's AE title?"
                raise RetrievalIncomplete(str(self.peer.address), reason)
            time.sleep(0.1)


@contextmanager
def into_folder(settings: NodeSettings, peer: AnyPeer, folder: Path, audit: AuditTrail) -> Iterator[FolderLanding]:
    """A folder to fetch into, which is made if absent; with C-MOVE also the port at which the archive calls us.

    Args:
        settings: Of the node, whose access rules and certificate hold here, too.
        peer: The archive.
        folder: Not among the node's own.
        audit: Told what came.

    Raises:
        ValueError: The folder, or the peer's configuration, does not allow it.
        NodeBusy: Another process fetches into the folder.
        OSError: It cannot be written, or the port is taken.
    """
    folder = folder.absolute()
    if any(folder.resolve().is_relative_to(own.resolve()) for own in (settings.data_dir, settings.shared_dir)):
        raise ValueError("the folder is one of the node's own, which would take what comes for its patients")
    if archive.comes_through_receiver(peer):
        _require_port(peer)
    make_directory(folder)
    with _part(folder) as part:
        spool = OneSeriesSpool(part / "spool", minimum_free_mb=settings.minimum_free_mb)
        receiver = _receiver(settings, peer, spool, audit)
        if receiver is not None:
            receiver.start()
        try:
            yield FolderLanding(folder, part, peer, audit, spool)
        finally:
            if receiver is not None:
                receiver.stop(grace_s=1.0)


def _require_port(peer: AnyPeer) -> None:
    if isinstance(peer, ArchivePeer) and (peer.folder_ae_title is None or peer.folder_port is None):
        raise ValueError(
            f"C-MOVE into a folder needs folder_ae_title and folder_port of the peer {peer.name}, and the archive must "
            "know both: at its own port the node would work on what comes"
        )


def _receiver(settings: NodeSettings, peer: AnyPeer, spool: Spool, audit: AuditTrail) -> Receiver | None:
    if not isinstance(peer, ArchivePeer) or peer.folder_ae_title is None or peer.folder_port is None:
        return None
    node: ReceiverSettings = settings.receiver
    access = replace(node.policy, ae_title=peer.folder_ae_title, also_called=(), own_networks=())
    listens = replace(
        node,
        ae_title=peer.folder_ae_title,
        port=peer.folder_port,
        access=access,
        storage_classes=tuple(FOLDER_CLASSES),
        processes=1,
    )
    return Receiver(spool, listens, audit=audit)


@contextmanager
def _part(folder: Path) -> Iterator[Path]:
    """The place beside a folder for what is not whole: empty, for this process alone, and gone afterwards.

    Raises:
        NodeBusy: Another process has it.
    """
    part = folder.with_name(f".{folder.name}.part")
    part.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_ours = part.exists() and os.path.samestat(part.stat(), os.fstat(descriptor))
        except BlockingIOError:
            is_ours = False
        if not is_ours:
            raise NodeBusy("another process fetches into this folder")
        for left in part.iterdir():  # by one that was killed
            shutil.rmtree(left)
        try:
            yield part
        finally:
            shutil.rmtree(part, ignore_errors=True)
    finally:
        os.close(descriptor)
