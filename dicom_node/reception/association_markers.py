"""Which associations sent into a series, which of them still live, and how the others ended.

    root/associations/<id>                                   held by the process that serves the association
    root/incoming/<series key>/associations/<id>.open        it has sent here and has not ended well (yet)
    root/incoming/<series key>/associations/<id>.closed      it has: released, nothing refused
    root/incoming/<series key>/associations/<key>.conflict   of this instance another version came and was refused

An open marker whose association is held by nobody is of a transfer that was cut off: its process died, or the network.
One file is held for each association, however many series it sends.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dicom_node.durable_files import sync_directory
from dicom_node.held_files import is_held
from dicom_node.reception.part_files import PartFiles

_FOLDER: Final = "associations"
_OPEN: Final = ".open"
_CLOSED: Final = ".closed"
_CONFLICT: Final = ".conflict"


@dataclass(frozen=True, slots=True)
class Transfers:
    """What the markers of a series say."""

    alive: int
    """Associations that are sending into it now."""
    cut_off: int
    """Associations that ended badly, with no good one after them."""
    conflicts: int
    """Instances of which another version was refused."""
    calling_ae_titles: tuple[str, ...]
    """Who sent, sorted."""


@dataclass(frozen=True, slots=True)
class AssociationMarkers:
    """The markers of one series. To be changed only under the lock of the series.

    Args:
        series: Folder of the series.
        living: Folder in which living associations hold a file of their id.
    """

    series: Path
    living: Path

    @property
    def directory(self) -> Path:
        """Where they lie."""
        return self.series / _FOLDER

    def open(self, association_id: str, calling_ae_title: str, parts: PartFiles) -> None:
        """Say durably that an association sends into the series. The folder of the series is made if absent."""
        # Synced even if they are there: the process that made them may have died before it did so.
        for directory in (self.series, self.directory):
            directory.mkdir(exist_ok=True)
            sync_directory(directory.parent)
        self._put(association_id + _OPEN, calling_ae_title, parts)

    def note_conflict(self, instance_key: str, calling_ae_title: str, parts: PartFiles) -> None:
        """Say durably that of an instance another version came."""
        self._put(instance_key + _CONFLICT, calling_ae_title, parts)

    def close(self, association_id: str) -> None:
        """Say durably that an association ended well, and that those before it that are dead do not matter any more."""
        for marker in list(self.directory.glob(f"*{_OPEN}")):
            if marker.stem == association_id or not is_held(self.living / marker.stem):
                marker.rename(marker.with_suffix(_CLOSED))
        sync_directory(self.directory)

    def read(self) -> Transfers:
        """What they say now."""
        alive = cut_off = conflicts = 0
        titles = set()
        for marker in self.directory.iterdir():
            if marker.suffix == _OPEN:
                lives = is_held(self.living / marker.stem)
                alive, cut_off = alive + lives, cut_off + (not lives)
            conflicts += marker.suffix == _CONFLICT
            titles.add(marker.read_text("ascii").strip())
        return Transfers(alive, cut_off, conflicts, tuple(sorted(titles)))

    def _put(self, name: str, content: str, parts: PartFiles) -> None:
        marker = self.directory / name
        if not marker.exists():
            part = parts.write(content.encode("ascii", "replace"))
            try:
                part.rename(marker)
            except OSError:
                part.unlink(missing_ok=True)
                raise
        sync_directory(self.directory)
