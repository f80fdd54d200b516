"""Which structures of which structure set are taken out of the function regions, and why one is not.

The site names ROIs by regular expressions. Of all structure sets of the CT the latest that has such an ROI is used,
by Structure Set Date and Time, and all its ROIs that fit. A structure that cannot be placed with certainty is not
subtracted, not even in part: a finding says so, in every object. Nor is what a planner made of structures of our own
(`own_structures`).
"""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import RTStructureSetStorage

from dicom_node.reception.spool import key_of
from dicom_node.structures.own_structures import OWN_MAKER, own_rois, roi_names
from dicom_node.structures.structure_sets import referenced_series
from inference.exclusion import ExcludedStructure, Exclusion
from inference.quality.findings import Finding, Severity
from inference.volumes import CtVolume

_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
_LONGEST_NAME = 64
_DESCRIBING = ("StructureSetDate", "StructureSetTime", "SOPInstanceUID")


@dataclass(frozen=True, slots=True)
class SubtractionRule:
    """What a site wants to be taken out of high- and low-functional lung."""

    patterns: tuple[str, ...] = ()
    """Regular expressions; an ROI is meant when one fits its whole name, whatever the case. Empty: nothing is."""
    margin_mm: float = 0.0
    """Around each structure."""

    @property
    def is_set(self) -> bool:
        """Whether anything is to be taken out."""
        return bool(self.patterns)

    def means(self, name: str) -> bool:
        """Whether an ROI of this name is to be taken out."""
        return any(re.fullmatch(pattern, name.strip(), re.IGNORECASE) for pattern in self.patterns)

    def digest(self) -> str:
        """SHA-256 of the rule."""
        facts = {"patterns": list(self.patterns), "margin_mm": self.margin_mm}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def pattern_problem(pattern: str) -> str:
    """What is wrong with a regular expression for names; empty if nothing is."""
    try:
        re.compile(pattern)
    except re.error as fault:
        return str(fault)
    return "" if pattern else "it is empty"


@dataclass(frozen=True, slots=True, eq=False)
class _StructureSet:
    """A structure set with ROIs that the rule means."""

    dataset: Dataset
    sha256: str
    numbers: dict[int, str]
    """ROI Number to ROI Name."""

    @property
    def age(self) -> tuple[str, str, str, str]:
        """Later sets are greater; equal dates are told apart by what never changes."""
        date, time = (str(self.dataset.get(f"StructureSet{part}") or "") for part in ("Date", "Time"))
        return date, time, str(self.dataset.get("SOPInstanceUID") or ""), self.sha256

    @property
    def origin(self) -> str:
        """Which set it is, without a UID."""
        date = str(self.dataset.get("StructureSetDate") or "")
        key = key_of(str(self.dataset.get("SOPInstanceUID") or ""))[:8]
        return f"structure set {key}{f' of {date}' if re.fullmatch('[0-9]{8}', date) else ''}"


def exclusion_of(paths: Sequence[Path], ct: CtVolume, rule: SubtractionRule) -> Exclusion:
    """The structures to take out of the function regions of a CT.

    Args:
        paths: structure sets at hand, in any order; others than of this CT are passed over.
        ct: the CT.
        rule: what is to be taken out; set.
    """
    uid = ct.source.series_instance_uid
    found = [structure_set for path in paths if (structure_set := _read(path, uid, rule)) is not None]
    if not found:
        sentence = "No structure to subtract was received: high- and low-functional lung may hold a tumour."
        return Exclusion(ct.grid, (), (_flag("NO_STRUCTURE_TO_SUBTRACT", sentence),))
    chosen = max(found, key=lambda structure_set: structure_set.age)
    structures: list[ExcludedStructure] = []
    findings: list[Finding] = []
    for number in sorted(chosen.numbers):
        for part in _structure(chosen, number, ct, rule):
            if isinstance(part, Finding):
                findings.append(part)
            else:
                structures.append(part)
    return Exclusion(ct.grid, tuple(structures), tuple(findings))


def sets_meant(paths: Sequence[Path], series_instance_uid: str, rule: SubtractionRule) -> list[Path]:
    """Those structure sets that have something to take out of a series, in the order given; none of our own making."""
    return [path for path in paths if _read(path, series_instance_uid, rule) is not None]


def _read(path: Path, series_instance_uid: str, rule: SubtractionRule) -> _StructureSet | None:
    """A structure set of this series that has an ROI which the rule means; None if it is none."""
    try:
        dataset = dcmread(path)
        if dataset.get("SOPClassUID") != RTStructureSetStorage or dataset.get("Manufacturer") == OWN_MAKER:
            return None
        if series_instance_uid not in referenced_series(dataset):
            return None
        names, ours = roi_names(dataset), own_rois(dataset)
        _ = [str(dataset.get(keyword)) for keyword in _DESCRIBING]  # that they can be parsed
    except OSError as fault:
        if fault.errno is not None:
            raise
        return None  # not the disk: pydicom calls a tag that is cut off so, too
    except Exception:  # foreign bytes make pydicom fail in any way; a set that says nothing cannot be used
        return None
    meant = {number: name for number, name in names.items() if rule.means(name) and number not in ours}
    return _StructureSet(dataset, hashlib.sha256(path.read_bytes()).hexdigest(), meant) if meant else None


def _structure(
    chosen: _StructureSet, number: int, ct: CtVolume, rule: SubtractionRule
) -> Iterator[ExcludedStructure | Finding]:
    """The structure, or the finding why it cannot be used; both where a person should look."""
    from dicom_node.structures.structure_masks import Undrawable, draw_structure

    name = _plain(chosen.numbers[number])
    label = f"{name} ({chosen.origin})"
    try:
        contours = _contours(chosen.dataset, number)
        reason = _elsewhere(chosen.dataset, number, contours, ct)
    except Exception:  # pydicom parses a value when it is looked at, and fails in any way
        yield _flag("STRUCTURE_UNREADABLE", f"{label} was not subtracted: its contours cannot be parsed.")
        return
    if reason:
        yield _flag("STRUCTURE_ELSEWHERE", f"{label} was not subtracted: {reason}.")
        return
    try:
        polygons = [_points(contour) for contour in contours]
    except ValueError as fault:
        yield _flag("STRUCTURE_UNREADABLE", f"{label} was not subtracted: {fault}.")
        return
    if not polygons:
        yield _flag("STRUCTURE_EMPTY", f"{label} was not subtracted: it has no closed contour.")
        return
    try:
        drawn = draw_structure(polygons, ct.grid, rule.margin_mm)
    except Undrawable as fault:
        sentence = f"{label} was not subtracted: {fault.contours} of its {len(polygons)} contours {fault}."
        yield _flag("STRUCTURE_OFF_PLANE", sentence, fault.contours)
        return
    if drawn.slices_without_contour:
        sentence = f"{label} has no contour on {drawn.slices_without_contour} image(s) between its first and its last."
        yield _flag("STRUCTURE_WITH_GAPS", sentence, drawn.slices_without_contour)
    margin = f" with {rule.margin_mm:g} mm around it" if rule.margin_mm else ""
    yield ExcludedStructure(f"{name}{margin}", chosen.origin, drawn.box, drawn.mask)


def _contours(dataset: Dataset, number: int) -> list[Dataset]:
    """Closed contours of an ROI; single points are none."""
    return [
        contour
        for item in dataset.get("ROIContourSequence") or ()
        if str(item.get("ReferencedROINumber")) == str(number)
        for contour in item.get("ContourSequence") or ()
        if str(contour.get("ContourGeometricType")) != "POINT"
    ]


def _elsewhere(dataset: Dataset, number: int, contours: Sequence[Dataset], ct: CtVolume) -> str:
    """Why an ROI does not lie on this CT; empty if it does."""
    frames = {
        str(item.get("ReferencedFrameOfReferenceUID") or "")
        for item in dataset.StructureSetROISequence
        if int(item.ROINumber) == number
    }
    if frames != {ct.source.frame_of_reference_uid}:
        return "it lies in another frame of reference"
    images = {
        str(image.get("ReferencedSOPInstanceUID") or "")
        for contour in contours
        for image in contour.get("ContourImageSequence") or ()
    }
    strays = len(images - set(ct.source.sop_instance_uids))
    return f"{strays} of the images it was drawn on are not of this CT" if strays else ""


def _points(contour: Dataset) -> np.ndarray:
    if str(contour.get("ContourGeometricType")) not in _CLOSED:
        raise ValueError("a contour is not closed")
    try:
        values = np.array(contour.get("ContourData"), dtype=np.float64)
        points: np.ndarray = values.reshape(-1, 3)
    except (TypeError, ValueError):
        raise ValueError("the points of a contour cannot be read") from None
    if len(points) < 3 or not np.isfinite(points).all():
        raise ValueError("a contour has fewer than three points, or one that is no number")
    return points


def _plain(name: str) -> str:
    """A name as ASCII of bounded length; a structure is called what its planner calls it."""
    text = name.strip().encode("ascii", "replace").decode()
    return "".join(c if c.isprintable() else "?" for c in text)[:_LONGEST_NAME]


def _flag(code: str, sentence: str, measured: float = 0.0) -> Finding:
    return Finding(code, Severity.FLAG, sentence, float(measured), 0.0, "1")
