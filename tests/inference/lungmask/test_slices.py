"""What our networks see is bit for bit what lungmask shows its own, and labels come back to the same voxels."""

import numpy as np
import pytest
from scipy import ndimage

from inference.lungmask.slices import enlarged, nearest, prepare, put_back
from inference.weights.lungmask_package import import_lungmask

import_lungmask()
from lungmask import utils  # noqa: E402  # its import changes warnings and logging

SHAPES = [(512, 512), (256, 256), (300, 411), (128, 128), (131, 768), (100, 140), (513, 511), (64, 600)]


def lungmasks_own(hu: np.ndarray) -> tuple[np.ndarray, list[tuple[int, ...]]]:
    """As `LMInferer._inference` does it."""
    slices, boxes = utils.preprocess(hu, resolution=[256, 256])
    slices[slices > 600] = 600
    return np.divide((slices + 1024), 1624), [tuple(int(edge) for edge in box) for box in boxes]


def bodies(seed: int, shape: tuple[int, int]) -> np.ndarray:
    """Three slices: something like a body, off centre, with noise of any grain, within or beyond the image."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    hu = np.empty((3, *shape), dtype=np.float32)
    for image in hu:
        centre, radius = random.uniform(0.3, 0.7, 2), random.uniform(0.1, 0.55, 2)
        inside = ((rows / shape[0] - centre[0]) / radius[0]) ** 2 + ((columns / shape[1] - centre[1]) / radius[1]) ** 2
        noise = ndimage.gaussian_filter(random.standard_normal(shape), random.uniform(0.5, 9)) * random.uniform(0, 4000)
        image[:] = np.where(inside < 1, 40, -1000) + noise
    return hu


@pytest.mark.parametrize(("seed", "shape"), [*enumerate(SHAPES), *enumerate(SHAPES, start=20)])
def test_networks_see_the_same(seed: int, shape: tuple[int, int]) -> None:
    hu = bodies(seed, shape)
    pixels, boxes = lungmasks_own(hu)
    prepared = prepare(hu)
    np.testing.assert_array_equal(prepared.pixels, pixels)
    edges = [(crop.rows.start, crop.columns.start, crop.rows.stop, crop.columns.stop) for crop in prepared.crops]
    assert edges == boxes
    labels = np.random.default_rng(seed).integers(0, 6, pixels.shape).astype(np.uint8)
    expected = [utils.reshape_mask(labels[k], boxes[k], shape) for k in range(3)]
    np.testing.assert_array_equal(put_back(labels, prepared), np.asarray(expected, dtype=np.uint8))


@pytest.mark.parametrize("hu", [-1000.0, -5000.0])
def test_a_slice_without_a_body_is_seen_whole(hu: float) -> None:
    image = np.full((1, 200, 220), hu, dtype=np.float32)
    pixels, boxes = lungmasks_own(image)
    prepared = prepare(image)
    np.testing.assert_array_equal(prepared.pixels, pixels)
    assert boxes == [(0, 0, 200, 220)]
    assert (prepared.crops[0].rows, prepared.crops[0].columns) == (slice(0, 200), slice(0, 220))


@pytest.mark.parametrize("hu", [300.0, 5000.0])
def test_a_body_that_fills_the_slice_is_cropped_as_lungmask_crops_it(hu: float) -> None:
    image = np.full((1, 200, 220), hu, dtype=np.float32)
    pixels, ((top, left, bottom, right),) = lungmasks_own(image)
    prepared = prepare(image)
    np.testing.assert_array_equal(prepared.pixels, pixels)
    assert (prepared.crops[0].rows, prepared.crops[0].columns) == (slice(top, bottom), slice(left, right))


def test_a_body_in_two_pieces_is_cropped_to_the_larger() -> None:
    """An arm beside the chest."""
    hu = np.full((1, 256, 256), -1000, dtype=np.float32)
    hu[0, 60:200, 40:150] = 30
    hu[0, 80:160, 190:230] = 30
    prepared = prepare(hu)
    np.testing.assert_array_equal(prepared.pixels, lungmasks_own(hu)[0])
    assert prepared.crops[0].columns.stop < 160


def test_what_a_thin_slanting_line_encloses_is_no_body() -> None:
    """Background passes between pixels that touch by a corner, as in lungmask."""
    rows, columns = np.mgrid[:128, :128]
    hu = np.full((1, 128, 128), -1000, dtype=np.float32)
    hu[0][np.abs(rows - 60) + np.abs(columns - 50) == 40] = 30
    hu[0, 100:120, 100:124] = 30
    pixels, ((top, left, bottom, right),) = lungmasks_own(hu)
    prepared = prepare(hu)
    np.testing.assert_array_equal(prepared.pixels, pixels)
    assert left > 90
    assert (prepared.crops[0].rows, prepared.crops[0].columns) == (slice(top, bottom), slice(left, right))


def test_the_ct_itself_is_left_alone_and_may_be_a_flipped_view() -> None:
    hu = bodies(1, (150, 160))
    before = hu.copy()
    hu.flags.writeable = False
    flipped = prepare(hu[::-1, ::-1, ::-1])
    np.testing.assert_array_equal(flipped.pixels, lungmasks_own(before[::-1, ::-1, ::-1])[0])
    np.testing.assert_array_equal(hu, before)


@pytest.mark.parametrize(("old", "new"), [(128, 512), (512, 128), (256, 257), (256, 31), (128, 513), (7, 7)])
def test_a_table_moves_pixels_as_scipy_does(old: int, new: int) -> None:
    image = np.random.default_rng(old + new).integers(0, 200, (old, old)).astype(np.uint8)
    np.testing.assert_array_equal(enlarged(image, (new, new)), ndimage.zoom(image, new / old, order=0))
    assert nearest(old, new).shape == (new,)
