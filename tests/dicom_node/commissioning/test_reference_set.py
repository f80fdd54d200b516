"""Folders that are a reference set, and folders that are none."""

from pathlib import Path

import pytest
from pydicom import dcmread

from dicom_node.commissioning.reference_set import read_reference_set
from dicom_node.constancy.own_series import as_series
from dicom_node.errors import ReferenceUnusable
from inference.ct.instances import ct_instances
from inference.phantom.thorax import DEFAULT_GRID, draw_thorax
from tests.running_node import save_instances


def put(folder: Path, uid: str = "1.2.3", modality: str = "CT") -> None:
    ct = draw_thorax(DEFAULT_GRID.with_spacing((60.0, 30.0, 30.0))).ct
    datasets = list(as_series(ct_instances(ct), uid))
    for dataset in datasets:
        dataset.Modality = modality
    save_instances(datasets, folder)


def test_every_folder_is_a_case(tmp_path: Path) -> None:
    put(tmp_path / "b" / "deeper")
    put(tmp_path / "a")
    (tmp_path / "a" / "expected.json").write_text("{}")
    cases = read_reference_set(tmp_path)
    assert [case.name for case in cases] == ["a", "b"]
    assert len(cases[0].files) == len(cases[1].files) > 1
    assert cases[1].expected == tmp_path / "b" / "expected.json"


def test_what_is_no_reference_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReferenceUnusable, match="no folder"):
        read_reference_set(tmp_path / "nowhere")
    (tmp_path / "a").mkdir()
    with pytest.raises(ReferenceUnusable, match="a holds no DICOM file"):
        read_reference_set(tmp_path)
    put(tmp_path / "a" / "1")
    put(tmp_path / "a" / "2", "1.2.4")
    with pytest.raises(ReferenceUnusable, match="2 series"):
        read_reference_set(tmp_path)


def test_a_series_that_is_no_ct_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "a", modality="MR")
    with pytest.raises(ReferenceUnusable, match="no CT"):
        read_reference_set(tmp_path)


def test_the_report_knows_which_files_were_sent_whatever_they_are_called(tmp_path: Path) -> None:
    put(tmp_path / "a")
    (before,) = read_reference_set(tmp_path)
    first = before.files[0]
    first.rename(first.with_name("zz.dcm"))
    (renamed,) = read_reference_set(tmp_path)
    assert renamed.ct == before.ct
    assert before.ct.images == len(before.files)
    first.with_name("zz.dcm").write_bytes(first.with_name("zz.dcm").read_bytes()[:-2] + b"\0\1")
    (altered,) = read_reference_set(tmp_path)
    assert altered.ct.sha256 != before.ct.sha256


def test_the_report_says_how_the_ct_was_made_and_nothing_of_the_patient(tmp_path: Path) -> None:
    put(tmp_path / "a")
    for path in (tmp_path / "a").glob("*.dcm"):
        dataset = dcmread(path)
        dataset.Manufacturer, dataset.ManufacturerModelName = "Acme", "Scanner 3"
        dataset.ConvolutionKernel, dataset.SliceThickness = ["B30f", "3"], "2.0"
        dataset.PatientName = "Secret^Name"
        dataset.save_as(path)
    (case,) = read_reference_set(tmp_path)
    assert (case.ct.scanner, case.ct.kernel, case.ct.slice_thickness_mm) == ("Acme Scanner 3", "B30f/3", "2.0")
    assert "Secret" not in repr(case.ct)
