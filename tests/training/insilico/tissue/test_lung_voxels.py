"""Lists of voxels agree with the grid they are from."""

import numpy as np
import pytest

from inference.anatomy import Lobe
from inference.geometry import Grid
from tests.insilico_trees import DRAWS, coarse_body
from training.insilico.tissue.fine_texture import mesh
from training.insilico.tissue.lung_voxels import LungVoxels


def voxels_of(*lobes: Lobe) -> LungVoxels:
    return LungVoxels.of(coarse_body().grid, coarse_body().lobes, lobes or tuple(Lobe))


def test_lists_hold_the_places_and_lobes_of_the_grid() -> None:
    body, voxels = coarse_body(), voxels_of(Lobe.RML, Lobe.LLL)
    wanted = np.isin(body.lobes, (Lobe.RML, Lobe.LLL))
    np.testing.assert_array_equal(voxels.flat, np.flatnonzero(wanted))
    np.testing.assert_array_equal(voxels.lobe, body.lobes[wanted])
    places = body.grid.to_patient_mm(np.argwhere(wanted).astype(float))
    np.testing.assert_allclose(np.column_stack([voxels.x_mm, voxels.y_mm, voxels.z_mm]), places, atol=1e-3)
    distance = np.linalg.norm(places - np.array([10.0, 20.0, 30.0]), axis=1)
    np.testing.assert_allclose(voxels.distance_mm(np.array([10.0, 20.0, 30.0])), distance, rtol=1e-5)


def depths(grid: Grid, lobes: np.ndarray) -> np.ndarray:
    voxels = LungVoxels.of(grid, lobes)
    found = np.zeros(lobes.shape)
    found.reshape(-1)[voxels.flat] = voxels.depth_mm()
    return found


def test_a_lobe_that_is_not_there_has_no_voxels() -> None:
    body = coarse_body()
    assert len(LungVoxels.of(body.grid, np.zeros_like(body.lobes)).flat) == 0


def test_height_rises_to_the_head_and_dependence_to_the_back() -> None:
    voxels = voxels_of()
    assert voxels.z_mm[voxels.height() > 0.99].min() > voxels.z_mm[voxels.height() < 0.01].max()
    assert voxels.y_mm[voxels.dependence() > 0.99].min() > voxels.y_mm[voxels.dependence() < 0.01].max()


def test_depth_counts_from_the_pleura_and_not_from_bronchi() -> None:
    body, voxels = coarse_body(), voxels_of()
    depth = np.zeros(body.grid.shape, np.float32)
    depth.reshape(-1)[voxels.flat] = voxels.depth_mm()
    lungs = body.lobes > 0
    rim = lungs & ~np.roll(lungs, 1, axis=1) & ~np.roll(body.airway, 1, axis=1)
    assert np.median(depth[rim]) < 8.0
    assert 20.0 < depth[lungs].max() < 90.0


def test_a_bronchus_through_a_block_of_lung_is_no_pleura() -> None:
    lobes = np.zeros((40, 40, 40), dtype=np.uint8)
    lobes[4:36, 4:36, 4:36] = Lobe.RLL
    grid = Grid.axial(lobes.shape, (3.0, 3.0, 3.0), (0.0, 0.0, 0.0), frame_of_reference_uid="2.25.1")
    whole = depths(grid, lobes)
    lobes[4:36, 18:22, 18:22] = 0
    bored = depths(grid, lobes)
    beside = (20, 20, 23)
    assert whole[beside] == pytest.approx(3.0 * 13, abs=4.0)
    assert bored[beside] == pytest.approx(whole[beside], abs=4.0)
    assert whole[20, 20, 5] == pytest.approx(4.5, abs=2.5)


def test_texture_is_fine_and_even() -> None:
    values = mesh(voxels_of(), DRAWS, "texture", 6.0)
    assert abs(float(values.mean())) < 0.05
    assert abs(float(values.std()) - 1.0) < 0.08
