"""Lungs and lobes from a CT: what every segmenter promises, and what all of them share.

The segmenters (`atlas_lobes`, `lungmask_lobes`, `totalseg_lobes`) import this file and not each other.

A segmenter returns what it found. A lobe that it did not find stays empty: after lobectomy, pneumonectomy or in a
collapse there is none, and an invented one would be worse than none. What becomes of a result with an empty lobe is
for the checks to say (`quality_lobes.check_missing`).
"""

from dataclasses import replace
from typing import Protocol, runtime_checkable

import cc3d
import numpy as np
from jaxtyping import UInt8

from inference.anatomy import Lobe, Side, lobes_of
from inference.errors import LungsNotFound
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

        A lobe that was not found is empty.

        Raises:
            LungsNotFound: less lung than `LEAST_LUNG_ML`.
        """
        ...


def as_found(lobes: LobeMap) -> LobeMap:
    """The lobes of a patient who has lungs, with every lobe either there or empty.

    Voxels of a lobe smaller than `LEAST_LOBE_ML` go to the nearest lobe of the same lung; a lung of nothing else is
    no lung, and its voxels become background. Nothing else changes.

    Raises:
        LungsNotFound: less lung than `LEAST_LUNG_ML`.
    """
    volume_ml = sum(lobes.volume_ml(lobe) for lobe in Lobe)
    if volume_ml < LEAST_LUNG_ML:
        raise LungsNotFound(volume_ml, LEAST_LUNG_ML)
    specks = [lobe for lobe in Lobe if 0.0 < lobes.volume_ml(lobe) < LEAST_LOBE_ML]
    if not specks:
        return lobes
    labels = lobes.labels.copy()
    homeless = np.isin(labels, specks)
    for side in Side:
        _adopt(labels, homeless, side)
    return replace(lobes, labels=labels)


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
    if not settled.any():
        labels[orphans] = 0
        return
    nearest = ndimage.distance_transform_edt(~settled, return_distances=False, return_indices=True)
    inside = orphans[box]
    labels[box][inside] = labels[box][tuple(axis[inside] for axis in nearest)]
