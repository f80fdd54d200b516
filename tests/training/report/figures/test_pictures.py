"""Pictures are drawn from the right numbers."""

import io

import numpy as np
import pytest
from PIL import Image

from inference.anatomy import Lobe
from training.history import Look
from training.report.families import Family
from training.report.figures.arms import Mean, Strip, draw_arms
from training.report.figures.learning import Course, Curve, common_steps, draw_learning
from training.report.figures.lobes import LobePoints, draw_bland_altman
from training.report.figures.voxels import EDGES, VoxelCloud


def size(picture: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(picture)) as image:
        return image.size


def test_each_patient_has_the_same_weight_among_the_voxels() -> None:
    few, many = np.full(10, 0.5), np.full(1000, 1.5)
    cloud = VoxelCloud.of("t", "a", "u", [(few, few), (many, 2.0 * many)])
    assert cloud.share.sum() == pytest.approx(1.0)
    at = np.searchsorted(EDGES, 0.5, side="right") - 1
    assert cloud.share[at, at] == pytest.approx(0.5)
    beyond = np.searchsorted(EDGES, 1.5, side="right") - 1
    assert cloud.share[beyond, -1] == pytest.approx(0.5), "3.0 lies beyond the last edge, so in the last bin"


def test_a_picture_grows_with_its_lines_and_not_with_settings_of_the_user() -> None:
    import matplotlib as mpl

    strips = [Strip(str(n), Family.CEILING, ((0.5, 0.6),), (Mean(0.55, 0.5, 0.6),)) for n in range(6)]
    plain = draw_arms(strips, ["score"])
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red"}):
        assert draw_arms(strips, ["score"]) == plain
    assert size(draw_arms(strips[:2], ["score"]))[1] < size(plain)[1]


def test_runs_that_looked_at_other_steps_are_drawn_where_all_looked() -> None:
    def run(steps: tuple[int, ...], score: float) -> tuple[Look, ...]:
        return tuple(Look(step, None if step == 0 else 0.3, 0.2, score, 1e-3, 1.0) for step in steps)

    both = Curve("both", (run((0, 50, 100), 0.5), run((0, 100, 150), 0.7)))
    assert common_steps(both) == [0, 100]
    alike = Curve("both", (run((0, 100), 0.5), run((0, 100), 0.7)))
    assert draw_learning([Course("c", (alike,))]) != draw_learning([Course("c", (Curve("one", alike.runs[:1]),))])


def test_a_bias_moves_the_bland_altman_picture() -> None:
    values = np.linspace(0.8, 1.2, 12)
    same = {Lobe.RUL: LobePoints(values, values, values, "")}
    off = {Lobe.RUL: LobePoints(values + 0.1, values, values, "")}
    assert draw_bland_altman(same) != draw_bland_altman(off)
