"""A PET series (PS3.3 A.21): one slice in each file, put in order by position, each with its own rescaling.

The slope differs from slice to slice, and a reader that takes that of the first draws stripes. Slices are sorted along
their normal; file names, Instance Number and Image Index are not looked at.
"""

from collections.abc import Sequence

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import PositronEmissionTomographyImageStorage

from inference.geometry import Grid, Reorientation
from training.errors import NuclearImageUnusable
from training.nuclear_image import NuclearImage

STILL = ("STATIC", "WHOLE BODY")
"""Series Type value 1 (C.8.9.1) of images that are neither gated nor dynamic."""
UNEVEN_MM = 0.05
"""How far a slice may lie from its place in an even stack; as for a CT."""
SIDEWAYS_MM = 0.25


def read_pet_series(datasets: Sequence[Dataset]) -> NuclearImage:
    """Take the image out of a series.

    Args:
        datasets: all of the series, with pixel data, in any order; two or more.

    Returns:
        Rescaled values with patient axes.

    Raises:
        NuclearImageUnusable: it is no still PET, is not one even stack of slices, or lacks what says where they are.
    """
    _require_one_still_series(datasets)
    first = datasets[0]
    turn = np.array(_numbers(first, "ImageOrientationPatient", 6)).reshape(2, 3)
    normal = np.cross(turn[0], turn[1])
    positions = np.array([_numbers(each, "ImagePositionPatient", 3) for each in datasets])
    order = np.argsort(positions @ normal)
    stack = positions[order]
    step = (stack[-1] - stack[0]) / (len(stack) - 1)
    off = stack - (stack[0] + np.arange(len(stack))[:, None] * step)
    if np.abs(off @ normal).max() > UNEVEN_MM:
        raise NuclearImageUnusable("its slices are not evenly spaced: one is missing, or is there twice")
    if np.linalg.norm(step - (step @ normal) * normal) * len(stack) > SIDEWAYS_MM or step @ normal < 1e-3:
        raise NuclearImageUnusable("its slices do not lie in one straight stack")
    row_mm, column_mm = _numbers(first, "PixelSpacing", 2)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = step, turn[1] * row_mm, turn[0] * column_mm
    affine[:3, 3] = stack[0]
    shape = (len(stack), int(first.Rows), int(first.Columns))
    grid = Grid(shape, affine, str(first.get("FrameOfReferenceUID") or ""))
    values = np.stack([_slice_values(datasets[k]) for k in order])
    upright = Reorientation.to_patient_axes(grid)
    return NuclearImage(np.ascontiguousarray(upright.apply(values)), upright.grid(grid))


def _require_one_still_series(datasets: Sequence[Dataset]) -> None:
    if len(datasets) < 2:
        raise NuclearImageUnusable("it has fewer than two slices")
    if any(each.get("SOPClassUID") != PositronEmissionTomographyImageStorage for each in datasets):
        raise NuclearImageUnusable("not all of it is Positron Emission Tomography Image Storage")
    kind = [str(value) for value in datasets[0].get("SeriesType") or ()]
    if not kind or kind[0] not in STILL:
        raise NuclearImageUnusable(f"its Series Type is {kind}: gated and dynamic series are not read")
    for keyword in ("SeriesInstanceUID", "FrameOfReferenceUID", "Rows", "Columns", "Units"):
        if len({str(each.get(keyword)) for each in datasets}) > 1:
            raise NuclearImageUnusable(f"its files do not share one {keyword}")
    for keyword, count in (("ImageOrientationPatient", 6), ("PixelSpacing", 2)):
        several = np.array([_numbers(each, keyword, count) for each in datasets])
        if np.ptp(several, axis=0).max() > 1e-3:
            raise NuclearImageUnusable(f"its files do not share one {keyword}")


def _slice_values(dataset: Dataset) -> np.ndarray:
    slope, intercept = _numbers(dataset, "RescaleSlope", 1)[0], float(dataset.get("RescaleIntercept") or 0.0)
    values: np.ndarray = dataset.pixel_array.astype(np.float32) * np.float32(slope) + np.float32(intercept)
    return values


def _numbers(dataset: Dataset, keyword: str, count: int) -> list[float]:
    value = dataset.get(keyword)
    several = [] if value is None or value == "" else [value] if count == 1 else list(value)
    if len(several) != count:
        raise NuclearImageUnusable(f"it has no {keyword}")
    return [float(number) for number in several]
