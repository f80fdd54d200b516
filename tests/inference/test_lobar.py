import numpy as np
import pytest

from inference.anatomy import Lobe
from inference.errors import GridMismatch
from inference.function_regions import find_function_regions
from inference.geometry import Grid
from inference.lobar import lobar_perfusion, together
from inference.model_card import ModelIdentity
from inference.perfusion import relative_to_lung_mean
from inference.volumes import FunctionRegions, LobeMap, PerfusionMap

GRID = Grid.axial((6, 10, 10), (10.0, 10.0, 10.0), (0.0, 0.0, 0.0), frame_of_reference_uid="1.2.3")  # 1 ml per voxel


def five_slabs(uptake_of: dict[Lobe, float]) -> tuple[PerfusionMap, LobeMap, FunctionRegions]:
    """One slice of 100 ml per lobe, a slice of no lung on top; uptake as given."""
    labels = np.zeros(GRID.shape, dtype=np.uint8)
    uptake = np.zeros(GRID.shape, dtype=np.float32)
    for lobe, value in uptake_of.items():
        labels[lobe - 1] = lobe
        uptake[lobe - 1] = value
    lobes = LobeMap(labels, GRID, ModelIdentity("slabs", "1"))
    perfusion = PerfusionMap(relative_to_lung_mean(uptake, lobes.lungs), lobes.lungs, GRID, ModelIdentity("drawn", "1"))
    return perfusion, lobes, find_function_regions(perfusion)


def test_each_lobe_has_its_volume_mean_and_share_and_shares_sum_to_one() -> None:
    uptake = {Lobe.RUL: 1.0, Lobe.RML: 2.0, Lobe.RLL: 3.0, Lobe.LUL: 4.0, Lobe.LLL: 5.0}
    table = lobar_perfusion(*five_slabs(uptake))
    assert list(table) == list(Lobe)
    assert sum(row.perfusion_fraction for row in table.values()) == pytest.approx(1.0, abs=1e-9)
    for lobe, row in table.items():
        assert row.volume_ml == pytest.approx(100.0)
        assert row.mean_perfusion == pytest.approx(uptake[lobe] / 3.0, rel=2e-3)
        assert row.perfusion_fraction == pytest.approx(uptake[lobe] / 15.0, rel=2e-3)


def test_shares_of_the_regions_are_shares_of_each_lobe() -> None:
    uptake = {Lobe.RUL: 1.0, Lobe.RML: 1.5, Lobe.RLL: 3.0, Lobe.LUL: 4.0, Lobe.LLL: 5.0}
    table = lobar_perfusion(*five_slabs(uptake))
    assert [row.high_fraction for row in table.values()] == [0.0, 0.0, 1.0, 1.0, 1.0]
    assert [row.low_fraction for row in table.values()] == [1.0, 1.0, 0.0, 0.0, 0.0]


def test_a_lobe_without_voxels_has_zeros() -> None:
    table = lobar_perfusion(*five_slabs({Lobe.RUL: 1.0, Lobe.RML: 2.0, Lobe.RLL: 3.0, Lobe.LUL: 4.0}))
    row = table[Lobe.LLL]
    assert (row.volume_ml, row.mean_perfusion, row.perfusion_fraction, row.high_fraction) == (0.0, 0.0, 0.0, 0.0)
    assert sum(r.perfusion_fraction for r in table.values()) == pytest.approx(1.0)


def test_lobes_of_another_grid_are_a_bug_that_shows() -> None:
    perfusion, lobes, regions = five_slabs({Lobe.RUL: 1.0, Lobe.LLL: 2.0})
    other = Grid.axial(GRID.shape, (10.0, 10.0, 10.0), (1.0, 0.0, 0.0), frame_of_reference_uid="1.2.3")
    with pytest.raises(GridMismatch):
        lobar_perfusion(perfusion, LobeMap(lobes.labels, other, lobes.segmenter), regions)


def test_several_lobes_together_are_one_region() -> None:
    uptake = {Lobe.RUL: 1.0, Lobe.RML: 2.0, Lobe.RLL: 3.0, Lobe.LUL: 4.0, Lobe.LLL: 5.0}
    table = lobar_perfusion(*five_slabs(uptake))
    lungs = together(table.values())
    assert lungs.volume_ml == pytest.approx(500.0)
    assert lungs.mean_perfusion == pytest.approx(1.0)
    assert lungs.perfusion_fraction == pytest.approx(1.0)
    assert lungs.high_fraction == pytest.approx(sum(row.high_fraction for row in table.values()) / 5)
    left = together([table[Lobe.LUL], table[Lobe.LLL]])
    assert left.perfusion_fraction == pytest.approx(9.0 / 15.0, rel=1e-3)
    assert left.mean_perfusion == pytest.approx(4.5 / 3.0, rel=1e-3)
    assert together([]).volume_ml == together([]).mean_perfusion == 0.0
