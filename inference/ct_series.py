"""Datasets of one CT series in any order → `CtVolume`, or the reason why not.

The only door through which a CT enters, for the node and for training alike. Headers are checked first (`ct_headers`),
then pixels are decoded slice by slice (`ct_pixels`). A series is used as it is or refused: nothing is interpolated,
guessed or repaired, because the result goes back onto the same slices of the same patient.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from pydicom.dataset import Dataset

from inference.ct_headers import require_usable_headers
from inference.ct_pixels import require_lossless, slice_hu
from inference.volumes import CtVolume


def read_ct_series(datasets: Sequence[Dataset]) -> CtVolume:
    """Read the instances of one planning CT into a volume in HU.

    What must hold, with the error when it does not (limits and their reasons are constants of `ct_headers`):

    * every instance is CT Image Storage with modality CT; Enhanced CT is not read (`NotCt`);
    * no scout among them (`Localizer`, or `MixedSeries` when only some are);
    * one patient (ID, name, birth date, sex), study, series, frame of reference, matrix, orientation within 0.001 and
      pixel spacing within 0.0001 mm (`MixedSeries`); a frame of reference exists (`NoFrameOfReference`);
    * one grey 16-bit MONOCHROME2 frame each (`UnreadableInstance`), never compressed with loss (`LossyCompressed`);
    * finite slope above 0 and intercept, in HU; they may differ between slices (`InvalidRescale`);
    * position, orientation and pixel spacing are present and possible (`MissingGeometry`);
    * axial: all axes within 10 degrees of the patient axes, in any patient position (`UnsupportedOrientation`);
    * at least 16 slices (`TooFewSlices`);
    * one instance per position; an instance that came twice with equal content counts once (`DuplicateSlices`);
    * no step above 1.5 times the median (`MissingSlices`), each slice within 0.05 mm of an even stack
      (`UnevenSpacing`) and within 0.25 mm of a straight one (`GantryTilt`).

    Not detected: slices missing at either end (the quality checks look for lungs cut off); slices missing so that the
    rest is even (every other one); a Patient Position that contradicts the orientation, which alone is used; wrong
    values in well-formed headers. Slice Thickness, Slice Location and Instance Number are not looked at.

    Args:
        datasets: with file meta information and pixel data, in any order.

    Returns:
        HU from -1024 (also padding) upwards; slice k is `source.sop_instance_uids[k]`, slices run along row direction
        × column direction (PS3.3 C.7.6.2.1.1), so to superior for a head-first and to inferior for a feet-first
        patient.

    Raises:
        UnusableSeries: the leaf that names the first fault found.
    """
    stack = require_usable_headers(datasets)
    for dataset in stack.datasets:
        require_lossless(dataset)
    hu = np.empty(stack.grid.shape, dtype=np.float32)
    for k, dataset in enumerate(stack.datasets):
        hu[k] = slice_hu(dataset)
    return CtVolume(hu, stack.grid, stack.source)


def content_digest(ct: CtVolume) -> str:
    """SHA-256 of what a CT says: UIDs, geometry to 0.000001 mm and HU.

    Equal for the same pixels in another transfer syntax or order, different when a single HU differs.
    """
    geometry = np.round(ct.grid.affine, 6) + 0.0
    source = ct.source
    names = (source.study_instance_uid, source.series_instance_uid, source.frame_of_reference_uid)
    digest = hashlib.sha256("\n".join((*names, *source.sop_instance_uids, str(ct.grid.shape))).encode())
    digest.update(geometry.astype("<f8").tobytes())
    digest.update((ct.hu + np.float32(0.0)).astype("<f4").tobytes())
    return digest.hexdigest()
