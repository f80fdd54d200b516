"""A SPECT comes onto the network's grid where its link says, and no count is lost on the way."""

import numpy as np
import pytest

from inference.geometry import Grid
from tests.training.pairs.hospital_files import turned
from training.nuclear_image import NuclearImage
from training.pairs.rigid import Rigid
from training.retraining.pair_cases import on_grid

FRAME = "2.25.1"
SPECT = Grid.axial((40, 40, 40), (4.8, 4.8, 4.8), (-94.0, -93.0, -92.0), frame_of_reference_uid="2.25.2")
NETWORK = Grid.axial((40, 40, 40), (6.0, 6.0, 6.0), (-118.0, -117.0, -116.0), frame_of_reference_uid=FRAME)


@pytest.fixture(scope="module")
def image() -> NuclearImage:
    """Two blobs of different size, off the middle."""
    s, r, c = np.indices(SPECT.shape, dtype=np.float64)
    far = (s - 15) ** 2 / 20 + (r - 22) ** 2 / 8 + (c - 12) ** 2 / 8
    near = (s - 26) ** 2 / 10 + (r - 17) ** 2 / 10 + (c - 28) ** 2 / 10
    return NuclearImage((1000 * np.exp(-far) + 500 * np.exp(-near)).astype(np.float32), SPECT)


def middle_mm(values: np.ndarray, grid: Grid) -> np.ndarray:
    places = grid.to_patient_mm(np.argwhere(np.ones(grid.shape, dtype=bool)).astype(np.float64))
    return np.average(places, axis=0, weights=values.ravel().astype(np.float64))


def total(values: np.ndarray, grid: Grid) -> float:
    return float(values.sum(dtype=np.float64)) * grid.voxel_volume_ml


@pytest.mark.parametrize("link", [turned((0, 0, 0), (12.0, -7.0, 3.5)), turned((4, -6, 9), (5.0, 8.0, -4.0))])
def test_counts_go_where_the_link_takes_them_and_none_is_lost(image: NuclearImage, link: Rigid) -> None:
    moved = on_grid(image, link, NETWORK)
    wanted_mm = link.moved_mm(middle_mm(image.values, SPECT)[None])[0]
    assert middle_mm(moved, NETWORK) == pytest.approx(wanted_mm, abs=0.05)
    assert total(moved, NETWORK) == pytest.approx(total(image.values, SPECT), rel=2e-3)


def test_a_turn_too_small_to_matter_gives_the_same_as_none(image: NuclearImage) -> None:
    exact = on_grid(image, Rigid.identity(), NETWORK)
    turned_a_little = on_grid(image, turned((0.001, 0, 0), (0, 0, 0)), NETWORK)
    assert np.abs(exact - turned_a_little).max() < 0.05 * exact.max()  # what interpolation blurs
    assert exact.max() < image.values.max()  # means, not values in between


def test_what_the_camera_did_not_see_is_0(image: NuclearImage) -> None:
    gone = on_grid(image, turned((0, 0, 0), (1000.0, 0, 0)), NETWORK)
    assert not gone.any()
