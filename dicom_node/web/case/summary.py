"""The summary page of a case, for printing, as PDF.

It is the one that was made for the archive, byte for byte, where a destination ordered one. It names the patient, so
for whoever may not see patients, and where none was ordered, the page is drawn anew from CT and result. Equal input
gives equal bytes. Drawing takes seconds and its library serves one at a time, so the last pages are kept.
"""

import threading
from functools import lru_cache
from pathlib import Path
from typing import Final

from pydicom import Dataset, dcmread

from dicom_node.jobs.cases import CaseFolder
from dicom_node.objects.kinds import ObjectKind, ObjectRole

_ROLE: Final = ObjectRole(ObjectKind.SUMMARY_PDF)
_drawing: Final = threading.Lock()


def summary_pdf_of(folder: CaseFolder, *, with_patient: bool) -> bytes:
    """The page as PDF.

    Args:
        folder: of the case.
        with_patient: whether it may say whose it is.

    Raises:
        FileNotFoundError: there is no result, or the case is being removed.
    """
    made = folder.object(str(_ROLE))
    if with_patient and made.exists():
        return _page_in(dcmread(made))
    with _drawing:
        return _drawn(folder.path, folder.result.stat().st_mtime_ns, with_patient)


def _page_in(dataset: Dataset) -> bytes:
    return bytes(dataset.EncapsulatedDocument)[: int(dataset.EncapsulatedDocumentLength)]


@lru_cache(maxsize=16)
def _drawn(path: Path, written_ns: int, with_patient: bool) -> bytes:
    """The time of writing is there for the cache: a case that was processed anew has another result."""
    from dicom_node.objects.profile import StructureSetProfile
    from dicom_node.objects.provenance import result_context
    from dicom_node.pipeline import case_headers
    from dicom_node.results.encoding import ENCODERS, Material
    from dicom_node.results.result_files import read_ct, read_result
    from dicom_node.results.summary import summary_pdf

    folder = CaseFolder(path)
    ct, result = read_ct(folder.ct), read_result(folder.result)
    if not with_patient:
        return summary_pdf(ct, result)
    context = result_context(ct, case_headers(folder), result, "")
    material = Material(ct, result, context, lambda role: Dataset())
    (dataset,) = ENCODERS[ObjectKind.SUMMARY_PDF](material, _ROLE, StructureSetProfile())
    return _page_in(dataset)
