import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset

from dicom_node.errors import EncodingError
from dicom_node.objects.kinds import ObjectKind, ObjectRole
from dicom_node.objects.page import encode_summary_image, encode_summary_pdf
from dicom_node.objects.provenance import EarlierInstance, ResultContext
from dicom_node.pages.sheet import TextStyle, blank_sheet
from tests.tools import error_lines

REPOSITORY = Path(__file__).parents[3]
PDF_ROLE, IMAGE_ROLE = ObjectRole(ObjectKind.SUMMARY_PDF), ObjectRole(ObjectKind.SUMMARY_IMAGE)
EARLIER = {
    str(PDF_ROLE): EarlierInstance("1.2.840.10008.5.1.4.1.1.104.1", "1.2.3.1", "1.2.3.2"),
    str(IMAGE_ROLE): EarlierInstance("1.2.840.10008.5.1.4.1.1.7", "1.2.3.3", "1.2.3.4"),
}


@pytest.fixture(scope="module")
def pdf() -> bytes:
    with blank_sheet(60.0, 40.0) as sheet:
        sheet.text(5.0, 20.0, "RESEARCH page", TextStyle(14.0, "#000000"))
        return sheet.pdf("RESEARCH", 100)


@pytest.fixture
def rgb() -> np.ndarray:
    """Odd in all: 37 rows of 51 pixels."""
    rows, columns = np.mgrid[:37, :51]
    return np.stack([rows * 6, columns * 5, (rows * columns) % 256], axis=-1).astype(np.uint8)


@pytest.fixture
def both(pdf, rgb):
    """Encode the page in both forms and write the files."""

    def encode(context: ResultContext, folder: Path) -> dict[str, Path]:
        datasets = {"pdf": encode_summary_pdf(pdf, context), "image": encode_summary_image(rgb, context)}
        for name, dataset in datasets.items():
            dataset.save_as(folder / f"{name}.dcm", enforce_file_format=True)
        return {name: folder / f"{name}.dcm" for name in datasets}

    return encode


@pytest.mark.parametrize("earlier", [{}, EARLIER])
def test_dciodvfy_finds_no_error(chest, both, tmp_path, earlier):
    for path in both(replace(chest.context, earlier=earlier), tmp_path).values():
        assert error_lines(path) == []


def test_headers_that_lack_what_a_ct_should_have_are_accepted(chest, with_headers, both, tmp_path):
    absent = dict.fromkeys(("AccessionNumber", "StudyID", "StudyTime", "PatientBirthDate", "ReferringPhysicianName"))
    with_headers(chest, PatientSex=None, Manufacturer=None, SpecificCharacterSet=None, PatientName="Plain", **absent)
    for path in both(chest.context, tmp_path).values():
        assert error_lines(path) == []


@pytest.mark.parametrize("padding", [b"", b"\n"])
def test_dcmtk_takes_out_the_very_bytes_and_poppler_draws_them(chest, program, pdf, tmp_path, padding):
    document = pdf + padding  # one of the two has an odd length
    path, extracted = tmp_path / "page.dcm", tmp_path / "page.pdf"
    encode_summary_pdf(document, chest.context).save_as(path, enforce_file_format=True)
    subprocess.run([program("dcm2pdf"), path, extracted], check=True, capture_output=True)
    assert extracted.read_bytes() == document
    dataset = dcmread(path)
    assert dataset.EncapsulatedDocument[: dataset.EncapsulatedDocumentLength] == document
    assert len(dataset.EncapsulatedDocument) % 2 == 0
    subprocess.run([program("pdftoppm"), "-png", "-r", "50", extracted, tmp_path / "drawn"], check=True)
    drawn = np.asarray(Image.open(next(tmp_path.glob("drawn*.png"))).convert("L"))
    assert drawn.min() < 100 < 250 < drawn.max()


def test_simpleitk_and_dcmtk_see_our_pixels(chest, program, rgb, tmp_path):
    path = tmp_path / "page.dcm"
    dataset = encode_summary_image(rgb, chest.context)
    assert rgb.size % 2 == 1
    assert len(dataset.PixelData) == rgb.size + 1
    dataset.save_as(path, enforce_file_format=True)
    assert np.array_equal(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(path))[0], rgb)
    subprocess.run([program("dcm2pnm"), "+op", path, tmp_path / "page.ppm"], check=True, capture_output=True)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "page.ppm")), rgb)


def test_patient_and_study_are_those_of_the_ct_and_there_is_no_frame_of_reference(chest, both, tmp_path):
    for path in both(chest.context, tmp_path).values():
        dataset = dcmread(path)
        for keyword in ("PatientName", "PatientID", "PatientBirthDate", "StudyInstanceUID", "StudyDate", "StudyID"):
            assert dataset[keyword].value == chest.datasets[0][keyword].value
        assert "FrameOfReferenceUID" not in dataset
        assert "PositionReferenceIndicator" not in dataset
        assert (dataset.ContentDate, dataset.ContentTime) == ("20261101", "091500.25")


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        ("ISO_IR 192", "Иванов^Иван"),
        ("GB18030", "王^小东"),
        ("ISO_IR 144", "Люкceмбypг"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        (["ISO 2022 IR 6", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
        (None, "Plain^Name"),
    ],
)
def test_names_of_all_scripts_are_the_bytes_of_the_ct(
    chest, with_headers, both, program, tmp_path, character_set, name
):
    with_headers(chest, SpecificCharacterSet=character_set, PatientName=name)
    chest.datasets[0].save_as(tmp_path / "ct.dcm", enforce_file_format=True)
    chest.datasets[0] = dcmread(tmp_path / "ct.dcm")
    for path in both(chest.context, tmp_path).values():
        ct, written = dcmread(tmp_path / "ct.dcm"), dcmread(path)
        assert written.get_item("PatientName").value == ct.get_item("PatientName").value
        assert str(written.PatientName) == name
        # It repeats names in their own bytes.
        run = subprocess.run([program("dciodvfy"), "-allpffgitems", path], capture_output=True, check=False)
        assert b"Error" not in run.stderr


def test_every_image_of_the_ct_is_named_as_source(chest, both, tmp_path):
    paths = both(chest.context, tmp_path)
    pdf, image = dcmread(paths["pdf"]), dcmread(paths["image"])
    wanted = list(chest.reference.sop_instance_uids)
    assert [item.ReferencedSOPInstanceUID for item in pdf.SourceInstanceSequence] == wanted
    assert [item.ReferencedSOPInstanceUID for item in image.SourceImageSequence] == wanted
    (series,) = image.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == chest.reference.series_instance_uid
    assert [item.ReferencedSOPInstanceUID for item in series.ReferencedInstanceSequence] == wanted


def test_a_revised_result_names_the_page_that_it_supersedes(chest, both, tmp_path):
    paths = both(replace(chest.context, earlier=EARLIER), tmp_path)
    pdf, image = dcmread(paths["pdf"]), dcmread(paths["image"])
    (study,) = pdf.PredecessorDocumentsSequence
    (document,) = study.ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert study.StudyInstanceUID == chest.reference.study_instance_uid
    assert study.ReferencedSeriesSequence[0].SeriesInstanceUID == "1.2.3.2"
    assert document.ReferencedSOPInstanceUID == "1.2.3.1"
    (reference,) = image.ReferencedInstanceSequence
    assert reference.ReferencedSOPInstanceUID == "1.2.3.3"
    assert [series.SeriesInstanceUID for series in image.ReferencedSeriesSequence][1:] == ["1.2.3.4"]
    for dataset, item in ((pdf, document), (image, reference)):
        assert item.PurposeOfReferenceCodeSequence[0].CodeValue == "SUPERSEDED"
        assert dataset.CodingSchemeIdentificationSequence[0].CodingSchemeDesignator == "99PERFNODE"


def test_it_says_that_it_is_research_and_may_name_the_patient(chest, both, tmp_path):
    paths = both(chest.context, tmp_path)
    pdf, image = dcmread(paths["pdf"]), dcmread(paths["image"])
    for dataset in (pdf, image):
        assert dataset.BurnedInAnnotation == "YES"
        assert dataset.SeriesDescription.startswith("RESEARCH")
    assert pdf.DocumentTitle.startswith("RESEARCH")
    assert pdf.VerificationFlag == "UNVERIFIED"
    assert image.DerivationDescription.startswith("RESEARCH ONLY, not for clinical decisions.")
    for sentence in (chest.perfusion.model.caveat, chest.lobes.segmenter.caveat, chest.perfusion.model.label()):
        assert sentence in image.ImageComments
    assert pdf.SeriesInstanceUID != image.SeriesInstanceUID


@pytest.mark.parametrize("lossy", ["00", "01"])
def test_a_picture_of_a_lossy_ct_is_called_lossy(chest, with_headers, rgb, lossy):
    with_headers(chest, LossyImageCompression=lossy)
    assert encode_summary_image(rgb, chest.context).LossyImageCompression == lossy


def test_what_is_no_pdf_or_no_picture_is_refused(chest, rgb):
    with pytest.raises(EncodingError, match="no PDF"):
        encode_summary_pdf(b"<html>", chest.context)
    for wrong in (rgb[..., 0], rgb.astype(np.float32), rgb[..., :2], rgb[:0]):
        with pytest.raises(EncodingError, match="rows x columns x 3"):
            encode_summary_image(wrong, chest.context)


TWO_OBJECTS = """
import hashlib, importlib.util, io, sys
import numpy as np
spec = importlib.util.spec_from_file_location("chest", sys.argv[1])
chest_module = importlib.util.module_from_spec(spec); sys.modules["chest"] = chest_module
spec.loader.exec_module(chest_module)
from dicom_node.objects.page import encode_summary_image, encode_summary_pdf
context = chest_module.make_chest().context
rgb = np.arange(120, dtype=np.uint8).reshape(5, 8, 3)
for dataset in (encode_summary_pdf(b"%PDF-1.4 %%EOF", context), encode_summary_image(rgb, context)):
    buffer = io.BytesIO(); dataset.save_as(buffer, enforce_file_format=True)
    print(hashlib.sha256(buffer.getvalue()).hexdigest())
"""


def test_two_processes_write_the_same_bytes():
    def digests(seed: str) -> list[str]:
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(REPOSITORY)}
        command = [sys.executable, "-c", TWO_OBJECTS, str(Path(__file__).with_name("conftest.py"))]
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.split()

    first, second = digests("1"), digests("2")
    assert len(set(first)) == 2
    assert first == second


def test_no_private_element_is_copied(chest, both, tmp_path):
    item = Dataset()
    item.PatientID, item.TypeOfPatientID = "OLD7", "TEXT"
    item.private_block(0x0009, "SECRET", create=True).add_new(1, "LO", "private")
    chest.datasets[0].OtherPatientIDsSequence = [item]
    for path in both(chest.context, tmp_path).values():
        dataset = dcmread(path)
        assert dataset.OtherPatientIDsSequence[0].PatientID == "OLD7"
        assert not any(element.tag.is_private for element in dataset.iterall())
