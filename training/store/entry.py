"""A pair on its way in: looked at before anything is written, then written without names, slice by slice.

Refused (`PairRefused.reason_code`):

* UNREADABLE: a file is no DICOM, or its pixels cannot be decoded
* UNFIT_OBJECT: it is no CT, NM, PT or Spatial Registration object, or objects of one image do not belong together, or
  a lookup table or another unit than HU says what its numbers mean, and would be gone in the store
* NO_PATIENT_ID, TWO_PATIENTS: it is not known whose it is, or Patient IDs or birth dates differ between objects, or
  the birth date from that of another pair of the patient (`repetition`)
* BURNED_IN: an object says that names are drawn in its pixels; no program here can find and remove them
* BROKEN_LINK: objects do not say of each other what the link says

Warnings of a pair are codes for a person to look at: BURNED_IN_UNKNOWN (an object does not say whether anything is
drawn in its pixels, as most do not), SECONDARY_IMAGE (made on a workstation, where names are drawn in), FACE_IN_IMAGE
(an object says that a person may be known by it).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from pydicom import dcmread
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    NuclearMedicineImageStorage,
    PositronEmissionTomographyImageStorage,
    SpatialRegistrationStorage,
)

from training.errors import PairRefused
from training.store.deidentification import deidentified
from training.store.links import require_link
from training.store.pseudonyms import Pseudonyms
from training.store.stored_pair import PairFiles, PairManifest, Role, StoredFile, file_sha256
from training.store.stored_pixels import decoded_pixels

_CLASSES: Final[dict[Role, tuple[UID, ...]]] = {
    "ct": (CTImageStorage,),
    "nuclear": (NuclearMedicineImageStorage, PositronEmissionTomographyImageStorage),
    "registration": (SpatialRegistrationStorage,),
}

_RESCALE_TYPES: Final = ("HU", "HU_MOD", "US")
"""Those that are kept: without its type another CT would pass for one in HU."""


@dataclass(frozen=True, slots=True)
class Source:
    """One object of the hospital."""

    path: Path
    role: Role
    header: Dataset
    """Without pixel data."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A pair that may come in, as far as it alone can tell."""

    files: PairFiles
    sources: tuple[Source, ...]
    """CT and PET in the order of slices."""
    patient: str
    spellings: frozenset[str]
    """Pseudonyms of its Patient ID with more or fewer leading zeros, its own among them."""
    person: str
    birth: str
    warnings: tuple[str, ...]

    @classmethod
    def of(cls, files: PairFiles, pseudonyms: Pseudonyms) -> "Entry":
        """Read headers and look at them.

        Raises:
            PairRefused: it may not come in.
        """
        with disable_value_validation():  # pydicom would tell of strange values, names among them, in its warnings
            return cls._of(files, pseudonyms)

    @classmethod
    def _of(cls, files: PairFiles, pseudonyms: Pseudonyms) -> "Entry":
        ct, nuclear = _series(files.ct, "ct"), _series(files.nuclear, "nuclear")
        if len(nuclear) > 1 and any(s.header.SOPClassUID == NuclearMedicineImageStorage for s in nuclear):
            raise PairRefused("UNFIT_OBJECT", "a SPECT is one object, and here are several")
        links = tuple(_read(path, "registration") for path in (files.registration,) if path)
        sources = (*ct, *nuclear, *links)
        patient_id, name, birth_date = _whose(sources)
        headers = ([s.header for s in ct], [s.header for s in nuclear], next((s.header for s in links), None))
        require_link(files.link.kind, *headers)
        patient = pseudonyms.patient(patient_id)
        return cls(
            files=files,
            sources=sources,
            patient=patient,
            spellings=pseudonyms.spellings(patient_id),
            person=pseudonyms.person(name, birth_date),
            birth=pseudonyms.birth(birth_date, patient),
            warnings=_warnings((*ct, *nuclear)),
        )

    def sop_instance_uids(self, pseudonyms: Pseudonyms) -> frozenset[str]:
        """UIDs that its objects will have in the store."""
        return frozenset(pseudonyms.uid(str(source.header.SOPInstanceUID)) for source in self.sources)

    def name(self, pseudonyms: Pseudonyms) -> str:
        """Name of the pair: patient, and a hash of the CT's series and of the perfusion image."""
        series = [str(self._first(role).SeriesInstanceUID) for role in ("ct", "nuclear")]
        image = str(self._first("nuclear").SOPInstanceUID) if len(self.files.nuclear) == 1 else ""
        number = int(pseudonyms.uid("\n".join((*series, image))).removeprefix("2.25."))
        return f"{self.patient}-{number & 0xFFFFFFFF:08x}"

    def write(self, folder: Path, pseudonyms: Pseudonyms) -> PairManifest:
        """Write all objects without names into an empty folder, and the manifest.

        Raises:
            PairRefused: pixels cannot be decoded.
            OSError: the file system refuses.
        """
        with disable_value_validation():
            written = tuple(self._write_files(folder, pseudonyms))
        manifest = PairManifest(
            name=self.name(pseudonyms),
            patient=self.patient,
            person=self.person,
            birth=self.birth,
            link=self.files.link,
            warnings=self.warnings,
            files=written,
        )
        manifest.write(folder)
        return manifest

    def _first(self, role: Role) -> Dataset:
        return next(source.header for source in self.sources if source.role == role)

    def _write_files(self, folder: Path, pseudonyms: Pseudonyms) -> Iterator[StoredFile]:
        numbers: dict[Role, int] = {}
        for source in self.sources:
            number = numbers[source.role] = numbers.get(source.role, 0) + 1
            relative = f"{source.role}/{number:04d}.dcm"
            try:
                dataset = dcmread(source.path)
                pixels = None if source.role == "registration" else decoded_pixels(dataset)
                stored = deidentified(dataset, pixels, self.patient, pseudonyms, number=number)
            except PairRefused as fault:
                raise PairRefused(fault.reason_code, f"{_which(source.role)}: {fault.reason}") from fault
            except MemoryError:
                raise
            except Exception as fault:  # foreign bytes make pydicom and decoders fail in any way
                if isinstance(fault, OSError) and fault.errno is not None:
                    raise
                raise PairRefused("UNREADABLE", f"{_which(source.role)}: {type(fault).__name__}") from fault
            path = folder / relative
            path.parent.mkdir(exist_ok=True)
            stored.save_as(path, enforce_file_format=True)
            digest = pixels.digest if pixels else ""
            uid = str(stored.SOPInstanceUID)
            yield StoredFile(relative, source.role, path.stat().st_size, file_sha256(path), uid, digest)


def _which(role: Role) -> str:
    return {"ct": "a slice of the CT", "nuclear": "the perfusion image", "registration": "the registration"}[role]


def _read(path: Path, role: Role) -> Source:
    """Header of one file, of a kind that may come in."""
    try:
        header = dcmread(path, stop_before_pixels=True)
        uid, kind = str(header.get("SOPInstanceUID") or ""), str(header.get("SOPClassUID") or "")
    except MemoryError:
        raise
    except Exception as fault:  # foreign bytes make pydicom fail in any way
        if isinstance(fault, OSError) and fault.errno is not None:
            raise
        raise PairRefused("UNREADABLE", f"{_which(role)} is no DICOM file ({type(fault).__name__})") from fault
    if kind not in _CLASSES[role] or not uid:
        raise PairRefused("UNFIT_OBJECT", f"{_which(role)} is an object of class {kind or 'none'}")
    if str(header.get("BurnedInAnnotation") or "").upper() == "YES":
        raise PairRefused("BURNED_IN", f"{_which(role)} says that something is drawn in its pixels")
    if header.get("ModalityLUTSequence") or str(header.get("RescaleType") or "HU") not in _RESCALE_TYPES:
        raise PairRefused("UNFIT_OBJECT", f"the numbers of {_which(role)} mean something else than slope and intercept")
    return Source(path, role, header)


def _series(paths: Sequence[Path], role: Role) -> tuple[Source, ...]:
    """Objects of one series, in the order of their places along the normal of slices."""
    sources = [_read(path, role) for path in paths]
    uids = {str(source.header.SOPInstanceUID) for source in sources}
    series = {str(source.header.get("SeriesInstanceUID") or "") for source in sources}
    frames = {str(source.header.get("FrameOfReferenceUID") or "") for source in sources}
    if not sources or len(uids) < len(sources) or len(series) != 1 or "" in series or len(frames) != 1:
        raise PairRefused("UNFIT_OBJECT", f"{_which(role)}: its files are not one series, each object once")
    return tuple(sorted(sources, key=_place) if len(sources) > 1 else sources)


def _place(source: Source) -> float:
    """Along the normal of the slice, in mm."""
    try:
        directions = [float(number) for number in source.header.ImageOrientationPatient]
        position = np.array([float(number) for number in source.header.ImagePositionPatient])
        return float(np.cross(directions[:3], directions[3:]) @ position)
    except (AttributeError, TypeError, ValueError) as fault:
        raise PairRefused("UNFIT_OBJECT", f"{_which(source.role)} does not say where it lies") from fault


def _whose(sources: Sequence[Source]) -> tuple[str, str, str]:
    """Patient ID, name and birth date, where all objects agree on ID and birth date."""
    ids = {str(source.header.get("PatientID") or "").strip() for source in sources}
    births = {str(source.header.get("PatientBirthDate") or "").strip() for source in sources} - {""}
    names = sorted({str(source.header.get("PatientName") or "") for source in sources} - {""})
    if ids == {""}:
        raise PairRefused("NO_PATIENT_ID", "no object says whose it is")
    if len(ids) > 1 or len(births) > 1:
        raise PairRefused("TWO_PATIENTS", "Patient IDs or birth dates differ between its objects")
    return ids.pop(), names[0] if names else "", births.pop() if births else ""


def _warnings(sources: Sequence[Source]) -> tuple[str, ...]:
    found = set()
    for header in (source.header for source in sources):
        if not header.get("BurnedInAnnotation"):
            found.add("BURNED_IN_UNKNOWN")
        if "SECONDARY" in str(header.get("ImageType")) or header.get("ConversionType"):
            found.add("SECONDARY_IMAGE")
        if str(header.get("RecognizableVisualFeatures") or "").upper() == "YES":
            found.add("FACE_IN_IMAGE")
    return tuple(sorted(found))
