"""What a pair is: a CT, an image of perfusion, how they lie on each other, and everything that is wrong with them.

Paths here are those of the hospital's files, and Patient IDs are real: neither may go into a study store, a log, or a
picture. What is kept is made by `training.store`, which de-identifies on entry.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from training.pairs.rigid import Rigid


class LinkKind(StrEnum):
    """How it is known where the SPECT lies on the CT, the best first."""

    FRAME_OF_REFERENCE = "frame-of-reference"
    """Both name one Frame of Reference, as a hybrid scanner writes it: they lie on each other as they are."""
    REGISTRATION_OBJECT = "registration-object"
    """A Spatial Registration object says so."""
    REGISTERED = "registered"
    """Found by this program, image on image."""


class ProblemCode(StrEnum):
    """What can be wrong with what was found for a patient. Codes stay as they are; sentences may change."""

    NOT_DICOM = "NOT_DICOM"
    NO_PATIENT_ID = "NO_PATIENT_ID"
    PATIENT_MIXED = "PATIENT_MIXED"
    NO_CT = "NO_CT"
    CT_UNUSABLE = "CT_UNUSABLE"
    NO_PERFUSION = "NO_PERFUSION"
    PERFUSION_UNUSABLE = "PERFUSION_UNUSABLE"
    NOT_PERFUSION = "NOT_PERFUSION"
    TRACER_UNKNOWN = "TRACER_UNKNOWN"
    NOT_CORRECTED = "NOT_CORRECTED"
    SEVERAL_CTS = "SEVERAL_CTS"
    SEVERAL_PERFUSIONS = "SEVERAL_PERFUSIONS"
    REGISTRATION_UNUSABLE = "REGISTRATION_UNUSABLE"
    REGISTRATIONS_DIFFER = "REGISTRATIONS_DIFFER"
    REGISTERED_HERE = "REGISTERED_HERE"
    MAYBE_REVERSED = "MAYBE_REVERSED"
    LINK_POOR = "LINK_POOR"
    DAYS_APART = "DAYS_APART"
    NOT_USED = "NOT_USED"
    OTHER_PATIENT = "OTHER_PATIENT"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, or that a person must look at."""

    code: ProblemCode
    sentence: str
    """For a person; names no patient, but may name a series by its UID."""
    is_fatal: bool = False
    """There is no pair because of it; else there is one, and a person decides."""


@dataclass(frozen=True, slots=True)
class Link:
    """Where the SPECT lies on the CT."""

    kind: LinkKind
    rigid: Rigid
    """From the frame of reference of the SPECT to that of the CT."""
    quality: Mapping[str, float] = field(default_factory=dict)
    """Figures of `link_quality`, by name with unit."""
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class SeriesFiles:
    """A series, or one object of it, in files."""

    files: tuple[Path, ...]
    modality: str
    """`CT`, `NM` or `PT`."""
    study_instance_uid: str
    series_instance_uid: str
    frame_of_reference_uid: str
    """Empty where the files name none."""
    day: str
    """Date of the series or study, YYYYMMDD; empty where there is none."""


@dataclass(frozen=True, slots=True)
class ClinicalPair:
    """One CT and one image of perfusion of one patient."""

    patient_id: str
    """As the hospital writes it: never kept."""
    ct: SeriesFiles
    spect: SeriesFiles
    """One NM object, or all files of a PET series."""
    link: Link
    registration: Path | None = None
    """The Spatial Registration object that the link is from."""
    problems: tuple[Problem, ...] = ()

    @property
    def all_problems(self) -> tuple[Problem, ...]:
        """Those of the pair and of its link."""
        return (*self.problems, *self.link.problems)

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file of the pair."""
        return (*self.ct.files, *self.spect.files, *((self.registration,) if self.registration else ()))


@dataclass(frozen=True, slots=True)
class PatientFindings:
    """What a folder holds of one patient."""

    patient_id: str
    pairs: tuple[ClinicalPair, ...]
    problems: tuple[Problem, ...]
    """Those that belong to no pair."""
