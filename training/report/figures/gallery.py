"""A few patients as pictures: what the CT shows, what was measured, what is true, what was predicted."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from training.drawing.palette import INK, PERFUSION_MAP, PERFUSION_RANGE
from training.report.figures.canvas import WIDTH_INCH, canvas

DIFFERENCE_RANGE = 0.8
"""Predicted less SPECT, in multiples of the lungs' mean, at the ends of its colours."""
DIFFERENCE_MAP = "PuOr_r"
"""Blue-violet below, orange above: told apart by colour-blind readers."""

_GAP = 0.006
"""Between columns, of the width."""
_TOP_INCH, _TITLE_INCH, _BARS_INCH = 0.22, 0.22, 0.55
"""For the names of columns, over each row, for the scales of colours."""

Cut = Float[np.ndarray, "up across"]


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """One patient, cut once from front to back; the first row is the lowest, patient's right on the left."""

    title: str
    """Above the row: who, and how it scored."""
    ct: Cut
    """0 black to 1 white."""
    spect: Cut
    truth: Cut
    predictions: tuple[Cut, ...]
    """In multiples of the lungs' mean; the last one is compared with the SPECT."""
    lungs: Bool[np.ndarray, "up across"]
    spacing_mm: tuple[float, float]
    """Upwards and across."""


def draw_gallery(patients: Sequence[Shown], predictions: Sequence[str]) -> bytes:
    """One row for each patient.

    Args:
        patients: from top to bottom.
        predictions: what they are predictions of, in the order of `Shown.predictions`.
    """
    columns = ("CT, network input", "SPECT", "truth, SPECT resolution", *predictions, "difference")
    width = (1.0 - _GAP) / len(columns) - _GAP
    height_inch = [width * WIDTH_INCH * _height_of(patient) for patient in patients]
    whole = _TOP_INCH + sum(height_inch) + _TITLE_INCH * len(patients) + _BARS_INCH
    with canvas(whole) as paper:
        figure = paper.figure
        figure.set_layout_engine("none")
        top = whole - _TOP_INCH
        for patient, height in zip(patients, height_inch, strict=True):
            top -= _TITLE_INCH + height
            places = [
                figure.add_axes((_GAP + number * (width + _GAP), top / whole, width, height / whole))
                for number in range(len(columns))
            ]
            _draw_row(places, patient)
            figure.text(_GAP, (top + height + 0.05) / whole, patient.title, fontsize=8)
        for number, name in enumerate(columns):
            at = _GAP + number * (width + _GAP) + 0.5 * width
            figure.text(at, 1.0 - 0.13 / whole, name, ha="center", fontsize=8, weight="bold")
        _draw_bars(figure, places, whole)
        return paper.png(colours=256)


def _height_of(patient: Shown) -> float:
    """Of its pictures, over their width."""
    rows, columns = patient.lungs.shape
    return float(rows * patient.spacing_mm[0] / (columns * patient.spacing_mm[1]))


def _draw_bars(figure: Figure, places: Sequence[Axes], whole: float) -> None:
    """The scales of colours, below the columns that they are of."""
    for first, end, name in (
        (places[1], places[-2], "perfusion, × mean of both lungs"),
        (places[-1], places[-1], "predicted − SPECT"),
    ):
        left, right = first.get_position().x0 + _GAP, end.get_position().x1 - _GAP
        bar = figure.add_axes((left, 0.36 / whole, right - left, 0.09 / whole))
        figure.colorbar(first.images[0], cax=bar, orientation="horizontal", ticks=MultipleLocator(0.5))
        bar.set_xlabel(name, fontsize=8, labelpad=2)


def _draw_row(row: Sequence[Axes], patient: Shown) -> None:
    rows, columns = patient.lungs.shape
    extent = (0.0, columns * patient.spacing_mm[1], 0.0, rows * patient.spacing_mm[0])
    maps = (patient.spect, patient.truth, *patient.predictions)
    row[0].imshow(patient.ct, cmap="gray", vmin=0.0, vmax=1.0, origin="lower", extent=extent)
    for place, values in zip(row[1:-1], maps, strict=True):
        inside = np.where(patient.lungs, values, 0.0)
        place.imshow(inside, cmap=PERFUSION_MAP, vmin=PERFUSION_RANGE[0], vmax=PERFUSION_RANGE[1], origin="lower",
                     extent=extent)  # fmt: skip
    off = np.where(patient.lungs, patient.predictions[-1] - patient.spect, 0.0)
    row[-1].imshow(off, cmap=DIFFERENCE_MAP, vmin=-DIFFERENCE_RANGE, vmax=DIFFERENCE_RANGE, origin="lower",
                   extent=extent)  # fmt: skip
    row[-1].contour(patient.lungs.astype(float), levels=[0.5], colors=[INK], linewidths=0.5, extent=extent)
    for place in row[1:-1]:
        place.text(0.02, 0.03, "R", color="white", fontsize=7, transform=place.transAxes)
        place.text(0.98, 0.03, "L", color="white", fontsize=7, transform=place.transAxes, ha="right")
    for place in row:
        place.set_xticks([])
        place.set_yticks([])
        place.spines[:].set_visible(False)
