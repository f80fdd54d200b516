"""What independent readers get out of our objects is what went in: on a real CT and on the digital thorax."""

from collections.abc import Callable
from pathlib import Path

import highdicom
import numpy as np
import pytest
from scipy import ndimage

from dicom_node.objects.kinds import ObjectKind
from inference.volumes import LobarPerfusion
from tests.conformance.cases import A0001, THORAX, Case
from tests.conformance.readers import (
    PlacedVolume,
    dcmqi_map,
    dcmqi_report,
    dcmqi_segments,
    plastimatch_image,
    plastimatch_masks,
    simpleitk_series,
)

CaseOf = Callable[[str], Case]
SOURCES = pytest.mark.parametrize("source", [THORAX, A0001])


@pytest.mark.parametrize(("source", "nested"), [(THORAX, False), (A0001, True)])
def test_regions_have_holes_and_islands(case_of: CaseOf, source: str, nested: bool) -> None:
    # Else the round trip of structures would show little.
    masks, islands_in_holes = case_of(source).masks, False
    for name in ("Lungs^HighPerf", "Lungs^LowPerf"):
        planes = masks[name][masks[name].any(axis=(1, 2))]
        filled = np.array([ndimage.binary_fill_holes(plane) for plane in planes])
        parts, outer_parts = ([ndimage.label(plane)[1] for plane in stack] for stack in (planes, filled))
        assert np.count_nonzero(filled & ~planes) > 0, f"{name} has no hole"
        assert max(parts) > 2, f"{name} has no island"
        islands_in_holes |= sum(parts) > sum(outer_parts)
    assert islands_in_holes == nested


@SOURCES
@pytest.mark.parametrize("options", [(), ("--xor-contours",)], ids=["default", "xor"])
def test_plastimatch_gets_every_region_back_from_its_contours(
    case_of: CaseOf, tmp_path: Path, source: str, options: tuple[str, ...]
) -> None:
    case = case_of(source)
    seen = plastimatch_masks(case.one(ObjectKind.STRUCTURE_SET), case.ct_folder, tmp_path / "masks", *options)
    assert set(seen) == set(case.masks)
    for name, mask in case.masks.items():
        got = seen[name].on(case.grid)
        overlap, drawn, filled = (int(np.count_nonzero(m)) for m in (got & mask, mask, got))
        assert 2 * overlap / (drawn + filled) >= 0.995, name
        difference_ml = abs(filled - drawn) * case.grid.voxel_volume_ml
        assert difference_ml <= max(0.1, 0.005 * drawn * case.grid.voxel_volume_ml), name
        assert int(np.count_nonzero(seen[name].values)) == filled, f"{name} has voxels outside the CT"


@SOURCES
def test_dcmqi_gets_every_segment_back_voxel_by_voxel(case_of: CaseOf, tmp_path: Path, source: str) -> None:
    case = case_of(source)
    seen = {}
    for path in case.paths(ObjectKind.SEGMENTATION):
        seen |= dcmqi_segments(path, tmp_path / path.stem)
    assert set(seen) == set(case.masks) - {"Lungs", "Lung_L", "Lung_R"}
    for name, segment in seen.items():
        assert np.array_equal(segment.on(case.grid), case.masks[name]), name


@SOURCES
def test_dcmqi_gets_the_map_back_bit_by_bit(case_of: CaseOf, tmp_path: Path, source: str) -> None:
    case = case_of(source)
    seen = dcmqi_map(case.one(ObjectKind.PARAMETRIC_MAP), tmp_path / "map").on(case.grid)
    assert seen.dtype == np.float32
    assert np.array_equal(seen, percent_of(case))


@SOURCES
def test_highdicom_gets_the_map_back_bit_by_bit(case_of: CaseOf, source: str) -> None:
    case = case_of(source)
    volume = highdicom.imread(case.one(ObjectKind.PARAMETRIC_MAP)).get_volume(dtype=np.float32)
    assert np.array_equal(PlacedVolume(volume.array, volume.affine).on(case.grid), percent_of(case))


@SOURCES
@pytest.mark.parametrize("read", [simpleitk_series, plastimatch_image], ids=["SimpleITK", "plastimatch"])
def test_the_twin_holds_the_map_to_a_twentieth_of_a_percent(
    case_of: CaseOf, tmp_path: Path, source: str, read: Callable[[Path, Path], PlacedVolume]
) -> None:
    case = case_of(source)
    seen = read(case.series(ObjectKind.MR_TWIN), tmp_path / "image").on(case.grid)
    assert np.abs(seen / 10 - percent_of(case)).max() <= 0.05 + 1e-5
    assert np.array_equal(seen > 0, case.result.perfusion.lungs)


FIGURES: dict[str, Callable[[LobarPerfusion], float]] = {
    "118565006": lambda lobe: lobe.volume_ml,
    "110831": lambda lobe: 100 * lobe.mean_perfusion,
    "PERFSHARE": lambda lobe: 100 * lobe.perfusion_fraction,
    "HIGHSHARE": lambda lobe: 100 * lobe.high_fraction,
    "LOWSHARE": lambda lobe: 100 * lobe.low_fraction,
}
"""The figures of a lobe by the code of their quantity."""


@SOURCES
def test_dcmqi_reads_the_lobar_table_in_the_report(case_of: CaseOf, tmp_path: Path, source: str) -> None:
    case = case_of(source)
    report = dcmqi_report(case.one(ObjectKind.REPORT), tmp_path / "report")
    groups = {group["TrackingIdentifier"]: group for group in report["Measurements"]}
    assert set(groups) >= {lobe.tg263 for lobe in case.result.lobar}
    for lobe, row in case.result.lobar.items():
        group = groups[lobe.tg263]
        figures = {item["quantity"]["CodeValue"]: float(item["value"]) for item in group["measurementItems"]}
        assert figures == pytest.approx({code: of(row) for code, of in FIGURES.items()}, rel=1e-6), lobe
        assert group["segmentationSOPInstanceUID"] == instance_uid(case.paths(ObjectKind.SEGMENTATION)[0])


def percent_of(case: Case) -> np.ndarray:
    """The map in percent, as the objects shall hold it."""
    percent: np.ndarray = case.result.perfusion.values * np.float32(100.0)
    return percent


def instance_uid(path: Path) -> str:
    """SOP Instance UID of a file."""
    return str(highdicom.imread(path).SOPInstanceUID)
