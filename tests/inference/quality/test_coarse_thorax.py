import numpy as np
import pytest

from inference.anatomy import Lobe, Side
from inference.geometry import Grid
from inference.phantom.thorax import DigitalThorax
from inference.quality.coarse_thorax import CoarseThorax
from inference.volumes import CtVolume, LobeMap, SeriesReference
from tests.lung_blocks import NETWORK


def fine(shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]) -> tuple[CtVolume, LobeMap]:
    grid = Grid.axial(shape, spacing_mm, (-50.0, 20.0, 300.0), frame_of_reference_uid="1.2.3")
    rng = np.random.default_rng(1)
    hu = rng.normal(-500.0, 300.0, shape).astype(np.float32)
    labels = np.zeros(shape, dtype=np.uint8)
    labels[2:-3, 5:-4, : shape[2] // 2] = Lobe.RLL
    labels[2:-3, 5:-4, shape[2] // 2 :] = Lobe.LUL
    source = SeriesReference("1.2", "1.3", "1.2.3", tuple(f"1.4.{k}" for k in range(shape[0])))
    return CtVolume(hu, grid, source), LobeMap(labels, grid, NETWORK)


def test_blocks_are_means_of_whole_voxels_that_lie_where_their_voxels_lie() -> None:
    ct, lobes = fine((13, 22, 18), (1.5, 1.0, 1.9))
    coarse = CoarseThorax.of(ct, lobes)
    assert coarse.grid.shape == (6, 5, 9)  # of 2 x 4 x 2 voxels
    assert coarse.grid.spacing_mm == pytest.approx((3.0, 4.0, 3.8))
    wanted = ct.hu[:12, :20].reshape(6, 2, 5, 4, 9, 2).mean(axis=(1, 3, 5))
    assert np.allclose(coarse.hu, wanted, atol=0.01)
    assert coarse.grid.origin_mm == pytest.approx(ct.grid.to_patient_mm(np.array([0.5, 1.5, 0.5])))


def test_a_block_is_lung_where_half_of_it_is() -> None:
    ct, lobes = fine((13, 22, 18), (1.5, 1.0, 1.9))
    coarse = CoarseThorax.of(ct, lobes)
    share = (lobes.labels[:12, :20] > 0).reshape(6, 2, 5, 4, 9, 2).mean(axis=(1, 3, 5))
    assert np.array_equal(coarse.lungs, share >= 0.5)
    assert set(np.unique(coarse.labels)) == {0, Lobe.RLL, Lobe.LUL}
    assert not (coarse.lung(Side.RIGHT) & coarse.lung(Side.LEFT)).any()


def test_large_voxels_stay_as_they_are() -> None:
    ct, lobes = fine((7, 8, 9), (5.0, 4.0, 6.0))
    coarse = CoarseThorax.of(ct, lobes)
    assert np.array_equal(coarse.hu, ct.hu)
    assert np.array_equal(coarse.labels, lobes.labels)
    assert coarse.grid.matches(ct.grid)


def test_the_body_has_its_lungs_and_no_couch(thorax: DigitalThorax) -> None:
    coarse = CoarseThorax.of(thorax.ct, thorax.lobes)
    assert not (coarse.lungs & ~coarse.body).any()
    y_mm = coarse.positions_mm(1)
    assert y_mm[np.flatnonzero(coarse.body.any(axis=(0, 2)))[-1]] < 122.0  # the couch lies from 119 to 133 mm
    assert coarse.midline_mm == pytest.approx(0.0, abs=3.0)


def test_centres_are_in_patient_mm(thorax: DigitalThorax) -> None:
    coarse = CoarseThorax.of(thorax.ct, thorax.lobes)
    index = np.argwhere(coarse.labels == Lobe.RML).mean(axis=0)
    assert coarse.centre_mm(coarse.labels == Lobe.RML) == pytest.approx(coarse.grid.to_patient_mm(index)[::-1])
    assert coarse.ml(coarse.labels == Lobe.RML) == pytest.approx(thorax.lobes.volume_ml(Lobe.RML))
