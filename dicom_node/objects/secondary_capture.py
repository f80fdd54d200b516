"""What every Secondary Capture of ours has in common: a colour picture that was computed, not photographed (PS3.3 A.8).

It is no image of the body: it has no place in a frame of reference and no pixel spacing.
"""

import numpy as np
from jaxtyping import UInt8
from pydicom.dataset import Dataset

from dicom_node.errors import EncodingError


def write_picture(target: Dataset, rgb: UInt8[np.ndarray, "rows columns 3"], kind: str) -> None:
    """Write pixels, and how they came to be (PS3.3 C.7.6.3, C.8.6.1).

    Args:
        target: the object.
        rgb: red, green and blue from 0 to 255.
        kind: what the object is called in an error.

    Raises:
        EncodingError: this is no such picture.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or 0 in rgb.shape:
        raise EncodingError(kind, f"a picture is rows x columns x 3 bytes, not {rgb.dtype} of shape {rgb.shape}")
    target.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    target.ConversionType = "WSD"
    target.PatientOrientation = ""  # Type 2C; a page has none
    target.LossyImageCompression = "00"
    target.SamplesPerPixel = 3
    target.PhotometricInterpretation = "RGB"
    target.PlanarConfiguration = 0
    target.Rows, target.Columns = rgb.shape[:2]
    target.BitsAllocated = target.BitsStored = 8
    target.HighBit = 7
    target.PixelRepresentation = 0
    pixels = rgb.tobytes()
    target.PixelData = pixels + b"\0" * (len(pixels) % 2)
    target["PixelData"].VR = "OB"
