"""The summary page as DICOM: as Encapsulated PDF (PS3.3 A.45.1), and as a picture (Secondary Capture, PS3.3 A.8).

The picture is for the many systems that show no PDF. Both name the CT that the page was made from. Neither lies in a
frame of reference: the page shows places of the patient, but no point of it is one.
"""

import numpy as np
from jaxtyping import UInt8
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from dicom_node.errors import EncodingError
from dicom_node.objects import codes
from dicom_node.objects.kinds import ObjectKind, ObjectRole
from dicom_node.objects.provenance import EarlierInstance, ResultContext, ascii_text
from dicom_node.objects.secondary_capture import write_picture
from dicom_node.objects.source_series import LOSSY, instance_reference

PDF_ROLE = ObjectRole(ObjectKind.SUMMARY_PDF)
IMAGE_ROLE = ObjectRole(ObjectKind.SUMMARY_IMAGE)
TITLE = "RESEARCH: relative lung perfusion from CT"


def encode_summary_pdf(pdf: bytes, context: ResultContext) -> Dataset:
    """Put the page as PDF into a DICOM object, byte for byte.

    The returned dataset is ready for `save_as(path, enforce_file_format=True)`; explicit VR little endian.

    Raises:
        EncodingError: the bytes are no PDF.
    """
    if not pdf.startswith(b"%PDF-"):
        raise EncodingError("summary page", "the bytes are no PDF")
    dataset = _page(context, PDF_ROLE)
    dataset.ConversionType = "WSD"
    dataset.DocumentTitle = TITLE
    dataset.ConceptNameCodeSequence = [codes.DIAGNOSTIC_IMAGING_STUDY.dataset()]
    dataset.VerificationFlag = "UNVERIFIED"
    dataset.AcquisitionDateTime = None  # Type 2: nothing was acquired
    dataset.SourceInstanceSequence = _sources(context)
    if earlier := context.earlier_instance(PDF_ROLE):
        dataset.PredecessorDocumentsSequence = [_predecessor(earlier, context)]
        dataset.CodingSchemeIdentificationSequence = [codes.private_scheme()]
    dataset.MIMETypeOfEncapsulatedDocument = "application/pdf"
    dataset.EncapsulatedDocumentLength = len(pdf)
    dataset.EncapsulatedDocument = pdf + b"\0" * (len(pdf) % 2)
    return dataset


def encode_summary_image(rgb: UInt8[np.ndarray, "rows columns 3"], context: ResultContext) -> Dataset:
    """Put the page as red, green and blue into a Secondary Capture.

    The returned dataset is ready for `save_as(path, enforce_file_format=True)`; explicit VR little endian.

    Raises:
        EncodingError: this is no such picture.
    """
    dataset = _page(context, IMAGE_ROLE)
    write_picture(dataset, rgb, "summary picture")
    # What the page shows has been lossily compressed if the CT has (PS3.3 C.7.6.1.1.5).
    for keyword in LOSSY:
        if keyword in context.source.representative:
            dataset[keyword] = context.source.representative[keyword]
    dataset.BodyPartExamined = codes.BODY_PART
    dataset.DerivationCodeSequence = [codes.DERIVATION_PERFUSION.dataset()]
    dataset.DerivationDescription = ascii_text(
        f"RESEARCH ONLY, not for clinical decisions. {context.caveats()} Page with three views, lobar table and "
        f"findings; relative lung perfusion estimated from CT by {context.perfusion_model.label()} in lungs and lobes "
        f"drawn by {context.segmenter.label()}.",
        1024,
    )
    dataset.ImageComments = dataset.DerivationDescription
    dataset.SourceImageSequence = _sources(context)
    context.refer_to_earlier_image(dataset, IMAGE_ROLE)
    dataset.ReferencedSeriesSequence = _referenced_series(context)
    return dataset


def _page(context: ResultContext, role: ObjectRole) -> Dataset:
    """What both objects say: patient, study, series, equipment, dates, and that a page names its patient."""
    dataset = Dataset()
    context.source.copy_identity(dataset)
    for keyword in ("FrameOfReferenceUID", "PositionReferenceIndicator"):
        dataset.pop(keyword, None)
    context.describe_maker(dataset)
    context.describe_series(dataset, role)
    dataset.ContentDate, dataset.ContentTime = context.source.date_and_time()
    dataset.BurnedInAnnotation = "YES"
    dataset.RecognizableVisualFeatures = "NO"
    dataset.file_meta = context.file_meta(role.series.sop_class_uid, dataset.SOPInstanceUID, ExplicitVRLittleEndian)
    return dataset


def _sources(context: ResultContext) -> list[Dataset]:
    """Every image of the CT, as source of the page."""
    items = [instance_reference(header) for header in context.source.instances]
    for item in items:
        item.PurposeOfReferenceCodeSequence = [codes.SOURCE_IMAGE.dataset()]
    return items


def _referenced_series(context: ResultContext) -> list[Dataset]:
    """Which series the instances that a picture refers to are in (PS3.3 C.12.2)."""
    ct = Dataset()
    ct.SeriesInstanceUID = context.source.representative.SeriesInstanceUID
    ct.ReferencedInstanceSequence = [instance_reference(header) for header in context.source.instances]
    series = [ct]
    if earlier := context.earlier_instance(IMAGE_ROLE):
        item = Dataset()
        item.SeriesInstanceUID = earlier.series_instance_uid
        item.ReferencedInstanceSequence = [earlier.reference()]
        series.append(item)
    return series


def _predecessor(earlier: EarlierInstance, context: ResultContext) -> Dataset:
    """The page that this one supersedes, with its study and series (PS3.3 C.17.2.1)."""
    document = earlier.reference()
    document.PurposeOfReferenceCodeSequence = [codes.SUPERSEDED_RESULT.dataset()]
    series = Dataset()
    series.SeriesInstanceUID = earlier.series_instance_uid
    series.ReferencedSOPSequence = [document]
    study = Dataset()
    study.StudyInstanceUID = context.source.representative.StudyInstanceUID
    study.ReferencedSeriesSequence = [series]
    return study
