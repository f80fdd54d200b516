"""The planning CT that a result belongs to: whose it is, which study and frame of reference, where its images lie.

Texts of patient and study keep the character set of the CT, undeclared ones included, so that an archive reads the
same name from both. Dates and times: this node writes no clock time into an object, so that the same input gives the
same bytes. Every object date (series, content, structure set) is the CT's: its content date, else acquisition, series,
study date. When objects were made is in the node's journal, not in the objects.
"""

import hashlib
import re
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass
from typing import Self

import numpy as np
from pydicom.charset import convert_encodings, default_encoding
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.tag import Tag
from pydicom.valuerep import PersonName, format_number_as_ds

from dicom_node.errors import EncodingError
from inference.ct.frames import frame_headers, is_multi_frame
from inference.geometry import Grid
from inference.volumes import LossyCompression, SeriesReference

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
    "PatientBirthTime", "OtherPatientNames", "EthnicGroup", "PatientComments",
    "PatientAge", "PatientSize", "PatientWeight",
    "StudyDescription", "IssuerOfAccessionNumberSequence", "TimezoneOffsetFromUTC",
)  # fmt: skip
"""Patient, clinical trial and study attributes copied when present (PS3.3 C.7.1.1, C.7.1.3, C.7.2.1 to C.7.2.3). The
time zone is copied because all our times are the CT's. Not copied: anything private, request and procedure step
references, institution and station, acquisition data, signatures."""

GEOMETRY = (
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID",
    "PositionReferenceIndicator", "Rows", "Columns", "ImagePositionPatient", "ImageOrientationPatient",
    "PixelSpacing", "SliceThickness", "PatientPosition",
)  # fmt: skip
"""What places the images of the CT in the patient."""
LOSSY = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
EQUIPMENT = ("Manufacturer", "ManufacturerModelName", "DeviceSerialNumber", "SoftwareVersions")
DATES = ("Content", "Acquisition", "Series", "Study")

NO_DATE = ("19000101", "000000")
"""Written where a date is required and a de-identified CT has none at all."""

MISPLACED_SLICE = 0.1
"""Greatest distance, in slice spacings, of an image position from the grid: rounding, never a neighbour's place."""


@dataclass(frozen=True, slots=True, eq=False)
class SourceSeries:
    """Headers of the CT that a result belongs to, without pixels and private elements."""

    headers: tuple[Dataset, ...]
    """In slice order: header k is slice k of every array. A frame of a multi-frame image has a header of its own, with
    its number as Referenced Frame Number (`inference.ct.frames`)."""

    @classmethod
    def of(cls, datasets: Iterable[Dataset], reference: SeriesReference, lossy: LossyCompression | None = None) -> Self:
        """Take from the received instances what objects need, in the slice order of `reference`.

        Args:
            datasets: the received instances or their headers, in any order.
            reference: which of them, or of their frames, is which slice.
            lossy: how the pixels were once compressed with loss, for headers that do not say so.

        Raises:
            EncodingError: an instance of the reference is absent, there is no frame of reference, or an identifying
                text is not in the character set that the CT declares.
        """
        received = {str(dataset.SOPInstanceUID): dataset for dataset in datasets}
        missing = [uid for uid in reference.sop_instance_uids if uid not in received]
        if missing:
            raise EncodingError("source reference", f"{len(missing)} instance(s) of the CT are not at hand")
        images = {
            uid: frame_headers(received[uid]) for uid in set(reference.sop_instance_uids) if reference.frame_numbers
        }
        headers = tuple(_lean(images[uid][number - 1] if number else received[uid]) for uid, number in reference.slices)
        if lossy is not None:
            for header in headers:
                _declare_loss(header, lossy)
        if not headers or not headers[0].get("FrameOfReferenceUID"):
            raise EncodingError("source reference", "the CT has no Frame of Reference UID")
        return cls(headers)

    @classmethod
    def of_identity(cls, header: Dataset) -> Self:
        """A source that only says whose it is: patient, study, series and dates of one header, no geometry.

        Raises:
            EncodingError: an identifying text is not in the character set that the header declares.
        """
        lean = _lean(header)
        for keyword in (*GEOMETRY, *LOSSY):
            if keyword not in ("StudyInstanceUID", "SeriesInstanceUID"):
                lean.pop(keyword, None)
        return cls((lean,))

    @property
    def representative(self) -> Dataset:
        """The header that speaks for the series: that of slice 0."""
        return self.headers[0]

    @property
    def instances(self) -> tuple[Dataset, ...]:
        """One header of each instance, in slice order: all of `headers`, or the first of each multi-frame image."""
        return tuple({str(header.SOPInstanceUID): header for header in reversed(self.headers)}.values())[::-1]

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
        """Give an object the patient, the study and, where there is one, the frame of reference of the CT.

        Attributes of Type 2 that the CT lacks are written empty (a planning system's export often lacks some).
        """
        source = self.representative
        for keyword in ("SpecificCharacterSet", *OPTIONAL, *REQUIRED):
            if keyword in source:
                target[keyword] = deepcopy(source[keyword])
            elif keyword in REQUIRED:
                setattr(target, keyword, "")
        target.StudyInstanceUID = source.StudyInstanceUID
        if "FrameOfReferenceUID" in source:
            target.FrameOfReferenceUID = source.FrameOfReferenceUID
            target.PositionReferenceIndicator = source.get("PositionReferenceIndicator") or ""

    def date_and_time(self) -> tuple[str, str]:
        """The date (DA) and time (TM) that objects carry, from the CT; see the module."""
        for name in DATES:
            date, time = (str(self.representative.get(f"{name}{part}") or "") for part in ("Date", "Time"))
            if re.fullmatch(r"\d{8}", date):
                return date, time if re.fullmatch(r"\d{6}(\.\d{1,6})?", time) else NO_DATE[1]
        return NO_DATE


def instance_reference(header: Dataset) -> Dataset:
    """An instance of the CT, with all its frames, as an item of a reference sequence (PS3.3 table 10-11)."""
    item = Dataset()
    item.ReferencedSOPClassUID = header.SOPClassUID
    item.ReferencedSOPInstanceUID = header.SOPInstanceUID
    return item


def image_reference(header: Dataset) -> Dataset:
    """An image of the CT, or the frame that it is, as an item of a reference sequence (PS3.3 table 10-3)."""
    item = instance_reference(header)
    if "ReferencedFrameNumber" in header:
        item.ReferencedFrameNumber = header.ReferencedFrameNumber
    return item


def _declare_loss(header: Dataset, lossy: LossyCompression) -> None:
    """Say that pixels were once compressed with loss: PS3.3 C.7.6.1.1.5, for good and in everything derived."""
    header.LossyImageCompression = "01"
    if lossy.ratio and not header.get("LossyImageCompressionRatio"):
        header.LossyImageCompressionRatio = format_number_as_ds(lossy.ratio)
    if lossy.method and not header.get("LossyImageCompressionMethod"):
        header.LossyImageCompressionMethod = lossy.method


def _lean(dataset: Dataset) -> Dataset:
    lean = Dataset()
    keywords = ("SpecificCharacterSet", *GEOMETRY, *REQUIRED, *OPTIONAL, *LOSSY, *EQUIPMENT, "SeriesNumber")
    dates = tuple(f"{name}{part}" for name in DATES for part in ("Date", "Time"))
    for keyword in (*keywords, *dates):
        if keyword in dataset:
            element = _copied(dataset, keyword)
            if _is_readable(element):
                lean[keyword] = element
    if is_multi_frame(dataset) and "ReferencedFrameNumber" in dataset:
        lean.ReferencedFrameNumber = dataset.ReferencedFrameNumber
    lean.remove_private_tags()
    return lean


def _copied(dataset: Dataset, keyword: str) -> DataElement:
    """The element; a person name with the very bytes that were received, which pydicom writes anew when it is read."""
    raw: object = dataset.get_item(Tag(keyword))
    if isinstance(raw, RawDataElement) and keyword in ("PatientName", "ReferringPhysicianName"):
        declared = dataset.get("SpecificCharacterSet")
        encodings = convert_encodings(declared) if declared else [default_encoding]
        name = PersonName((raw.value or b"").rstrip(b" \0"), encodings=encodings)
        return DataElement(raw.tag, "PN", name)
    return deepcopy(dataset[keyword])


def _is_readable(element: DataElement) -> bool:
    # pydicom puts U+FFFD for bytes outside the declared character set; person names keep their bytes.
    if element.VR == "PN" or "\N{REPLACEMENT CHARACTER}" not in str(element.value):
        return True
    if element.keyword in REQUIRED:
        raise EncodingError("source reference", f"{element.keyword} is not in the character set that the CT declares")
    return False
