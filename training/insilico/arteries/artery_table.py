"""The arterial tree as a table in text, which any program reads."""

import csv
from io import StringIO
from pathlib import Path

import numpy as np
from jaxtyping import Float

from training.insilico.arteries.arterial_tree import ArterialTree

COLUMNS = (
    *("segment", "parent", "start_x_mm", "start_y_mm", "start_z_mm", "end_x_mm", "end_y_mm", "end_z_mm"),
    *("radius_mm", "lumen", "lobe", "territory"),
)
"""One line for each segment: positions in LPS, radius of the healthy lumen, the share of it that is left. Lobe 0
supplies several. Segments count from 0, parent -1 is none. Territories count from 1, as in `territories.nrrd`, and are
0 where a segment has children."""


def arteries_csv(tree: ArterialTree, lumen: Float[np.ndarray, " segments"]) -> str:
    """The table; equal trees give equal text. Lengths are rounded to 0.001 mm, the lumen to 0.0001."""
    out = StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(COLUMNS)
    places = np.hstack([tree.start_mm, tree.end_mm]) + 0.0
    for k in range(len(tree.parent)):
        lengths = [f"{value:.3f}" for value in (*places[k], tree.radius_mm[k])]
        table.writerow([k, tree.parent[k], *lengths, f"{lumen[k]:.4f}", tree.lobe[k], tree.end[k] + 1])
    return out.getvalue()


def read_arteries(path: Path) -> tuple[ArterialTree, Float[np.ndarray, " segments"]]:
    """The tree of a table and its lumen.

    Raises:
        OSError: the file cannot be read, or is no such table.
    """
    with path.open(encoding="ascii", newline="") as file:
        head, *lines = csv.reader(file)
    if tuple(head) != COLUMNS:
        raise OSError(f"{path} is not a table of arteries")
    values = np.array(lines, dtype=np.float64).reshape(-1, len(COLUMNS))
    whole = values[:, [1, 10, 11]].astype(np.int32)
    tree = ArterialTree(
        start_mm=values[:, 2:5],
        end_mm=values[:, 5:8],
        parent=whole[:, 0],
        radius_mm=values[:, 8],
        lobe=whole[:, 1],
        end=whole[:, 2] - 1,
    )
    return tree, values[:, 9]
