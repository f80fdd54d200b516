"""The one crossing between arrays on a `Grid` and SimpleITK images.

Both describe voxel centres in LPS mm; they differ in the order of axes only: ours is (slice, row, column), ITK's
is (column, row, slice). Nothing else in this project builds an ITK geometry.
"""

from enum import StrEnum

import numpy as np
import SimpleITK as sitk
from jaxtyping import Shaped

from inference.errors import GridMismatch
from inference.geometry import Grid


class Interpolation(StrEnum):
    """How a value between voxel centres is found."""

    NEAREST = "nearest"
    """The nearest voxel: the only choice for labels."""
    LINEAR = "linear"
    """Trilinear: for HU and for continuous fields."""


_INTERPOLATORS = {Interpolation.NEAREST: sitk.sitkNearestNeighbor, Interpolation.LINEAR: sitk.sitkLinear}


def to_image(array: Shaped[np.ndarray, "slices rows columns"], grid: Grid) -> sitk.Image:
    """A SimpleITK image of `array` that lies where `grid` says; booleans become bytes of 0 and 1.

    Raises:
        GridMismatch: `array` has not the shape of `grid`.
    """
    if array.shape != grid.shape:
        raise GridMismatch(grid.description(), f"an array of shape {array.shape}")
    image = sitk.GetImageFromArray(array.astype(np.uint8) if array.dtype == np.bool_ else array)
    image.SetSpacing([float(s) for s in reversed(grid.spacing_mm)])
    image.SetOrigin([float(o) for o in grid.origin_mm])
    image.SetDirection([float(d) for d in grid.direction[:, ::-1].ravel()])
    return image


def to_array(image: sitk.Image) -> Shaped[np.ndarray, "slices rows columns"]:
    """The voxels of an image as a new array in index order (slice, row, column)."""
    array: Shaped[np.ndarray, "slices rows columns"] = sitk.GetArrayFromImage(image)
    return array


def to_grid(image: sitk.Image, *, frame_of_reference_uid: str) -> Grid:
    """The geometry of an image; ITK knows no frame of reference, so the caller names it."""
    direction = np.array(image.GetDirection(), dtype=np.float64).reshape(3, 3)
    affine = np.eye(4)
    affine[:3, :3] = (direction * np.array(image.GetSpacing()))[:, ::-1]
    affine[:3, 3] = image.GetOrigin()
    columns, rows, slices = image.GetSize()
    return Grid((slices, rows, columns), affine, frame_of_reference_uid)


def resample(
    array: Shaped[np.ndarray, "a b c"], grid: Grid, onto: Grid, *, interpolation: Interpolation, outside: float
) -> Shaped[np.ndarray, "d e f"]:
    """Values of `array` (on `grid`) at the voxels of another grid; the type of the values stays.

    Args:
        array: values on `grid`.
        grid: where they lie.
        onto: where they are wanted; must share the frame of reference.
        interpolation: nearest for labels, linear for fields.
        outside: value of voxels whose centre lies outside `grid`.

    Raises:
        GridMismatch: the grids have different frames of reference.
    """
    return to_array(resample_image(to_image(array, grid), grid, onto, interpolation=interpolation, outside=outside))


def resample_image(
    image: sitk.Image, grid: Grid, onto: Grid, *, interpolation: Interpolation, outside: float
) -> sitk.Image:
    """`resample` for a caller that keeps working with ITK; `grid` names the frame of reference of `image`."""
    if grid.frame_of_reference_uid != onto.frame_of_reference_uid:
        raise GridMismatch(onto.description(), f"{grid.description()} in another frame of reference")
    slices, rows, columns = onto.shape
    resampler = sitk.ResampleImageFilter()
    resampler.SetSize([columns, rows, slices])
    resampler.SetOutputSpacing([float(s) for s in reversed(onto.spacing_mm)])
    resampler.SetOutputOrigin([float(o) for o in onto.origin_mm])
    resampler.SetOutputDirection([float(d) for d in onto.direction[:, ::-1].ravel()])
    resampler.SetInterpolator(_INTERPOLATORS[interpolation])
    resampler.SetDefaultPixelValue(float(outside))
    return resampler.Execute(image)
