"""A CT scanner as its user sets it, and the CT that it makes of a body.

A scan goes slice by slice: the body under the slice profile (`ct_sampling`), blurred by the breath that falls into the
time of that slice (`ct_breathing`), seen through the kernel's line spread on the pixels of the field of view, with the
noise of the photons that came through (`ct_noise`), rounded to whole HU of 12 bits.

Models and settings are inventions (see `hospitals`). Not modelled: beam hardening, scatter, metal, motion of the heart,
gantry tilt, partial volume of attenuation (HU are averaged), a field of view that cuts the body and distorts its edge.
"""

import hashlib
import math
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from inference.geometry import Grid
from inference.volumes import CtVolume, SeriesReference
from training.insilico.ct.ct_breathing import breathing_slices, seen_states
from training.insilico.ct.ct_noise import NoiseTexture, RayNoise
from training.insilico.ct.ct_sampling import PlaneSampling, slice_weights
from training.insilico.ct.reconstruction_kernel import ReconstructionKernel
from training.insilico.draws import Draws
from training.insilico.people.breathing import Breathing
from training.insilico.uids import derived_uid

LOWEST_HU, HIGHEST_HU = -1024.0, 3071.0
"""Ends of the 12-bit scale; also what fills a round field's corners."""
FLAT_COUCH_MM = 530.0
"""Width of a flat table top; grids of slim patients hold only the middle of it."""
LUNG_MARGIN_MM = 10.0
"""A field of view leaves at least so much around the lungs."""

Volume = Float32[np.ndarray, "slices rows columns"]


@dataclass(frozen=True, slots=True)
class CtScanner:
    """One scanner with one protocol."""

    manufacturer: str
    model: str
    protocol: str
    """Name of the settings, such as `planning chest`."""
    kernel: ReconstructionKernel
    noise_hu: float
    """Standard deviation in the middle of a water cylinder of `ct_noise.REFERENCE_MM`, in slices of this thickness."""
    slice_mm: float
    """Thickness: full width at half maximum of the slice profile."""
    spacing_mm: float
    """From slice to slice; less than the thickness where slices overlap."""
    field_mm: float
    """Width and height of the field of view."""
    matrix: int = 512
    """Rows and columns."""
    kvp: float = 120.0
    exposure_mas: float = 100.0
    """Tube current times time of one rotation; only told, `noise_hu` says what comes of it."""
    current_modulation: float = 0.5
    """Share of the difference in patient size that the tube current makes up for: 0 none, 1 equal noise for all."""
    free_breathing: bool = True
    """Else the breath is held in the state of the body's grid."""
    seconds_per_slice: float = 0.7
    """For how long each place lies in the beam."""
    table_mm_per_s: float = 25.0
    """How fast the table moves; neighbouring slices see neighbouring times."""
    flat_couch: bool = False
    """A flat table top as for radiotherapy; else a curved one."""
    round_field: bool = False
    """Whether the corners outside the circle of reconstruction are padded."""

    def with_matrix(self, matrix: int) -> "CtScanner":
        """The same field of view in other pixels."""
        return replace(self, matrix=matrix)


def scan_ct(
    hu: Volume,
    lobes: UInt8[np.ndarray, "slices rows columns"],
    body: Grid,
    scanner: CtScanner,
    draws: Draws,
    *,
    study_instance_uid: str,
    breathing: Breathing | None = None,
) -> CtVolume:
    """The CT of a body.

    Args:
        hu: CT numbers of the body with vessels and diseases.
        lobes: where the lungs are: the scan holds them as far as `body` does.
        body: axial head-first supine grid of both; the CT keeps its frame of reference and its positions.
        scanner: with its protocol.
        draws: for the noise and for where the first slice lies.
        study_instance_uid: study that the series belongs to.
        breathing: of the patient; nothing moves without it, in scanners that hold the breath, and in patients whose
            body grid shows held breath.

    Returns:
        Whole HU; the series and instance UIDs follow from the content, so equal pixels have equal UIDs.
    """
    grid = scan_grid(lobes, body, scanner, draws)
    planes = _planes(hu, body, grid, scanner, draws, breathing)
    couch_mm = FLAT_COUCH_MM if scanner.flat_couch else 0.0
    sampling = PlaneSampling.between(body, grid, scanner.kernel, couch_mm=couch_mm)
    texture = NoiseTexture.on(grid, scanner.kernel, scanner.slice_mm).planes(draws.generator("noise"))
    outside = _outside_circle(grid) if scanner.round_field else None
    values = np.empty(grid.shape, np.float32)
    for k, plane in enumerate(planes):
        noise = RayNoise.behind(plane, body, grid, scanner.current_modulation).over(*next(texture))
        pixels = sampling.of(plane) + np.float32(scanner.noise_hu) * noise
        values[k] = np.clip(np.rint(pixels), LOWEST_HU, HIGHEST_HU)
        if outside is not None:
            values[k][outside] = LOWEST_HU
    return CtVolume(values, grid, _source(values, grid, scanner, draws, study_instance_uid))


def _planes(
    hu: Volume, body: Grid, grid: Grid, scanner: CtScanner, draws: Draws, breathing: Breathing | None
) -> Volume:
    """The slices of the CT in the pixels of the body."""
    weights = slice_weights(body, grid, scanner.slice_mm)
    if breathing is None or breathing.is_held or not scanner.free_breathing:
        still: np.ndarray = (weights @ hu.reshape(hu.shape[0], -1)).reshape(-1, *hu.shape[1:])
        return still
    seen = seen_states(
        grid.origin_mm[2] + scanner.spacing_mm * np.arange(grid.shape[0]),
        breathing,
        seconds_per_slice=scanner.seconds_per_slice,
        table_mm_per_s=scanner.table_mm_per_s,
        start=draws.between("breath", 0.0, 1.0),
    )
    return breathing_slices(hu, body, weights, seen, breathing)


def scan_grid(lobes: UInt8[np.ndarray, "slices rows columns"], body: Grid, scanner: CtScanner, draws: Draws) -> Grid:
    """Where the slices and pixels of a scan lie.

    Along the patient the scan reaches 15 to 40 mm beyond the lungs, as far as there is body. Fields of view are centred
    on the body where they hold it, else on the lungs; one that would cut the lungs is taken larger.
    """
    found = (
        np.argwhere(lobes.any(axis=(1, 2))),
        np.argwhere(lobes.any(axis=(0, 2))),
        np.argwhere(lobes.any(axis=(0, 1))),
    )
    first, last = (np.array([float(ends[pick][0]) for ends in found]) for pick in (0, -1))
    low, high = body.to_patient_mm(np.stack([first - 0.5, last + 0.5]))
    corners = body.to_patient_mm(np.stack([np.zeros(3) - 0.5, np.array(body.shape) - 0.5]))
    field = max(scanner.field_mm, *(high - low + 2.0 * LUNG_MARGIN_MM)[:2])
    whole = (corners[1] - corners[0])[:2].max() <= field
    centre = 0.5 * (corners.sum(axis=0) if whole else low + high)[:2]
    bottom = max(low[2] - draws.between("below", 15.0, 40.0), corners[0][2])
    top = min(high[2] + draws.between("above", 15.0, 40.0), corners[1][2])
    count = max(math.floor((top - bottom) / scanner.spacing_mm), 1)
    pixel = field / scanner.matrix
    return Grid.axial(
        (count, scanner.matrix, scanner.matrix),
        (scanner.spacing_mm, pixel, pixel),
        (*(centre - 0.5 * field + 0.5 * pixel), 0.5 * (top + bottom - (count - 1) * scanner.spacing_mm)),
        frame_of_reference_uid=body.frame_of_reference_uid,
    )


def _outside_circle(grid: Grid) -> Bool[np.ndarray, "rows columns"]:
    """Pixels outside the circle of reconstruction, one slice."""
    _, rows, columns = grid.shape
    y, x = np.ogrid[:rows, :columns]
    outside: np.ndarray = np.hypot(2.0 * y / (rows - 1) - 1.0, 2.0 * x / (columns - 1) - 1.0) > 1.0
    return outside


def _source(values: Volume, grid: Grid, scanner: CtScanner, draws: Draws, study_instance_uid: str) -> SeriesReference:
    digest = hashlib.sha256()
    for plane in values:
        digest.update(plane.astype("<i2").tobytes())
    content = (draws.name, repr(scanner), repr(np.round(grid.affine, 6).tolist()), digest.hexdigest())
    instances = tuple(derived_uid(*content, f"instance {k}") for k in range(grid.shape[0]))
    return SeriesReference(study_instance_uid, derived_uid(*content, "series"), grid.frame_of_reference_uid, instances)
