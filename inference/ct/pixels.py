"""Pixels of one slice → HU, or the reason why not.

Nothing is decoded that was compressed with loss unless the site allows it, nothing whose stream declares another size
than its header, and nothing short is filled up: pydicom reads a truncated file without complaint, and decoders of
JPEG-LS and lossless JPEG paint the missing part without complaint as well.
"""

import numpy as np
from jaxtyping import Float32, Integer
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID, RLELossless

from inference.ct.frames import frame_count, frame_number, is_multi_frame
from inference.ct.headers import LARGEST_SIDE
from inference.ct.streams import BrokenStream, stream_header
from inference.ct.syntaxes import FILES_ONLY, LOSSLESS, LOSSY, has_lost, lossy_method, transfer_syntax
from inference.ct.values import rescale
from inference.errors import LossyCompressed, UnreadableInstance
from inference.volumes import LossyCompression

AIR_HU = -1024.0
"""Lowest HU passed on; padding outside the reconstructed circle becomes this too."""
END_OF_IMAGE = b"\xff\xd9"
"""Last marker of every JPEG, JPEG-LS and JPEG 2000 stream."""


def slice_hu(
    dataset: Dataset, header: Dataset | None = None, *, accept_lossy: bool = False
) -> Float32[np.ndarray, "rows columns"]:
    """HU of one slice.

    Stored values at Pixel Padding Value (or in its range) and HU below -1024 become -1024. HU above are kept.

    Args:
        dataset: the image with its pixels.
        header: of the frame, for a multi-frame image (`ct_frames.frame_header`).
        accept_lossy: read pixels that were compressed with loss as well.

    Raises:
        LossyCompressed: the pixels are, or once were, compressed with loss.
        UnreadableInstance: no, truncated or undecodable pixels, or values outside the bits they claim to use.
        InvalidRescale: HU cannot be computed.
    """
    header = dataset if header is None else header
    slope, intercept = rescale(header)
    require_readable_syntax(dataset, accept_lossy=accept_lossy)
    stored = _stored_values(dataset, max(frame_number(header) - 1, 0))
    padding = _padding(header, stored)
    _require_stored_bits(header, stored, padding)
    hu = stored.astype(np.float64) * slope + intercept
    return np.where(padding, AIR_HU, np.maximum(hu, AIR_HU)).astype(np.float32)


def require_readable_syntax(dataset: Dataset, *, accept_lossy: bool = False) -> None:
    """Refuse an image whose pixels went through a compression with loss, or come in a syntax that cannot be decoded.

    Args:
        dataset: with file meta information; pixels are not looked at.
        accept_lossy: let pass what was compressed with loss and can be decoded.

    Raises:
        LossyCompressed: by transfer syntax or by Lossy Image Compression 01 (PS3.3 C.7.6.1.1.5).
        UnreadableInstance: the transfer syntax is absent or none that a CT is read in.
    """
    syntax = _syntax(dataset)
    readable = (*LOSSLESS, *FILES_ONLY, *(LOSSY if accept_lossy else ()))
    if has_lost(dataset) and not (accept_lossy and syntax in readable):
        raise LossyCompressed(syntax.name)
    if syntax not in (*LOSSLESS, *FILES_ONLY, *LOSSY):
        raise UnreadableInstance(f"its transfer syntax is not one that is read ({syntax.name[:64]})")


def lossy_compression(dataset: Dataset) -> LossyCompression | None:
    """What is known of a compression with loss: from the header, else from syntax and size; None if there was none."""
    if not has_lost(dataset):
        return None
    ratio, method = dataset.get("LossyImageCompressionRatio"), dataset.get("LossyImageCompressionMethod")
    ratios, methods = (list(np.atleast_1d(part or [])) for part in (ratio, method))
    native = int(dataset.Rows) * int(dataset.Columns) * int(dataset.BitsAllocated) // 8 * frame_count(dataset)
    syntax = _syntax(dataset)
    shrunk = native / max(len(dataset.PixelData), 1) if syntax.is_encapsulated and "PixelData" in dataset else 0.0
    return LossyCompression(
        float(np.prod([float(value) for value in ratios])) if ratios else round(shrunk, 2),
        str(methods[-1]) if methods else lossy_method(syntax),
    )


def _syntax(dataset: Dataset) -> UID:
    syntax = transfer_syntax(dataset)
    if syntax is None:
        raise UnreadableInstance("the transfer syntax is absent")
    return syntax


def _stored_values(dataset: Dataset, index: int) -> Integer[np.ndarray, "rows columns"]:
    """Decoded pixels of one frame, with the high bits that no value should use.

    pydicom would blank those bits. Where pixels are not in a JPEG stream they are kept, so that a value that does not
    fit is refused instead of becoming another HU.
    """
    if not dataset.get("PixelData"):
        raise UnreadableInstance("it has no pixel data")
    _require_whole(dataset, index)
    syntax = _syntax(dataset)
    blanked = syntax.is_encapsulated and syntax != RLELossless
    try:
        pixels = np.asarray(pixel_array(dataset, index=index, correct_unused_bits=blanked))
    except MemoryError:
        raise
    except Exception as fault:  # decoders of four libraries raise whatever they like
        raise UnreadableInstance(f"its pixels cannot be decoded ({type(fault).__name__})") from fault
    if pixels.shape != (int(dataset.Rows), int(dataset.Columns)):
        raise UnreadableInstance(f"its pixels have the shape {pixels.shape}")
    return pixels


def _require_whole(dataset: Dataset, index: int) -> None:
    """Refuse truncated pixel data and streams that declare another image than their header, before decoding."""
    syntax, data, count = _syntax(dataset), dataset.PixelData, frame_count(dataset) if is_multi_frame(dataset) else 1
    if max(int(dataset.Rows), int(dataset.Columns)) > LARGEST_SIDE:
        raise UnreadableInstance(f"it has {dataset.Rows} x {dataset.Columns} pixels")
    if not syntax.is_encapsulated:
        needed = int(dataset.Rows) * int(dataset.Columns) * int(dataset.BitsAllocated) // 8 * count
        if not needed <= len(data) <= needed + needed % 2:
            raise UnreadableInstance(f"it has {len(data)} bytes of pixel data where {needed} are needed")
    elif syntax != RLELossless:
        frame = _encoded_frame(dataset, index, count)
        if END_OF_IMAGE not in frame[-4:]:  # up to two bytes of padding follow in real files
            raise UnreadableInstance("its compressed pixel data is cut off")
        _require_declared_size(dataset, frame, syntax)


def _encoded_frame(dataset: Dataset, index: int, count: int) -> bytes:
    offsets = (
        (dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths)
        if "ExtendedOffsetTable" in dataset and "ExtendedOffsetTableLengths" in dataset
        else None
    )
    try:
        return get_frame(dataset.PixelData, index, number_of_frames=count, extended_offsets=offsets)
    except MemoryError:
        raise
    except Exception as fault:  # damaged fragments and offset tables fail in any way
        raise UnreadableInstance("its compressed pixel data is damaged") from fault


def _require_declared_size(dataset: Dataset, frame: bytes, syntax: UID) -> None:
    """Compare what the stream declares with the header (PS3.5 8.2.1 to 8.2.4); a decoder believes the stream."""
    try:
        declared = stream_header(frame, syntax)
    except BrokenStream as fault:
        raise UnreadableInstance(f"its compressed pixel data is damaged: {fault}") from fault
    wanted = int(dataset.Rows), int(dataset.Columns), 1
    if (declared.rows, declared.columns, declared.samples) != wanted:
        raise UnreadableInstance(
            f"its stream declares {declared.rows} x {declared.columns} pixels of {declared.samples} sample(s) where "
            f"the header says {wanted[0]} x {wanted[1]} of 1"
        )
    if not declared.keeps_all:  # nothing in the header says so: refused where loss is allowed, too
        raise LossyCompressed(f"a stream with loss under {syntax.name}")


def _padding(dataset: Dataset, stored: Integer[np.ndarray, "rows columns"]) -> np.ndarray:
    """Where stored values are padding (PS3.3 C.7.5.1.1.2), whichever sign the header gave to the value."""
    value = dataset.get("PixelPaddingValue")
    if value is None:
        return np.zeros(stored.shape, dtype=bool)
    limit = dataset.get("PixelPaddingRangeLimit")
    try:
        ends = [
            np.array(int(end) & 0xFFFF, dtype=np.uint16).astype(stored.dtype)
            for end in (value, value if limit is None else limit)
        ]
    except (TypeError, ValueError, OverflowError):
        raise UnreadableInstance("its pixel padding value is no number") from None
    return (stored >= min(ends)) & (stored <= max(ends))


def _require_stored_bits(dataset: Dataset, stored: Integer[np.ndarray, "rows columns"], padding: np.ndarray) -> None:
    bits, signed = int(dataset.BitsStored), int(dataset.PixelRepresentation)
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    if (((stored < low) | (stored > high)) & ~padding).any():
        raise UnreadableInstance(f"pixel values need more than its {bits} bits")
