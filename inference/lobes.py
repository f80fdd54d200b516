"""Lungs and lobes from a CT: what every segmenter promises, and the checks that all of them share.

Two segmenters exist: `atlas_lobes` (needs no weights, approximate) and `lungmask_lobes` (learned, needs weights).
They import this file and not each other.
"""

from typing import Protocol, runtime_checkable

import cc3d
import numpy as np
from jaxtyping import UInt8

from inference.anatomy import Lobe, Side, lobes_of
from inference.errors import LobesIncomplete, LungsNotFound
from inference.model_card import ModelIdentity
from inference.volumes import CtVolume, LobeMap

LEAST_LUNG_ML = 500.0
"""Below this there is no lung to speak of: a tenth of a normal pair (4,066 ± 1,190 ml supine, Cressoni 2013)."""

LEAST_LOBE_ML = 10.0
"""A lobe smaller than this is a few stray voxels, not a lobe."""


@runtime_checkable
class LobeSegmenter(Protocol):
    """Draws the five lobes into a CT."""

    @property
    def identity(self) -> ModelIdentity:
        """Name, version, weights and caveat; written into every object made from the lobes."""
        ...

    def segment(self, ct: CtVolume) -> LobeMap:
        """Lobes on the grid of `ct`, right and left by the patient's side whatever the order of slices.

        Raises:
            LungsNotFound: less lung than `LEAST_LUNG_ML`.
            LobesIncomplete: a lobe has no voxel, or hardly any.
        """
        ...


def require_complete(lobes: LobeMap) -> LobeMap:
    """The same lobes, once it is sure that both lungs and all five lobes are there.

    Raises:
        LungsNotFound: less lung than `LEAST_LUNG_ML`.
        LobesIncomplete: a lobe is smaller than `LEAST_LOBE_ML`.
    """
    volume_ml = sum(lobes.volume_ml(lobe) for lobe in Lobe)
    if volume_ml < LEAST_LUNG_ML:
        raise LungsNotFound(volume_ml, LEAST_LUNG_ML)
    missing = tuple(lobe.name for lobe in Lobe if lobes.volume_ml(lobe) < LEAST_LOBE_ML)
    if missing:
        raise LobesIncomplete(missing)
    return lobes


def contiguous(labels: UInt8[np.ndarray, "a b c"]) -> UInt8[np.ndarray, "a b c"]:
    """One connected part per lobe: the largest stays, the rest goes to the nearest lobe of the same lung.

    No voxel is gained, lost or moved to the other lung. Parts are connected through faces.
    """
    from scipy import ndimage  # heavy; the node's own processes know this module by its types

    everything = labels.copy()
    found = ndimage.find_objects((labels > 0).astype(np.uint8))
    if not found:
        return everything
    result = everything[found[0]]
    parts = cc3d.connected_components(result, connectivity=6, out_dtype=np.uint32)
    sizes = np.bincount(parts.ravel())
    stray = np.zeros(len(sizes), dtype=bool)
    for lobe in Lobe:
        own = np.unique(parts[result == lobe])
        if len(own) > 1:
            stray[own] = True
            stray[own[np.argmax(sizes[own])]] = False
    if stray.any():
        homeless = stray[parts]
        for side in Side:
            _adopt(result, homeless, side)
    return everything


def _adopt(labels: UInt8[np.ndarray, "a b c"], homeless: np.ndarray, side: Side) -> None:
    from scipy import ndimage

    lung = np.isin(labels, [lobe.value for lobe in lobes_of(side)])
    orphans = homeless & lung
    if not orphans.any():
        return
    box = ndimage.find_objects(lung.astype(np.uint8))[0]
    settled = (lung & ~homeless)[box]
    nearest = ndimage.distance_transform_edt(~settled, return_distances=False, return_indices=True)
    inside = orphans[box]
    labels[box][inside] = labels[box][tuple(axis[inside] for axis in nearest)]
