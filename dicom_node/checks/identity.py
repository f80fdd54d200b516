"""What every object must say: whose it is, when, which UIDs, that it is research.

Attributes are compared with those of the CT as bytes, so that an archive shows one patient and not two. Padding
(PS3.5 6.2) does not count. Where an object declares another character set than the CT, texts are compared decoded.
The lists of attributes are on purpose not those of the code that copies them: an attribute lost there is found here.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydicom.dataelem import DataElement, RawDataElement, convert_raw_data_element
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.multival import MultiValue
from pydicom.tag import Tag

from dicom_node.checks.checked_object import (
    CheckedObject,
    items,
    name_of,
    nested_datasets,
    raw_bytes,
    stored_element,
    tags_of,
    text,
    vr_of,
)
from dicom_node.checks.faults import Fault
from dicom_node.checks.source_ct import SourceCt
from dicom_node.objects.kinds import ObjectKind

PATIENT = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "IssuerOfPatientID", "TypeOfPatientID",
    "IssuerOfPatientIDQualifiersSequence", "OtherPatientIDsSequence", "PatientAge", "PatientSize", "PatientWeight",
    "PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence", "QualityControlSubject",
)  # fmt: skip
"""Patient and Patient Study modules (PS3.3 C.7.1.1, C.7.2.2)."""

STUDY = (
    "StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName",
    "StudyDescription", "IssuerOfAccessionNumberSequence",
    "ClinicalTrialSponsorName", "ClinicalTrialProtocolID", "ClinicalTrialProtocolName", "ClinicalTrialSiteID",
    "ClinicalTrialSiteName", "ClinicalTrialSubjectID", "ClinicalTrialSubjectReadingID", "ClinicalTrialTimePointID",
    "ClinicalTrialTimePointDescription", "LongitudinalTemporalInformationModified",
)  # fmt: skip
"""General Study and Clinical Trial modules (PS3.3 C.7.2.1, C.7.1.3, C.7.2.3)."""

_MUST_BE_WRITTEN = frozenset(PATIENT[:4] + STUDY[:6])
"""Type 2: written empty where the CT has none."""
LONGEST_UID = 64
"""Characters (PS3.5 9.1)."""
_UID = re.compile(rb"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))*")
_DATE = re.compile(r"\d{8}")
_TIME = re.compile(r"\d{6}(\.\d{1,6})?")
_DATED_BY = {ObjectKind.STRUCTURE_SET: "StructureSet"}
_HAS_FRAME_OF_REFERENCE = frozenset(
    {ObjectKind.PARAMETRIC_MAP, ObjectKind.STRUCTURE_SET, ObjectKind.MR_TWIN, ObjectKind.SEGMENTATION}
)


@dataclass(frozen=True, slots=True)
class InstanceFacts:
    """What is kept of an object after it has been checked, for rules about several objects."""

    name: str
    kind: ObjectKind | None
    sop_instance_uid: str
    series_instance_uid: str

    @classmethod
    def of(cls, checked: CheckedObject) -> "InstanceFacts":
        """The facts of an object."""
        uids = (text(checked.dataset, keyword) for keyword in ("SOPInstanceUID", "SeriesInstanceUID"))
        return cls(checked.name, checked.kind, *uids)


def check_identity(checked: CheckedObject, ct: SourceCt | None) -> Iterator[Fault]:
    """Rules for every kind of object that concern it and the CT."""
    yield from _check_file_meta(checked)
    yield from _check_elements(checked)
    yield from _check_research(checked)
    yield from _check_dates(checked)
    if ct is not None:
        yield from _check_attributes(checked, ct)
        yield from _check_frame_of_reference(checked, ct)


def check_instances(facts: Sequence[InstanceFacts], cts: Sequence[SourceCt]) -> Iterator[Fault]:
    """Rules about UIDs across objects and the CT."""
    instance_owner = {uid: "the CT" for ct in cts for uid in ct.sop_instance_uids}
    series_owner: dict[str, object] = {text(ct.representative, "SeriesInstanceUID"): "the CT" for ct in cts}
    names: dict[str, str] = {}
    for fact in facts:
        if other := instance_owner.get(fact.sop_instance_uid):
            yield Fault("UID_REPEATED", fact.name, f"the SOP Instance UID is that of {other}")
        instance_owner.setdefault(fact.sop_instance_uid, fact.name)
        # Images of the twin share a series; two structure sets of one result do not.
        owner = fact.kind if fact.kind is ObjectKind.MR_TWIN else fact.name
        if series_owner.setdefault(fact.series_instance_uid, owner) != owner:
            other = names.get(fact.series_instance_uid, "the CT")
            yield Fault("SERIES_SHARED", fact.name, f"the series is that of {other}")
        names.setdefault(fact.series_instance_uid, fact.name)


def _check_file_meta(checked: CheckedObject) -> Iterator[Fault]:
    meta = getattr(checked.dataset, "file_meta", None) or Dataset()
    for meta_keyword, keyword in (
        ("MediaStorageSOPClassUID", "SOPClassUID"),
        ("MediaStorageSOPInstanceUID", "SOPInstanceUID"),
    ):
        if text(meta, meta_keyword) != text(checked.dataset, keyword):
            yield checked.fault("FILE_META_DIFFERS", f"{meta_keyword} is not the {keyword} of the dataset", keyword)


def _check_elements(checked: CheckedObject) -> Iterator[Fault]:
    private: list[str] = []
    invalid: list[str] = []
    for place, dataset in nested_datasets(checked.dataset):
        for tag in tags_of(dataset):
            if tag.is_private:
                private.append(f"{place}{tag}")
            elif vr_of(element := stored_element(dataset, tag)) == "UI" and not _are_uids(element):
                invalid.append(f"{place}{name_of(tag)}")
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
        if not text(checked.dataset, keyword):
            invalid.append(keyword)
    for code, places, what in (
        ("PRIVATE_ELEMENT", private, "private element(s)"),
        ("UID_INVALID", invalid, "UID(s) absent or not valid"),
    ):
        if places:
            yield checked.fault(code, f"{len(places)} {what}", places[0])


def _are_uids(element: DataElement | RawDataElement | None) -> bool:
    value = element.value if element is not None else None
    if not isinstance(value, bytes):  # another rule has asked for it
        parts = value if isinstance(value, MultiValue) else [value or ""]
        value = "\\".join(map(str, parts)).encode("ascii", "replace")
    # Padding of a value by more than the one byte that PS3.5 9.1 allows is left to public validators.
    return all(
        uid == b"" or (len(uid) <= LONGEST_UID and _UID.fullmatch(uid)) for uid in value.rstrip(b"\0").split(b"\\")
    )


def _check_research(checked: CheckedObject) -> Iterator[Fault]:
    said = (text(checked.dataset, k) for k in ("SeriesDescription", "ContentQualification", "StructureSetDescription"))
    if not any("RESEARCH" in words.upper() for words in said):
        yield checked.fault("RESEARCH_UNSAID", "neither series nor object says RESEARCH")


def _check_dates(checked: CheckedObject) -> Iterator[Fault]:
    content = _DATED_BY.get(checked.kind, "Content") if checked.kind else "Content"
    for name in ("Series", content):
        date, time = (text(checked.dataset, f"{name}{part}") for part in ("Date", "Time"))
        if not _DATE.fullmatch(date):
            yield checked.fault("DATE_ABSENT", f"{name}Date is absent or not valid", f"{name}Date")
        elif not _TIME.fullmatch(time):
            yield checked.fault("DATE_ABSENT", f"{name}Time is absent or not valid", f"{name}Time")


def _check_attributes(checked: CheckedObject, ct: SourceCt) -> Iterator[Fault]:
    for code, keywords in (("PATIENT_DIFFERS", PATIENT), ("STUDY_DIFFERS", STUDY)):
        for keyword in keywords:
            if keyword in _MUST_BE_WRITTEN and keyword not in checked.dataset:
                yield checked.fault(code, f"{keyword} is absent", keyword)
            elif not _is_that_of(checked.dataset, ct, keyword):
                yield checked.fault(code, f"{keyword} is not that of the CT", keyword)


def _is_that_of(dataset: Dataset, ct: SourceCt, keyword: str) -> bool:
    """Whether some image of the CT has this value: scanners are known to vary them within a series."""
    ours = _Attribute.of(dataset, keyword)
    theirs = _Attribute.of(ct.representative, keyword)
    if ours.agrees_with(theirs) or (not ours.encoded and not theirs.is_decodable):
        return True
    return any(ours.agrees_with(_Attribute.of(header, keyword)) for header in ct.headers[1:])


@dataclass(frozen=True, slots=True)
class _Attribute:
    """One attribute as bytes and as text."""

    encoded: bytes
    decoded: str
    character_set: str

    @classmethod
    def of(cls, dataset: Dataset, keyword: str) -> "_Attribute":
        return cls(_encoded(dataset, keyword), _decoded(dataset, keyword), _character_set(dataset))

    @property
    def is_decodable(self) -> bool:
        return "\N{REPLACEMENT CHARACTER}" not in self.decoded

    def agrees_with(self, other: "_Attribute") -> bool:
        if self.character_set == other.character_set:
            return self.encoded == other.encoded
        return self.decoded == other.decoded


def _character_set(dataset: Dataset) -> str:
    # PS3.3 C.12.1.1.2: absent, empty and ISO_IR 6 mean the same, alone and as the first of several.
    parts = [part.strip() for part in text(dataset, "SpecificCharacterSet").split("\\")]
    return "\\".join("" if part in ("ISO_IR 6", "ISO 2022 IR 6") else part for part in parts)


def _decoded(dataset: Dataset, keyword: str) -> str:
    """The attribute as text; the element stays as it is, for those who compare its bytes later."""
    element = stored_element(dataset, Tag(keyword)) if keyword in dataset else None
    if isinstance(element, RawDataElement) and vr_of(element) != "SQ":
        element = convert_raw_data_element(element, encoding=dataset.original_character_set, ds=dataset)
    return str(element.value if element is not None else "").rstrip(" \0")


def _encoded(dataset: Dataset, keyword: str) -> bytes:
    """The bytes of an attribute without padding; a sequence or converted value is encoded anew."""
    if keyword not in dataset:
        return b""
    element = stored_element(dataset, Tag(keyword))
    if vr_of(element) == "SQ":
        return b"".join(_encoded_item(item) for item in items(dataset, keyword))
    value = raw_bytes(dataset, keyword)
    if value is None:
        value = _written(dataset, keyword)
    return b"\\".join(part.strip(b" \0") for part in value.split(b"\\"))


def _encoded_item(item: Dataset) -> bytes:
    tags = sorted(tags_of(item))
    return b"".join(f"[{tag}]".encode() + _encoded(item, name_of(tag)) for tag in tags if not tag.is_private) + b";"


def _written(dataset: Dataset, keyword: str) -> bytes:
    single = Dataset()
    if "SpecificCharacterSet" in dataset:
        single.SpecificCharacterSet = dataset.SpecificCharacterSet
    start = len(_implicit(single))
    single[keyword] = dataset[keyword]
    try:
        return _implicit(single)[start + 8 :]
    except UnicodeError:  # it was not in the declared character set
        return str(dataset[keyword].value).encode("utf-8", "replace")


def _implicit(dataset: Dataset) -> bytes:
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = True, True
    write_dataset(buffer, dataset)
    return buffer.getvalue()


def _check_frame_of_reference(checked: CheckedObject, ct: SourceCt) -> Iterator[Fault]:
    ours = text(checked.dataset, "FrameOfReferenceUID")
    theirs = text(ct.representative, "FrameOfReferenceUID")
    if ours != theirs and (ours or checked.kind in _HAS_FRAME_OF_REFERENCE):
        yield checked.fault("FRAME_OF_REFERENCE_DIFFERS", "the Frame of Reference UID is not that of the CT")
