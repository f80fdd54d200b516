"""Pixels of one CT instance → HU, or the reason why not.

Nothing is decoded that was compressed with loss, and nothing short is filled up: pydicom reads a truncated file
without complaint, and decoders of JPEG-LS and lossless JPEG paint the missing part without complaint as well.
"""

import numpy as np
from jaxtyping import Float32, Integer
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels.utils import pixel_array
from pydicom.uid import JPEG2000, UID, JPEGLSNearLossless, RLELossless

from inference.ct_headers import rescale
from inference.errors import LossyCompressed, UnreadableInstance

AIR_HU = -1024.0
"""Lowest HU passed on; padding outside the reconstructed circle becomes this too."""
LOSSY_SYNTAXES = tuple(UID(f"1.2.840.10008.1.2.4.{process}") for process in (50, 51, 53, 55))
"""JPEG processes 1, 2 and 4, 6 and 8, 10 and 12 (PS3.5 A.4.1): always with loss."""
PERHAPS_LOSSY_SYNTAXES = (JPEGLSNearLossless, JPEG2000)
"""With loss unless Lossy Image Compression (0028,2110) says 00."""
END_OF_IMAGE = b"\xff\xd9"
"""Last marker of every JPEG, JPEG-LS and JPEG 2000 stream."""


def slice_hu(dataset: Dataset) -> Float32[np.ndarray, "rows columns"]:
    """HU of one instance.

    Stored values at Pixel Padding Value (or in its range) and HU below -1024 become -1024. HU above are kept.

    Raises:
        LossyCompressed: the pixels are, or once were, compressed with loss.
        UnreadableInstance: no, truncated or undecodable pixels, or values outside the bits they claim to use.
        InvalidRescale: HU cannot be computed.
    """
    slope, intercept = rescale(dataset)
    stored = _stored_values(dataset)
    padding = _padding(dataset, stored)
    _require_stored_bits(dataset, stored, padding)
    hu = stored.astype(np.float64) * slope + intercept
    return np.where(padding, AIR_HU, np.maximum(hu, AIR_HU)).astype(np.float32)


def require_lossless(dataset: Dataset) -> None:
    """Refuse instances whose pixels went through a compression with loss.

    Raises:
        LossyCompressed: by transfer syntax or by Lossy Image Compression 01 (PS3.3 C.7.6.1.1.5).
        UnreadableInstance: the transfer syntax is not known.
    """
    syntax = _transfer_syntax(dataset)
    flag = str(dataset.get("LossyImageCompression") or "").strip()
    if syntax in LOSSY_SYNTAXES or flag == "01" or (syntax in PERHAPS_LOSSY_SYNTAXES and flag != "00"):
        raise LossyCompressed(syntax.name)


def _transfer_syntax(dataset: Dataset) -> UID:
    syntax = getattr(dataset, "file_meta", Dataset()).get("TransferSyntaxUID")
    if not syntax:
        raise UnreadableInstance("the transfer syntax is absent")
    return UID(syntax)


def _stored_values(dataset: Dataset) -> Integer[np.ndarray, "rows columns"]:
    """Decoded pixels, with the high bits that no value should use.

    pydicom would blank those bits. Where pixels are not in a JPEG stream they are kept, so that a value that does not
    fit is refused instead of becoming another HU.
    """
    require_lossless(dataset)
    if not dataset.get("PixelData"):
        raise UnreadableInstance("it has no pixel data")
    _require_whole(dataset)
    syntax = _transfer_syntax(dataset)
    blanked = syntax.is_encapsulated and syntax != RLELossless
    try:
        pixels = np.asarray(pixel_array(dataset, correct_unused_bits=blanked))
    except Exception as fault:  # decoders of four libraries raise whatever they like
        raise UnreadableInstance(f"its pixels cannot be decoded ({type(fault).__name__})") from fault
    if pixels.shape != (int(dataset.Rows), int(dataset.Columns)):
        raise UnreadableInstance(f"its pixels have the shape {pixels.shape}")
    return pixels


def _require_whole(dataset: Dataset) -> None:
    """Refuse truncated pixel data: by length where it is known, by the end marker in JPEG streams."""
    syntax, data = _transfer_syntax(dataset), dataset.PixelData
    if not syntax.is_encapsulated:
        needed = int(dataset.Rows) * int(dataset.Columns) * int(dataset.BitsAllocated) // 8
        if not needed <= len(data) <= needed + needed % 2:
            raise UnreadableInstance(f"it has {len(data)} bytes of pixel data where {needed} are needed")
    elif syntax != RLELossless:
        try:
            frame = get_frame(data, 0, number_of_frames=1)
        except (ValueError, EOFError) as fault:
            raise UnreadableInstance("its compressed pixel data is damaged") from fault
        if END_OF_IMAGE not in frame[-4:]:  # up to two bytes of padding follow in real files
            raise UnreadableInstance("its compressed pixel data is cut off")


def _padding(dataset: Dataset, stored: Integer[np.ndarray, "rows columns"]) -> np.ndarray:
    """Where stored values are padding (PS3.3 C.7.5.1.1.2), whichever sign the header gave to the value."""
    value = dataset.get("PixelPaddingValue")
    if value is None:
        return np.zeros(stored.shape, dtype=bool)
    limit = dataset.get("PixelPaddingRangeLimit")
    ends = [
        np.array(int(end) & 0xFFFF, dtype=np.uint16).astype(stored.dtype)
        for end in (value, value if limit is None else limit)
    ]
    return (stored >= min(ends)) & (stored <= max(ends))


def _require_stored_bits(dataset: Dataset, stored: Integer[np.ndarray, "rows columns"], padding: np.ndarray) -> None:
    bits, signed = int(dataset.BitsStored), int(dataset.PixelRepresentation)
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    if (((stored < low) | (stored > high)) & ~padding).any():
        raise UnreadableInstance(f"pixel values need more than its {bits} bits")
