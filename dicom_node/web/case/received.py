"""What was received: series, patient, structure sets, and which rule took it and why.

Nothing of it changes while a case lives, so what was read once is kept for the next who looks.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from pydicom import Dataset, dcmread
from pydicom.uid import UID

from dicom_node.jobs.cases import CaseFolder, CaseRecord
from dicom_node.reception.rules import Rule, decide
from dicom_node.reception.series_facts import SeriesFacts, read_series_facts
from dicom_node.web.case.said import (
    CaseRuleAnswer,
    CaseRuleAsked,
    Fact,
    Patient,
    Received,
    Ruling,
    StructureSetReceived,
    moment,
)

WITHHELD: Final = "not shown to your role"
_FREE_TEXT: Final = frozenset({"study_description", "series_description", "protocol_name"})
"""Attributes in which people write all sorts of things, names among them."""
_PATIENT: Final = {
    "name": "PatientName",
    "patient_id": "PatientID",
    "birth_date": "PatientBirthDate",
    "sex": "PatientSex",
    "accession_number": "AccessionNumber",
    "study_date": "StudyDate",
    "study_description": "StudyDescription",
    "series_description": "SeriesDescription",
}
_SET_TAGS: Final = ["StructureSetLabel", "StructureSetDate", "Manufacturer", "StructureSetROISequence"]


@dataclass(frozen=True, slots=True)
class Arrived:
    """The received files of a case, as far as its page shows them."""

    facts: SeriesFacts
    patient: Patient
    written_s: tuple[float, ...]
    """Unix time at which each instance was written, sorted."""
    structure_sets: tuple[StructureSetReceived, ...]


def arrived(folder: CaseFolder, record: CaseRecord) -> Arrived:
    """What lies in the folder of a case.

    Raises:
        FileNotFoundError: nothing does; the case is being removed.
    """
    return _arrived(folder, record.content_digest, tuple(filter(None, record.calling_ae_title.split(","))))


@lru_cache(maxsize=256)
def _arrived(folder: CaseFolder, content_digest: str, senders: tuple[str, ...]) -> Arrived:
    """The digest is there for the cache: other content is another case."""
    paths = folder.instances()
    if not paths:
        raise FileNotFoundError(folder.received)
    return Arrived(
        read_series_facts(paths, senders),
        _patient(paths[0]),
        tuple(sorted(path.stat().st_mtime for path in paths)),
        tuple(_structure_set(path) for path in folder.structure_sets()),
    )


def _patient(path: Path) -> Patient:
    header = _header(path, list(_PATIENT.values()))
    return Patient(**{name: _text(header, keyword) for name, keyword in _PATIENT.items()})


def _structure_set(path: Path) -> StructureSetReceived:
    header = _header(path, _SET_TAGS)
    try:
        rois = len(header.get("StructureSetROISequence") or ())
    except Exception:  # a foreign sequence that cannot be parsed
        rois = 0
    label, date, maker = (_text(header, keyword) for keyword in _SET_TAGS[:3])
    return StructureSetReceived(label=label, date=date, maker=maker, rois=rois)


def _header(path: Path, keywords: list[str]) -> Dataset:
    try:
        return dcmread(path, stop_before_pixels=True, specific_tags=[*keywords, "SpecificCharacterSet"])
    except FileNotFoundError:
        raise
    except Exception:  # whatever pydicom meets in a header that a peer has written
        return Dataset()


def _text(header: Dataset, keyword: str) -> str:
    try:
        return str(header.get(keyword) or "").strip()
    except Exception:  # pydicom converts only now
        return ""


# -- what is said of it ----------------------------------------------------------------------------------------------


def received_said(files: Arrived, record: CaseRecord, *, with_patient: bool) -> Received:
    """What came, for somebody who may see patients or may not."""
    facts = files.facts
    return Received(
        instances=record.instances,
        senders=list(facts.calling_ae_titles),
        first_at=moment(files.written_s[0]),
        last_at=moment(files.written_s[-1]),
        series=[fact for fact in _series(facts, with_patient=with_patient) if fact.value],
        structure_sets=[
            each if with_patient else each.model_copy(update={"label": WITHHELD}) for each in files.structure_sets
        ],
    )


def _series(facts: SeriesFacts, *, with_patient: bool) -> list[Fact]:
    def of(attribute: str, show: Callable[[Any], str] = str) -> str:
        return _together(show(value) for h in facts.headers if (value := getattr(h, attribute)) not in (None, ""))

    step_mm, protocol = facts.spacing_between_slices_mm, of("protocol_name")
    positions = facts.heights_mm
    return [
        Fact(name="Modality", value=of("modality")),
        Fact(name="SOP class", value=of("sop_class", lambda uid: UID(uid).name)),
        Fact(name="Slices", value="" if positions is None else str(len(positions))),
        Fact(name="Spacing of slices", value="" if step_mm is None else f"{step_mm:g} mm"),
        Fact(name="Slice thickness", value=of("slice_thickness_mm", lambda mm: f"{mm:g} mm")),
        Fact(name="Kernel", value=of("kernel")),
        Fact(name="Tube voltage", value=of("kvp", lambda kv: f"{kv:g} kV")),
        Fact(name="Contrast agent", value=of("contrast", lambda given: "named" if given else "none named")),
        Fact(name="Breathing phase", value=of("phase", lambda phase: str(phase.value))),
        Fact(name="Orientation", value=of("orientation")),
        Fact(name="Protocol", value=protocol if with_patient or not protocol else WITHHELD),
        Fact(name="Body part", value=of("body_part")),
        Fact(name="Scanner", value=_together(filter(None, (of("manufacturer"), of("station_name"))))),
    ]


def _together(values: Iterable[str]) -> str:
    """Distinct values, at most four."""
    distinct = list(dict.fromkeys(values))
    return ", ".join(distinct[:4]) + (" …" if len(distinct) > 4 else "")


def ruling_said(files: Arrived, record: CaseRecord, rules: Sequence[Rule], *, with_patient: bool) -> Ruling:
    """Which rule took the series, and what the rules in force say of it."""
    decision = decide(rules, files.facts)
    asked = [
        CaseRuleAsked(
            name=each.rule.name,
            action=each.rule.action.value,
            takes=each.takes,
            answers=[
                CaseRuleAnswer(
                    attribute=a.attribute,
                    wanted=a.wanted,
                    found=a.found if with_patient or a.attribute not in _FREE_TEXT else WITHHELD,
                    holds=a.holds,
                )
                for a in each.answers
            ],
        )
        for each in decision.asked
    ]
    return Ruling(
        name=record.rule,
        priority=record.priority,
        released=record.released,
        is_same_today=decision.name == record.rule,
        asked=asked,
    )
