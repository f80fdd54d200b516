"""Masks as closed planar contours.

Contours follow pixel EDGES, not pixel centres: they enclose exactly the voxels of the mask. (Contours through pixel
centres lose 1.5 to 3.4 % of a lung's volume.) A hole is joined to its surrounding contour by a keyhole, one of the two
techniques of PS3.3 C.8.8.6.3; a hole written as a contour of its own is filled by common readers, and
CLOSEDPLANAR_XOR is dropped by them. The path of a keyhole lies inside the region and meets no other line.

Pixels that touch only at a corner belong to different contours. No point is repeated at the end, none lies on the
straight line between its neighbours (the ends of keyholes excepted). A contour with more than `MOST_POINTS` points is
cut into two regions that share a straight line, which keeps the area exact; simplifying would not.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import ndimage

from inference.geometry import Grid

MOST_POINTS = 2250
"""Points of one contour. The longest text of a point is 29 bytes (`-1234.56` twice, `-1234.5678`, three separators),
so Contour Data stays within 65,534 bytes: the limit of DS in explicit VR (PS3.5 7.1.2), should somebody convert the
object."""

KEYHOLE_OFFSET = 0.25
"""Where a keyhole runs within a pixel, in pixels from its edge: readers sample at centres (0.5) or at edges (0)."""

Point = tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class PlanarContour:
    """One closed contour in the plane of one slice."""

    slice_index: int
    points_mm: Float[np.ndarray, "points 3"]
    """LPS positions; the first is not repeated at the end."""


def trace_contours(mask: Bool[np.ndarray, "slices rows columns"], grid: Grid) -> list[PlanarContour]:
    """Outline a mask slice by slice, from slice 0 on, holes included as keyholes.

    Positions come from the grid alone, so every patient position and orientation is treated alike.
    """
    contours = []
    for k, polygon in _polygons(mask):
        index = np.column_stack([np.full(len(polygon), k, dtype=np.float64), np.array(polygon, dtype=np.float64)])
        contours.append(PlanarContour(k, grid.to_patient_mm(index)))
    return contours


def _polygons(mask: Bool[np.ndarray, "slices rows columns"]) -> Iterator[tuple[int, list[Point]]]:
    """Slice and (row, column) points of each polygon, as fractional voxel indices."""
    slices = np.flatnonzero(mask.any(axis=(1, 2)))
    if not len(slices):
        return
    rows, columns = np.flatnonzero(mask.any(axis=(0, 2))), np.flatnonzero(mask.any(axis=(0, 1)))
    part = mask[slices[0] : slices[-1] + 1, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    # A lattice vertex (r, c) is the upper left corner of pixel (r, c), half a pixel before its centre.
    row0, column0 = float(rows[0]) - 0.5, float(columns[0]) - 0.5
    for k, polygon in _lattice_polygons(part):
        yield int(slices[0]) + k, [(r + row0, c + column0) for r, c in polygon]


def _lattice_polygons(mask: Bool[np.ndarray, "slices rows columns"]) -> Iterator[tuple[int, list[Point]]]:
    corners = _Corners(mask)
    cycles, owner = corners.cycles()
    for k, polygon, start in _join_holes(corners, cycles, owner):
        if len(polygon) <= MOST_POINTS:
            yield k, polygon
        else:
            yield from ((k, piece) for piece in _cut(mask[k], start))


def _cut(mask: Bool[np.ndarray, "rows columns"], pixel: tuple[int, int]) -> Iterator[list[Point]]:
    """The polygons of the region that holds `pixel`, cut in two halves of equal height."""
    regions, _ = ndimage.label(mask)  # edges connect, corners do not, as in the contours
    region = regions == regions[pixel]
    rows = np.flatnonzero(region.any(axis=1))
    middle = (int(rows[0]) + int(rows[-1]) + 1) // 2
    for first, last in ((int(rows[0]), middle), (middle, int(rows[-1]) + 1)):
        for _, polygon in _lattice_polygons(region[np.newaxis, first:last]):
            yield [(r + first, c) for r, c in polygon]


class _Corners:
    """The corners of all outlines of a mask, and which corner follows which.

    Along each lattice row the corners pair up, left to right, as horizontal edges; along each lattice column as
    vertical ones. Following the two in turn walks around an outline. Where two pixels touch at a corner there are two
    corners at one vertex, one per pixel; their order within row and column is chosen so that each keeps to its pixel.
    """

    def __init__(self, mask: Bool[np.ndarray, "slices rows columns"]) -> None:
        padded = np.pad(mask, ((0, 0), (1, 1), (1, 1)))
        north_west, north_east = padded[:, :-1, :-1], padded[:, :-1, 1:]
        south_west, south_east = padded[:, 1:, :-1], padded[:, 1:, 1:]
        touching = (north_west == south_east) & (north_east == south_west) & (north_west != north_east)
        turning = north_west ^ north_east ^ south_west ^ south_east
        shape = turning.shape
        vertices = np.flatnonzero(turning | touching)
        double = touching.ravel()[vertices]
        flat = np.repeat(vertices, 1 + double)
        second = np.zeros(len(flat), dtype=bool)
        second[1:] = flat[1:] == flat[:-1]
        # Horizontally the corner of the left pixel comes first. Vertically the upper pixel's corner must come first;
        # it is the right one where the touching pixels are north-east and south-west.
        rising = touching.ravel()[flat] & north_east.ravel()[flat]
        k, row, column = np.unravel_index(flat, shape)
        self.mask = mask
        self.slice: Int[np.ndarray, " n"] = k
        self.row: Int[np.ndarray, " n"] = row
        self.column: Int[np.ndarray, " n"] = column
        self.key: Int[np.ndarray, " n"] = flat
        self.shape = shape
        vertical = np.lexsort((second ^ rising, row, column, k))
        self.vertical_partner = np.empty(len(flat), dtype=np.int64)
        self.vertical_partner[vertical[0::2]] = vertical[1::2]
        self.vertical_partner[vertical[1::2]] = vertical[0::2]

    def cycles(self) -> tuple[list[list[int]], dict[int, tuple[int, int]]]:
        """All outlines as lists of corners, and for each corner its outline and place in it.

        Each starts at its uppermost, then leftmost corner and goes right along its top edge, so the horizontal edges
        join the places 2i and 2i + 1.
        """
        partner = self.vertical_partner.tolist()
        owner: dict[int, tuple[int, int]] = {}
        cycles: list[list[int]] = []
        for start in range(0, len(partner), 2):
            if start in owner:
                continue
            cycle: list[int] = []
            corner = start
            while corner not in owner:
                number = len(cycles)
                owner[corner] = (number, len(cycle))
                cycle.append(corner)
                corner ^= 1  # the other end of a horizontal edge
                owner[corner] = (number, len(cycle))
                cycle.append(corner)
                corner = partner[corner]
            cycles.append(cycle)
        return cycles, owner

    def is_hole(self, corner: int) -> bool:
        """Whether an outline that starts at this corner has the outside below its top edge."""
        return not self.mask[self.slice[corner], self.row[corner], self.column[corner]]

    def edge_above(self, corner: int) -> tuple[int, int]:
        """Left corner and lattice row of the first edge above the pixel over a hole's first corner."""
        k, row, column = int(self.slice[corner]), int(self.row[corner]), int(self.column[corner])
        outside = np.flatnonzero(~self.mask[k, :row, column])
        edge_row = int(outside[-1]) + 1 if len(outside) else 0
        key = np.ravel_multi_index((k, edge_row, column), self.shape)
        return int(np.searchsorted(self.key, key, side="right")) - 1, edge_row


def _join_holes(
    corners: _Corners, cycles: list[list[int]], owner: dict[int, tuple[int, int]]
) -> Iterator[tuple[int, list[Point], tuple[int, int]]]:
    """Slice, polygon with its keyholes, and first pixel of every outer outline.

    A keyhole goes straight up from a hole's top edge to the next edge, which belongs to the outer outline or to
    another hole that was entered the same way. Lower holes are finished first, so each takes its own with it.
    """
    inserts: dict[int, dict[int, list[tuple[float, list[Point]]]]] = {}
    holes = [number for number, cycle in enumerate(cycles) if corners.is_hole(cycle[0])]
    for number in sorted(holes, key=lambda n: -int(corners.row[cycles[n][0]])):
        start = cycles[number][0]
        column = float(corners.column[start]) + KEYHOLE_OFFSET
        entry = (float(corners.row[start]), column)
        outline = _assemble(corners, cycles[number], inserts.pop(number, {}))
        edge, edge_row = corners.edge_above(start)
        parent, place = owner[edge]
        path = [entry, *outline[1:], outline[0], entry]
        if not corners.is_hole(cycles[parent][0]):
            path.reverse()  # against the sense of the outer outline, for readers that fill by winding
        gate = (float(edge_row), column)
        inserts.setdefault(parent, {}).setdefault(place & ~1, []).append((column, [gate, *path, gate]))
    for number, cycle in enumerate(cycles):
        first = cycle[0]
        if not corners.is_hole(first):
            pixel = (int(corners.row[first]), int(corners.column[first]))
            yield int(corners.slice[first]), _assemble(corners, cycle, inserts.pop(number, {})), pixel


def _assemble(corners: _Corners, cycle: list[int], inserts: dict[int, list[tuple[float, list[Point]]]]) -> list[Point]:
    """The points of an outline, with what is inserted behind the corner at each place."""
    points = list(zip(corners.row[cycle].tolist(), corners.column[cycle].tolist(), strict=True))
    if not inserts:
        return points
    joined: list[Point] = []
    for place, point in enumerate(points):
        joined.append(point)
        if place in inserts:
            rightward = points[place + 1][1] > point[1]
            for _, path in sorted(inserts[place], key=lambda insert: insert[0], reverse=not rightward):
                joined.extend(path)
    return joined
