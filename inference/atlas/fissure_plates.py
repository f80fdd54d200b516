"""Where the CT looks like a fissure: thin bright plates in dark lung, and places without vessels.

Works in a slab of the CT that was resampled so that its first axis runs across the fissure (`fissure_surface`). A
fissure is two layers of pleura, about half a millimetre: on slices of 1 to 3 mm it lifts the HU of a voxel by some
30 to 150. So plates are told by shape, not by HU: the second derivative is large in one direction and small in the two
others (Wiemker et al., Proc. SPIE 5747, 2005; Lassen et al., IEEE TMI 32:210, 2013), and that direction is near the
expected one. Vessels are taken out first, by HU, because they are ten times brighter.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32
from scipy import ndimage

Field = Float32[np.ndarray, "h s t"]
Inside = Bool[np.ndarray, "h s t"]

_PARENCHYMA_HU = (-1000.0, -500.0)
_PARENCHYMA_MM = 8.0
"""Width of the smoothing that gives the density of the lung around a voxel."""
_VESSEL_HU = 220.0
"""Above the lung around it: more than a fissure can have."""
_CLIP_HU = (-120.0, 160.0)
_PLATE_MM = 1.8
"""Least width of the second derivative; a fissure on slices of up to 3 mm is about as wide."""
_PLATE_PER_VOXEL = 0.6
"""Width of the second derivative against the size of a voxel of the CT across the fissure, where that is more."""
_SIDES = 1.7
"""Way to each side at which the lung must be darker than the plate, in widths of the derivative."""
_PLEURA_MM = 3.0
"""Next to the chest wall everything is a plate."""
_FILL_MM = 3.0
_HALF_PLATE = 4.0
"""Plate response at which evidence is one half, in medians of the response of the slab."""
_VESSEL_ZONE_MM = 4.0
_AROUND_MM = 12.0
"""What is above and below: near the hilum there is more of everything than at the ribs."""


@dataclass(frozen=True, slots=True, eq=False)
class FissureCues:
    """What a slab shows, voxel by voxel."""

    plates: Field
    """0 … 1: evidence of a plate along the slab."""
    contrast: Field
    """The same, less what there is of it above and below."""
    vessels: Field
    """Vessels near a voxel against those above and below, -1 … ; negative in the outskirts of a lobe."""


def find_cues(hu: Field, lung: Inside, step_mm: float, voxel_mm: float = 0.0) -> FissureCues:
    """Plates and vessels of a slab.

    Args:
        hu: the slab; its first axis runs across the expected fissure.
        lung: voxels of the lung.
        step_mm: spacing of the slab, the same along all axes.
        voxel_mm: size of the CT's own voxels across the fissure.
    """
    width = max(_PLATE_MM, _PLATE_PER_VOXEL * voxel_mm) / step_mm
    weight = lung.astype(np.float32)
    parenchyma = _smoothed(np.clip(hu, *_PARENCHYMA_HU), weight, _PARENCHYMA_MM / step_mm)
    thick = ndimage.binary_opening(lung & (hu - parenchyma > _VESSEL_HU))
    seen = _eroded(lung, _PLEURA_MM, step_mm) & ~ndimage.binary_dilation(thick)
    clipped = np.clip(hu, parenchyma + _CLIP_HU[0], parenchyma + _CLIP_HU[1])
    filled = np.where(seen, clipped, _smoothed(clipped, seen.astype(np.float32), _FILL_MM / step_mm))
    plates, lines = _plates_and_lines(filled.astype(np.float32), width)
    plates *= seen
    typical = float(np.median(plates[seen & (plates > 0)])) if np.any(seen & (plates > 0)) else 1.0
    evidence = (plates / (plates + _HALF_PLATE * typical)).astype(np.float32)
    lines[thick] = lines[seen].max(initial=1.0)
    zone = _smoothed(lines, weight, _VESSEL_ZONE_MM / step_mm)
    around = _smoothed_across(zone, weight, _AROUND_MM / step_mm)
    return FissureCues(
        plates=evidence,
        contrast=(evidence - _smoothed_across(evidence, seen.astype(np.float32), _AROUND_MM / step_mm)) * seen,
        vessels=np.where(lung, zone / np.maximum(around, 1e-3) - 1.0, 0.0).astype(np.float32),
    )


def _smoothed_across(values: Field, weight: Field, sigma: float) -> Field:
    """Gaussian mean along the first axis of the values that have weight."""
    total = ndimage.gaussian_filter1d(weight, sigma, axis=0, truncate=3.0)
    smooth: Field = ndimage.gaussian_filter1d(values * weight, sigma, axis=0, truncate=3.0) / np.maximum(total, 1e-4)
    return smooth


def _smoothed(values: Field, weight: Field, sigma: float) -> Field:
    """Gaussian mean of the values that have weight; 0 where there are none."""
    total = ndimage.gaussian_filter(weight, sigma, truncate=3.0)
    smooth: Field = ndimage.gaussian_filter(values * weight, sigma, truncate=3.0) / np.maximum(total, 1e-4)
    return smooth


def _eroded(mask: Inside, radius_mm: float, step_mm: float) -> Inside:
    if not mask.any():
        return mask
    eroded: Inside = ndimage.distance_transform_edt(mask) * step_mm > radius_mm
    return eroded


def _plates_and_lines(values: Field, sigma: float) -> tuple[Field, Field]:
    """Response to bright plates whose normal is within 45 degrees of the first axis, and to bright lines.

    A plate has one large second derivative, a line two, a blob three. On the bright side of a step (the edge of an
    emphysema) one is large too, but there the values fall to one side only.
    """
    smooth = ndimage.gaussian_filter(values, sigma, truncate=3.0)
    slope = np.gradient(smooth)
    hh, hs, ht = np.gradient(slope[0])
    _, ss, st = np.gradient(slope[1])
    tt = np.gradient(slope[2], axis=2)
    largest, middle = _two_lowest_eigenvalues(hh, ss, tt, hs, ht, st)
    along = np.clip(2.0 * (-hh) / np.maximum(-largest, 1e-6) - 1.0, 0.0, 1.0)
    flat = np.clip(1.0 - np.abs(middle) / np.maximum(-largest, 1e-6), 0.0, 1.0)
    plates = np.maximum(-largest, 0.0) * flat**2 * along * _crests(smooth, max(round(_SIDES * sigma), 1))
    return plates, np.maximum(-middle, 0.0)


def _crests(smooth: Field, sides: int) -> Field:
    """1 where values fall to both sides along the first axis, towards 0 where they fall to one side only."""
    padded = np.pad(smooth, ((sides, sides), (0, 0), (0, 0)), mode="edge")
    falls = smooth - padded[: -2 * sides], smooth - padded[2 * sides :]
    smaller, larger = np.minimum(*falls), np.maximum(*falls)
    crests: Field = np.clip(2.0 * smaller / np.maximum(larger, 1e-3), 0.0, 1.0)
    return crests


def _two_lowest_eigenvalues(a: Field, b: Field, c: Field, d: Field, e: Field, f: Field) -> tuple[Field, Field]:
    """Lowest and middle eigenvalue of symmetric matrices with diagonal a, b, c and ab = d, ac = e, bc = f.

    The trigonometric solution (O. K. Smith, Communications of the ACM 4:168, 1961).
    """
    q = (a + b + c) / 3.0
    a, b, c = a - q, b - q, c - q
    p = np.sqrt((a * a + b * b + c * c + 2.0 * (d * d + e * e + f * f)) / 6.0) + 1e-12
    half_det = (a * (b * c - f * f) - d * (d * c - f * e) + e * (d * f - b * e)) / (2.0 * p * p * p)
    angle = np.arccos(np.clip(half_det, -1.0, 1.0)) / 3.0
    lowest = q + 2.0 * p * np.cos(angle + 2.0 * np.pi / 3.0)
    highest = q + 2.0 * p * np.cos(angle)
    return lowest, 3.0 * q - lowest - highest
