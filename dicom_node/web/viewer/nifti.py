"""The header of a NIfTI-1 file, the form in which the browser takes volumes.

NIfTI names voxels (column, row, slice) and positions in RAS: x to the right and y to the front. Here alone our index
order and LPS are turned into that. Bytes after the header are those of a C-ordered array (slice, row, column).
"""

import struct
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from inference.geometry import Grid

HEADER_BYTES: Final = 352
_TYPES: Final[dict[np.dtype[Any], tuple[int, int]]] = {np.dtype(np.uint8): (2, 8), np.dtype(np.int16): (4, 16)}
"""Code and bits of each kind of voxel that we write."""
_MILLIMETRES: Final = 2
_SCANNER: Final = 1


@dataclass(frozen=True, slots=True)
class NiftiVoxels:
    """What the voxels of a file are."""

    dtype: type[np.uint8 | np.int16]
    slope: float = 1.0
    """A voxel times this is the value in the unit of the volume."""
    shown: tuple[float, float] = (0.0, 0.0)
    """From and to which value a viewer shows them at first."""


def nifti_header(grid: Grid, voxels: NiftiVoxels, description: str) -> bytes:
    """The 352 bytes before the voxels.

    Args:
        grid: of the array; at most 32767 voxels along each axis.
        voxels: what they are.
        description: at most 79 ASCII characters.
    """
    code, bits = _TYPES[np.dtype(voxels.dtype)]
    slices, rows, columns = grid.shape
    spacing = grid.spacing_mm
    header = bytearray(HEADER_BYTES)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, columns, rows, slices, 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, code, bits)
    struct.pack_into("<8f", header, 76, 1.0, spacing[2], spacing[1], spacing[0], 0.0, 0.0, 0.0, 0.0)
    struct.pack_into("<3f", header, 108, HEADER_BYTES, voxels.slope, 0.0)
    header[123] = _MILLIMETRES
    struct.pack_into("<2f", header, 124, voxels.shown[1], voxels.shown[0])
    struct.pack_into("<79s", header, 148, description.encode("ascii"))
    struct.pack_into("<2h", header, 252, 0, _SCANNER)
    struct.pack_into("<12f", header, 280, *_ras_rows(grid))
    struct.pack_into("<4s", header, 344, b"n+1")
    return bytes(header)


def _ras_rows(grid: Grid) -> tuple[float, ...]:
    """The first three rows of the matrix from (column, row, slice) to RAS."""
    matrix = np.diag([-1.0, -1.0, 1.0]) @ grid.affine[:3, [2, 1, 0, 3]]
    return tuple(float(number) for number in matrix.ravel())


def grid_of(header: bytes) -> Grid:
    """The grid that a header of ours was written for; it says nothing of a frame of reference."""
    columns, rows, slices = struct.unpack_from("<3h", header, 42)
    matrix = np.diag([-1.0, -1.0, 1.0]) @ np.array(struct.unpack_from("<12f", header, 280)).reshape(3, 4)
    affine = np.eye(4)
    affine[:3] = matrix[:, [2, 1, 0, 3]]
    return Grid((slices, rows, columns), affine, "")


def voxels_of(header: bytes) -> np.dtype[Any]:
    """The kind of voxel that a header of ours was written for."""
    (code,) = struct.unpack_from("<h", header, 70)
    return next(dtype for dtype, (known, _) in _TYPES.items() if known == code)
