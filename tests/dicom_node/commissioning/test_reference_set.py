"""Folders that are a reference set, and folders that are none."""

from pathlib import Path

import pytest

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
