"""A structure set that came back: whether it was made from ours, and how far it differs from them.

    cases/<case id>/edited/<name of the file it was kept as>.json

What is drawn on our CT is not yet made from our structures, and what bears our names may be another patient's: series,
images, frame of reference and patient must be ours, and the set must name an instance of ours or hold our ROIs. The
record holds no text of the set, which might name a patient.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset

from dicom_node.durable_files import make_directory, write_json
from dicom_node.jobs.cases import CaseFolder
from dicom_node.objects.kinds import ObjectKind
from dicom_node.results.ledger import ResultLedger
from dicom_node.results.result_files import read_ct_place
from dicom_node.review.structure_comparison import RoiChange, compare_sets
from dicom_node.structures.own_structures import (
    OWN_MAKER,
    bears_our_names,
    is_labelled,
    own_rois,
    referred_instances,
    roi_names,
)
from dicom_node.structures.structure_sets import referenced_series

LARGEST_FILE_MB = 512.0


class Kinship(StrEnum):
    """What a structure set that was drawn on the CT of a case is to our structures."""

    EDITED = "EDITED"
    """Made from ours; `rois` say how far it differs."""
    OURS = "OURS"
    """It is one of ours, as we wrote it, or as a model in shadow did."""
    FOREIGN = "FOREIGN"
    """Somebody else's."""
    OTHER_PATIENT = "OTHER_PATIENT"
    """It bears our names on our images under another Patient ID; it was not compared."""
    UNREADABLE = "UNREADABLE"
    """It cannot be parsed, or is too large."""


@dataclass(frozen=True, slots=True)
class ReturnedSet:
    """What is kept of a structure set that came."""

    file: str
    """Name of the file in the store of structure sets, without its suffix."""
    came_at: str
    """UTC, ISO 8601."""
    kinship: Kinship
    names_ours: bool = False
    """Whether it names one of our instances as what it was made from, and does not only bear our names."""
    result_id: str = ""
    """Of the result that it was compared with: what the case held when it came."""
    rois: tuple[RoiChange, ...] = ()
    other_rois: int = 0
    """ROIs that are none of ours."""


def read_returned(case: CaseFolder) -> tuple[ReturnedSet, ...]:
    """The structure sets that came back for a case, the oldest first; somebody else's are not among them."""
    found = []
    for path in sorted((case.path / "edited").glob("*.json")):
        fields = json.loads(path.read_text(encoding="utf-8"))
        rois = tuple(RoiChange(**roi) for roi in fields["rois"])
        found.append(ReturnedSet(**{**fields, "kinship": Kinship(fields["kinship"]), "rois": rois}))
    told = (Kinship.EDITED, Kinship.OTHER_PATIENT)
    return tuple(sorted((each for each in found if each.kinship in told), key=lambda each: each.came_at))


def is_known(case: CaseFolder, path: Path) -> bool:
    """Whether a structure set was looked at for this case already."""
    return (case.path / "edited" / f"{path.stem}.json").exists()


def keep_returned(case: CaseFolder, returned: ReturnedSet) -> None:
    """Keep what was found, durably."""
    make_directory(case.path / "edited")
    write_json(case.path / "edited" / f"{returned.file}.json", asdict(returned))


def look_at(case: CaseFolder, path: Path) -> ReturnedSet:
    """What a structure set is to the structures of a case, and how far it differs from them.

    Args:
        case: with objects.
        path: of the set, which refers to the series of the case.
    """
    at = datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds")
    if path.stat().st_size > LARGEST_FILE_MB * 1e6:
        return ReturnedSet(path.stem, at, Kinship.UNREADABLE)
    try:
        return _looked_at(case, path, at)
    except OSError as fault:
        if fault.errno is not None:
            raise
        return ReturnedSet(path.stem, at, Kinship.UNREADABLE)  # pydicom calls a tag that is cut off so, too
    except Exception:  # foreign bytes make pydicom fail in any way
        return ReturnedSet(path.stem, at, Kinship.UNREADABLE)


def _looked_at(case: CaseFolder, path: Path, at: str) -> ReturnedSet:
    edited, ours = dcmread(path), [dcmread(made) for made in case.objects_of_kind(ObjectKind.STRUCTURE_SET)]
    known = _instances_of_ours(case, ours)
    if str(edited.get("SOPInstanceUID")) in known or _is_in_shadow(edited):
        return ReturnedSet(path.stem, at, Kinship.OURS)
    names_ours = bool(set(referred_instances(edited)) & known)
    if case.record().series_instance_uid not in referenced_series(edited) or not (names_ours or _is_like(edited, ours)):
        return ReturnedSet(path.stem, at, Kinship.FOREIGN)
    if _patient(edited) != _patient(ours[0]):
        return ReturnedSet(path.stem, at, Kinship.OTHER_PATIENT, names_ours)
    grid, source = read_ct_place(case.ct)
    rois = compare_sets(ours, edited, grid, source)
    other = len(roi_names(edited).keys() - own_rois(edited))
    result_id = str(case.object_facts()["result"]["result_id"])
    return ReturnedSet(path.stem, at, Kinship.EDITED, names_ours, result_id, rois, other)


def _instances_of_ours(case: CaseFolder, ours: Sequence[Dataset]) -> set[str]:
    """SOP Instance UIDs of the structure sets of this CT, of this result and of those before it."""
    earlier = ResultLedger(case.ledger).results_of(case.record().series_instance_uid)
    kind = ObjectKind.STRUCTURE_SET.value
    known = {
        made.sop_instance_uid
        for result in earlier
        for role, made in result.objects.items()
        if role.partition(".")[0] == kind
    }
    return known | {str(dataset.SOPInstanceUID) for dataset in ours}


def _is_in_shadow(dataset: Dataset) -> bool:
    """Whether it is of a model in shadow, whose objects stand in no ledger."""
    is_ours = dataset.get("Manufacturer") == OWN_MAKER
    return is_ours and str(dataset.get("SeriesDescription") or "").startswith("RESEARCH SHADOW")


def _is_like(edited: Dataset, ours: Sequence[Dataset]) -> bool:
    """Whether its ROIs are ours by their names."""
    names = roi_names(edited).values()
    if any(bears_our_names(list(names), list(roi_names(dataset).values())) for dataset in ours):
        return True
    labels = {str(dataset.get("StructureSetLabel") or "") for dataset in ours}
    is_labelled_so = is_labelled(edited) or str(edited.get("StructureSetLabel") or "") in labels
    return is_labelled_so and bool(own_rois(edited))


def _patient(dataset: Dataset) -> str:
    return str(dataset.get("PatientID") or "").strip()
