"""A reconstructed SPECT in a DICOM NM object (PS3.3 A.5): where its voxels lie, and what is counted in them.

The frames of such an object are slices. Orientation and position are those of slice 1, in the first item of Detector
Information; the others follow along the normal of the slices (row × column direction) by Spacing Between Slices, whose
**sign** says on which side: both signs are found in hospitals, and a reader that takes the absolute value turns the
patient upside down (PS3.3 C.8.4.15). Frames are put in order by Slice Vector, not by their place in the file.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32
from pydicom.dataset import Dataset
from pydicom.uid import NuclearMedicineImageStorage

from inference.geometry import Grid, Reorientation
from training.errors import NuclearImageUnusable

RECONSTRUCTED = "RECON TOMO"
"""Image Type value 3 of what this module reads; gated ones are another thing."""
SLICE_VECTOR = 0x00540080
_UNIT = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class NuclearImage:
    """What a SPECT says, with patient axes: slices run to superior, rows to posterior, columns to the left."""

    values: Float32[np.ndarray, "slices rows columns"]
    """Stored values with their rescaling, if any: relative counts."""
    grid: Grid
    """Frame of Reference UID is empty where the object names none; it then matches no CT."""


def read_nuclear_image(dataset: Dataset) -> NuclearImage:
    """Take a reconstructed SPECT out of its NM object.

    Args:
        dataset: with pixel data.

    Raises:
        NuclearImageUnusable: it is no reconstructed SPECT, or says too little about where its voxels are. Nothing is
            assumed: without position, orientation or signed spacing there is no image.
    """
    image_type = [str(value) for value in dataset.get("ImageType", ())]
    if dataset.get("SOPClassUID") != NuclearMedicineImageStorage or image_type[2:3] != [RECONSTRUCTED]:
        raise NuclearImageUnusable(f"it is no {RECONSTRUCTED} of Nuclear Medicine Image Storage, but {image_type}")
    grid = _grid(dataset)
    order = _slice_order(dataset, grid.shape[0])
    stored = np.asarray(dataset.pixel_array, dtype=np.float32).reshape(grid.shape)[order]
    values = stored * np.float32(dataset.get("RescaleSlope", 1.0)) + np.float32(dataset.get("RescaleIntercept", 0.0))
    upright = Reorientation.to_patient_axes(grid)
    return NuclearImage(np.ascontiguousarray(upright.apply(values)), upright.grid(grid))


def _grid(dataset: Dataset) -> Grid:
    """The grid of slices 1, 2, 3 …, whichever way they run."""
    detector = (dataset.get("DetectorInformationSequence") or [Dataset()])[0]
    position = _numbers(detector, "ImagePositionPatient", 3)
    directions = _numbers(detector, "ImageOrientationPatient", 6)
    row_mm, column_mm = _numbers(dataset, "PixelSpacing", 2)
    (between_mm,) = _numbers(dataset, "SpacingBetweenSlices", 1)
    if not any(position):
        raise NuclearImageUnusable("its Image Position (Patient) is 0, 0, 0, as some devices write when they know none")
    along_row, down_column = np.array(directions[:3]), np.array(directions[3:])
    products = np.array([along_row @ along_row, down_column @ down_column, along_row @ down_column])
    if np.abs(products - (1.0, 1.0, 0.0)).max() > _UNIT:
        raise NuclearImageUnusable(f"its Image Orientation (Patient) is no pair of directions: {directions}")
    if not between_mm or min(row_mm, column_mm) <= 0:
        raise NuclearImageUnusable(f"its voxels have no size: {row_mm}, {column_mm} and {between_mm} mm")
    affine = np.eye(4)
    affine[:3, 0] = np.cross(along_row, down_column) * between_mm
    affine[:3, 1], affine[:3, 2], affine[:3, 3] = down_column * row_mm, along_row * column_mm, position
    shape = (int(dataset.get("NumberOfFrames", 1)), int(dataset.Rows), int(dataset.Columns))
    return Grid(shape, affine, str(dataset.get("FrameOfReferenceUID") or ""))


def _slice_order(dataset: Dataset, frames: int) -> list[int]:
    """Which frame is slice 1, which slice 2 and so on."""
    value = dataset.get("SliceVector")
    vector = [int(number) for number in ([value] if isinstance(value, int) else value or ())]
    if sorted(vector) != list(range(1, frames + 1)):
        raise NuclearImageUnusable(f"its Slice Vector does not number {frames} slices once each")
    return [int(k) for k in np.argsort(vector)]


def _numbers(dataset: Dataset, keyword: str, count: int) -> list[float]:
    """The values of an attribute that must be there."""
    value = dataset.get(keyword)
    several = [] if value is None or value == "" else value if count > 1 else [value]
    if len(several) != count:
        raise NuclearImageUnusable(f"it has no {keyword}")
    return [float(number) for number in several]
