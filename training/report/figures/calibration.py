"""Whether a predicted value means what it says, and which defects of perfusion a map shows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

from training.drawing.palette import FAINT
from training.report.figures.canvas import canvas, rule


@dataclass(frozen=True, slots=True)
class CalibrationCurve:
    """Measured over predicted, by bins of the predicted value."""

    label: str
    colour: str
    predicted: tuple[float, ...]
    measured: tuple[float, ...]
    share: tuple[float, ...]
    """Of the voxels, which is the size of the points."""


@dataclass(frozen=True, slots=True)
class DefectPoints:
    """All defects of the truth in one map."""

    label: str
    colour: str
    volume_ml: tuple[float, ...]
    contrast: tuple[float, ...]
    """How much of the missing perfusion the map lacks too."""
    found: tuple[bool, ...]


def draw_calibration(curves: Sequence[CalibrationCurve], defects: DefectPoints) -> bytes:
    """Two panels: calibration of some arms, defects of one."""
    with canvas(3.1) as paper:
        left, right = paper.figure.subplots(1, 2, width_ratios=[1.0, 1.25])
        _draw_curves(left, curves)
        _draw_defects(right, defects)
        return paper.png()


def _draw_curves(place: Axes, curves: Sequence[CalibrationCurve]) -> None:
    far = max(max(*curve.predicted, *curve.measured) for curve in curves) * 1.05
    place.plot([0.0, far], [0.0, far], color=FAINT, linewidth=0.8, linestyle=(0, (4, 3)))
    for curve in curves:
        size = 4.0 + 160.0 * np.asarray(curve.share)
        place.plot(curve.predicted, curve.measured, color=curve.colour, linewidth=1.2, label=curve.label)
        place.scatter(curve.predicted, curve.measured, s=size, color=curve.colour, linewidths=0, alpha=0.7)
    place.set_xlabel("predicted, × lung mean")
    place.set_ylabel("SPECT, × lung mean")
    place.set_title("calibration, eroded lungs", loc="left")
    place.set_xlim(0.0, far)
    place.set_ylim(0.0, far)
    place.legend(loc="upper left")


def _draw_defects(place: Axes, defects: DefectPoints) -> None:
    volume, contrast, found = np.array(defects.volume_ml), np.array(defects.contrast), np.array(defects.found, bool)
    rule(place, 0.0, upright=False)
    rule(place, 1.0, upright=False)
    for those, word, filled in ((found, "found", True), (~found, "missed", False)):
        place.scatter(
            volume[those], contrast[those], s=18, linewidths=0.9, edgecolors=defects.colour,
            facecolors=defects.colour if filled else "white", label=f"{word} ({int(those.sum())})",
        )  # fmt: skip
    if volume.size:
        place.set_xscale("log")
        place.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        place.xaxis.set_major_formatter(FormatStrFormatter("%g"))
        place.xaxis.set_minor_formatter(NullFormatter())
    place.set_xlabel("volume of the defect in the truth, ml")
    place.set_ylabel("share of its contrast shown")
    place.set_title(f"perfusion defects, {defects.label}", loc="left")
    place.legend(loc="best")
