"""Where a result comes from and who made it: what every object says in the same words.

`SourceSeries` keeps the headers of the planning CT and gives patient, study and frame of reference to each object;
`Equipment` and `ResultContext` say which software and which models made it, and that it is for research.

Dates and times: this node writes no clock time into an object, so that the same input gives the same bytes. Every
object date (series, content, structure set) is the CT's: its content date, else acquisition, series, study date. When
the objects were made is in the node's journal, not in the objects.

Texts: patient and study texts keep the character set of the CT, undeclared ones included, so that an archive reads
the same name from both. Our own texts are ASCII.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Self

import numpy as np
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import UID

from dicom_node.errors import EncodingError
from dicom_node.objects.codes import ACQUISITION_EQUIPMENT, SUPERSEDED_RESULT
from dicom_node.objects.identifiers import Identifiers
from dicom_node.objects.kinds import ObjectRole
from dicom_node.part10 import IMPLEMENTATION_CLASS_UID
from inference.ct_series import content_digest
from inference.geometry import Grid
from inference.model_card import ModelIdentity
from inference.quality import Finding, Severity
from inference.volumes import CtVolume, SeriesReference

if TYPE_CHECKING:  # objects need the fields of a result, not the engine and what it loads
    from inference.engine import PerfusionResult

REQUIRED = (  # Type 2: present even if empty
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex",
    "StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
OPTIONAL = (
    "IssuerOfPatientID", "IssuerOfPatientIDQualifiersSequence", "TypeOfPatientID", "OtherPatientIDsSequence",
    "QualityControlSubject", "PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence",
    "LongitudinalTemporalInformationModified",
    "ClinicalTrialSponsorName", "ClinicalTrialProtocolID", "ClinicalTrialProtocolName", "ClinicalTrialSiteID",
    "ClinicalTrialSiteName", "ClinicalTrialSubjectID", "ClinicalTrialSubjectReadingID", "ClinicalTrialTimePointID",
    "ClinicalTrialTimePointDescription",
    "PatientAge", "PatientSize", "PatientWeight",
    "StudyDescription", "IssuerOfAccessionNumberSequence", "TimezoneOffsetFromUTC",
)  # fmt: skip
"""Patient, clinical trial and study attributes copied when present (PS3.3 C.7.1.1, C.7.1.3, C.7.2.1 to C.7.2.3). The
time zone is copied because all our times are the CT's. Not copied: anything private, request and procedure step
references, institution and station, acquisition data, signatures."""

GEOMETRY = (
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID",
    "PositionReferenceIndicator", "Rows", "Columns", "ImagePositionPatient", "ImageOrientationPatient",
    "PixelSpacing", "SliceThickness",
)  # fmt: skip
"""What places the images of the CT in the patient."""
LOSSY = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
_EQUIPMENT = ("Manufacturer", "ManufacturerModelName", "DeviceSerialNumber", "SoftwareVersions")
_DATES = ("Content", "Acquisition", "Series", "Study")

NO_DATE = ("19000101", "000000")
"""Written where a date is required and a de-identified CT has none at all."""

MISPLACED_SLICE = 0.1
"""Greatest distance, in slice spacings, of an image position from the grid: rounding, never a neighbour's place."""


@dataclass(frozen=True, slots=True, eq=False)
class SourceSeries:
    """Headers of the CT that a result belongs to, without pixels and private elements."""

    headers: tuple[Dataset, ...]
    """In slice order: header k is slice k of every array."""

    @classmethod
    def of(cls, datasets: Iterable[Dataset], reference: SeriesReference) -> Self:
        """Take from the received instances what objects need, in the slice order of `reference`.

        Raises:
            EncodingError: an instance of the reference is absent, there is no frame of reference, or an identifying
                text is not in the character set that the CT declares.
        """
        received = {str(dataset.SOPInstanceUID): dataset for dataset in datasets}
        missing = [uid for uid in reference.sop_instance_uids if uid not in received]
        if missing:
            raise EncodingError("source reference", f"{len(missing)} instance(s) of the CT are not at hand")
        headers = tuple(_lean(received[uid]) for uid in reference.sop_instance_uids)
        if not headers or not headers[0].get("FrameOfReferenceUID"):
            raise EncodingError("source reference", "the CT has no Frame of Reference UID")
        return cls(headers)

    @property
    def representative(self) -> Dataset:
        """The header that speaks for the series: that of slice 0."""
        return self.headers[0]

    def sha256(self) -> str:
        """Digest of all that objects may take from the headers; other header changes do not matter."""
        digest = hashlib.sha256()
        for header in self.headers:
            buffer = DicomBytesIO()
            buffer.is_implicit_VR, buffer.is_little_endian = True, True
            write_dataset(buffer, header)
            digest.update(buffer.getvalue())
        return digest.hexdigest()

    def require_grid(self, grid: Grid, kind: str) -> None:
        """Refuse a result whose slice k does not lie where image k of the CT lies: this would flip or shift it.

        Raises:
            EncodingError: another frame of reference, matrix or number of slices, or a misplaced slice.
        """
        first = self.representative
        if grid.frame_of_reference_uid != first.FrameOfReferenceUID:
            raise EncodingError(kind, "the result lies in another frame of reference than the CT")
        if grid.shape != (len(self.headers), first.Rows, first.Columns):
            raise EncodingError(kind, f"the result has shape {grid.shape}, the CT {len(self.headers)} images")
        for k, header in enumerate(self.headers):
            expected = grid.to_patient_mm(np.array([k, 0.0, 0.0]))
            distance = max(abs(float(p) - e) for p, e in zip(header.ImagePositionPatient, expected, strict=True))
            if distance > MISPLACED_SLICE * grid.spacing_mm[0]:
                raise EncodingError(kind, f"slice {k} lies {distance:.2f} mm from image {k} of the CT")

    def copy_identity(self, target: Dataset) -> None:
        """Give an object the patient, the study and the frame of reference of the CT.

        Attributes of Type 2 that the CT lacks are written empty (a planning system's export often lacks some).
        """
        source = self.representative
        for keyword in ("SpecificCharacterSet", *OPTIONAL, *REQUIRED):
            if keyword in source:
                target[keyword] = deepcopy(source[keyword])
            elif keyword in REQUIRED:
                setattr(target, keyword, "")
        target.StudyInstanceUID = source.StudyInstanceUID
        target.FrameOfReferenceUID = source.FrameOfReferenceUID
        target.PositionReferenceIndicator = source.get("PositionReferenceIndicator") or ""

    def date_and_time(self) -> tuple[str, str]:
        """The date (DA) and time (TM) that objects carry, from the CT; see the module."""
        for name in _DATES:
            date, time = (str(self.representative.get(f"{name}{part}") or "") for part in ("Date", "Time"))
            if re.fullmatch(r"\d{8}", date):
                return date, time if re.fullmatch(r"\d{6}(\.\d{1,6})?", time) else NO_DATE[1]
        return NO_DATE


@dataclass(frozen=True, slots=True)
class Equipment:
    """The software that makes the objects (PS3.3 C.7.5.1 and C.7.5.2)."""

    software_version: str
    manufacturer: str = "perfusion-node"
    model_name: str = "perfusion-node"
    serial_number: str = "none"


@dataclass(frozen=True, slots=True)
class EarlierInstance:
    """An object of the result that this one supersedes."""

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str

    def reference(self) -> Dataset:
        """The instance as an item of a reference sequence (PS3.3 table 10-11)."""
        item = Dataset()
        item.ReferencedSOPClassUID = self.sop_class_uid
        item.ReferencedSOPInstanceUID = self.sop_instance_uid
        return item


@dataclass(frozen=True, slots=True, eq=False)
class ResultContext:
    """What every encoder needs besides the volumes."""

    source: SourceSeries
    equipment: Equipment
    identifiers: Identifiers
    segmenter: ModelIdentity
    perfusion_model: ModelIdentity
    findings: tuple[Finding, ...] = ()
    """What the checks of input and result found; each sentence is written into the objects."""
    content_qualification: str = "RESEARCH"
    """(0018,9004). There is no setting for another value: nothing here is validated for clinical use."""
    earlier: Mapping[str, EarlierInstance] = field(default_factory=dict)
    """Objects of the superseded result, by the text of their role; empty for the first result of a CT."""

    def earlier_instance(self, role: ObjectRole) -> EarlierInstance | None:
        """The object that the one of this role supersedes; only its first instance where there are many."""
        return self.earlier.get(str(role))

    def describe_series(self, target: Dataset, role: ObjectRole, index: int = 1) -> None:
        """Write SOP class and the UIDs, modality, number and description of the role's series."""
        target.SOPClassUID = role.series.sop_class_uid
        target.SOPInstanceUID = self.identifiers.instance_uid(role, index)
        target.SeriesInstanceUID = self.identifiers.series_uid(role)
        target.Modality = role.series.modality
        target.SeriesNumber = role.series.series_number
        target.SeriesDescription = role.series.series_description
        target.InstanceNumber = index

    def refer_to_earlier_image(self, target: Dataset, role: ObjectRole) -> None:
        """Name the image that this one supersedes (PS3.3 C.12.4, General Reference)."""
        if earlier := self.earlier_instance(role):
            item = earlier.reference()
            item.PurposeOfReferenceCodeSequence = [SUPERSEDED_RESULT.dataset()]
            target.ReferencedInstanceSequence = [item]

    def describe_maker(self, target: Dataset) -> None:
        """Write equipment, versions, the scanner that contributed, dates and content qualification."""
        made_by = self.equipment
        target.Manufacturer = made_by.manufacturer
        target.ManufacturerModelName = made_by.model_name
        target.DeviceSerialNumber = made_by.serial_number
        versions = (f"perfusion-node {made_by.software_version}", self.perfusion_model.label(), self.segmenter.label())
        target.SoftwareVersions = [ascii_text(version, 64) for version in versions]
        target.ContentQualification = self.content_qualification
        target.SeriesDate, target.SeriesTime = self.source.date_and_time()
        scanner = self.source.representative
        if scanner.get("Manufacturer"):  # Type 1 in the item
            item = Dataset()
            for keyword in _EQUIPMENT:
                if scanner.get(keyword):
                    item[keyword] = deepcopy(scanner[keyword])
            item.PurposeOfReferenceCodeSequence = [ACQUISITION_EQUIPMENT.dataset()]
            target.ContributingEquipmentSequence = [item]

    def file_meta(self, sop_class_uid: UID, sop_instance_uid: str, transfer_syntax_uid: UID) -> FileMetaDataset:
        """File meta information that names this implementation (PS3.10 7.1)."""
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = sop_class_uid
        meta.MediaStorageSOPInstanceUID = UID(sop_instance_uid)
        meta.TransferSyntaxUID = transfer_syntax_uid
        meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
        meta.ImplementationVersionName = ascii_text(f"PERFNODE_{self.equipment.software_version}", 16)
        return meta

    def caveats(self) -> str:
        """What a reader must know about models and this result, in sentences; empty when there is nothing to say."""
        models = (self.perfusion_model.caveat, self.segmenter.caveat)
        urgent = sorted(self.findings, key=lambda finding: finding.severity is not Severity.FLAG)
        return " ".join(dict.fromkeys(s for s in (*models, *(finding.sentence for finding in urgent)) if s))


def result_context(
    ct: CtVolume, datasets: Iterable[Dataset], result: "PerfusionResult", settings_sha256: str
) -> ResultContext:
    """The context of a result, with the UIDs that follow from everything that shapes its objects.

    Args:
        ct: the CT that the result was made from; its voxels go into the digest.
        datasets: the received instances or their headers, in any order.
        result: what the engine made of `ct`.
        settings_sha256: digest of the settings that shape result and objects.

    Raises:
        EncodingError: see `SourceSeries.of`.
    """
    source = SourceSeries.of(datasets, ct.source)
    segmenter, model = result.lobes.segmenter, result.perfusion.model
    node_version = software_version()
    return ResultContext(
        source=source,
        equipment=Equipment(node_version),
        identifiers=Identifiers(
            source_sha256=hashlib.sha256(f"{source.sha256()} {content_digest(ct)}".encode()).hexdigest(),
            software_version=node_version,
            model_digests=tuple(part for m in (segmenter, model) for part in (m.name, m.version, m.weights_sha256)),
            settings_sha256=settings_sha256,
        ),
        segmenter=segmenter,
        perfusion_model=model,
        findings=result.findings,
    )


def software_version() -> str:
    """Version of the installed `perfusion-node`; `0` when it runs from a source tree that is not installed."""
    try:
        return version("perfusion-node")
    except PackageNotFoundError:
        return "0"


def ascii_text(text: str, limit: int) -> str:
    """A text of ours for an attribute of at most `limit` characters: ASCII, no backslash, cut with dots if longer."""
    plain = text.encode("ascii", "replace").decode().replace("\\", "/")
    return plain if len(plain) <= limit else plain[: limit - 3].rstrip() + "..."


def _lean(dataset: Dataset) -> Dataset:
    lean = Dataset()
    keywords = ("SpecificCharacterSet", *GEOMETRY, *REQUIRED, *OPTIONAL, *LOSSY, *_EQUIPMENT)
    dates = tuple(f"{name}{part}" for name in _DATES for part in ("Date", "Time"))
    for keyword in (*keywords, *dates):
        if keyword in dataset and _is_readable(dataset[keyword]):
            lean[keyword] = deepcopy(dataset[keyword])
    lean.remove_private_tags()
    return lean


def _is_readable(element: DataElement) -> bool:
    # pydicom puts U+FFFD for bytes outside the declared character set; person names keep their bytes.
    if element.VR == "PN" or "\N{REPLACEMENT CHARACTER}" not in str(element.value):
        return True
    if element.keyword in REQUIRED:
        raise EncodingError("source reference", f"{element.keyword} is not in the character set that the CT declares")
    return False
