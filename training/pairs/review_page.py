"""A page of pictures of one pair, for a person who says whether CT and SPECT belong together and lie on each other.

Three cuts, two through the middle of both lungs and one through the right lung: the CT, the SPECT where the link puts
it, and both. The line is the edge of the lungs as the program finds them on the CT: counts should fill it
and end there.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from inference.atlas.lungs import find_lungs
from inference.ct.series import read_ct_files
from inference.geometry import Grid, Reorientation
from inference.images import Interpolation, resample
from training.drawing.palette import FAINT, GREYS, INK, PERFUSION_MAP, PERFUSION_RANGE
from training.drawing.png import png
from training.pairs.perfusion_image import read_perfusion
from training.pairs.rigid import Rigid
from training.pairs.rigid_registration import moved_onto
from training.store.stored_pair import StoredPair

WINDOW_HU = (-1350.0, 150.0)
"""The usual lung window: centre -600, width 1500."""
SPACING_MM = 2.0
_CUTS = (("axial", "R", "L"), ("coronal", "R", "L"), ("sagittal", "A", "P"))
_COLUMNS = ("CT", "SPECT or PET", "both")

Map = Float32[np.ndarray, "slices rows columns"]


@dataclass(frozen=True, slots=True, eq=False)
class Views:
    """What is drawn, on one grid with patient axes: to superior, posterior, left."""

    hu: Map
    perfusion: Map
    """Relative to the mean over the lungs."""
    lungs: Bool[np.ndarray, "slices rows columns"]
    grid: Grid


def views_of(pair: StoredPair) -> Views:
    """Read a pair and lay its images on one grid.

    Raises:
        InferenceError: the CT cannot be used, or has no lungs.
        NuclearImageUnusable: nor the perfusion image.
    """
    ct = read_ct_files(pair.ct)
    found = find_lungs(ct)
    lungs = (found.right | found.left).astype(np.uint8)
    upright = Reorientation.to_patient_axes(ct.grid)
    fine = upright.grid(ct.grid)
    grid = fine.with_spacing((SPACING_MM,) * 3)
    hu = resample(
        np.ascontiguousarray(upright.apply(ct.hu)), fine, grid, interpolation=Interpolation.LINEAR, outside=-1024.0
    )
    mask = resample(
        np.ascontiguousarray(upright.apply(lungs)), fine, grid, interpolation=Interpolation.NEAREST, outside=0.0
    )
    spect = moved_onto(read_perfusion(pair.nuclear), Rigid(pair.link.matrix), grid)
    mean = float(spect[mask > 0].mean(dtype=np.float64))
    return Views(hu, spect / np.float32(mean if mean > 0.0 else 1.0), mask > 0, grid)


def review_page(pair: StoredPair) -> bytes:
    """The page as PNG. Equal pairs give equal bytes.

    Raises:
        InferenceError: the CT cannot be used, or has no lungs.
        NuclearImageUnusable: nor the perfusion image.
    """
    views = views_of(pair)
    middle = np.argwhere(views.lungs).mean(axis=0).round().astype(int)
    right = np.argwhere(views.lungs[:, :, : middle[2]])  # a cut through the midline shows no lung
    middle[2] = round(float(right[:, 2].mean())) if right.size else middle[2]
    cuts = [_cut(views, axis, int(middle[axis])) for axis in range(3)]
    figure = Figure(figsize=(10.0, 9.6), layout="constrained", facecolor="white")
    places = figure.subplots(3, 3)
    for row, (name, first, last) in enumerate(_CUTS):
        for column, title in enumerate(_COLUMNS):
            place: Axes = places[row, column]
            _draw(place, cuts[row], column)
            place.text(0.02, 0.5, first, transform=place.transAxes, color="white", fontsize=9, va="center")
            place.text(0.98, 0.5, last, transform=place.transAxes, color="white", fontsize=9, va="center", ha="right")
            if row == 0:
                place.set_title(title, fontsize=10, color=INK)
            if column == 0:
                place.set_ylabel(name, fontsize=9, color=FAINT)
    figure.suptitle("\n".join(headline(pair)), fontsize=10, color=INK, ha="left", x=0.01)
    return png(figure, colours=256)


def headline(pair: StoredPair) -> tuple[str, str]:
    """What is said of a pair: its names and link, then figures and codes of what a person must look at."""
    movement = Rigid(pair.link.matrix)
    moved = f", turned by {movement.angle_deg:.1f}°" if pair.link.kind != "frame-of-reference" else ""
    figures = "  ".join(f"{name} {value:.2f}" for name, value in sorted(pair.link.quality.items()))
    codes = " ".join(sorted({*pair.link.problems, *pair.warnings})) or "nothing noted"
    return f"pair {pair.name}, patient {pair.patient}, linked by {pair.link.kind}{moved}", f"{figures}   {codes}"


def _cut(views: Views, axis: int, at: int) -> tuple[Any, ...]:
    """One cut of everything, first row on top: superior, or anterior."""
    flip = slice(None) if axis == 0 else slice(None, None, -1)
    return tuple(np.take(array, at, axis=axis)[flip] for array in (views.hu, views.perfusion, views.lungs))


def _draw(place: Axes, cut: tuple[Any, ...], column: int) -> None:
    hu, perfusion, lungs = cut
    if column != 1:
        place.imshow(hu, cmap=GREYS, vmin=WINDOW_HU[0], vmax=WINDOW_HU[1], interpolation="bilinear")
    if column != 0:
        strength = np.clip(perfusion / 1.0, 0.0, 1.0) * 0.7 if column == 2 else np.ones_like(perfusion)
        low, high = PERFUSION_RANGE
        place.imshow(perfusion, cmap=PERFUSION_MAP, vmin=low, vmax=high, alpha=strength, interpolation="bilinear")
    if lungs.any():
        place.contour(lungs, levels=[0.5], colors="#56b4e9", linewidths=0.8)
    place.set_xticks([])
    place.set_yticks([])
