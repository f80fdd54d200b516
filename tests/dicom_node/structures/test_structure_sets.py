"""Structure sets are kept with their CT, durably and each once; what is none of a CT is not taken."""

from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import ImplicitVRLittleEndian

from dicom_node.reception.spool import key_of
from dicom_node.structures.structure_sets import StructureStore, referenced_series
from inference.geometry import Grid
from inference.volumes import SeriesReference
from tests.rt_structures import cylinder, structure_set, written
from tests.small_ct import small_ct, write_file

GRID = Grid.axial((20, 60, 70), (3.0, 2.0, 1.5), (-50.0, -60.0, -30.0), frame_of_reference_uid="1.2.3")
SOURCE = SeriesReference("1.2.7", "1.2.8", "1.2.3", tuple(f"1.2.9.{k}" for k in range(20)))
GTV = {"GTV": cylinder(range(4, 9), 30, 30, 6)}


@pytest.fixture
def store(tmp_path: Path) -> StructureStore:
    return StructureStore.under(tmp_path / "data")


def test_a_structure_set_is_kept_under_its_series_and_found_again(store: StructureStore, tmp_path: Path) -> None:
    path = written(structure_set(GRID, SOURCE, GTV), tmp_path / "rtss.dcm")
    assert store.add(path) == SOURCE.series_instance_uid
    (kept,) = store.of_series(SOURCE.series_instance_uid)
    assert kept.read_bytes() == path.read_bytes()
    assert kept == store.root / key_of(SOURCE.series_instance_uid) / f"{key_of('1.2.826.0.1.3680043.8.498.500')}.dcm"
    assert store.of_series("1.2.9999") == []


def test_the_same_again_changes_nothing_and_another_content_is_kept_beside(
    store: StructureStore, tmp_path: Path
) -> None:
    path = written(structure_set(GRID, SOURCE, GTV), tmp_path / "rtss.dcm")
    other = written(structure_set(GRID, SOURCE, {"ITV": GTV["GTV"]}), tmp_path / "other.dcm")
    for received in (path, path, other, other):
        store.add(received)
    kept = [file.read_bytes() for file in store.of_series(SOURCE.series_instance_uid)]
    assert sorted(kept) == sorted([path.read_bytes(), other.read_bytes()])


def test_a_structure_set_of_two_series_is_kept_with_both(store: StructureStore, tmp_path: Path) -> None:
    dataset = structure_set(GRID, SOURCE, GTV)
    second = structure_set(GRID, SeriesReference("1.2.7", "1.2.88", "1.2.33", ()), {})
    dataset.ReferencedFrameOfReferenceSequence.append(second.ReferencedFrameOfReferenceSequence[0])
    assert referenced_series(dataset) == ["1.2.8", "1.2.88"]
    assert store.add(written(dataset, tmp_path / "rtss.dcm")) == "1.2.8"
    assert len(store.of_series("1.2.8")) == len(store.of_series("1.2.88")) == 1


def test_what_is_no_structure_set_of_a_series_is_not_kept(store: StructureStore, tmp_path: Path) -> None:
    without = structure_set(GRID, SOURCE, GTV)
    del without.ReferencedFrameOfReferenceSequence
    (tmp_path / "text.dcm").write_text("no DICOM")
    for path in (
        write_file(tmp_path, small_ct()),
        written(without, tmp_path / "without.dcm"),
        tmp_path / "text.dcm",
    ):
        assert store.add(path) is None
    assert not store.root.exists()


def test_a_file_that_is_not_there_is_an_error(store: StructureStore, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        store.add(tmp_path / "absent.dcm")


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")  # one of the files has such a UID
@pytest.mark.parametrize(
    ("name", "series_ends"),
    [
        ("dicompyler_breast_BSD3/rtss.dcm", "241703565.43"),
        ("mim_rtutils_MIT/rt.dcm", "23471.893.88"),
        ("mim_rtutils_MIT/invalid_reference_rt.dcm", "23471.893.88"),
        ("mim_rtutils_MIT/non_existent_reference_rt.dcm", None),
        ("monaco_pymedphys_Apache2/example_structures.dcm", "359200000176"),
        ("monaco_pymedphys_Apache2/TinyFS_StrctrSets.dcm", "894485966837"),
    ],
)
def test_real_structure_sets_go_to_the_series_they_name(
    store: StructureStore, test_data: Path, tmp_path: Path, name: str, series_ends: str | None
) -> None:
    dataset = dcmread(test_data / "rt" / name, force=True)  # Monaco writes files without a preamble
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    series = store.add(written(dataset, tmp_path / "rtss.dcm"))
    assert (series is None) == (series_ends is None)
    if series is not None and series_ends is not None:
        assert series.endswith(series_ends)
        assert dcmread(store.of_series(series)[0]).SOPClassUID.name == "RT Structure Set Storage"
