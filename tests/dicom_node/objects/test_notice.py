import os
import subprocess
import sys
from copy import deepcopy
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset

from dicom_node.errors import EncodingError
from dicom_node.objects.notice import Refusal, encode_notice
from dicom_node.objects.provenance import software_version
from tests.tools import error_lines

REPOSITORY = Path(__file__).parents[3]
REFUSAL = Refusal("MISSING_SLICES", "Slices are missing between z = -120.0 mm and z = -100.0 mm.", "read")


@pytest.fixture
def written(tmp_path):
    """Encode a notice and give the file."""

    def write(headers: list[Dataset], refusal: Refusal = REFUSAL) -> Path:
        path = tmp_path / "notice.dcm"
        encode_notice(headers, refusal).save_as(path, enforce_file_format=True)
        return path

    return write


def pixels_of(dataset: Dataset) -> np.ndarray:
    return np.frombuffer(dataset.PixelData, np.uint8).reshape(dataset.Rows, dataset.Columns, 3)


def test_dciodvfy_finds_no_error(chest, written):
    assert error_lines(written(chest.datasets)) == []


def test_a_header_with_next_to_nothing_is_enough(written):
    header = Dataset()
    header.StudyInstanceUID = "1.2.3"
    path = written([header])
    dataset = dcmread(path)
    assert dataset.StudyInstanceUID == "1.2.3"
    assert [dataset.get(k) for k in ("PatientID", "AccessionNumber", "StudyID")] == ["", "", ""]
    assert "FrameOfReferenceUID" not in dataset
    assert error_lines(path) == []


def test_the_reason_is_in_the_texts_that_viewers_show(chest):
    dataset = encode_notice(chest.datasets, REFUSAL)
    for text in (dataset.ImageComments, dataset.DerivationDescription):
        assert text.startswith("RESEARCH ONLY, not for clinical decisions. No perfusion result.")
        for said in (
            REFUSAL.code,
            REFUSAL.message,
            "send them again",
            "no map and no structures were sent",
            "14 image(s)",
        ):
            assert said in text
        assert text.isascii()
        assert len(text) <= 1024
    assert dataset.SeriesDescription == "RESEARCH lung perfusion: NO RESULT, see picture"
    assert dataset.SoftwareVersions == f"perfusion-node {software_version()}"
    (related,) = dataset.RelatedSeriesSequence
    assert related.SeriesInstanceUID == chest.reference.series_instance_uid


def test_a_long_reason_beyond_ascii_is_cut_to_what_dicom_takes(chest, written):
    path = written(chest.datasets, replace(REFUSAL, message="96×96 Müller\\Meier 山田 " * 200))
    dataset = dcmread(path)
    assert dataset.ImageComments.isascii()
    assert len(dataset.ImageComments) <= 1024
    assert error_lines(path) == []


def test_simpleitk_and_dcmtk_show_the_picture(chest, program, written, tmp_path):
    path = written(chest.datasets)
    ours = pixels_of(dcmread(path))
    assert ours.shape == (600, 1000, 3)
    assert np.array_equal(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(path))[0], ours)
    subprocess.run([program("dcm2pnm"), "+op", path, tmp_path / "notice.ppm"], check=True, capture_output=True)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "notice.ppm")), ours)


def test_the_picture_shows_code_reason_and_series_but_no_patient(chest):
    usual = encode_notice(chest.datasets, REFUSAL)
    others = {
        "code": encode_notice(chest.datasets, replace(REFUSAL, code="GANTRY_TILT")),
        "reason": encode_notice(chest.datasets, replace(REFUSAL, message="Something else.")),
        "stage": encode_notice(chest.datasets, replace(REFUSAL, stage="segment")),
        "number": encode_notice(chest.datasets[1:], REFUSAL),
    }
    for what, rows in (("code", (170, 205)), ("reason", (220, 400)), ("stage", (500, 600)), ("number", (500, 600))):
        changed = np.flatnonzero((pixels_of(others[what]) != pixels_of(usual)).any(axis=(1, 2)))
        assert changed.size, what
        assert rows[0] <= changed.min() <= changed.max() < rows[1], what
    someone_else = deepcopy(chest.datasets)
    for header in someone_else:
        header.PatientName, header.PatientID, header.PatientBirthDate = "Other^Name", "Q9", "19700707"
        header.StudyDate, header.AccessionNumber = "20200101", "Z"
    assert np.array_equal(pixels_of(encode_notice(someone_else, REFUSAL)), pixels_of(usual))
    assert usual.BurnedInAnnotation == "NO"


@pytest.mark.parametrize("message", ["No lungs.", "word " * 120, "W" * 900, "x" * 5000])
def test_no_reason_runs_into_what_stands_below_it(chest, message):
    refusals = (replace(REFUSAL, message=text) for text in (message, "Short."))
    long, short = (pixels_of(encode_notice(chest.datasets, refusal)) for refusal in refusals)
    assert np.array_equal(long[405:], short[405:])
    assert np.array_equal(long[:215], short[:215])
    assert (long[220:400] > 200).any()
    assert (long[:, 960:] == short[:, 960:]).all()


def disagreeing(chest, keyword: str, value: object) -> list[Dataset]:
    setattr(chest.datasets[5], keyword, value)
    return chest.datasets


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("StudyInstanceUID", "1.2.3"),
        ("PatientID", "P002"),
        ("PatientID", ""),
        ("IssuerOfPatientID", "Hospital"),
        ("PatientName", "Other^Name"),
        ("PatientBirthDate", "19500102"),
    ],
)
def test_headers_of_two_patients_or_studies_get_no_notice(chest, keyword, value):
    with pytest.raises(EncodingError, match=f"2 different values of {keyword}"):
        encode_notice(disagreeing(chest, keyword, value), REFUSAL)


def test_an_error_names_no_patient(chest):
    with pytest.raises(EncodingError) as caught:
        encode_notice(disagreeing(chest, "PatientID", "SECRET7"), REFUSAL)
    assert "SECRET7" not in str(caught.value)
    assert "P001" not in str(caught.value)


@pytest.mark.parametrize("uid", [None, ""])
def test_without_study_or_header_there_is_no_notice(chest, uid):
    for header in chest.datasets:
        header.StudyInstanceUID = uid
    with pytest.raises(EncodingError, match="no Study Instance UID"):
        encode_notice(chest.datasets, REFUSAL)
    with pytest.raises(EncodingError, match="no header"):
        encode_notice([], REFUSAL)


def test_geometry_and_frame_of_reference_are_not_needed_but_one_patient_is(chest, written):
    for header in chest.datasets:
        for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "FrameOfReferenceUID"):
            del header[keyword]
    chest.datasets[3].FrameOfReferenceUID = "1.2.3"
    dataset = dcmread(written(chest.datasets))
    assert dataset.PatientID == "P001"
    assert "FrameOfReferenceUID" not in dataset


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        ("GB18030", "王^小东"),
        ("ISO_IR 144", "Люкceмбypг"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        (["ISO 2022 IR 6", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
        (None, "Plain^Name"),
    ],
)
def test_names_of_all_scripts_are_the_bytes_of_the_ct(chest, written, program, tmp_path, character_set, name):
    header = chest.datasets[0]
    header.SpecificCharacterSet, header.PatientName = character_set, name
    header.SeriesDescription = name.split("=")[-1]
    if character_set is None:
        del header.SpecificCharacterSet
    header.save_as(tmp_path / "ct.dcm", enforce_file_format=True)
    path = written([dcmread(tmp_path / "ct.dcm")])
    dataset = dcmread(path)
    assert dataset.get_item("PatientName").value == dcmread(tmp_path / "ct.dcm").get_item("PatientName").value
    assert str(dataset.PatientName) == name
    # It repeats names in their own bytes.
    run = subprocess.run([program("dciodvfy"), "-allpffgitems", path], capture_output=True, check=False)
    assert b"Error" not in run.stderr


def test_a_patient_id_that_cannot_be_read_is_never_copied_changed(chest):
    header = chest.datasets[0]
    header.PatientID = "AQQB"
    buffer = BytesIO()
    header.save_as(buffer, enforce_file_format=True)
    broken = dcmread(BytesIO(buffer.getvalue().replace(b"QQ", b"\xff\xfe")))
    with pytest.warns(UserWarning, match="Failed to decode"), pytest.raises(EncodingError, match="PatientID is not in"):
        encode_notice([broken], REFUSAL)


def test_private_elements_are_left_behind(chest):
    item = Dataset()
    item.PatientID, item.TypeOfPatientID = "OLD7", "TEXT"
    for dataset in (item, *chest.datasets):
        dataset.private_block(0x0009, "SECRET", create=True).add_new(1, "LO", "private")
    for header in chest.datasets:
        header.OtherPatientIDsSequence = [item]
    dataset = encode_notice(chest.datasets, REFUSAL)
    assert dataset.OtherPatientIDsSequence[0].PatientID == "OLD7"
    assert not any(element.tag.is_private for element in dataset.iterall())


def test_the_same_refusal_is_the_same_object_and_another_one_is_not(chest):
    usual = encode_notice(chest.datasets, REFUSAL)
    assert encode_notice(chest.datasets[::-1], REFUSAL).to_json() == usual.to_json()
    late = deepcopy(chest.datasets[-1])
    late.SOPInstanceUID = "9.9"
    corrected = deepcopy(chest.datasets)
    for header in corrected:
        header.PatientID = "P002"
    others = [
        encode_notice(chest.datasets[1:], REFUSAL),
        encode_notice([*chest.datasets[:-1], late], REFUSAL),
        encode_notice(corrected, REFUSAL),
        *(encode_notice(chest.datasets, replace(REFUSAL, **{f: "x"})) for f in ("code", "message", "stage")),
    ]
    uids = {str(dataset.SOPInstanceUID) for dataset in (usual, *others)}
    assert len(uids) == 1 + len(others) == 7
    assert usual.SOPInstanceUID != usual.SeriesInstanceUID
    assert usual.SeriesInstanceUID != chest.reference.series_instance_uid


ONE_NOTICE = """
import hashlib, importlib.util, io, sys
spec = importlib.util.spec_from_file_location("chest", sys.argv[1])
chest_module = importlib.util.module_from_spec(spec); sys.modules["chest"] = chest_module
spec.loader.exec_module(chest_module)
from dicom_node.objects.notice import Refusal, encode_notice
buffer = io.BytesIO()
dataset = encode_notice(chest_module.make_chest().datasets, Refusal("CODE", "A sentence.", "read"))
dataset.save_as(buffer, enforce_file_format=True)
print(hashlib.sha256(buffer.getvalue()).hexdigest())
"""


def test_two_processes_write_the_same_bytes():
    def digest(seed: str) -> str:
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(REPOSITORY)}
        command = [sys.executable, "-c", ONE_NOTICE, str(Path(__file__).with_name("conftest.py"))]
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout

    assert digest("1") == digest("2") != ""
