import cc3d
import numpy as np
import pytest

from inference.anatomy import Lobe
from inference.errors import LungsNotFound
from inference.geometry import Grid
from inference.lobes import as_found, contiguous
from inference.model_card import ModelIdentity
from inference.volumes import LobeMap

SEGMENTER = ModelIdentity("by hand", "1")


def lobe_map(present: tuple[Lobe, ...], lobe_ml: float = 300.0) -> LobeMap:
    """Each present lobe is one plane of 100 voxels."""
    labels = np.zeros((6, 10, 10), dtype=np.uint8)
    for lobe in present:
        labels[lobe.value] = lobe.value
    edge_mm = (lobe_ml * 10.0) ** (1 / 3)
    grid = Grid.axial(labels.shape, (edge_mm, edge_mm, edge_mm), (0.0, 0.0, 0.0), frame_of_reference_uid="1.2")
    return LobeMap(labels, grid, SEGMENTER)


def test_five_lobes_pass_unchanged() -> None:
    lobes = lobe_map(tuple(Lobe))
    assert as_found(lobes) is lobes


def test_a_lobe_that_was_not_found_stays_empty() -> None:
    for present in ((Lobe.RUL, Lobe.RML, Lobe.RLL), (Lobe.RUL, Lobe.RLL, Lobe.LUL, Lobe.LLL)):
        lobes = lobe_map(present)
        assert as_found(lobes) is lobes


def test_a_thimble_of_lung_is_no_lung() -> None:
    with pytest.raises(LungsNotFound) as caught:
        as_found(lobe_map(tuple(Lobe), lobe_ml=90.0))
    assert caught.value.volume_ml == pytest.approx(450.0)


def test_a_few_stray_voxels_are_no_lobe_and_go_to_the_nearest_of_their_lung() -> None:
    whole = lobe_map((Lobe.RUL, Lobe.RLL, Lobe.LUL, Lobe.LLL))
    labels = whole.labels.copy()
    labels[2, 0, 0] = Lobe.RML  # beside the upper lobe, which is nearer than the lower one two planes off
    found = as_found(LobeMap(labels, whole.grid, SEGMENTER))
    assert not found.mask(Lobe.RML).any()
    assert found.labels[2, 0, 0] in (Lobe.RUL, Lobe.RLL)
    assert np.array_equal(found.lungs, labels > 0)
    untouched = np.ones(labels.shape, dtype=bool)
    untouched[2, 0, 0] = False
    assert np.array_equal(found.labels[untouched], labels[untouched])


def test_a_lung_of_a_few_stray_voxels_is_no_lung() -> None:
    whole = lobe_map((Lobe.RUL, Lobe.RML, Lobe.RLL))
    labels = whole.labels.copy()
    labels[5, 3, 3], labels[5, 3, 4] = Lobe.LUL, Lobe.LLL
    found = as_found(LobeMap(labels, whole.grid, SEGMENTER))
    assert np.array_equal(found.labels, whole.labels)


def test_stray_parts_go_to_the_nearest_lobe_of_their_own_lung() -> None:
    labels = np.zeros((12, 6, 20), dtype=np.uint8)
    labels[:6, :, 1:10], labels[6:, :, 1:10] = Lobe.RLL, Lobe.RUL
    labels[:6, :, 10:19], labels[6:, :, 10:19] = Lobe.LLL, Lobe.LUL
    tidy = labels.copy()
    labels[1, 2, 8:10] = Lobe.RUL  # inside the right lower lobe, next to the left lung
    labels[9, 3, 15] = Lobe.LLL
    assert np.array_equal(contiguous(labels), tidy)


def test_each_lobe_is_in_one_piece_and_no_voxel_is_lost() -> None:
    labels = np.where(np.random.default_rng(3).random((9, 9, 18)) < 0.8, np.uint8(Lobe.RLL), np.uint8(Lobe.RUL))
    labels[:, :, 9:] += 2  # RLL to LLL, RUL to RLL is avoided below
    labels[:, :, 9:][labels[:, :, 9:] == 3] = Lobe.LUL
    labels[0] = 0
    result = contiguous(labels)
    assert np.array_equal(result > 0, labels > 0)
    assert np.array_equal(result >= Lobe.LUL, labels >= Lobe.LUL)
    for lobe in np.unique(result[result > 0]):
        assert cc3d.connected_components(result == lobe, connectivity=6).max() == 1


def test_nothing_stays_nothing() -> None:
    assert not contiguous(np.zeros((3, 3, 3), dtype=np.uint8)).any()
