"""Resolution and noise of a SPECT protocol, measured on a uniform digital chest that does not breathe.

The chest is an elliptic cylinder of tissue with two ellipsoids of lung, all lung perfused alike. Noise is the
difference of two scans that differ in chance alone; resolution is that of a small hot spot, as the difference of scans
with and without it, at so many counts that noise does not matter. A point in a warm surrounding and not in empty air:
OSEM draws a lonely point sharper than anything in a lung.
"""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Float32
from pydantic import TypeAdapter
from scipy import optimize

from inference.geometry import Grid
from training.baselines import FWHM_PER_SIGMA
from training.insilico.draws import Draws
from training.insilico.files.whole_folder import write_whole
from training.insilico.people.breathing import Breathing
from training.insilico.spect.spect_protocol import SpectMethod, SpectProtocol
from training.insilico.spect.spect_scanner import scan_spect
from training.metrics import eroded
from training.voxel_means import voxel_means

VERSION = "1"
"""Raise it with every change that changes a measure."""
LUNG_HU = -700.0
BODY_HALF_MM = (165.0, 110.0)
LUNG_CENTRES_MM = ((-75.0, 0.0, 0.0), (75.0, 0.0, 0.0))
LUNG_HALF_MM = (55.0, 80.0, 110.0)
POINT_HALF_MM = 2.0 * 1.5
"""Half the edge of the hot cube; it widens a Gaussian of 10 mm by 0.8 mm, which is taken out again."""
POINT_MM = (-75.0, 0.0, 0.0)
POINT_GAIN = 60.0
"""Activity of the hot spot against its surrounding."""
MANY_COUNTS = 400.0
"""Times the activity of the protocol, for resolution."""
_SPACING_MM = 3.0
_AROUND_MM = 40.0
_EDGE_MM = 25.0

STILL = Breathing(
    diaphragm_mm=1e-6,
    anterior_mm=0.0,
    apex_mm=110.0,
    dome_mm=-110.0,
    cage_middle_mm=(0.0, 0.0),
    cage_half_mm=(150.0, 100.0),
)


@dataclass(frozen=True, slots=True)
class SpectQuality:
    """What a protocol makes of a chest at rest."""

    point_fwhm_mm: float
    """Mean over the three axes of a Gaussian fitted to a point in the middle of a lung."""
    noise_percent: float
    """Standard deviation by mean of voxels inside the lungs, from chance alone."""
    counts: int


def measure_protocol(protocol: SpectProtocol, *, method: SpectMethod) -> SpectQuality:
    """Resolution and noise of one protocol.

    Raises:
        PyTomographyMissing: the method needs PyTomography, and it is not installed.
    """
    still = replace(protocol, misalignment_sd_mm=0.0, shunt=0.0)
    hu, lungs, grid = chest()
    draws = Draws("spect phantom")
    one, other = (scan_spect(lungs, hu, grid, STILL, still, draws.of(name), method=method) for name in ("one", "other"))
    inner = eroded(voxel_means(lungs, grid, one.grid) > 0.99, one.grid, margin_mm=_EDGE_MM)
    difference, mean = (one.values - other.values)[inner], 0.5 * (one.values + other.values)[inner].mean()
    noise = 100.0 * float(difference.std()) / 2.0**0.5 / float(mean)
    rich = replace(still, activity_mbq=MANY_COUNTS * protocol.activity_mbq)
    hot = np.where(point(grid), np.float32(POINT_GAIN), lungs)
    flat = scan_spect(lungs, hu, grid, STILL, rich, draws.of("flat"), method=method)
    with_point = scan_spect(hot, hu, grid, STILL, rich, draws.of("point"), method=method)
    # All activity is the same in both scans, so the surrounding is fainter beside the point.
    share = float(hot.sum(dtype=np.float64) / lungs.sum(dtype=np.float64))
    return SpectQuality(
        point_fwhm_mm(with_point.values * np.float32(share) - flat.values, flat.grid), noise, one.counts
    )


def kept_quality(protocol: SpectProtocol, kept: Path, *, method: SpectMethod) -> SpectQuality:
    """What a protocol makes of the chest, measured if it is not kept.

    Args:
        protocol: which.
        kept: folder; is made.
        method: of the SPECT.
    """
    file = quality_file(protocol, kept, method=method)
    if file.is_file():
        return TypeAdapter(SpectQuality).validate_json(file.read_bytes())
    quality = measure_protocol(protocol, method=method)
    kept.mkdir(parents=True, exist_ok=True)
    write_whole(file, TypeAdapter(SpectQuality).dump_json(quality, indent=1))
    return quality


def quality_file(protocol: SpectProtocol, kept: Path, *, method: SpectMethod) -> Path:
    """Where the quality of a protocol is kept, by all its numbers."""
    digest = hashlib.sha256(f"{VERSION} {method} {protocol}".encode()).hexdigest()[:16]
    return kept / f"{protocol.name}.{digest}.json"


def chest() -> tuple[Float32[np.ndarray, "s r c"], Float32[np.ndarray, "s r c"], Grid]:
    """CT numbers and perfusion of the digital chest, and their grid."""
    counts = tuple(int(2.0 * (half + 15.0) / _SPACING_MM) + 1 for half in (LUNG_HALF_MM[2], *BODY_HALF_MM[::-1]))
    corner = tuple(-0.5 * (count - 1) * _SPACING_MM for count in reversed(counts))
    grid = Grid.axial(
        (counts[0], counts[1], counts[2]),
        (_SPACING_MM,) * 3,
        (corner[0], corner[1], corner[2]),
        frame_of_reference_uid="2.25.1",
    )
    x, y, z = grid.coordinates_mm()
    body = np.broadcast_to((x / BODY_HALF_MM[0]) ** 2 + (y / BODY_HALF_MM[1]) ** 2 < 1.0, grid.shape)
    lungs = np.zeros(grid.shape, dtype=bool)
    for centre in LUNG_CENTRES_MM:
        way = [((p - c) / h) ** 2 for p, c, h in zip((x, y, z), centre, LUNG_HALF_MM, strict=True)]
        lungs |= sum(way) < 1.0
    hu = np.where(lungs, LUNG_HU, np.where(body, 30.0, -1000.0)).astype(np.float32)
    return hu, lungs.astype(np.float32), grid


def point(grid: Grid) -> Bool[np.ndarray, "s r c"]:
    """The hot cube."""
    near = [np.abs(p - c) < POINT_HALF_MM for p, c in zip(grid.coordinates_mm(), POINT_MM, strict=True)]
    return np.asarray(np.broadcast_to(near[0] & near[1] & near[2], grid.shape))


def point_fwhm_mm(values: Float32[np.ndarray, "s r c"], grid: Grid) -> float:
    """Full width at half maximum of a single hot spot, from a Gaussian with its own width along each axis.

    The size of the hot cube is taken out in quadrature.

    Args:
        values: the image of the spot alone; may be negative around it.
        grid: axial.
    """
    places = np.stack([np.broadcast_to(part, grid.shape) for part in grid.coordinates_mm()], axis=-1) - POINT_MM
    near = np.linalg.norm(places, axis=-1) < _AROUND_MM
    around, seen = places[near], values[near].astype(np.float64)
    top = float(seen.max())

    def off(parameters: Float[np.ndarray, " seven"]) -> Float[np.ndarray, " voxels"]:
        way = (around - parameters[1:4]) / parameters[4:7]
        return np.asarray(parameters[0] * np.exp(-0.5 * (way**2).sum(axis=1)) - seen / top)

    found = optimize.least_squares(off, [1.0, 0.0, 0.0, 0.0, 5.0, 5.0, 5.0])
    variance = float(np.mean(found.x[4:7] ** 2)) - (2.0 * POINT_HALF_MM) ** 2 / 12.0
    return float(FWHM_PER_SIGMA) * float(np.sqrt(max(variance, 0.0)))
