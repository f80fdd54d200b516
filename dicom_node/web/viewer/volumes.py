"""The volumes of a case as files for the browser: whole, and smaller ones that are there sooner.

A file is written slab by slab from mapped arrays, so that a CT of any size takes some megabytes of memory. Maps and
labels are cut to the lungs. All lie in patient axes; see `patient_volumes`.
"""

import gzip
import shutil
from collections.abc import Callable, Iterator
from enum import StrEnum
from itertools import product
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
from jaxtyping import Float32, Shaped

from dicom_node.jobs.cases import CaseFolder
from dicom_node.pages.lung_views import MAP_RANGE_PERCENT
from dicom_node.web.viewer.nifti import NiftiVoxels, nifti_header
from dicom_node.web.viewer.patient_volumes import PatientCt, PatientResult
from inference.geometry import Grid, Shape

LUNG_WINDOW_HU: Final = (-1350.0, 150.0)
"""Level -600, width 1500, as radiologists look at lungs."""
COARSE_VOXELS: Final = 4_000_000
"""At most so many in a coarse volume: a browser without a graphics processor prepares as many in about a second."""
_PERCENT: Final = 0.1
"""Step of a stored map. Lung is never 0."""
_CT: Final = NiftiVoxels(np.int16, shown=LUNG_WINDOW_HU)
_MAP: Final = NiftiVoxels(np.int16, slope=_PERCENT, shown=MAP_RANGE_PERCENT)
_LABELS: Final = NiftiVoxels(np.uint8)
_INT16: Final = np.iinfo(np.int16)

Slabs = Iterator[Shaped[np.ndarray, "..."]]


class VolumeName(StrEnum):
    """What there is of a case."""

    CT = "ct"
    """HU."""
    CT_COARSE = "ct-coarse"
    """HU, each the mean of a block of voxels."""
    MAP = "map"
    """Relative perfusion in percent of the lung mean; 0 outside the lungs."""
    MAP_COARSE = "map-coarse"
    """The same, each the mean of the lung in a block of voxels."""
    LOBES = "lobes"
    """Values of `Lobe`."""
    FUNCTION = "function"
    """1 low-functional, 2 high-functional, 0 neither."""

    @property
    def is_of_result(self) -> bool:
        """Whether it is made from the result, not from the CT."""
        return not self.value.startswith("ct")

    @property
    def is_packed(self) -> bool:
        """Whether it is sent packed by gzip: labels shrink to a hundredth, a CT would only take longer."""
        return self in (VolumeName.LOBES, VolumeName.FUNCTION)


LOW, HIGH = 1, 2
"""In the volume `function`."""


def write_volume(case: CaseFolder, name: VolumeName, path: Path) -> None:
    """Make a volume.

    Args:
        case: whose.
        name: which.
        path: of the file.

    Raises:
        FileNotFoundError: the case has no CT or result, or was removed meanwhile.
        OSError: the disk.
    """
    with path.open("wb") as file:
        _WRITERS[name](case, file)


def pack(path: Path, packed: Path) -> None:
    """Write the same packed by gzip, quickly rather than tightly."""
    with path.open("rb") as source, packed.open("wb") as file, gzip.GzipFile("", "wb", 1, file, mtime=0) as target:
        shutil.copyfileobj(source, target, 1 << 20)


def coarse_steps(grid: Grid) -> Shape:
    """How many slices, rows and columns become one in a coarse volume, so that its voxels are about as long as wide."""
    spacing_mm, side_mm = np.array(grid.spacing_mm), 0.0
    steps = np.ones(3, int)
    while np.prod(np.ceil(grid.shape / steps)) > COARSE_VOXELS:
        side_mm = max(1.05 * side_mm, float(spacing_mm.min()))
        steps = np.clip(np.rint(side_mm / spacing_mm).astype(int), 1, grid.shape)
    slices, rows, columns = steps.tolist()
    return slices, rows, columns


def _write_ct(case: CaseFolder, file: BinaryIO) -> None:
    ct = PatientCt.of(case)
    _write(file, ct.grid, _CT, "CT in HU", (_whole(hu) for hu in ct.hu))


def _write_coarse_ct(case: CaseFolder, file: BinaryIO) -> None:
    ct = PatientCt.of(case)
    steps = coarse_steps(ct.grid)
    slabs = (_whole(_block_sums(slab, steps) / np.prod(steps)) for slab in _slabs(ct.hu, steps))
    _write(file, _coarser(ct.grid, steps), _CT, "CT in HU, coarse", slabs)


def _write_map(case: CaseFolder, file: BinaryIO) -> None:
    result = PatientResult.of(case)
    box = result.lung_box
    slabs = (
        np.where(labels > 0, np.maximum(_whole(values * (100.0 / _PERCENT)), 1), 0).astype(np.int16)
        for values, labels in zip(result.perfusion[box], result.labels[box], strict=True)
    )
    _write(file, result.grid.cropped(box), _MAP, "Relative perfusion in percent of the lung mean", slabs)


def _write_coarse_map(case: CaseFolder, file: BinaryIO) -> None:
    result = PatientResult.of(case)
    box, steps = result.lung_box, coarse_steps(result.grid)
    pairs = zip(_slabs(result.perfusion[box], steps), _slabs(result.labels[box], steps), strict=True)
    slabs = (_lung_mean(values, labels, steps) for values, labels in pairs)
    grid = _coarser(result.grid.cropped(box), steps)
    _write(file, grid, _MAP, "Relative perfusion in percent of the lung mean, coarse", slabs)


def _write_lobes(case: CaseFolder, file: BinaryIO) -> None:
    result = PatientResult.of(case)
    _write(file, result.grid.cropped(result.lung_box), _LABELS, "Lobes", result.labels[result.lung_box])


def _write_function(case: CaseFolder, file: BinaryIO) -> None:
    result = PatientResult.of(case)
    box = result.lung_box
    low, high = result.region("low")[box], result.region("high")[box]
    slabs = (np.where(h, HIGH, np.where(lo, LOW, 0)).astype(np.uint8) for lo, h in zip(low, high, strict=True))
    _write(file, result.grid.cropped(box), _LABELS, "Low (1) and high (2) function", slabs)


_WRITERS: Final[dict[VolumeName, Callable[[CaseFolder, BinaryIO], None]]] = {
    VolumeName.CT: _write_ct,
    VolumeName.CT_COARSE: _write_coarse_ct,
    VolumeName.MAP: _write_map,
    VolumeName.MAP_COARSE: _write_coarse_map,
    VolumeName.LOBES: _write_lobes,
    VolumeName.FUNCTION: _write_function,
}


def _write(file: BinaryIO, grid: Grid, voxels: NiftiVoxels, description: str, slabs: Slabs | np.ndarray) -> None:
    file.write(nifti_header(grid, voxels, description))
    for slab in slabs:
        file.write(np.ascontiguousarray(slab).data)


def _whole(values: Float32[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
    whole: np.ndarray = np.clip(np.rint(values), _INT16.min, _INT16.max).astype(np.int16)
    return whole


def _slabs(volume: Shaped[np.ndarray, "s p l"], steps: Shape) -> Slabs:
    """Slabs of as many slices as become one, filled up at the far sides with copies of the last voxels."""
    for k in range(0, len(volume), steps[0]):
        slab = volume[k : k + steps[0]]
        missing = [(0, -n % step) for n, step in zip(slab.shape, steps, strict=True)]
        yield np.pad(slab, missing, "edge") if np.any(missing) else slab


def _block_sums(slab: Shaped[np.ndarray, "s p l"], steps: Shape) -> Float32[np.ndarray, "p2 l2"]:
    parts = [slab[k, j :: steps[1], i :: steps[2]] for k, j, i in product(*map(range, steps))]
    sums: np.ndarray = np.asarray(np.sum(parts, axis=0, dtype=np.float32))
    return sums


def _lung_mean(
    values: Shaped[np.ndarray, "s p l"], labels: Shaped[np.ndarray, "s p l"], steps: Shape
) -> Shaped[np.ndarray, "p2 l2"]:
    """Mean over the lung in each block that is lung at least by half; else 0."""
    lungs = labels > 0
    counts = _block_sums(lungs, steps)
    mean = _block_sums(np.where(lungs, values, 0.0), steps) / np.maximum(counts, 1.0)
    stored = np.maximum(_whole(mean * (100.0 / _PERCENT)), 1)
    return np.where(counts >= 0.5 * np.prod(steps), stored, 0).astype(np.int16)


def _coarser(grid: Grid, steps: Shape) -> Grid:
    z, y, x = (spacing * step for spacing, step in zip(grid.spacing_mm, steps, strict=True))
    return grid.with_spacing((z, y, x))
