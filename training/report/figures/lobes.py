"""The mean perfusion of each lobe, predicted beside measured, over patients; and how far both lie apart."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from inference.anatomy import Lobe
from training.drawing.palette import FAINT, LOBE_COLOURS_ON_WHITE
from training.report.figures.canvas import canvas, rule
from training.report.numbers import number


@dataclass(frozen=True, slots=True, eq=False)
class LobePoints:
    """Means of one lobe, one of each patient that has it, in multiples of the lungs' mean."""

    predicted: Float[np.ndarray, " patients"]
    spect: Float[np.ndarray, " patients"]
    truth: Float[np.ndarray, " patients"]
    note: str
    """Below the name of the lobe, such as its correlations."""


def draw_lobes(lobes: Mapping[Lobe, LobePoints]) -> bytes:
    """Five panels of equal scale: predicted over SPECT; on the line both agree."""
    low, high = _limits(lobes)
    with canvas(2.3) as paper:
        places = paper.figure.subplots(1, len(lobes), sharex=True, sharey=True, squeeze=False)[0]
        for place, (lobe, points) in zip(places, lobes.items(), strict=True):
            place.plot([low, high], [low, high], color=FAINT, linewidth=0.8, linestyle=(0, (4, 3)))
            place.scatter(points.spect, points.predicted, s=13, color=LOBE_COLOURS_ON_WHITE[lobe], linewidths=0)
            place.set_title(f"{lobe.name}\n{points.note}", loc="left", fontsize=7.5)
            place.set_xlim(low, high)
            place.set_ylim(low, high)
            place.set_aspect("equal")
        paper.figure.supxlabel("lobe mean in the SPECT, × mean of both lungs", fontsize=8.5)
        places[0].set_ylabel("predicted,\n× mean of both lungs")
        return paper.png()


def draw_bland_altman(lobes: Mapping[Lobe, LobePoints]) -> bytes:
    """Difference over mean of both, against the SPECT and against the truth, with bias and 95 % limits of agreement."""
    with canvas(3.0) as paper:
        places = paper.figure.subplots(1, 2, sharey=True, sharex=True)
        for place, name in zip(places, ("spect", "truth"), strict=True):
            _draw_differences(place, lobes, name)
        places[0].set_ylabel("predicted − reference,\n× mean of both lungs")
        places[0].set_title("against the SPECT", loc="left")
        places[1].set_title("against the truth at SPECT resolution", loc="left")
        places[1].legend(ncols=1, loc="center left", bbox_to_anchor=(1.0, 0.5), handletextpad=0.1)
        return paper.png()


def _draw_differences(place: Axes, lobes: Mapping[Lobe, LobePoints], name: str) -> None:
    differences = []
    for lobe, points in lobes.items():
        reference = getattr(points, name)
        difference = points.predicted - reference
        middle = 0.5 * (points.predicted + reference)
        place.scatter(middle, difference, s=13, color=LOBE_COLOURS_ON_WHITE[lobe], linewidths=0, label=lobe.name)
        differences.append(difference)
    every = np.concatenate(differences)
    bias = float(every.mean())
    half = 1.96 * float(every.std(ddof=1)) if every.size > 1 else 0.0
    rule(place, 0.0, upright=False)
    place.axhline(bias, color="black", linewidth=1.0)
    for limit, word in ((bias + half, "bias + 1.96 SD"), (bias - half, "bias − 1.96 SD")):
        place.axhline(limit, color="black", linewidth=0.7, linestyle=":")
        _told(place, limit, f"{word}: {number(limit, 2, signed=True)}")
    _told(place, bias, f"bias: {number(bias, 3, signed=True)}")
    place.set_xlabel("mean of predicted and reference, × mean of both lungs")


def _told(place: Axes, height: float, words: str) -> None:
    """What a line across means, above its right end."""
    where: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
    place.annotate(words, (0.995, height), xytext=(0, 2), fontsize=7, ha="right", va="bottom", **where)


def _limits(lobes: Mapping[Lobe, LobePoints]) -> tuple[float, float]:
    every = np.concatenate([part for points in lobes.values() for part in (points.predicted, points.spect)])
    room = 0.05 * (float(every.max() - every.min()) or 1.0)
    return float(every.min()) - room, float(every.max()) + room
