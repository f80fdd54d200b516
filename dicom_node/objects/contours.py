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

from inference.geometry import Grid

MOST_POINTS = 2250
"""Points of one contour. The longest text of a point is 29 bytes (`-1234.56` twice, `-1234.5678`, three separators),
so Contour Data stays within 65,534 bytes: the limit of DS in explicit VR (PS3.5 7.1.2), should somebody convert the
object."""

KEYHOLE_OFFSET = 0.25
"""Where a keyhole runs within a pixel, in pixels from its edge: readers sample at centres (0.5) or at edges (0)."""

Mask = Bool[np.ndarray, "slices rows columns"]
Polygon = Float[np.ndarray, "points 2"]
"""(row, column) of its points, as lattice vertices or as fractional voxel indices."""


@dataclass(frozen=True, slots=True, eq=False)
class PlanarContour:
    """One closed contour in the plane of one slice."""

    slice_index: int
    points_mm: Float[np.ndarray, "points 3"]
    """LPS positions; the first is not repeated at the end."""


def trace_contours(mask: Mask, grid: Grid, *, most_points: int = MOST_POINTS) -> list[PlanarContour]:
    """Outline a mask slice by slice, from slice 0 on, holes included as keyholes.

    Positions come from the grid alone, so every patient position and orientation is treated alike.
    """
    contours = []
    for k, polygon in _polygons(mask, most_points):
        index = np.column_stack([np.full(len(polygon), float(k)), polygon])
        contours.append(PlanarContour(k, grid.to_patient_mm(index)))
    return contours


def _polygons(mask: Mask, most_points: int) -> Iterator[tuple[int, Polygon]]:
    """Slice and polygon, as fractional voxel indices."""
    slices = np.flatnonzero(mask.any(axis=(1, 2)))
    if not len(slices):
        return
    occupied = np.logical_or.reduce(mask[slices[0] : slices[-1] + 1])
    rows, columns = np.flatnonzero(occupied.any(axis=1)), np.flatnonzero(occupied.any(axis=0))
    part = mask[slices[0] : slices[-1] + 1, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    # A lattice vertex (r, c) is the upper left corner of pixel (r, c), half a pixel before its centre.
    corner = np.array([rows[0], columns[0]]) - 0.5
    for k, polygon in _lattice_polygons(part, most_points):
        yield int(slices[0]) + k, polygon + corner


def _lattice_polygons(mask: Mask, most_points: int) -> Iterator[tuple[int, Polygon]]:
    for k, polygon, start in _Outlines(mask).polygons():
        if len(polygon) <= most_points:
            yield k, polygon
        else:
            yield from ((k, piece) for piece in _cut(mask[k], start, most_points))


def _cut(mask: Bool[np.ndarray, "rows columns"], pixel: tuple[int, int], most_points: int) -> Iterator[Polygon]:
    """The polygons of the region that holds `pixel`, cut in two halves of equal height."""
    from scipy import ndimage  # 28 MB, which processes that only read settings do without

    regions, _ = ndimage.label(mask)  # edges connect, corners do not, as in the contours
    region = regions == regions[pixel]
    rows = np.flatnonzero(region.any(axis=1))
    middle = (int(rows[0]) + int(rows[-1]) + 1) // 2
    for first, last in ((int(rows[0]), middle), (middle, int(rows[-1]) + 1)):
        for _, polygon in _lattice_polygons(region[np.newaxis, first:last], most_points):
            yield polygon + np.array([first, 0])


class _Outlines:
    """All outlines of a mask.

    They are made of *corners*, the points where an outline turns, and of horizontal *edges* between two of them. In
    the order of slice, row and column, corners 2i and 2i + 1 are the left and the right end of edge i; vertical lines
    pair them likewise along columns. An outline goes along an edge, then along the vertical line at its end, and so
    on, with the mask to its right: outer outlines clockwise as seen on the screen, holes against that sense, for
    readers that fill by winding.
    """

    def __init__(self, mask: Mask) -> None:
        self.mask = mask
        self.shape = (mask.shape[0], mask.shape[1] + 1, mask.shape[2] + 1)
        flat, is_upper = _corners(mask)
        k, row, column = np.unravel_index(flat, self.shape)
        down_columns = np.argsort(((k * self.shape[2] + column) * self.shape[1] + row) * 2 + ~is_upper)
        across = np.empty_like(down_columns)
        across[down_columns[0::2]], across[down_columns[1::2]] = down_columns[1::2], down_columns[0::2]
        self.edge_key, self.slice, self.row, self.left = flat[0::2], k[0::2], row[0::2], column[0::2]
        below = mask[self.slice, np.minimum(self.row, mask.shape[1] - 1), self.left]
        self.is_top: Bool[np.ndarray, " edges"] = below & (self.row < mask.shape[1])
        start = 2 * np.arange(len(self.row)) + ~self.is_top
        order, self.first = _cycles(across[start ^ 1] >> 1)
        self.place = np.empty_like(order)
        self.place[order] = np.arange(len(order))
        visited = np.column_stack([start[order], start[order] ^ 1]).ravel()
        self.points = np.column_stack([row[visited], column[visited]]).astype(np.float64)
        self.edges = order

    def polygons(self) -> Iterator[tuple[int, Polygon, tuple[int, int]]]:
        """Slice, polygon with its keyholes, and first pixel of every outer outline.

        A keyhole goes straight up from a hole's top edge to the next edge, which belongs to the outer outline or to
        another hole that was entered the same way. Lower holes are finished first, so each takes its own with it.
        """
        first_edges = self.edges[self.first[:-1]]
        is_outer = self.is_top[first_edges]
        paths: dict[int, list[tuple[int, Polygon]]] = {}
        holes = np.flatnonzero(~is_outer)
        for number in holes[np.argsort(-self.row[first_edges[holes]], kind="stable")].tolist():
            outline = self._assembled(number, paths)
            edge = int(first_edges[number])
            column = float(self.left[edge]) + KEYHOLE_OFFSET
            gate_edge = self._edge_above(edge)
            entry, gate = [[float(self.row[edge]), column]], [[float(self.row[gate_edge]), column]]
            path = np.concatenate([gate, entry, outline[1:], outline[:1], entry, gate])
            place = int(self.place[gate_edge])
            parent = int(np.searchsorted(self.first, place, side="right")) - 1
            paths.setdefault(parent, []).append((place, path))
        for number in np.flatnonzero(is_outer).tolist():
            edge = int(first_edges[number])
            pixel = (int(self.row[edge]), int(self.left[edge]))
            yield int(self.slice[edge]), self._assembled(number, paths), pixel

    def _edge_above(self, edge: int) -> int:
        """The first edge above the pixel over the left end of a hole's top edge."""
        k, row, column = int(self.slice[edge]), int(self.row[edge]), int(self.left[edge])
        outside = np.flatnonzero(~self.mask[k, :row, column])
        edge_row = int(outside[-1]) + 1 if len(outside) else 0
        key = np.ravel_multi_index((k, edge_row, column), self.shape)
        return int(np.searchsorted(self.edge_key, key, side="right")) - 1

    def _assembled(self, number: int, paths: dict[int, list[tuple[int, Polygon]]]) -> Polygon:
        """The points of an outline, with the paths that leave it put in behind the start of their edges."""
        first, last = int(self.first[number]), int(self.first[number + 1])
        if number not in paths:
            return self.points[2 * first : 2 * last]
        pieces, done = [], 2 * first
        # Paths leave upwards, so from edges with the mask below, along which an outline goes to the right.
        for place, path in sorted(paths.pop(number), key=lambda leaving: (leaving[0], leaving[1][0, 1])):
            pieces += [self.points[done : 2 * place + 1], path]
            done = 2 * place + 1
        return np.concatenate([*pieces, self.points[done : 2 * last]])


def _corners(mask: Mask) -> tuple[Int[np.ndarray, " corners"], Bool[np.ndarray, " corners"]]:
    """Flat lattice index of every corner, ascending, and whether it is the upper of two at one vertex.

    Where two pixels touch at a vertex there are two corners, one per pixel, in such an order that along rows and
    columns each pairs with corners of its own pixel. Of the two the left pixel's comes first here.
    """
    slices, rows, columns = mask.shape
    changes = np.empty((slices, rows, columns + 1), dtype=bool)  # along rows
    changes[:, :, 0], changes[:, :, -1] = mask[:, :, 0], mask[:, :, -1]
    np.not_equal(mask[:, :, 1:], mask[:, :, :-1], out=changes[:, :, 1:-1])
    upper = np.flatnonzero(changes)
    upper += upper // (rows * (columns + 1)) * (columns + 1)  # the vertex above a change; lattices have one row more
    flat = np.sort(np.concatenate([upper, upper + columns + 1]))
    # A change above or below alone is a corner; with a change above and below a line goes on, or two pixels touch.
    second = np.flatnonzero(flat[1:] == flat[:-1]) + 1
    k, row, column = np.unravel_index(flat[second], (slices, rows + 1, columns + 1))
    within, east = column < columns, np.minimum(column, columns - 1)
    north_east, south_east = within & mask[k, row - 1, east], within & mask[k, row, east]
    goes_on = second[north_east == south_east]
    is_corner = np.ones(len(flat), dtype=bool)
    is_corner[goes_on] = is_corner[goes_on - 1] = False
    # The left pixel is the lower one where the touching pixels are south-west and north-east.
    is_upper = np.ones(len(flat), dtype=bool)
    is_upper[second], is_upper[second - 1] = north_east, ~north_east
    return flat[is_corner], is_upper[is_corner]


def _cycles(following: Int[np.ndarray, " edges"]) -> tuple[Int[np.ndarray, " edges"], Int[np.ndarray, " cycles+1"]]:
    """The edges cycle by cycle, each from its lowest number on, and where each cycle begins; then the end of all."""
    after = following.tolist()
    seen = bytearray(len(after))
    order: list[int] = []
    first: list[int] = []
    for start in range(len(after)):
        if seen[start]:
            continue
        first.append(len(order))
        edge = start
        while not seen[edge]:
            seen[edge] = 1
            order.append(edge)
            edge = after[edge]
    return np.array(order, dtype=np.int64), np.array([*first, len(order)], dtype=np.int64)
