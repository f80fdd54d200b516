"""Whose images a case holds, as the header of its first image says; read once, since a case never gets other images.

Names are kept as DICOM writes them, with all three groups of components (PS3.5 section 6.2.1). What people type to find
somebody is compared by words without case and accents, in any of the groups.
"""

import re
import unicodedata
import warnings
from dataclasses import dataclass
from typing import Final

from pydicom import Dataset, dcmread

from dicom_node.jobs.cases import CaseFolder

_KEYWORDS: Final = (
    "PatientID",
    "PatientName",
    "AccessionNumber",
    "StudyDate",
    "SeriesDescription",
    "SpecificCharacterSet",
)
_LONGEST: Final = 324
"""Characters that are kept of any value: three groups of a name of 64 characters and more (PS3.5 section 6.2)."""
_DATE: Final = re.compile(r"([0-9]{4})\.?([0-9]{2})\.?([0-9]{2})")
"""With the points of ACR-NEMA, which old senders write."""
_BETWEEN_WORDS: Final = re.compile(r"[\W_]+")


@dataclass(frozen=True, slots=True)
class Subject:
    """Patient and study. Texts are empty where the header has none."""

    patient_id: str = ""
    patient_name: str = ""
    accession_number: str = ""
    study_date: str = ""
    """`YYYY-MM-DD`."""
    series_description: str = ""


NOBODY: Final = Subject()


def subject_of(folder: CaseFolder) -> Subject:
    """What the first received image says; nobody if there is none, or it cannot be read."""
    first = min(folder.received.glob("*.dcm"), default=None)
    if first is None:
        return NOBODY
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's warnings repeat the value
            header = dcmread(first, stop_before_pixels=True, specific_tags=list(_KEYWORDS))
            return _subject(header)
    except Exception:  # foreign bytes; the case itself says what is wrong with them
        return NOBODY


def _subject(header: Dataset) -> Subject:
    date = _DATE.match(_text(header, "StudyDate"))
    return Subject(
        patient_id=_text(header, "PatientID"),
        patient_name=_text(header, "PatientName"),
        accession_number=_text(header, "AccessionNumber"),
        study_date="-".join(date.groups()) if date else "",
        series_description=_text(header, "SeriesDescription"),
    )


def _text(header: Dataset, keyword: str) -> str:
    value = header.get(keyword)
    shown = "".join(c if c.isprintable() else " " for c in str(value if value is not None else ""))
    return shown.strip()[:_LONGEST]


def words_of(text: str) -> list[str]:
    """The words of a name, or of what somebody looks for, in the form in which they are compared."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    return [word for word in _BETWEEN_WORDS.split("".join(c for c in plain if not unicodedata.combining(c))) if word]


def key_of(text: str) -> str:
    """An identifier in the form in which it is compared."""
    return text.strip().casefold()
