import pytest

from dicom_node.objects.kinds import ObjectKind
from tests.dicom_node.checks.conftest import PDF, codes_of


def setting(keyword, value):
    return lambda dataset: setattr(dataset, keyword, value)


def cut(dataset):
    dataset.PixelData = dataset.PixelData[:-4]
    dataset["PixelData"].VR = "OB"


PLANTED = [
    (ObjectKind.SUMMARY_PDF, {"PDF_LENGTH"}, setting("EncapsulatedDocumentLength", len(PDF) - 1)),
    (ObjectKind.SUMMARY_PDF, {"PDF_LENGTH"}, lambda d: d.pop("EncapsulatedDocumentLength")),
    (ObjectKind.SUMMARY_PDF, {"PDF_INVALID"}, setting("EncapsulatedDocument", b"x" + PDF[1:])),
    (ObjectKind.SUMMARY_PDF, {"PDF_INVALID", "PDF_LENGTH"}, setting("EncapsulatedDocument", PDF[:20])),
    (ObjectKind.SUMMARY_PDF, {"BURNED_IN_UNSAID"}, setting("BurnedInAnnotation", "NO")),
    (ObjectKind.SUMMARY_IMAGE, {"BURNED_IN_UNSAID"}, lambda d: d.pop("BurnedInAnnotation")),
    (ObjectKind.SUMMARY_IMAGE, {"PICTURE_PIXELS"}, setting("Rows", 6)),
    (ObjectKind.SUMMARY_IMAGE, {"PICTURE_PIXELS"}, setting("SamplesPerPixel", 1)),
    (ObjectKind.SUMMARY_IMAGE, {"PICTURE_PIXELS"}, cut),
]


@pytest.mark.parametrize(("kind", "codes", "mutation"), PLANTED)
def test_a_planted_fault_is_found_under_its_code(planted, kind, codes, mutation):
    assert codes_of(planted(kind, mutation)) == codes


@pytest.mark.parametrize("pdf", [PDF, PDF + b"\n"])
def test_a_document_of_odd_length_is_padded_by_one_byte(planted, pdf):
    def replace(dataset):
        dataset.EncapsulatedDocument = pdf + b"\0" * (len(pdf) % 2)
        dataset.EncapsulatedDocumentLength = len(pdf)

    assert planted(ObjectKind.SUMMARY_PDF, replace) == ()
