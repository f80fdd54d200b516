"""Instances of one CT series in any order → `CtVolume`, or the reason why not.

The only door through which a CT enters, for the node and for training alike. Headers are checked first (`ct_headers`),
then pixels are decoded slice by slice (`ct_pixels`). A series is used as it is or refused: nothing is interpolated,
guessed or repaired, because the result goes back onto the same slices of the same patient.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from inference.ct.headers import SliceStack, require_usable_headers, require_usable_slices
from inference.ct.pixels import lossy_compression, require_readable_syntax, slice_hu
from inference.ct.values import require_parsable
from inference.errors import EmptySeries, SeriesTooLarge, UnreadableInstance
from inference.volumes import CtVolume, LossyCompression

_BYTES_PER_VOXEL = np.dtype(np.float32).itemsize
_BYTES_PER_STORED_PIXEL = 2


def read_ct_series(
    datasets: Sequence[Dataset], *, accept_lossy: bool = False, most_memory_mb: int | None = None
) -> CtVolume:
    """Read the instances of one planning CT into a volume in HU.

    What must hold, with the error when it does not (limits and their reasons are constants of `ct_headers`):

    * every instance is CT Image Storage, or every one Enhanced CT, or every one Legacy Converted Enhanced CT, with
      modality CT (`NotCt`, or `MixedSeries` when they differ); frames count as slices, several images are joined, and
      all parts of a concatenation are there (`IncompleteConcatenation`);
    * no scout among them (`Localizer`, or `MixedSeries` when only some are), no frame that its Frame Type calls a
      projection or a calculation (`DerivedFrames`), one Temporal Position Index (`MixedSeries`);
    * one patient (ID, name, birth date, sex), study, series, frame of reference, matrix, orientation within 0.001 and
      pixel spacing within 0.0001 mm (`MixedSeries`); a frame of reference exists (`NoFrameOfReference`);
    * grey 16-bit MONOCHROME2 pixels, at most 4096 in a row or column (`UnreadableInstance`), never compressed with
      loss unless `accept_lossy` (`LossyCompressed`);
    * finite slope above 0 and intercept, in HU; they may differ between slices (`InvalidRescale`);
    * position, orientation and pixel spacing are present and possible (`MissingGeometry`);
    * axial: all axes within 10 degrees of the patient axes, in any patient position (`UnsupportedOrientation`);
    * at least 16 slices (`TooFewSlices`);
    * one slice per position; an instance that came twice with equal content counts once (`DuplicateSlices`);
    * no step above 1.5 times the median (`MissingSlices`), each slice within 0.05 mm of an even stack
      (`UnevenSpacing`) and within 0.25 mm of a straight one (`GantryTilt`);
    * pixels as long as they must be, whose streams declare what the header says (`UnreadableInstance`).

    Not detected: slices missing at either end (the quality checks look for lungs cut off); slices missing so that the
    rest is even (every other one); a Patient Position that contradicts the orientation, which alone is used; wrong
    values in well-formed headers. Slice Thickness, Slice Location, Instance Number and dimensions are not looked at.

    Args:
        datasets: with file meta information and pixel data, in any order.
        accept_lossy: read pixels that were compressed with loss; `CtVolume.lossy` then says so.
        most_memory_mb: refuse a series that would take more, before it does.

    Returns:
        HU from -1024 (also padding) upwards; slice k is `source.slices[k]`, slices run along row direction × column
        direction (PS3.3 C.7.6.2.1.1), so to superior for a head-first and to inferior for a feet-first patient.

    Raises:
        UnusableSeries: the leaf that names the first fault found.
    """
    stack = require_usable_headers(datasets)
    by_uid = {str(dataset.SOPInstanceUID): dataset for dataset in reversed(datasets)}
    return _volume(stack, by_uid.__getitem__, accept_lossy=accept_lossy, most_memory_mb=most_memory_mb)


def read_ct_files(paths: Sequence[Path], *, accept_lossy: bool = False, most_memory_mb: int | None = None) -> CtVolume:
    """The same from files; memory holds the volume and one instance, because all headers are read first.

    Raises:
        UnusableSeries: as `read_ct_series`; a file that is no DICOM is an `UnreadableInstance`.
    """
    if not paths:
        raise EmptySeries
    by_uid: dict[str, Path] = {}
    headers = []
    for path in paths:
        header = _read(path, stop_before_pixels=True)
        require_parsable([header])
        first = by_uid.setdefault(str(header.get("SOPInstanceUID")), path)
        if first is path or first.read_bytes() != path.read_bytes():
            headers.append(header)
    stack = require_usable_slices(headers)
    return _volume(stack, lambda uid: _read(by_uid[uid]), accept_lossy=accept_lossy, most_memory_mb=most_memory_mb)


def _read(path: Path, *, stop_before_pixels: bool = False) -> Dataset:
    try:
        return dcmread(path, stop_before_pixels=stop_before_pixels)
    except MemoryError:
        raise
    except InvalidDicomError as fault:
        raise UnreadableInstance("a file is no DICOM file") from fault
    except Exception as fault:  # foreign bytes make pydicom fail in any way
        if isinstance(fault, OSError) and fault.errno is not None:  # the disk; pydicom's own OSErrors have no number
            raise
        raise UnreadableInstance(f"a file cannot be parsed ({type(fault).__name__})") from fault


def _volume(
    stack: SliceStack, read: Callable[[str], Dataset], *, accept_lossy: bool, most_memory_mb: int | None
) -> CtVolume:
    """The pixels of a stack, read instance by instance."""
    for header in stack.datasets:
        require_readable_syntax(header, accept_lossy=accept_lossy)
    _require_memory(stack, most_memory_mb)
    slices: dict[str, list[int]] = {}
    for k, (uid, _) in enumerate(stack.source.slices):
        slices.setdefault(uid, []).append(k)
    lossy: LossyCompression | None = None
    try:
        hu = np.empty(stack.grid.shape, dtype=np.float32)
        for uid, places in slices.items():
            dataset = read(uid)
            require_parsable([dataset])
            lossy = lossy or lossy_compression(dataset)
            for k in places:
                frame = stack.datasets[k] if stack.source.frame_numbers else None
                hu[k] = slice_hu(dataset, frame, accept_lossy=accept_lossy)
    except MemoryError as fault:
        raise SeriesTooLarge(None, most_memory_mb) from fault
    return CtVolume(hu, stack.grid, stack.source, lossy)


def _require_memory(stack: SliceStack, most_memory_mb: int | None) -> None:
    """Refuse a series whose volume and largest instance do not fit: counted from headers, before anything is made."""
    if most_memory_mb is None:
        return
    slices, rows, columns = stack.grid.shape
    most_frames = max(Counter(stack.source.sop_instance_uids).values())
    needed = rows * columns * (slices * _BYTES_PER_VOXEL + most_frames * _BYTES_PER_STORED_PIXEL)
    needed_mb = -(-needed // 2**20)
    if needed_mb > most_memory_mb:
        raise SeriesTooLarge(needed_mb, most_memory_mb)


def content_digest(ct: CtVolume) -> str:
    """SHA-256 of what a CT says: UIDs, geometry to 0.000001 mm and HU.

    Equal for the same pixels in another transfer syntax or order, different when a single HU differs.
    """
    geometry = np.round(ct.grid.affine, 6) + 0.0
    source = ct.source
    names = (source.study_instance_uid, source.series_instance_uid, source.frame_of_reference_uid)
    frames = () if source.frame_numbers is None else (str(source.frame_numbers),)
    digest = hashlib.sha256("\n".join((*names, *source.sop_instance_uids, *frames, str(ct.grid.shape))).encode())
    digest.update(geometry.astype("<f8").tobytes())
    for plane in ct.hu:  # not at once: a copy of a long CT is a gigabyte
        digest.update((plane + np.float32(0.0)).astype("<f4").tobytes())
    return digest.hexdigest()
