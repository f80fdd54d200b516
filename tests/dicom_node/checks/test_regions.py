"""How far contours may be from their region: limits from both sides, on voxels of 1 ml."""

import numpy as np
import pytest
from pydicom.dataset import Dataset

from dicom_node.checks.checked_object import CheckedObject
from dicom_node.checks.contours import Contour
from dicom_node.checks.expected import Expected
from dicom_node.checks.regions import RegionCheck
from dicom_node.checks.source_ct import SourceCt
from dicom_node.objects.contours import trace_contours
from inference.geometry import Grid
from tests.dicom_node.checks.conftest import codes_of
from tests.dicom_node.objects.conftest import FRAME_OF_REFERENCE_UID, ct_header

SHAPE = (12, 14, 14)
BLOCK = np.s_[1:11, 2:12, 2:12]
"""1000 voxels."""


def grid_of(voxel_mm):
    spacing_mm = (voxel_mm, voxel_mm, voxel_mm)
    return Grid.axial(SHAPE, spacing_mm, (0.0, 0.0, 0.0), frame_of_reference_uid=FRAME_OF_REFERENCE_UID)


def block(*, without=0, beside=0):
    """The block without its first voxels, and with as many voxels beside it."""
    mask = np.zeros(SHAPE, dtype=bool)
    mask[BLOCK] = True
    mask[1, 2:12, 2:12] = (np.arange(100) >= without).reshape(10, 10)
    mask[0].flat[:beside] = True
    return mask


def faults(masks, expected, voxel_mm=10.0):
    """Check masks by name, drawn as contours, against expected masks by comparable name."""
    grid = grid_of(voxel_mm)
    ct = SourceCt.of([ct_header(grid, k) for k in range(SHAPE[0])])
    check = RegionCheck(
        CheckedObject("set.dcm", Dataset()), ct, Expected({name: lambda m=m: m for name, m in expected.items()})
    )
    found = []
    for name, mask in masks.items():
        contours = [
            Contour("", 0, (ct.images[contour.slice_index],), b"", contour.points_mm)
            for contour in trace_contours(mask, grid)
        ]
        found += check.add(name, name, contours)
    return [*found, *check.finish()]


@pytest.mark.parametrize(
    ("changes", "codes"),
    [
        ({"without": 9}, set()),  # 0.9 % of the volume
        ({"without": 11}, {"ROI_SHAPE_DIFFERS"}),
        ({"beside": 9}, set()),
        ({"beside": 11}, {"ROI_SHAPE_DIFFERS"}),
        ({"without": 9, "beside": 9}, set()),  # the same volume, Dice 0.991
        ({"without": 11, "beside": 11}, {"ROI_SHAPE_DIFFERS"}),  # the same volume, Dice 0.989
    ],
)
def test_one_percent_of_volume_and_dice_is_the_limit(changes, codes):
    assert codes_of(faults({"Lungs": block(**changes)}, {"lungs": block()})) == codes


def test_a_tenth_of_a_millilitre_is_negligible():
    """Voxels of 0.001 ml: 15 of 1000 are 1.5 %, and 0.015 ml."""
    assert faults({"Lungs": block(without=15)}, {"lungs": block()}, voxel_mm=1.0) == []
    assert codes_of(faults({"Lungs": block(without=25)}, {"lungs": block()}, voxel_mm=1.0)) == {"ROI_SHAPE_DIFFERS"}


def test_one_voxel_in_two_lobes_is_an_overlap():
    upper, lower = np.zeros(SHAPE, dtype=bool), np.zeros(SHAPE, dtype=bool)
    upper[1:6, 2:6, 2:6] = lower[6:9, 2:6, 2:6] = True
    assert faults({"Lung_RUL": upper, "Lung_RLL": lower}, {}) == []
    lower[5, 3, 3] = True
    (fault,) = faults({"Lung_RUL": upper, "Lung_RLL": lower}, {})
    assert (fault.code, fault.where) == ("ROIS_OVERLAP", "Lung_RLL")
    assert fault.sentence.startswith("1 voxel(s)")


def test_function_regions_may_overlap_lobes_but_not_each_other():
    assert faults({"Lungs": block(), "Lung_RUL": block(), "Lungs_HighPerf": block(without=50)}, {}) == []
    both = {"lungs^highperf": block(), "LUNGS_LowPerf": block(without=50)}
    assert codes_of(faults(both, {})) == {"ROIS_OVERLAP"}


def test_the_left_lung_is_where_x_is_larger():
    low, high = np.zeros(SHAPE, dtype=bool), np.zeros(SHAPE, dtype=bool)
    low[2:9, 3:9, 1:5] = high[2:9, 3:9, 8:12] = True
    assert faults({"Lung_L": high, "Lung_R": low}, {}) == []
    assert codes_of(faults({"Lung_L": low, "Lung_R": high}, {})) == {"SIDES_SWAPPED"}
