"""Pictures that a viewer makes of an image: which colour is where, said in rows and columns of the image."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.image import imread
from scipy import ndimage

NEAR_PIXELS = 2


class Picture:
    """What a viewer shows of one image."""

    def __init__(self, file: Path, places: Sequence[Sequence[float]]) -> None:
        """`places`: where the first voxel, the one a row on and the one a column on lie, in pixels (x, y)."""
        self.pixels = np.round(imread(file)[..., :3] * 255.0)
        origin, next_row, next_column = np.array(places)
        self._to_picture = np.array([next_row - origin, next_column - origin])
        self._origin = origin

    def at(self, rows_columns: np.ndarray) -> np.ndarray:
        """Colour where the image has (row, column), in fractions of voxels from the centre of the first."""
        x, y = np.floor(self._places(rows_columns)).astype(int).T
        colours: np.ndarray = self.pixels[y, x]
        return colours

    def near(self, rows_columns: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """Whether any pixel of the mask `seen` is within `NEAR_PIXELS`."""
        size = 2 * NEAR_PIXELS + 1
        x, y = np.floor(self._places(rows_columns)).astype(int).T
        found: np.ndarray = ndimage.binary_dilation(seen, np.ones((size, size)))[y, x]
        return found

    def mask(self, voxels: np.ndarray) -> np.ndarray:
        """Pixels of the picture that show the given voxels of the image."""
        y, x = np.indices(self.pixels.shape[:2])
        centres = np.stack([x, y], axis=-1) + 0.5
        index = np.rint((centres - self._origin) @ np.linalg.inv(self._to_picture)).astype(int)
        rows, columns = index[..., 0], index[..., 1]
        inside = (rows >= 0) & (rows < voxels.shape[0]) & (columns >= 0) & (columns < voxels.shape[1])
        shown: np.ndarray = inside & voxels[np.where(inside, rows, 0), np.where(inside, columns, 0)]
        return shown

    def _places(self, rows_columns: np.ndarray) -> np.ndarray:
        places: np.ndarray = self._origin + rows_columns @ self._to_picture
        return places


def edges_of(mask: np.ndarray) -> np.ndarray:
    """Middles of the voxel sides that part a region from the rest, (row, column)."""
    padded = np.pad(mask, 1)
    across_rows = np.argwhere(padded[1:] != padded[:-1]) - [0.5, 1.0]
    across_columns = np.argwhere(padded[:, 1:] != padded[:, :-1]) - [1.0, 0.5]
    return np.concatenate([across_rows, across_columns])


def tinted(pixels: np.ndarray, colour: Sequence[int], *, likeness: float = 0.95) -> np.ndarray:
    """Whether pixels are tinted with a colour, however much grey is mixed in.

    Args:
        pixels: red, green, blue from 0 to 255 along the last axis.
        colour: the tint.
        likeness: cosine of the largest angle between tint and colour, both without their grey.
    """
    wanted = np.array(colour) - np.mean(colour)
    tint = pixels - pixels.mean(axis=-1, keepdims=True)
    strength = np.linalg.norm(tint, axis=-1)
    alike = tint @ wanted > likeness * strength * np.linalg.norm(wanted)
    found: np.ndarray = alike & (strength > 25)
    return found


def grey(pixels: np.ndarray) -> np.ndarray:
    flat: np.ndarray = np.ptp(pixels, axis=-1) < 12
    return flat
