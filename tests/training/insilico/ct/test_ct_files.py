"""The CT files of a patient: valid, read by the node's own reader, never to be taken for a person."""

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless

from inference.ct.series import read_ct_files
from inference.phantom.thorax import DigitalThorax
from inference.volumes import CtVolume
from tests.tools import error_lines
from training.insilico.cohort_name import CohortName
from training.insilico.ct.ct_files import ct_datasets
from training.insilico.ct.ct_scanner import CtScanner, scan_ct
from training.insilico.dicom_patient import dicom_patient
from training.insilico.draws import Draws
from training.insilico.hospitals import HOSPITAL_A, LUNG
from training.insilico.patient_id import PatientId

SCANNER = CtScanner(
    manufacturer="In-silico CT works",
    model="Overlap 16",
    protocol="Thin chest",
    kernel=LUNG,
    noise_hu=30.0,
    slice_mm=7.5,
    spacing_mm=6.0,
    field_mm=480.0,
    matrix=64,
    kvp=110.0,
    exposure_mas=43.4,
)
PATIENT = dicom_patient(PatientId(CohortName.LUNG_CANCER, 7), sex="F", age_years=71, series_description="CT chest")


@pytest.fixture(scope="module")
def ct(thorax: DigitalThorax) -> CtVolume:
    draws = Draws("3/LC-007")
    return scan_ct(thorax.ct.hu, thorax.lobes.labels, thorax.ct.grid, SCANNER, draws, study_instance_uid="2.25.9")


def datasets(ct: CtVolume, syntax: str = JPEGLSLossless) -> list[FileDataset]:
    return ct_datasets(ct, SCANNER, patient=PATIENT, institution=HOSPITAL_A.institution, transfer_syntax=syntax)


@pytest.fixture(scope="module")
def files(ct: CtVolume, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("ct")
    paths = [folder / f"{k}.dcm" for k in range(ct.grid.shape[0])]
    for path, dataset in zip(paths, datasets(ct), strict=True):
        dataset.save_as(path, enforce_file_format=True)
    return paths


def test_the_reader_of_the_node_finds_the_scan_again(ct: CtVolume, files: list[Path]) -> None:
    read = read_ct_files(files[::-1])
    assert read.grid.matches(ct.grid)
    assert np.array_equal(read.hu, ct.hu)
    assert read.source == ct.source


@pytest.mark.parametrize("syntax", [JPEGLSLossless, ExplicitVRLittleEndian])
def test_dciodvfy_finds_no_error(ct: CtVolume, tmp_path: Path, syntax: str) -> None:
    path = tmp_path / "slice.dcm"
    datasets(ct, syntax)[5].save_as(path, enforce_file_format=True)
    assert dcmread(path).file_meta.TransferSyntaxUID == syntax
    assert error_lines(path) == []


def test_files_say_what_the_scanner_did(files: list[Path]) -> None:
    dataset = dcmread(files[3])
    assert (dataset.Manufacturer, dataset.ManufacturerModelName) == ("In-silico CT works", "Overlap 16")
    assert (dataset.InstitutionName, dataset.ProtocolName) == ("In-silico hospital A", "Thin chest")
    assert dataset.ConvolutionKernel == "LUNG"
    assert (dataset.KVP, dataset.Exposure, dataset.ReconstructionDiameter) == (110, 43, 480)
    assert dataset.SliceThickness == 7.5
    gap = dcmread(files[4]).ImagePositionPatient[2] - dataset.ImagePositionPatient[2]
    assert gap == pytest.approx(6.0)


def test_nobody_takes_the_patient_for_a_person(files: list[Path]) -> None:
    dataset = dcmread(files[0])
    assert (str(dataset.PatientName), dataset.PatientID) == ("Insilico^LC-007", "INSILICO-LC-007")
    assert "no patient" in dataset.StudyDescription
    assert dataset.SeriesDescription == "CT chest, in-silico, no patient"
    assert (dataset.PatientSex, dataset.PatientBirthDate, dataset.StudyDate) == ("F", "19540701", "20260101")


def test_equal_scans_give_equal_bytes(ct: CtVolume, files: list[Path], tmp_path: Path) -> None:
    datasets(ct)[3].save_as(tmp_path / "again.dcm", enforce_file_format=True)
    assert (tmp_path / "again.dcm").read_bytes() == files[3].read_bytes()
