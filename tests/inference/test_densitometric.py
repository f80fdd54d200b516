import numpy as np
import pytest
from scipy.stats import spearmanr

from inference.densitometric import GRAVITY_PER_CM, DensitometricBaseline, perfused_tissue, smooth_inside
from inference.errors import GridMismatch, ImplausibleResult
from inference.geometry import Grid
from inference.model_card import ModelIdentity
from inference.phantom.thorax import DigitalThorax, draw_thorax
from inference.quality.checks import check_map
from inference.volumes import CtVolume, LobeMap, PerfusionMap, SeriesReference

COARSE = Grid.axial((56, 64, 72), (5.0, 5.0, 5.0), (-178.0, -150.0, -152.0), frame_of_reference_uid="1.2.3")


@pytest.fixture(scope="module")
def thorax() -> DigitalThorax:
    return draw_thorax(COARSE)


@pytest.fixture(scope="module")
def predicted(thorax: DigitalThorax) -> PerfusionMap:
    return DensitometricBaseline().predict(thorax.ct, thorax.lobes)


def uniform_lung(grid: Grid, hu: np.ndarray) -> tuple[CtVolume, LobeMap]:
    """A block of lung with a rim of 2 voxels of soft tissue."""
    labels = np.zeros(grid.shape, dtype=np.uint8)
    labels[2:-2, 2:-2, 2:-2] = 1
    source = SeriesReference("1.2", "1.3", grid.frame_of_reference_uid, tuple(f"1.4.{k}" for k in range(grid.shape[0])))
    ct = CtVolume(np.where(labels, hu, 40.0).astype(np.float32), grid, source)
    return ct, LobeMap(labels, grid, ModelIdentity("block", "1"))


def test_the_map_of_the_digital_thorax_follows_its_true_perfusion(
    thorax: DigitalThorax, predicted: PerfusionMap
) -> None:
    lungs = thorax.lobes.lungs
    assert spearmanr(predicted.values[lungs], thorax.perfusion.values[lungs]).statistic > 0.8  # 0.88 measured


def test_the_poorly_perfused_region_reads_low_and_the_tumour_not_high(
    thorax: DigitalThorax, predicted: PerfusionMap
) -> None:
    assert predicted.values[thorax.low_region].mean() < 0.4
    assert predicted.values[thorax.tumour].mean() < 0.9
    assert predicted.values[thorax.tumour].max() < 1.1


def test_the_map_keeps_the_promises_of_a_perfusion_map(thorax: DigitalThorax, predicted: PerfusionMap) -> None:
    assert check_map(predicted) == ()
    assert predicted.grid.matches(thorax.ct.grid)
    assert (predicted.lungs == thorax.lobes.lungs).all()
    assert predicted.model.caveat.isascii()
    assert "not validated on patients" in predicted.model.caveat


def test_a_grid_with_other_axes_gives_the_same_values_at_the_same_places(
    thorax: DigitalThorax, predicted: PerfusionMap
) -> None:
    """Slices from the head down and rows from the back forward, as in a feet-first prone-stored series."""
    affine = COARSE.affine.copy()
    last = np.array([COARSE.shape[0] - 1.0, COARSE.shape[1] - 1.0, 0.0])
    affine[:3, 3] = COARSE.to_patient_mm(last)
    affine[:3, :2] *= -1
    flipped = draw_thorax(Grid(COARSE.shape, affine, COARSE.frame_of_reference_uid))
    again = DensitometricBaseline().predict(flipped.ct, flipped.lobes)
    np.testing.assert_allclose(again.values[::-1, ::-1], predicted.values, atol=1e-4)
    assert not np.allclose(again.values, predicted.values, atol=0.1)


@pytest.mark.parametrize("hu_per_cm", [0.0, 6.0, 12.0])
def test_homogeneous_lung_has_the_published_gravity_gradient_whatever_its_density_gradient(hu_per_cm: float) -> None:
    grid = Grid.axial((24, 44, 24), (4.0, 4.0, 4.0), (0.0, 0.0, 0.0), frame_of_reference_uid="1.2.3")
    y_cm = np.broadcast_to(grid.coordinates_mm()[1] / 10.0, grid.shape)
    ct, lobes = uniform_lung(grid, -800.0 + hu_per_cm * (y_cm - y_cm.mean()))
    values = DensitometricBaseline().predict(ct, lobes).values
    inner = np.s_[10:14, 10:34, 10:14]
    slope = np.polyfit(y_cm[inner].ravel(), values[inner].ravel(), 1)[0]
    assert slope == pytest.approx(GRAVITY_PER_CM, rel=0.05)


def test_the_edge_of_homogeneous_lung_is_not_darker_than_its_middle() -> None:
    grid = Grid.axial((24, 24, 24), (4.0, 4.0, 4.0), (0.0, 0.0, 0.0), frame_of_reference_uid="1.2.3")
    ct, lobes = uniform_lung(grid, np.full(grid.shape, -800.0))
    values = DensitometricBaseline().predict(ct, lobes).values
    assert values[2, 12, 2] == pytest.approx(values[12, 12, 12], rel=1e-3)


def test_perfused_tissue_rises_with_density_in_aerated_lung_and_falls_beyond() -> None:
    tissue = perfused_tissue(np.array([-1024.0, -960.0, -900.0, -700.0, -500.0, -300.0, -100.0, 50.0]))
    assert tissue[0] == tissue[1] == 0.0
    np.testing.assert_allclose(tissue[2:5], [0.1, 0.3, 0.5], atol=1e-6)
    assert tissue[4] > tissue[5] > tissue[6] == tissue[7] == pytest.approx(0.05)


def test_smoothing_has_the_stated_width_in_mm_on_uneven_voxels() -> None:
    grid = Grid.axial((31, 61, 61), (4.0, 2.0, 2.0), (0.0, 0.0, 0.0), frame_of_reference_uid="1.2.3")
    point = np.zeros(grid.shape, dtype=np.float32)
    point[15, 30, 30] = 1.0
    smooth = smooth_inside(point, np.ones(grid.shape, dtype=bool), grid, fwhm_mm=16.0)
    half_height = smooth[15, 30, 30] / 2
    assert smooth[17, 30, 30] == pytest.approx(half_height, rel=0.02)  # 8 mm away
    assert smooth[15, 34, 30] == pytest.approx(half_height, rel=0.02)


def test_lobes_of_another_grid_are_a_bug_that_shows(thorax: DigitalThorax) -> None:
    moved = COARSE.affine.copy()
    moved[0, 3] += 1.0
    lobes = LobeMap(thorax.lobes.labels, Grid(COARSE.shape, moved, "1.2.3"), thorax.lobes.segmenter)
    with pytest.raises(GridMismatch):
        DensitometricBaseline().predict(thorax.ct, lobes)


def test_lungs_without_any_perfused_tissue_are_refused() -> None:
    grid = Grid.axial((12, 12, 12), (4.0, 4.0, 4.0), (0.0, 0.0, 0.0), frame_of_reference_uid="1.2.3")
    ct, lobes = uniform_lung(grid, np.full(grid.shape, -1000.0))
    with pytest.raises(ImplausibleResult):
        DensitometricBaseline().predict(ct, lobes)
