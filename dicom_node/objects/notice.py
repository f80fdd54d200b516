"""Headers of received instances and a reason → Secondary Capture that says why there is no result (PS3.3 A.8).

It goes into the study of the series, so that nobody waits for a map. It is made from the headers alone, which may lack
all that a result needs. What they must have is one patient and one study: a notice at a wrong patient is worse than
none.

The UIDs follow from the instances, the identity, the reason and the version of the node: the same refusal again is the
same object.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import ExplicitVRLittleEndian

from dicom_node.errors import EncodingError
from dicom_node.objects.identifiers import uid_from
from dicom_node.objects.kinds import ObjectKind, ObjectRole
from dicom_node.objects.provenance import Equipment, ascii_text, software_version
from dicom_node.objects.secondary_capture import write_picture
from dicom_node.objects.source_series import SourceSeries
from dicom_node.pages.notice_page import NoticeTexts, draw_notice

ROLE = ObjectRole(ObjectKind.REFUSAL_NOTICE)
SAME = ("StudyInstanceUID", "PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate")
"""What every header must agree on."""
ADVICE = (
    "Of these images no map and no structures were sent. Correct what the reason says and send them again, "
    "or ask those who run the node."
)
_KIND = "notice of refusal"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a case gave no result."""

    code: str
    message: str
    """A sentence without patient data."""
    stage: str
    """Where it ended, for example `read`."""


def encode_notice(headers: Sequence[Dataset], refusal: Refusal) -> Dataset:
    """Say in the study of a series why it gave no result.

    The returned dataset is ready for `save_as(path, enforce_file_format=True)`; explicit VR little endian.

    Args:
        headers: of every received instance, in any order; pixels are not needed.
        refusal: the reason.

    Raises:
        EncodingError: there is no header or no Study Instance UID, the headers disagree about patient or study, or an
            identifying text is not in the character set that they declare.
    """
    if not headers:
        raise EncodingError(_KIND, "there is no header to take patient and study from")
    ordered = sorted(headers, key=lambda header: str(header.get("SOPInstanceUID", "")))
    source = SourceSeries.of_identity(ordered[0])  # before anybody looks at its texts: a name keeps its bytes so
    _require_one_patient(headers)
    equipment = Equipment(software_version())
    dataset = _described(source, refusal, equipment, len(headers))
    _identify(dataset, ordered, refusal, equipment)
    write_picture(dataset, draw_notice(_texts(source.representative, refusal, equipment, len(headers))), _KIND)
    return dataset


def _require_one_patient(headers: Sequence[Dataset]) -> None:
    for keyword in SAME:
        values = {str(header.get(keyword) or "") for header in headers}
        if len(values) > 1:
            raise EncodingError(_KIND, f"the instances have {len(values)} different values of {keyword}")
    if not headers[0].get("StudyInstanceUID"):
        raise EncodingError(_KIND, "the instances have no Study Instance UID")


def _described(source: SourceSeries, refusal: Refusal, equipment: Equipment, images: int) -> Dataset:
    """Everything but pixels and UIDs."""
    dataset = Dataset()
    source.copy_identity(dataset)
    dataset.SOPClassUID = ROLE.series.sop_class_uid
    dataset.Modality = ROLE.series.modality
    dataset.SeriesNumber = ROLE.series.series_number
    dataset.SeriesDescription = ROLE.series.series_description
    dataset.InstanceNumber = 1
    dataset.Laterality = ""  # Type 2C: nothing is known of the body part
    dataset.SeriesDate, dataset.SeriesTime = dataset.ContentDate, dataset.ContentTime = source.date_and_time()
    dataset.Manufacturer, dataset.ManufacturerModelName = equipment.manufacturer, equipment.model_name
    dataset.DeviceSerialNumber = equipment.serial_number
    dataset.SoftwareVersions = ascii_text(f"perfusion-node {equipment.software_version}", 64)
    dataset.BurnedInAnnotation = "NO"
    dataset.DerivationDescription = ascii_text(
        f"RESEARCH ONLY, not for clinical decisions. No perfusion result. {refusal.code}: {refusal.message} {ADVICE} "
        f"Stage {refusal.stage}, {images} image(s) received.",
        1024,
    )
    dataset.ImageComments = dataset.DerivationDescription  # the one text that most viewers show
    if series := source.representative.get("SeriesInstanceUID"):
        related = Dataset()
        related.StudyInstanceUID = source.representative.StudyInstanceUID
        related.SeriesInstanceUID = series
        related.PurposeOfReferenceCodeSequence = []  # Type 2: no term for "gave no result"
        dataset.RelatedSeriesSequence = [related]
    return dataset


def _identify(dataset: Dataset, headers: Sequence[Dataset], refusal: Refusal, equipment: Equipment) -> None:
    """UIDs from everything that the notice says and is about."""
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = True, True
    write_dataset(buffer, dataset)
    instances = [str(header.get("SOPInstanceUID", "")) for header in headers]
    basis = (
        *(refusal.code, refusal.message, refusal.stage, equipment.software_version),
        hashlib.sha256(buffer.getvalue()).hexdigest(),
        *instances,
    )
    dataset.SeriesInstanceUID = uid_from("perfusion-node notice", "series", *basis)
    dataset.SOPInstanceUID = uid_from("perfusion-node notice", "instance", *basis)
    dataset.file_meta = equipment.file_meta(dataset.SOPClassUID, dataset.SOPInstanceUID, ExplicitVRLittleEndian)


def _texts(header: Dataset, refusal: Refusal, equipment: Equipment, images: int) -> NoticeTexts:
    # Not its description: people write all sorts of things there, names among them.
    number = str(header.get("SeriesNumber") or "").strip()
    uid = str(header.get("SeriesInstanceUID") or "")
    return NoticeTexts(
        code=refusal.code,
        reason=refusal.message,
        advice=ADVICE,
        facts=(
            ("Series", f"number {number}" if number else "without number"),
            ("UID", f"... {uid[-20:]}" if uid else "none"),
            ("Received", f"{images} image{'s' * (images != 1)}; ended in stage {refusal.stage}"),
            ("Node", f"perfusion-node {equipment.software_version}"),
        ),
    )
