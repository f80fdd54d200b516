"""An object as a file, without a second copy of its pixels.

pydicom gathers each element in memory before it writes it, so saving a map of 200 MB takes another 200 MB. An element
whose value is a stream is written piece by piece instead, and Python lends bytes to a stream without copying them.
"""

from io import BytesIO
from pathlib import Path

from pydicom.dataset import Dataset

_PIXELS = ("FloatPixelData", "PixelData")


def write_object(dataset: Dataset, path: Path) -> None:
    """Write an object as a DICOM file (PS3.10 7), the same bytes as `save_as(path, enforce_file_format=True)`.

    The dataset is afterwards as it was before.
    """
    elements = [dataset[keyword] for keyword in _PIXELS if keyword in dataset]
    values = [element.value for element in elements]
    for element, value in zip(elements, values, strict=True):
        if len(value) % 2 == 0:  # streams get no padding
            element.value = BytesIO(value)
    try:
        dataset.save_as(path, enforce_file_format=True)
    finally:
        for element, value in zip(elements, values, strict=True):
            element.value = value
