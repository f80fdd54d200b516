"""Rules of documents and pictures: Encapsulated PDF and Secondary Capture."""

from collections.abc import Iterator

from dicom_node.checks.checked_object import CheckedObject, integer, raw_bytes, text
from dicom_node.checks.faults import Fault
from dicom_node.checks.surroundings import Surroundings


def check_pdf(checked: CheckedObject, around: Surroundings) -> Iterator[Fault]:
    """Rules of the Encapsulated PDF (PS3.3 C.24.2)."""
    yield from _check_burned_in(checked)
    document = raw_bytes(checked.dataset, "EncapsulatedDocument") or b""
    length = integer(checked.dataset, "EncapsulatedDocumentLength")
    if not document.startswith(b"%PDF-") or not document.rstrip(b"\0\r\n ").endswith(b"%%EOF"):
        yield checked.fault("PDF_INVALID", "the document does not begin with %PDF or not end with %%EOF")
    if length + length % 2 != len(document) or (length % 2 and document[-1:] != b"\0"):
        said = f"said to be {length}" if length >= 0 else "not said"
        yield checked.fault("PDF_LENGTH", f"the length is {said}, the element has {len(document)} bytes")


def check_picture(checked: CheckedObject, around: Surroundings) -> Iterator[Fault]:
    """Rules of the Secondary Capture with the summary page."""
    yield from _check_burned_in(checked)
    yield from check_notice(checked, around)


def check_notice(checked: CheckedObject, around: Surroundings) -> Iterator[Fault]:
    """Rules of the Secondary Capture that says why there is no result; it does not name the patient."""
    keywords = ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated")
    rows, columns, samples, bits = (integer(checked.dataset, keyword) for keyword in keywords)
    size = rows * columns * samples * bits // 8
    pixels = raw_bytes(checked.dataset, "PixelData") or b""
    if min(rows, columns, samples, bits) < 1 or len(pixels) != size + size % 2:
        yield checked.fault("PICTURE_PIXELS", f"{len(pixels)} bytes of Pixel Data instead of {size + size % 2}")


def _check_burned_in(checked: CheckedObject) -> Iterator[Fault]:
    if text(checked.dataset, "BurnedInAnnotation") != "YES":
        yield checked.fault("BURNED_IN_UNSAID", "Burned In Annotation is not YES")
