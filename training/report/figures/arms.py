"""Every arm beside the ceiling and the trivial predictors: each patient a point, the mean with its interval."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from training.drawing.palette import BAND
from training.report.families import COLOURS, Family
from training.report.figures.canvas import LETTERS, canvas, rule

_APART = 0.30
"""How far points of one line lie from its middle."""


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over patients with its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Strip:
    """One line of the picture."""

    label: str
    family: Family
    patients: tuple[tuple[float, ...], ...]
    """For each panel, the score of every patient."""
    means: tuple[Mean, ...]
    """For each panel."""


def draw_arms(strips: Sequence[Strip], panels: Sequence[str]) -> bytes:
    """One panel for each score, one line for each strip, in their order.

    Args:
        strips: what is drawn, from top to bottom; the first is the ceiling.
        panels: names of the scores, with what they are taken on.
    """
    with canvas(0.75 + 0.235 * len(strips)) as paper:
        places = np.atleast_1d(paper.figure.subplots(1, len(panels), sharey=True))
        for number, (place, name) in enumerate(zip(places, panels, strict=True)):
            for line, strip in enumerate(strips):
                _draw_strip(place, line, strip, number)
            ceiling = strips[0].means[number]
            place.axvspan(ceiling.low, ceiling.high, color=BAND, alpha=0.7, linewidth=0, zorder=0)
            rule(place, 0.0)
            place.set_xlabel(name)
            place.set_ylim(len(strips) - 0.4, -0.6)
            place.tick_params(axis="y", length=0)
        places[0].set_yticks(range(len(strips)), [strip.label for strip in strips])
        for text, strip in zip(places[0].get_yticklabels(), strips, strict=True):
            text.set_color(COLOURS[strip.family])
            text.set_fontsize(LETTERS)
        for place in places:
            for line in range(1, len(strips)):
                if strips[line].family is not strips[line - 1].family:
                    place.axhline(line - 0.5, color=BAND, linewidth=0.8)
        return paper.png()


def _draw_strip(place: Axes, line: int, strip: Strip, panel: int) -> None:
    colour, scores = COLOURS[strip.family], np.asarray(strip.patients[panel])
    aside = line + _APART * np.sin(2.4 * np.arange(scores.size))
    place.scatter(scores, aside, s=7, color=colour, alpha=0.38, linewidths=0, zorder=2)
    mean = strip.means[panel]
    place.plot([mean.low, mean.high], [line, line], color=colour, linewidth=2.2, solid_capstyle="butt", zorder=3)
    place.scatter([mean.value], [line], s=26, color=colour, edgecolors="white", linewidths=0.8, zorder=4)
