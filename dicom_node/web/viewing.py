"""Every view of a case, and of a list that shows patients, is told to the audit trail.

Once for each person, sign-in and case, and again after a while: a page asks for many pictures of the same case, and a
list is read anew many times a day. The trail says who looked at whom, not how often a browser asked.
"""

import re
import time
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final

from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from dicom_node.audit.events import StudyTransfer
from dicom_node.audit.people import AtPage
from dicom_node.errors import UnknownCase
from dicom_node.jobs.cases import CaseFolder
from dicom_node.web.access.rights import Person, Right
from dicom_node.web.node import WebNode

_CASE_ID: Final = re.compile(r"[0-9a-f]{1,64}")
_TAGS: Final = ["StudyInstanceUID", "PatientID", "SOPClassUID"]


def told_view(node: WebNode, person: Person, case_id: str) -> None:
    """Tell the audit trail that somebody looks at a case; to be called before anything of it is shown.

    Args:
        node: whose case.
        person: who looks.
        case_id: whole id of the case.

    Raises:
        UnknownCase: there is no such case.
    """
    if not _CASE_ID.fullmatch(case_id):
        raise UnknownCase("of that id")
    folder = node.settings.cases().folder(case_id)
    instances = folder.record().instances
    if node.views.must_tell(person, case_id, time.monotonic()):
        node.audit.case_seen(AtPage(person.name, person.address), case_id, _studies(folder, instances))


def told_list(node: WebNode, person: Person, patient_ids: Mapping[str, str]) -> None:
    """Tell the audit trail that somebody is shown whose cases these are; to be called before they are.

    One message for all of them, without those that the person was shown in a list shortly before. Whoever may not see
    patients is shown nobody, and nothing is told.

    Args:
        node: whose cases.
        person: who looks.
        patient_ids: Patient IDs by the whole ids of the cases in the list.
    """
    if not person.may(Right.SEE_PATIENTS):
        return
    now_s = time.monotonic()
    untold = {
        case_id: patient_id
        for case_id, patient_id in patient_ids.items()
        if node.views.must_tell(person, f"list {case_id}", now_s)
    }
    if untold:
        node.audit.cases_listed(AtPage(person.name, person.address), untold)


def _studies(folder: CaseFolder, instances: int) -> tuple[StudyTransfer, ...]:
    """The study of a case; empty once its images have been removed."""
    try:
        first = next(path for path in sorted(folder.received.iterdir()) if path.is_file())
    except (OSError, StopIteration):
        return ()
    study, patient, sop_class = _subject(first)
    return (StudyTransfer(study, patient, {sop_class: instances}),) if study else ()


@lru_cache(maxsize=1024)
def _subject(path: Path) -> tuple[str, str, str]:
    """Study, patient and SOP class of an instance."""
    try:
        header = dcmread(path, stop_before_pixels=True, specific_tags=_TAGS)
    except (OSError, InvalidDicomError):
        return "", "", ""
    return tuple(str(header.get(tag, "") or "") for tag in _TAGS)  # type: ignore[return-value]
