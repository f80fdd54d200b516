"""Learning curves: what the validation patients scored and what training lost, by optimiser step."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from training.history import Look
from training.report.figures.canvas import canvas

LINES = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#000000")
"""Okabe and Ito."""
_DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.2, 1.2, 1.2)))


@dataclass(frozen=True, slots=True)
class Curve:
    """All runs of one arm, or of one network's pre-training."""

    label: str
    runs: tuple[tuple[Look, ...], ...]
    """One of each fold and seed."""


@dataclass(frozen=True, slots=True)
class Course:
    """Curves that are looked at together."""

    title: str
    curves: tuple[Curve, ...]


def draw_learning(courses: Sequence[Course]) -> bytes:
    """One column for each course: above the score that chose the best step, below the losses."""
    with canvas(5.9) as paper:
        places = paper.figure.subplots(3, len(courses), squeeze=False, height_ratios=(3.0, 2.2, 1.2))
        for column, course in enumerate(courses):
            above, below, names = places[:, column]
            names.set_axis_off()
            above.sharex(below)
            above.tick_params(labelbottom=False)
            above.set_title(course.title, loc="left")
            for number, curve in enumerate(course.curves):
                _draw_curve(above, below, curve, number)
            below.set_xlabel("optimiser steps")
            names.legend(*above.get_legend_handles_labels(), loc="upper left", borderaxespad=0.0)
            above.set_ylim(*_range(course, "validation_spearman"))
            below.set_ylim(0.0, _range(course, "validation_loss")[1])
        places[0, 0].set_ylabel("Spearman R, eroded,\nvalidation patients")
        places[1, 0].set_ylabel("loss: validation (thick),\ntraining (thin)")
        return paper.png()


def _draw_curve(above: Axes, below: Axes, curve: Curve, number: int) -> None:
    colour, dashes = LINES[number % len(LINES)], _DASHES[number % len(_DASHES)]
    steps = common_steps(curve)
    scores = _values(curve, steps, "validation_spearman")
    above.plot(steps, np.nanmean(scores, axis=0), color=colour, linestyle=dashes, linewidth=1.4, label=curve.label)
    if len(scores) > 1:
        low, high = np.nanmin(scores, axis=0), np.nanmax(scores, axis=0)
        above.fill_between(steps, low, high, color=colour, alpha=0.13, linewidth=0)
    losses = np.nanmean(_values(curve, steps, "validation_loss"), axis=0)
    below.plot(steps, losses, color=colour, linestyle=dashes, linewidth=1.4)
    told = _values(curve, steps[1:], "training_loss")
    if told.size:
        below.plot(steps[1:], np.nanmean(told, axis=0), color=colour, linestyle=dashes, linewidth=0.6)


def common_steps(curve: Curve) -> list[int]:
    """The steps at which every run looked."""
    return sorted(set.intersection(*({look.step for look in run} for run in curve.runs)))


def _values(curve: Curve, steps: Sequence[int], name: str) -> np.ndarray:
    by_run = ({look.step: getattr(look, name) for look in run} for run in curve.runs)
    rows = [[np.nan if run[step] is None else run[step] for step in steps] for run in by_run]
    return np.array(rows, dtype=float).reshape(len(curve.runs), len(steps))


def _range(course: Course, name: str) -> tuple[float, float]:
    """From a little below the tenth part to a little above the largest value: early steps may be far off."""
    looks = [look for curve in course.curves for run in curve.runs for look in run if look.step > 0] or [
        look for curve in course.curves for run in curve.runs for look in run
    ]
    values = np.array([getattr(look, name) for look in looks])
    low, high = float(np.percentile(values, 5)), float(values.max())
    room = 0.08 * max(high - low, 1e-3)
    return low - room, high + room
