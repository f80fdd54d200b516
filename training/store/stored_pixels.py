"""Pixels as they are stored: decoded and written anew, so that nothing rides along with them.

Compressed streams may hold comments and application segments, native ones bytes behind the last pixel, and bits above
Bits Stored once held overlays (PS3.5 8.1.2, retired). All of it is gone when only the values are written. What is
drawn **in** the values cannot be found by a program of this size: see `warnings` of a pair.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from jaxtyping import Integer
from pydicom.dataset import Dataset
from pydicom.pixels.utils import pixel_array
from pydicom.uid import RLELossless

from training.errors import PairRefused


@dataclass(frozen=True, slots=True, eq=False)
class StoredPixels:
    """The values of one object."""

    values: Integer[np.ndarray, "*frames rows columns"]
    padding: int | None = None
    """Value of what is no image, in the sign of the pixels; None where the object names none."""

    @property
    def digest(self) -> str:
        """SHA-256 of size and values, equal in any transfer syntax; empty for an image of one value, as of air."""
        if (self.values == self.values.flat[0]).all():
            return ""
        plain = np.ascontiguousarray(self.values).astype("<i8")
        return hashlib.sha256(f"{plain.shape}".encode() + plain.tobytes()).hexdigest()


def decoded_pixels(dataset: Dataset) -> StoredPixels:
    """The stored values of an object, without what its unused bits held.

    Padding (PS3.3 C.7.5.1.1.2) may need more bits than Bits Stored; all of it becomes Pixel Padding Value.

    Args:
        dataset: with file meta information; bytes behind its pixels are cut off.

    Raises:
        PairRefused: with the reason code UNFIT_OBJECT: they are not grey integers, or Bits Stored and High Bit do not
            fit each other.
    """
    bits, allocated = int(dataset.BitsStored), int(dataset.BitsAllocated)
    if int(dataset.get("SamplesPerPixel", 1)) != 1 or allocated not in (8, 16, 32):
        raise PairRefused("UNFIT_OBJECT", "its pixels are not grey values of 8, 16 or 32 bits")
    if int(dataset.HighBit) != bits - 1 or not 1 <= bits <= allocated:
        raise PairRefused("UNFIT_OBJECT", "its Bits Stored and High Bit do not fit each other")
    raw = _with_all_bits(dataset)
    if raw.dtype.kind not in "iu" or raw.dtype.itemsize * 8 != allocated:
        raise PairRefused("UNFIT_OBJECT", "its pixels are no integers of its Bits Allocated")
    unused = allocated - bits
    values = (raw << unused) >> unused  # arithmetic for signed values: the sign goes up into the unused bits
    padding = _padding(dataset, raw.dtype)
    if padding is None:
        return StoredPixels(values)
    value, low, high = padding
    values[(raw >= low) & (raw <= high)] = value
    return StoredPixels(values, value)


def put_pixels(dataset: Dataset, pixels: StoredPixels) -> None:
    """Write values into an object that will be saved uncompressed in little endian."""
    data = pixels.values.astype(pixels.values.dtype.newbyteorder("<")).tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    dataset["PixelData"].VR = "OB" if pixels.values.dtype.itemsize == 1 else "OW"
    if pixels.padding is not None:
        vr = "SS" if pixels.values.dtype.kind == "i" else "US"
        dataset.add_new("PixelPaddingValue", vr, pixels.padding)


def _with_all_bits(dataset: Dataset) -> np.ndarray:
    """Decoded pixels; pydicom would blank unused bits, also those that padding needs. JPEG decoders need it to."""
    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated:
        frames = int(dataset.get("NumberOfFrames") or 1)
        size = int(dataset.Rows) * int(dataset.Columns) * frames * int(dataset.BitsAllocated) // 8
        dataset.PixelData = dataset.PixelData[: size + size % 2]
    blanked = syntax.is_encapsulated and syntax != RLELossless
    return np.asarray(pixel_array(dataset, correct_unused_bits=blanked))


def _padding(dataset: Dataset, dtype: np.dtype[np.generic]) -> tuple[int, int, int] | None:
    """Padding value, lowest and highest value of padding; in 16 bits at most, as the attribute is."""
    ends = [dataset.get(keyword) for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    try:
        value, limit = (None if end is None else _as_stored(int(end), dtype) for end in ends)
    except (TypeError, ValueError) as fault:
        raise PairRefused("UNFIT_OBJECT", "its padding value is no number") from fault
    if value is None or dtype.itemsize > 2:
        return None
    other = value if limit is None else limit
    return value, min(value, other), max(value, other)


def _as_stored(value: int, dtype: np.dtype[np.generic]) -> int:
    """A padding value in the sign of the pixels, whichever it was written in."""
    mask = (1 << 8 * dtype.itemsize) - 1
    return int(np.array(value & mask, dtype=f"u{dtype.itemsize}").view(dtype))
