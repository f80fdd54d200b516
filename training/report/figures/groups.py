"""The main arm by hospital, breath and disease, between the noise ceiling and the best trivial predictor."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.report.families import COLOURS, Family
from training.report.figures.arms import Mean
from training.report.figures.canvas import canvas

_APART = 0.22


@dataclass(frozen=True, slots=True)
class GroupLine:
    """Patients that have something in common."""

    label: str
    patients: tuple[float, ...]
    """Scores of the main arm."""
    mean: Mean
    ceiling: float
    """Mean over the same patients."""
    trivial: float
    """The same, of the best trivial predictor of all patients."""


def draw_groups(lines: Sequence[GroupLine], *, score: str, trivial: str) -> bytes:
    """One line for each group.

    Args:
        lines: from top to bottom.
        score: name of the axis.
        trivial: which predictor the best trivial one is.
    """
    with canvas(0.95 + 0.26 * len(lines)) as paper:
        place = paper.figure.subplots()
        colour = COLOURS[Family.TRANSFER]
        for at, line in enumerate(lines):
            aside = at + _APART * np.sin(2.4 * np.arange(len(line.patients)))
            place.scatter(line.patients, aside, s=8, color=colour, alpha=0.4, linewidths=0)
            place.plot([line.mean.low, line.mean.high], [at, at], color=colour, linewidth=2.2, solid_capstyle="butt")
            label = None if at else "main arm: patients, mean with interval"
            place.scatter([line.mean.value], [at], s=28, color=colour, edgecolors="white", zorder=4, label=label)
            label = None if at else "noise ceiling, mean"
            place.scatter([line.ceiling], [at], s=70, color=COLOURS[Family.CEILING], marker="|", label=label, zorder=3)
            label = None if at else f"{trivial}, mean"
            place.scatter([line.trivial], [at], s=24, color=COLOURS[Family.BASELINE], marker="x", label=label, zorder=3)
        place.set_yticks(range(len(lines)), [line.label for line in lines])
        place.set_ylim(len(lines) - 0.4, -0.6)
        place.tick_params(axis="y", length=0)
        place.set_xlabel(score)
        paper.figure.legend(loc="outside upper right", ncols=3, handletextpad=0.2)
        return paper.png()
