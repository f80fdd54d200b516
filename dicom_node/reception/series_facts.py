"""What is known of a received series before anything is decoded: what rules and completeness look at.

Headers are read once per state of a series, when it has become quiet, never while it arrives. Thousands of slices have
few distinct headers, so a series is kept as those, with a position for each image.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float
from pydicom import Dataset, dcmread
from pydicom.filereader import read_file_meta_info
from pydicom.multival import MultiValue
from pydicom.uid import RTStructureSetStorage

from dicom_node.reception.series_phase import PHASE_KEYWORDS, Phase, phase_of
from inference.ct.headers import COSINE_TOLERANCE, DUPLICATE_TOLERANCE_MM

AXIAL_COSINE: Final = 0.94
"""A plane is called axial, coronal or sagittal when its normal lies within 20 degrees of that axis, else oblique."""

_TEXTS: Final = {
    "patient_id": "PatientID",
    "patient_name": "PatientName",
    "study_description": "StudyDescription",
    "series_description": "SeriesDescription",
    "protocol_name": "ProtocolName",
    "image_type": "ImageType",
    "kernel": "ConvolutionKernel",
    "manufacturer": "Manufacturer",
    "station_name": "StationName",
    "body_part": "BodyPartExamined",
    "modality": "Modality",
    "sop_class": "SOPClassUID",
}
_NUMBERS: Final = {"slice_thickness_mm": "SliceThickness", "kvp": "KVP", "rows": "Rows"}
_NO_AGENT: Final = frozenset({"", "NO", "NONE", "N", "WITHOUT", "NATIVE"})
_WANTED: Final = [
    *_TEXTS.values(),
    *_NUMBERS.values(),
    *PHASE_KEYWORDS,
    "ContrastBolusAgent",
    "ContrastBolusAgentSequence",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SpecificCharacterSet",
]


@dataclass(frozen=True, slots=True)
class HeaderFacts:
    """What many images of a series have in common. Texts are empty and numbers `None` where the header has none.

    Text of several values is joined by a backslash, as DICOM writes it.
    """

    patient_id: str
    patient_name: str
    study_description: str
    series_description: str
    protocol_name: str
    image_type: str
    kernel: str
    manufacturer: str
    station_name: str
    body_part: str
    modality: str
    sop_class: str
    """SOP Class UID."""
    slice_thickness_mm: float | None
    kvp: float | None
    rows: float | None
    contrast: bool
    """Whether a contrast agent is named (0018,0010) or described (0018,0012)."""
    phase: Phase
    orientation: str
    """`axial`, `coronal`, `sagittal`, `oblique`, or empty."""
    cosines: tuple[float, ...]
    """Image Orientation (Patient), six numbers or none."""

    @property
    def words(self) -> str:
        """Every text by which people name patients, studies and series, one per line."""
        texts = (self.patient_id, self.patient_name, self.study_description, self.series_description)
        return "\n".join((*texts, self.protocol_name))


@dataclass(frozen=True)
class SeriesFacts:
    """A series by its headers."""

    study_instance_uid: str
    series_instance_uid: str
    instances: int
    headers: tuple[HeaderFacts, ...]
    """The distinct ones, in order of first appearance."""
    positions_mm: tuple[tuple[float, ...] | None, ...]
    """Image Position (Patient) of every instance; `None` where it has none."""
    calling_ae_titles: tuple[str, ...]
    """Who sent, sorted."""

    @cached_property
    def heights_mm(self) -> Float[np.ndarray, " slices"] | None:
        """Sorted distinct positions along the normal; `None` if images have none or lie in different planes."""
        planes = [header.cosines for header in self.headers]
        if not all(planes) or None in self.positions_mm or np.ptp(planes, axis=0).max() > COSINE_TOLERANCE:
            return None
        normal = np.cross(planes[0][:3], planes[0][3:])
        heights_mm = np.sort(np.array(self.positions_mm, dtype=float) @ normal)
        return heights_mm[np.diff(heights_mm, prepend=-np.inf) > DUPLICATE_TOLERANCE_MM]

    @cached_property
    def spacing_between_slices_mm(self) -> float | None:
        """Median step between neighbours along the normal; `None` if that cannot be said."""
        if self.heights_mm is None or len(self.heights_mm) < 2:
            return None
        return float(np.median(np.diff(self.heights_mm)))


def read_series_facts(paths: Sequence[Path], calling_ae_titles: Sequence[str] = ()) -> SeriesFacts:
    """Read the headers of one series. A file that cannot be read counts as an image of which nothing is known.

    Args:
        paths: the instances, at least one.
        calling_ae_titles: who sent them.
    """
    headers: dict[HeaderFacts, None] = {}
    positions: list[tuple[float, ...] | None] = []
    uids = ("", "")
    for path in paths:
        dataset = _read(path)
        headers[_header(dataset)] = None
        positions.append(_decimals(dataset, "ImagePositionPatient", 3) or None)
        uids = uids if uids[1] else (_text(dataset, "StudyInstanceUID"), _text(dataset, "SeriesInstanceUID"))
    return SeriesFacts(*uids, len(paths), tuple(headers), tuple(positions), tuple(sorted(set(calling_ae_titles))))


def is_structure_set(paths: Sequence[Path]) -> bool:
    """Whether files are RT Structure Sets and nothing else, by their file meta information; False for no file."""
    return bool(paths) and all(_class_of(path) == RTStructureSetStorage for path in paths)


def _class_of(path: Path) -> str:
    try:
        return str(read_file_meta_info(path).get("MediaStorageSOPClassUID", ""))
    except Exception:  # no DICOM file, or one that is spoilt
        return ""


def _read(path: Path) -> Dataset:
    try:
        return dcmread(path, stop_before_pixels=True, specific_tags=_WANTED)
    except Exception:  # whatever pydicom meets in a header that a peer has written
        return Dataset()


def _header(dataset: Dataset) -> HeaderFacts:
    facts: dict[str, Any] = {name: _text(dataset, keyword) for name, keyword in _TEXTS.items()}
    facts |= {name: _number(dataset, keyword) for name, keyword in _NUMBERS.items()}
    cosines = _decimals(dataset, "ImageOrientationPatient", 6)
    agents = _value(dataset, "ContrastBolusAgentSequence")
    return HeaderFacts(
        **facts,
        contrast=bool(agents) or _text(dataset, "ContrastBolusAgent").upper() not in _NO_AGENT,
        phase=_phase(dataset),
        orientation=_orientation(cosines),
        cosines=cosines,
    )


def _phase(dataset: Dataset) -> Phase:
    try:
        return phase_of(dataset)
    except Exception:  # an attribute that cannot be parsed
        return Phase.NONE


def _orientation(cosines: tuple[float, ...]) -> str:
    if len(cosines) != 6:
        return ""
    normal = np.abs(np.cross(cosines[:3], cosines[3:]))
    if normal.max() < AXIAL_COSINE:
        return "oblique"
    return ("sagittal", "coronal", "axial")[int(normal.argmax())]


def _value(dataset: Dataset, keyword: str) -> Any:
    try:
        return dataset.get(keyword)
    except Exception:  # pydicom converts only now, and says so in many ways
        return None


def _text(dataset: Dataset, keyword: str) -> str:
    value = _value(dataset, keyword)
    if value is None:
        return ""
    return "\\".join(str(item).strip() for item in (value if isinstance(value, MultiValue) else [value]))


def _number(dataset: Dataset, keyword: str) -> float | None:
    numbers = _decimals(dataset, keyword, 1)
    return numbers[0] if numbers else None


def _decimals(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...]:
    value = _value(dataset, keyword)
    try:
        numbers = tuple(float(item) for item in (value if count > 1 else [value]))
    except (TypeError, ValueError):
        return ()
    return numbers if len(numbers) == count and all(np.isfinite(numbers)) else ()
