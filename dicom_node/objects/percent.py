"""Relative perfusion in the unit of the objects: percent of the mean over both lungs of the same patient.

Every object that carries the map takes its values from here, slice by slice, so that all hold the same numbers and no
second volume is needed.
"""

import numpy as np
from jaxtyping import Float32

from dicom_node.errors import EncodingError
from dicom_node.objects.provenance import ResultContext
from inference.volumes import PerfusionMap


def slice_percent(perfusion: PerfusionMap, k: int) -> Float32[np.ndarray, "rows columns"]:
    """Slice k in percent: 100 is the mean over both lungs, 0 lies outside them."""
    percent: np.ndarray = perfusion.values[k] * np.float32(100.0)
    return percent


def highest_percent(perfusion: PerfusionMap) -> float:
    """The highest value of the whole map in percent, as `slice_percent` gives it."""
    return float(perfusion.values.max() * np.float32(100.0))


def require_promised_values(perfusion: PerfusionMap, context: ResultContext, kind: str) -> None:
    """Refuse a map that is not what objects say of it.

    Args:
        perfusion: the map.
        context: names the model that made it.
        kind: the object that would hold it, for the message.

    Raises:
        EncodingError: the map was made by another model than `context` says, is not finite, or is not above 0 exactly
            inside the lungs.
    """
    if perfusion.model != context.perfusion_model:
        raise EncodingError(kind, "the map was made by another model than the context names")
    for values, lungs in zip(perfusion.values, perfusion.lungs, strict=True):
        lowest, highest = values.min(), values.max()  # not a number if any value is none
        if not np.isfinite([lowest, highest]).all():
            raise EncodingError(kind, "the map holds values that are not finite")
        if lowest < 0 or not np.array_equal(values > 0, lungs):
            raise EncodingError(kind, "the map must be above 0 inside the lungs and 0 everywhere else")
