"""Whose case it is, in the words by which a person recognises a patient before they decide."""

import re
from dataclasses import dataclass
from typing import Final

from pydicom import dcmread

from dicom_node.errors import UnknownCase
from dicom_node.jobs.cases import CaseFolder
from dicom_node.settings.config import NodeSettings

_ID: Final = re.compile(r"[0-9a-f]{16}")
_TAGS: Final = ("PatientName", "PatientID", "AccessionNumber", "StudyDate")


@dataclass(frozen=True, slots=True)
class SubjectLine:
    """Patient and study of a case; empty texts where the images say nothing."""

    name: str = ""
    patient_id: str = ""
    accession: str = ""
    study_date: str = ""


def existing_case(settings: NodeSettings, case_id: str) -> CaseFolder:
    """The folder of a case by its whole id; an id is never taken for a path.

    Raises:
        UnknownCase: there is none.
    """
    folder = settings.cases().folder(case_id) if _ID.fullmatch(case_id) else None
    if folder is None or not (folder.path / "case.json").exists():
        raise UnknownCase(case_id)
    return folder


def subject_line(folder: CaseFolder) -> SubjectLine:
    """Patient and study as the first image says."""
    try:
        first = folder.instances()[0]
        header = dcmread(first, stop_before_pixels=True, specific_tags=list(_TAGS))
        return SubjectLine(*(str(header.get(tag, "") or "") for tag in _TAGS))
    except Exception:  # foreign bytes make pydicom fail in any way, and the images may be gone
        return SubjectLine()
