"""Writes the start of the corpus: small synthetic inputs of which each target accepts a part.

    python -m fuzz.seeds

Nothing here shows a person, and nothing is a real file.
"""

import struct
from io import BytesIO
from pathlib import Path

from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, JPEG2000Lossless
from pynetdicom import build_context
from pynetdicom.dimse_messages import C_ECHO_RQ, C_STORE_RQ
from pynetdicom.dimse_primitives import C_ECHO, C_STORE
from pynetdicom.pdu import A_ASSOCIATE_RQ, P_DATA_TF
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    MaximumLengthNotification,
)
from pynetdicom.sop_class import RTStructureSetStorage, Verification

from fuzz.series_reader import AMONG_GOOD_SLICES, SYNTAXES, good_series

CORPUS = Path(__file__).parent / "corpus"
RELEASE = b"\x05\0\0\0\0\x04\0\0\0\0"
ABORT = b"\x07\0\0\0\0\x04\0\0\0\0"


def encoded(dataset: Dataset, syntax: UID = ExplicitVRLittleEndian) -> bytes:
    """A dataset as it goes over the wire."""
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = syntax.is_implicit_VR, syntax.is_little_endian
    write_dataset(buffer, dataset)
    return buffer.getvalue()


def slice_in(syntax: UID) -> bytes:
    """One good slice in a transfer syntax."""
    dataset = good_series(side=40 if syntax == JPEG2000Lossless else 8)[0]  # the encoder needs five levels
    if syntax.is_encapsulated and syntax in SYNTAXES[3:6]:
        dataset.compress(syntax, generate_instance_uid=False)
    return encoded(dataset, syntax if not syntax.is_encapsulated else ExplicitVRLittleEndian)


def association_request() -> bytes:
    """An A-ASSOCIATE-RQ for Verification (context 1) and CT storage (context 3)."""
    primitive = A_ASSOCIATE()
    primitive.application_context_name = "1.2.840.10008.3.1.1.1"
    primitive.calling_ae_title, primitive.called_ae_title = "FUZZ", "PERFNODE"
    contexts = [build_context(Verification), build_context(CTImageStorage, ExplicitVRLittleEndian)]
    for number, context in enumerate(contexts):
        context.context_id = 2 * number + 1
    primitive.presentation_context_definition_list = contexts
    length, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
    length.maximum_length_received, implementation.implementation_class_uid = 16382, "1.2.3.4"
    primitive.user_information = [length, implementation]
    request = A_ASSOCIATE_RQ()
    request.from_primitive(primitive)
    return bytes(request.encode())


def echo_request() -> bytes:
    """A C-ECHO-RQ in its PDU, on context 1."""
    primitive = C_ECHO()
    primitive.MessageID, primitive.AffectedSOPClassUID = 1, Verification
    return _pdus(C_ECHO_RQ(), primitive, 1)


def store_request(content: bytes, sop_instance_uid: str = "1.2.1") -> bytes:
    """A C-STORE-RQ with its dataset, on context 3."""
    primitive = C_STORE()
    primitive.MessageID, primitive.Priority = 2, 0
    primitive.AffectedSOPClassUID, primitive.AffectedSOPInstanceUID = CTImageStorage, sop_instance_uid
    primitive.DataSet = BytesIO(content)
    return _pdus(C_STORE_RQ(), primitive, 3)


def _pdus(message: C_ECHO_RQ | C_STORE_RQ, primitive: C_ECHO | C_STORE, context_id: int) -> bytes:
    message.primitive_to_message(primitive)
    content = b""
    for part in message.encode_msg(context_id, 16382):
        pdu = P_DATA_TF()
        pdu.from_primitive(part)
        content += pdu.encode()
    return content


def reader_seeds() -> dict[str, bytes]:
    """One slice in each syntax, in a stack of copies and among good slices."""
    seeds = {}
    for number, syntax in enumerate(SYNTAXES[:6]):
        content = slice_in(syntax)
        seeds[f"{syntax.keyword}-stack"] = bytes([number]) + content
        seeds[f"{syntax.keyword}-among"] = bytes([number | AMONG_GOOD_SLICES]) + content
    return seeds


def receiver_seeds() -> dict[str, bytes]:
    """Whole conversations and beginnings of some; the first byte chooses what is said before."""
    request, store, echo = association_request(), store_request(slice_in(ExplicitVRLittleEndian)), echo_request()
    return {
        "echo-at-once": b"\0" + request + echo + RELEASE,
        "store-at-once": b"\0" + request + store + RELEASE,
        "echo-and-release": b"\1" + echo + RELEASE,
        "store-and-release": b"\1" + store + RELEASE,
        "pipelined": b"\1" + store + store + store + RELEASE,
        "release-first": b"\1" + RELEASE + store,
        "abort-in-dataset": b"\1" + store[: len(store) // 2] + ABORT,
        "only-a-request": b"\0" + request,
        "http": b"\0GET / HTTP/1.1\r\n\r\n",
        "tls": b"\0\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        "long-pdu": b"\1\x04\0" + struct.pack(">L", 0xFFFFFFF0) + b"\0" * 32,
        "empty-pdv": b"\1\x04\0\0\0\0\x04\0\0\0\0",
        "command-garbage": b"\1\x04\0\0\0\0\x0e\0\0\0\x0a\3\3" + b"\xff" * 8,
        "dataset-first": b"\2" + slice_in(ExplicitVRLittleEndian),
    }


def structure_set() -> Dataset:
    """Two ROIs on the good series, one with a hole."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = RTStructureSetStorage, "1.2.50"
    dataset.Modality, dataset.Manufacturer, dataset.StructureSetLabel = "RTSTRUCT", "Fuzz", "PLAN"
    dataset.StructureSetDate, dataset.StructureSetTime = "20260101", "120000"
    dataset.PatientID, dataset.PatientName = "FUZZ", "Fuzz"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.7", "1.2.51"
    series, study, frame = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID = "1.2.8"
    study.ReferencedSOPInstanceUID, study.RTReferencedSeriesSequence = "1.2.7", [series]
    frame.FrameOfReferenceUID, frame.RTReferencedStudySequence = "1.2.9", [study]
    dataset.ReferencedFrameOfReferenceSequence = [frame]
    rois, drawn, observed = zip(*(_roi(number) for number in (1, 2)), strict=True)
    dataset.StructureSetROISequence, dataset.ROIContourSequence = list(rois), list(drawn)
    dataset.RTROIObservationsSequence = list(observed)
    return dataset


def _roi(number: int) -> tuple[Dataset, Dataset, Dataset]:
    roi, drawn, observed = Dataset(), Dataset(), Dataset()
    roi.ROINumber, roi.ReferencedFrameOfReferenceUID, roi.ROIName = number, "1.2.9", f"GTV{number}"
    drawn.ReferencedROINumber, drawn.ContourSequence = number, []
    for side in (3, 1)[:number]:
        contour, image = Dataset(), Dataset()
        image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = CTImageStorage, "1.2.4"
        contour.ContourImageSequence, contour.ContourGeometricType = [image], "CLOSED_PLANAR"
        contour.NumberOfContourPoints = 4
        contour.ContourData = [0.5, 0.5, 3, side, 0.5, 3, side, side, 3, 0.5, side, 3]
        drawn.ContourSequence.append(contour)
    observed.ObservationNumber, observed.ReferencedROINumber, observed.RTROIInterpretedType = number, number, "GTV"
    return roi, drawn, observed


def structure_seeds() -> dict[str, bytes]:
    """One structure set in the syntaxes without compression."""
    return {s.keyword: bytes([n]) + encoded(structure_set(), s) for n, s in enumerate(SYNTAXES[:3])}


def main() -> None:
    """Write the seeds."""
    targets = {"reader": reader_seeds(), "receiver": receiver_seeds(), "structures": structure_seeds()}
    for target, seeds in targets.items():
        folder = CORPUS / target
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in seeds.items():
            (folder / name).write_bytes(content)


if __name__ == "__main__":
    main()
