"""Figures of two maps of the same lungs, by hand."""

from dataclasses import replace

import numpy as np
import pytest

from inference.anatomy import Lobe
from inference.errors import GridMismatch
from inference.function_regions import DEFAULT_RULE
from inference.geometry import Grid
from inference.lobar import lobar_perfusion
from inference.map_comparison import MapComparison, MappedLungs, compare_maps
from inference.model_card import ModelIdentity
from inference.volumes import FunctionRegions, LobeMap, PerfusionMap

GRID = Grid.axial((6, 10, 10), (10.0, 10.0, 10.0), (0.0, 0.0, 0.0), frame_of_reference_uid="1.2.3")
IN_USE = (1.0, 2.0, 3.0, 4.0, 5.0)


def mapped(*uptake: float, high: tuple[int, ...] = (), low: tuple[int, ...] = (), grid: Grid = GRID) -> MappedLungs:
    """One slice of 100 voxels per lobe and one without lung; uptake per lobe, with a mean of 3, as given."""
    labels, values = np.zeros(grid.shape, np.uint8), np.zeros(grid.shape, np.float32)
    masks = [np.zeros(grid.shape, bool), np.zeros(grid.shape, bool)]
    for lobe, value in zip(Lobe, uptake, strict=False):
        labels[lobe - 1], values[lobe - 1] = lobe, value / 3.0
    for mask, slices in zip(masks, (high, low), strict=True):
        mask[list(slices)] = True
    lobes = LobeMap(labels, grid, ModelIdentity("slabs", "1"))
    perfusion = PerfusionMap(values, lobes.lungs, grid, ModelIdentity("drawn", "1"))
    regions = FunctionRegions(*masks, grid, DEFAULT_RULE)
    return MappedLungs(perfusion, regions, lobar_perfusion(perfusion, lobes, regions))


def test_figures_are_those_of_the_definition_and_candidate_minus_in_use() -> None:
    candidate = mapped(2.0, 2.0, 3.0, 3.5, 4.5, high=(2, 3), low=(0,))
    found = compare_maps(candidate, mapped(*IN_USE, high=(3, 4), low=(0,)))
    assert found.mean_difference_percent == pytest.approx(0.0, abs=1e-4)
    assert found.mean_absolute_difference_percent == pytest.approx(100.0 * 2.0 / 15.0, rel=1e-5)
    assert found.spearman == pytest.approx(9.5 / np.sqrt(10.0 * 9.5))  # ties at their mean rank
    assert (found.dice_high, found.dice_low) == (0.5, 1.0)
    assert found.lobar_percent_points == pytest.approx(
        {"Lung_RUL": 100 / 15, "Lung_RML": 0.0, "Lung_RLL": 0.0, "Lung_LUL": -50 / 15, "Lung_LLL": -50 / 15}, abs=1e-4
    )


def test_the_same_map_differs_in_nothing_and_a_higher_one_by_what_it_is_higher() -> None:
    same = compare_maps(mapped(*IN_USE), mapped(*IN_USE))
    assert same.spearman == pytest.approx(1.0)
    unmoved = dict.fromkeys(same.lobar_percent_points, 0.0)
    assert replace(same, spearman=None) == MapComparison(0.0, 0.0, None, 1.0, 1.0, unmoved)
    higher = compare_maps(mapped(*(value + 0.3 for value in IN_USE)), mapped(*IN_USE))
    assert higher.mean_difference_percent == pytest.approx(10.0, rel=1e-4)
    assert higher.mean_absolute_difference_percent == pytest.approx(10.0, rel=1e-4)


def test_a_constant_map_has_no_ranks_and_a_lobe_that_is_absent_no_difference() -> None:
    assert compare_maps(mapped(*[3.0] * 5), mapped(*IN_USE)).spearman is None
    assert compare_maps(mapped(*IN_USE), mapped(*[3.0] * 5)).spearman is None
    found = compare_maps(mapped(1.0, 2.0, 3.0), mapped(1.0, 2.0, 3.0))
    assert list(found.lobar_percent_points) == ["Lung_RUL", "Lung_RML", "Lung_RLL"]


def test_maps_of_other_lungs_or_of_another_grid_are_not_compared() -> None:
    with pytest.raises(ValueError, match="same lungs"):
        compare_maps(mapped(1.0, 2.0), mapped(*IN_USE))
    nowhere = mapped()
    with pytest.raises(ValueError, match="same lungs"):
        compare_maps(nowhere, nowhere)
    moved = Grid.axial(GRID.shape, (10.0, 10.0, 10.0), (1.0, 0.0, 0.0), frame_of_reference_uid="1.2.3")
    with pytest.raises(GridMismatch):
        compare_maps(replace(mapped(*IN_USE), perfusion=mapped(*IN_USE, grid=moved).perfusion), mapped(*IN_USE))
