"""The fissures of this patient: the atlas' surfaces, moved to what the CT shows.

First the whole surface is shifted and tilted, then it is bent. Both look for plates and avoid vessels
(`fissure_plates`), and both stay with the atlas where nothing is to be seen: a fissure that the scan does not show, or
that the patient has only in part, costs accuracy and nothing else. How much was seen is part of the result.

Not tuned on patients: every number here was chosen on digital thoraxes and looked at on one real CT.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, UInt8
from numpy.lib.stride_tricks import sliding_window_view
from scipy import ndimage, sparse
from scipy.sparse.linalg import spsolve

from inference.anatomy import Fissure, Side
from inference.atlas.cheapest_surface import cheapest_surface
from inference.atlas.fissure_plates import FissureCues, find_cues
from inference.atlas.fissure_surface import CELL, STEP_MM, Above, FissureSurface, Points, expected_height, slab_along
from inference.atlas.lobar_atlas import FittedAtlas, lobes_between, sample_of
from inference.geometry import Grid
from inference.images import Interpolation, resample

Cells = Float32[np.ndarray, "cells_s cells_t"]
Offsets = Float[np.ndarray, "cells_s cells_t"]
Columns = Float32[np.ndarray, "cells_s cells_t heights"]

REACH_MM = 40.0
"""Furthest place, from the atlas, at which a fissure is looked for."""
_BEND_REACH = 12
"""Furthest way in heights that a shifted and tilted surface is bent."""
_VESSEL_COST = 0.15
"""A mean density of vessels costs as much as this evidence of a plate."""
_BEND_COST = 0.05
_SHIFTS_MM = np.arange(-36.0, 36.1, 1.5)
_TILTS_MM = np.arange(-27.0, 27.1, 3.0)
"""At the front and back, lateral and medial ends of the surface."""
_USUAL_MM = (14.0, 12.0, 8.0)
"""Usual deviation of a patient from the atlas: shift, tilt from front to back, tilt from side to side."""
_DEVIATION_COST = 0.02
_UNSEEN_COST = 0.06
"""Evidence that one usual deviation must bring; the second where only vessels are looked at."""
_LEAST_LUNG = 0.2
"""Share of a cell that must be lung for the fissure to be seen there."""
_SEEN = 0.25
"""Mean evidence around a cell at which the fissure counts as seen: what hardly a cell reaches where none is drawn."""
_AROUND_CELLS = 5
"""Width of the surroundings in which evidence is averaged, some 2 cm."""
_TRUSTED = 0.3
"""Share seen at which the shifted and tilted surface is taken also for the rest of the fissure; with less, the rest
goes back towards the atlas."""


@dataclass(frozen=True, slots=True, eq=False)
class LungFissures:
    """The fissures of one lung."""

    side: Side
    oblique: FissureSurface
    horizontal: FissureSurface | None
    """The right lung's; the left lung has none."""

    @property
    def seen_shares(self) -> dict[Fissure, float]:
        """Share of each fissure's area that the CT shows."""
        oblique = Fissure.LEFT_OBLIQUE if self.side is Side.LEFT else Fissure.RIGHT_OBLIQUE
        found = {oblique: self.oblique.seen_share}
        return found if self.horizontal is None else found | {Fissure.HORIZONTAL: self.horizontal.seen_share}

    def labels(self, points_mm: Points) -> UInt8[np.ndarray, " n"]:
        """The lobe of each LPS position in this lung."""
        horizontal = self.horizontal.above(points_mm) if self.horizontal is not None else None
        return lobes_between(self.side, self.oblique.above(points_mm), horizontal)


def find_fissures(
    hu: Float32[np.ndarray, "slices rows columns"],
    lung: Bool[np.ndarray, "slices rows columns"],
    grid: Grid,
    side: Side,
) -> LungFissures:
    """The fissures of one lung: the atlas fitted to it, then moved to what the CT shows.

    Args:
        hu: the CT around the lung.
        lung: voxels of the lung, not empty.
        grid: of both.
        side: which lung it is.
    """
    points_mm = sample_of(lung, grid)
    atlas = FittedAtlas.of_points(points_mm, side)
    oblique = find_fissure(hu, lung, grid, points_mm, atlas.above_oblique, atlas.oblique_slope)
    upper_mm = points_mm[oblique.above(points_mm) >= 0]
    if side is Side.LEFT or not len(upper_mm):
        return LungFissures(side, oblique, None)
    expected = atlas.with_horizontal(upper_mm)
    horizontal = find_fissure(
        hu, lung, grid, upper_mm, expected.above_horizontal, expected.horizontal_slope, over=oblique
    )
    return LungFissures(side, oblique, horizontal)


@dataclass(frozen=True, slots=True, eq=False)
class _Slab:
    """Cues at the cells of a surface, for each way that it could be off the expected height."""

    columns: Columns
    """Evidence of a plate, less vessels, times the share of the cell that is lung."""
    plates: Columns
    vessels: Columns
    lung: Columns
    """Share of the cell that is lung."""


def find_fissure(
    hu: Float32[np.ndarray, "slices rows columns"],
    lung: Bool[np.ndarray, "slices rows columns"],
    grid: Grid,
    points_mm: Points,
    expected: Above,
    slope: float,
    *,
    over: FissureSurface | None = None,
) -> FissureSurface:
    """Move an expected fissure to where the CT shows it.

    Args:
        hu: the CT around the lung.
        lung: the lung.
        grid: of both.
        points_mm: voxels of the part of the lung that the fissure divides, or an even sample of them.
        expected: the atlas' surface.
        slope: its rise from front to back, mm per mm.
        over: the fissure above which this one ends.
    """
    slab = slab_along(
        expected, points_mm, slope=slope, reach_mm=REACH_MM, frame_of_reference_uid=grid.frame_of_reference_uid
    )
    values = resample(hu, grid, slab, interpolation=Interpolation.LINEAR, outside=0.0)
    inside = resample(lung, grid, slab, interpolation=Interpolation.NEAREST, outside=0.0) > 0
    if over is not None:
        inside &= _above(over, slab)
    across = grid.direction.T @ slab.direction[:, 0]
    cues = find_cues(values, inside, STEP_MM, float(np.linalg.norm(across * grid.spacing_mm)))
    height = expected_height(expected, slab)
    wide = _straightened(cues, inside, height, int(REACH_MM / STEP_MM))
    moved = height + _rigid_move(wide.columns, wide.lung, _DEVIATION_COST)
    unseen = height + _rigid_move(-_VESSEL_COST * wide.vessels, wide.lung, _UNSEEN_COST)
    near = _straightened(cues, inside, moved, _BEND_REACH)
    bent = cheapest_surface(-near.columns, _BEND_COST) - _BEND_REACH
    return _settled(near, unseen, moved, bent, slab)


def _above(over: FissureSurface, slab: Grid) -> Bool[np.ndarray, "h s t"]:
    """Voxels of a slab that lie above another fissure."""
    s, t = (axis.ravel().astype(np.float64) for axis in np.indices(slab.shape[1:]))
    above = np.zeros(slab.shape, dtype=bool)
    for h in range(slab.shape[0]):
        index = np.stack([np.full(s.size, float(h)), s, t], axis=1)
        above[h] = (over.above(slab.to_patient_mm(index)) > 0).reshape(slab.shape[1:])
    return above


def _straightened(
    cues: FissureCues,
    lung: Bool[np.ndarray, "h s t"],
    height: Float[np.ndarray, "cells_s cells_t"],
    reach: int,
) -> _Slab:
    """Cues of each cell from `reach` heights below an expected surface to as many above it."""
    blur = [1.0, 0.0, 0.0]
    plates, contrast, vessels = (
        _at_heights(_cell_means(ndimage.gaussian_filter(values, blur)), height, reach)
        for values in (cues.plates, cues.contrast, cues.vessels)
    )
    share = _at_heights(_cell_means(lung.astype(np.float32)), height, reach)
    return _Slab(contrast - _VESSEL_COST * vessels, plates, vessels, share)


def _cell_means(values: Float32[np.ndarray, "h s t"]) -> Float32[np.ndarray, "h cells_s cells_t"]:
    h, s, t = values.shape
    means: Float32[np.ndarray, "h cells_s cells_t"] = values.reshape(h, s // CELL, CELL, t // CELL, CELL).mean(
        axis=(2, 4)
    )
    return means


def _at_heights(
    values: Float32[np.ndarray, "h cells_s cells_t"], height: Float[np.ndarray, "cells_s cells_t"], reach: int
) -> Columns:
    """Linear interpolation along the first axis around a height of each cell; 0 outside the slab."""
    at = height[..., None] + np.arange(-reach, reach + 1)
    below = np.floor(at).astype(int)
    share = (at - below).astype(np.float32)
    padded = np.pad(values, ((1, 1), (0, 0), (0, 0))).transpose(1, 2, 0)
    last = len(values) + 1
    low = np.take_along_axis(padded, np.clip(below + 1, 0, last), axis=2)
    high = np.take_along_axis(padded, np.clip(below + 2, 0, last), axis=2)
    sampled: Columns = low * (1.0 - share) + high * share
    return sampled


def _rigid_move(columns: Columns, lung: Columns, cost: float) -> Offsets:
    """Shift and tilts, as heights, that gather most evidence; the further from the atlas, the more it takes."""
    cells_s, cells_t, heights = columns.shape
    s, t = np.meshgrid(np.linspace(-1, 1, cells_s), np.linspace(-1, 1, cells_t), indexing="ij")
    area = max(float(lung[..., heights // 2].sum()), 1.0)
    shifts = np.rint(_SHIFTS_MM / STEP_MM).astype(int)
    windows = _shifted(columns)
    best, move = -np.inf, np.zeros_like(s)
    for tilt_s in _TILTS_MM:
        for tilt_t in _TILTS_MM[np.abs(_TILTS_MM) <= 2.0 * _USUAL_MM[2]]:
            tilt = (tilt_s * s + tilt_t * t) / STEP_MM
            gathered = _gathered(windows, np.rint(tilt).astype(int))[heights // 2 + shifts] / area
            unusual = (_SHIFTS_MM / _USUAL_MM[0]) ** 2 + (tilt_s / _USUAL_MM[1]) ** 2 + (tilt_t / _USUAL_MM[2]) ** 2
            score = gathered - cost * unusual
            if score.max() > best:
                best, move = float(score.max()), tilt + shifts[int(np.argmax(score))]
    return move


def _shifted(columns: Columns) -> Float32[np.ndarray, "cells_s cells_t shifts heights"]:
    """A view of each column at every shift, from all below it to all above it; 0 where it has ended."""
    heights = columns.shape[2]
    padded = np.pad(columns, ((0, 0), (0, 0), (heights, heights)))
    return sliding_window_view(padded, heights, axis=2)


def _gathered(
    windows: Float32[np.ndarray, "cells_s cells_t shifts heights"], tilt: Int[np.ndarray, "cells_s cells_t"]
) -> Float[np.ndarray, " heights"]:
    """Sum over the cells of a tilted surface, for each height of its middle."""
    s, t = np.ogrid[: tilt.shape[0], : tilt.shape[1]]
    beyond = windows.shape[2] // 2
    total: Float[np.ndarray, " heights"] = windows[s, t, beyond + np.clip(tilt, -beyond, beyond)].sum(axis=(0, 1))
    return total


_STAY, _LEVEL, _STIFF = 0.002, 0.05, 4.0
"""Weights of the last smoothing, against 1 for a cell in which the fissure is plain: of staying with the shifted and
tilted atlas, of running parallel to it, of not bending."""


def _settled(
    near: _Slab, expected: Offsets, moved: Offsets, bent: Int[np.ndarray, "cells_s cells_t"], slab: Grid
) -> FissureSurface:
    """The smooth surface that follows the bent one where the fissure is seen and the atlas elsewhere."""
    evidence, share = _on_surface(near.plates, bent), _on_surface(near.lung, bent)
    lung_around = np.maximum(ndimage.uniform_filter(share, _AROUND_CELLS), 0.1)
    around = ndimage.uniform_filter(evidence, _AROUND_CELLS) / lung_around
    seen = (around > _SEEN) & (share > _LEAST_LUNG)
    area = max(float(np.count_nonzero(share > 0.5)), 1.0)
    trust = min(float(np.count_nonzero(seen)) / area / _TRUSTED, 1.0)
    start = expected + trust * (moved - expected)
    offset = _bent_to(moved + bent - start, np.where(seen, around, 0.0) * share)
    height = start + offset
    inside = _on_surface(near.lung, np.rint(height - moved).astype(int)) > 0.5
    return FissureSurface(slab, height.astype(np.float32), inside, seen)


def _on_surface(columns: Columns, offset: Int[np.ndarray, "cells_s cells_t"]) -> Cells:
    """What columns hold at an offset from their middle; the nearest they have where it lies beyond their ends."""
    last = columns.shape[2] - 1
    at = np.clip(offset + last // 2, 0, last)[..., None]
    values: Cells = np.take_along_axis(columns, at, axis=2)[..., 0]
    return values


def _bent_to(
    wanted: Float[np.ndarray, "cells_s cells_t"], weight: Float[np.ndarray, "cells_s cells_t"]
) -> Float[np.ndarray, "cells_s cells_t"]:
    """Least squares of a thin plate that is pulled to the wanted offsets by their weights, and to 0 a little."""
    cells_s, cells_t = wanted.shape
    identity_s, identity_t = sparse.identity(cells_s), sparse.identity(cells_t)
    slope_s, slope_t = _differences(cells_s, 1), _differences(cells_t, 1)
    level = [sparse.kron(slope_s, identity_t), sparse.kron(identity_s, slope_t)]
    stiff = [
        sparse.kron(_differences(cells_s, 2), identity_t),
        sparse.kron(identity_s, _differences(cells_t, 2)),
        np.sqrt(2.0) * sparse.kron(slope_s, slope_t),
    ]
    pull = weight.ravel()
    system = sparse.diags(pull + _STAY)
    for terms, strength in ((level, _LEVEL), (stiff, _STIFF)):
        system = system + strength * sum(term.T @ term for term in terms)
    offset: Float[np.ndarray, "cells_s cells_t"] = spsolve(system.tocsc(), pull * wanted.ravel()).reshape(wanted.shape)
    return offset


def _differences(count: int, order: int) -> sparse.spmatrix:
    steps = np.array([[-1.0, 1.0], [1.0, -2.0]][order - 1] + [1.0] * (order - 1))
    return sparse.diags([np.full(count - order, c) for c in steps], range(order + 1), shape=(count - order, count))
