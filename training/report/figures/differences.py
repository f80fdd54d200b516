"""Comparisons that were asked beforehand: mean differences over patients, their intervals, what the tests say."""

from collections.abc import Sequence
from dataclasses import dataclass

from training.drawing.palette import FAINT
from training.report.figures.canvas import canvas, rule

CLEAR, UNCLEAR = "#0072b2", FAINT


@dataclass(frozen=True, slots=True)
class Difference:
    """One comparison."""

    label: str
    """Arm and rival."""
    mean: float
    low: float
    high: float
    verdict: str
    """What stands at the right, such as the corrected p."""
    is_clear: bool
    """Whether the test found a difference."""


def draw_differences(groups: Sequence[tuple[str, Sequence[Difference]]]) -> bytes:
    """One panel below the other for each score, each with an axis of its own.

    Args:
        groups: name of the score, with its comparisons from top to bottom.
    """
    counts = [len(differences) for _, differences in groups]
    with canvas(0.35 + sum(0.62 + 0.225 * count for count in counts)) as paper:
        places = paper.figure.subplots(len(groups), 1, squeeze=False, height_ratios=[0.9 + c for c in counts])[:, 0]
        for place, (name, differences) in zip(places, groups, strict=True):
            rule(place, 0.0)
            for line, each in enumerate(differences):
                colour = CLEAR if each.is_clear else UNCLEAR
                place.plot([each.low, each.high], [line, line], color=colour, linewidth=2.2, solid_capstyle="butt")
                place.scatter([each.mean], [line], s=28, color=colour, edgecolors="white", linewidths=0.8, zorder=4)
                beside = {"xycoords": ("axes fraction", "data"), "va": "center", "annotation_clip": False}
                place.annotate(each.verdict, (1.01, line), fontsize=7.5, color=colour, **beside)
            place.set_yticks(range(len(differences)), [each.label for each in differences])
            place.set_ylim(len(differences) - 0.4, -0.6)
            place.tick_params(axis="y", length=0)
            place.set_xlabel(f"difference in {name}")
        return paper.png()
