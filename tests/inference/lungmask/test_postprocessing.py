"""Our clean-up of labels gives voxel for voxel what lungmask's own gives."""

import numpy as np
import pytest
from scipy import ndimage

from inference.lungmask.postprocessing import box_around, clean
from inference.weights.lungmask_package import import_lungmask

import_lungmask()
from lungmask.utils import postprocessing  # noqa: E402  # its import changes warnings and logging


def stock(labels: np.ndarray, spare: int | None) -> np.ndarray:
    cleaned: np.ndarray = postprocessing(labels.copy(), spare=[] if spare is None else [spare], disable_tqdm=True)
    return cleaned


def blobs(random: np.random.Generator, shape: tuple[int, ...], labels: int) -> np.ndarray:
    """Parts of all sizes, with holes, at the borders too."""
    fields = [
        ndimage.gaussian_filter(random.standard_normal(shape), random.uniform(0.3, 2.0)) for _ in range(labels + 1)
    ]
    fields[0] += random.uniform(-0.2, 0.3) * fields[0].std()
    return np.argmax(fields, axis=0).astype(np.uint8)


@pytest.mark.parametrize("seed", range(24))
def test_blobs_are_cleaned_as_lungmask_cleans_them(seed: int) -> None:
    random = np.random.default_rng(seed)
    shape = tuple(random.integers(2, 26, 3)) if seed % 3 else tuple(random.integers(2, 9, 3))
    labels = blobs(random, shape, int(random.integers(1, 7)))
    spare = int(labels.max()) if seed % 2 else None
    np.testing.assert_array_equal(clean(labels.copy(), spare), stock(labels, spare))


@pytest.mark.parametrize("seed", range(8))
def test_thousands_of_equal_parts_are_cleaned_as_lungmask_cleans_them(seed: int) -> None:
    """Noise: most parts have the size of many others, so each tie has to be decided as lungmask decides it."""
    random = np.random.default_rng(100 + seed)
    labels = random.choice(np.arange(4, dtype=np.uint8), (12, 14, 16), p=[0.85, 0.05, 0.05, 0.05])
    labels = np.maximum(labels, ndimage.grey_dilation(labels, footprint=ndimage.generate_binary_structure(3, 1)))
    spare = 3 if seed % 2 else None
    np.testing.assert_array_equal(clean(labels.copy(), spare), stock(labels, spare))


def test_lungs_far_from_the_borders_are_cleaned_as_lungmask_cleans_them() -> None:
    labels = np.zeros((20, 60, 70), dtype=np.uint8)
    labels[5:14, 20:44, 12:50] = blobs(np.random.default_rng(7), (9, 24, 38), 5)
    labels[8:11, 28:34, 20:26] = 0  # a hole
    labels[2, 3, 4] = 5  # stray
    np.testing.assert_array_equal(clean(labels.copy(), 5), stock(labels, 5))


@pytest.mark.parametrize("slices", [slice(0, 1), slice(3, 4)])
def test_a_lone_slice_is_cleaned_as_lungmask_cleans_it(slices: slice) -> None:
    labels = blobs(np.random.default_rng(3), (4, 90, 80), 3)[slices]
    np.testing.assert_array_equal(clean(labels.copy()), stock(labels, None))


def test_labels_in_one_slice_of_two_are_cleaned_as_lungmask_cleans_them() -> None:
    labels = np.zeros((2, 12, 12), dtype=np.uint8)
    labels[0, 3:9, 3:9] = 1
    labels[0, 5, 5] = 0
    np.testing.assert_array_equal(clean(labels.copy()), stock(labels, None))


@pytest.mark.parametrize("spare", [None, 1])
def test_nothing_stays_nothing(spare: int | None) -> None:
    empty = np.zeros((3, 4, 5), dtype=np.uint8)
    assert not clean(empty, spare).any()
    assert box_around(empty) is None


def test_only_a_spare_label_leaves_nothing() -> None:
    labels = np.full((4, 5, 6), 2, dtype=np.uint8)
    assert not stock(labels, 2).any()
    assert not clean(labels, 2).any()


def test_of_two_parts_that_became_equal_the_same_one_stays() -> None:
    """The first part of label 1 grows by a scrap of label 2 to the size of the second: a tie at the very end."""
    labels = np.zeros((3, 12, 40), dtype=np.uint8)
    labels[1, 2, 2:7] = 1
    labels[1, 2, 7:10] = 2
    labels[1, 8, 2:10] = 1
    labels[1, 2:6, 20:25] = 2
    expected = stock(labels, None)
    assert np.count_nonzero(expected == 1) == 8
    np.testing.assert_array_equal(clean(labels.copy()), expected)
