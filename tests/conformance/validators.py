"""Three validators that others wrote, each as a function from files to what it calls an error.

False alarms are left out by name, and only those: the exact complaint about the exact attribute, with the reason.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dicom_validator.validator.error_handler import NullValidationResultHandler
from dicom_validator.validator.iod_validator import IODValidator
from dicom_validator.validator.validation_result import Status
from pydicom import dcmread
from pydicom.datadict import keyword_for_tag
from pydicom.uid import RTStructureSetStorage

from tests.conformance.dicom_standard import dicom_standard
from tests.conformance.readers import run
from tests.tools import error_lines, tool


def dciodvfy(path: Path) -> list[str]:
    """Errors of dciodvfy (dicom3tools): attributes, values and code sequences of one object, in every frame."""
    return error_lines(path)


def dcentvfy(paths: Iterable[Path]) -> list[str]:
    """Errors of dcentvfy (dicom3tools): contradictions between the objects of a study, references to nothing."""
    files = list(paths)
    false_alarms = {_study_taken_for_an_instance(path) for path in files}
    lines = run(tool("dcentvfy"), *files).stderr.splitlines()
    return [line for line in lines if line.startswith("Error") and line not in false_alarms]


def _study_taken_for_an_instance(path: Path) -> str:
    """A structure set refers to its study as an instance of the retired Detached Study Management, whose UID is the
    Study Instance UID (PS3.3 C.8.8.5). No such instance ever exists, and planning systems expect the reference."""
    header = dcmread(path, specific_tags=["SOPClassUID", "StudyInstanceUID"])
    if header.SOPClassUID != RTStructureSetStorage:
        return ""
    uid = header.StudyInstanceUID
    return f"Error - Missing SOPInstanceUID that was referenced - {uid} for file <{path}>"


@dataclass(frozen=True, slots=True)
class FalseAlarm:
    """A complaint of dicom-validator that is none."""

    code: str
    keywords: tuple[str, ...]
    """The attribute, behind the innermost sequences that hold it."""
    reason: str
    value: float | None = None
    """The alarm is false for this value only."""


IDENTITY = ("SharedFunctionalGroupsSequence", "PixelValueTransformationSequence")
FALSE_ALARMS = (
    FalseAlarm("EnumValueNotAllowed", (*IDENTITY, "RescaleIntercept"), "0.0 is compared with 0 as a text", 0.0),
    FalseAlarm("EnumValueNotAllowed", (*IDENTITY, "RescaleSlope"), "1.0 is compared with 1 as a text", 1.0),
    FalseAlarm(
        "TagUnexpected",
        ("ContentSequence", "ReferencedSOPSequence", "ReferencedSegmentNumber"),
        "the tables have it beside Referenced SOP Sequence; PS3.3 table C.18.4-1 has it within",
    ),
)


def dicom_validator(path: Path) -> list[str]:
    """Errors of dicom-validator: one object against the tables of the standard, edition 2024e.

    Its status is not looked at: it is "passed" also when a functional group is wrong.
    """
    standard = dicom_standard()
    result = IODValidator(dcmread(path), standard, error_handler=NullValidationResultHandler()).validate()
    assert result.status in (Status.Passed, Status.Failed), result.status
    complaints = [(m, t, e) for m, errors in result.module_errors.items() for t, e in errors.items()]
    return [_sentence(*complaint) for complaint in complaints if not _is_false_alarm(*complaint[1:])]


def _keywords(tag: Any) -> tuple[str, ...]:
    return tuple(keyword_for_tag(part) or str(part) for part in (*(tag.parents or ()), tag.tag))


def _is_false_alarm(tag: Any, error: Any) -> bool:
    for alarm in FALSE_ALARMS:
        if (alarm.code, alarm.keywords) == (error.code.name, _keywords(tag)[-len(alarm.keywords) :]):
            return alarm.value is None or float(error.context["value"]) == alarm.value
    return False


def _sentence(module: str, tag: Any, error: Any) -> str:
    return f"{module}: {' > '.join(_keywords(tag))}: {error.code.name} {error.context or ''}".strip()
