"""Structure sets that were received, kept beside the series they were drawn on.

    structures/<key of a series>/<key of a SOP Instance UID>.dcm

A structure set has no case of its own: it waits here until its CT becomes a case, and then says what shall be taken
out of the function regions (`subtraction`). It is kept for good, like everything that was acknowledged.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import RTStructureSetStorage

from dicom_node.durable_files import make_directory, write_durably
from dicom_node.reception.spool import key_of

_READ = ("SOPClassUID", "SOPInstanceUID", "ReferencedFrameOfReferenceSequence")


@dataclass(frozen=True, slots=True)
class StructureStore:
    """The structure sets of a node; several processes may add at the same time."""

    root: Path

    @classmethod
    def under(cls, data_dir: Path) -> Self:
        """The structure sets of the node with that data directory."""
        return cls(data_dir / "structures")

    def add(self, path: Path) -> str | None:
        """Keep a structure set durably, once for each series that it refers to; the file itself stays where it is.

        Adding the same again changes nothing. Another content under a UID that is known is kept beside the first.

        Returns:
            The first series it refers to; None, and nothing is kept, if it is no structure set or refers to none.

        Raises:
            OSError: it could not be read or kept.
        """
        try:
            dataset = dcmread(path, stop_before_pixels=True, specific_tags=list(_READ))
            series = referenced_series(dataset) if dataset.get("SOPClassUID") == RTStructureSetStorage else []
            key = key_of(str(dataset.get("SOPInstanceUID") or ""))
        except OSError as fault:
            if fault.errno is not None:
                raise
            return None  # not the disk: pydicom calls a tag that is cut off so, too
        except Exception:  # foreign bytes make pydicom fail in any way
            return None
        content = path.read_bytes() if series else b""
        for uid in series:
            _keep(self._folder(uid), key, content)
        return series[0] if series else None

    def of_series(self, series_instance_uid: str) -> list[Path]:
        """The structure sets that refer to a series, in a fixed order."""
        return sorted(self._folder(series_instance_uid).glob("*.dcm"))

    def _folder(self, series_instance_uid: str) -> Path:
        return self.root / key_of(series_instance_uid)


def referenced_series(dataset: Dataset) -> list[str]:
    """Series that a structure set was drawn on, in its order, each once (PS3.3 C.8.8.5)."""
    found = [
        str(series.get("SeriesInstanceUID") or "")
        for frame_of_reference in dataset.get("ReferencedFrameOfReferenceSequence") or ()
        for study in frame_of_reference.get("RTReferencedStudySequence") or ()
        for series in study.get("RTReferencedSeriesSequence") or ()
    ]
    return list(dict.fromkeys(uid for uid in found if uid))


def _keep(folder: Path, key: str, content: bytes) -> None:
    make_directory(folder)
    target = folder / f"{key}.dcm"
    if target.exists() and target.read_bytes() != content:
        target = folder / f"{key}-{hashlib.sha256(content).hexdigest()[:16]}.dcm"
    if not target.exists():
        write_durably(target, content)
