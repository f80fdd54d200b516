"""Charts of invented cases: limits from the first, news of the newest, and a new beginning with each model."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dicom_node.commissioning.case_figures import RUN_TIME, CaseFigures, FiguresFile
from dicom_node.commissioning.drift import NEWEST, Chart, drift
from dicom_node.commissioning.expected import MadeBy

OLD = MadeBy("atlas 1", "network 1", "median", "ab")


def kept(volumes_ml: list[float], made_by: MadeBy = OLD, first: int = 0) -> list[CaseFigures]:
    return [
        CaseFigures(f"c{k}:1", float(k), made_by, {"lung_volume": volume_ml, RUN_TIME: 60.0})
        for k, volume_ml in enumerate(volumes_ml, start=first)
    ]


def steady(count: int) -> list[float]:
    return (4000.0 + 300.0 * np.random.default_rng(3).normal(size=count)).tolist()


def volumes(cases: list[CaseFigures]) -> Chart:
    return next(chart for chart in drift(cases).charts if chart.name == "lung_volume")


def test_a_steady_node_is_quiet_and_a_jump_is_news() -> None:
    cases = kept(steady(40))
    chart = volumes(cases)
    assert chart.limits is not None
    assert chart.limits.mean == pytest.approx(np.mean(steady(20)))
    assert [s.rule for s in chart.news if s.rule == 1] == []
    jumped = volumes([*cases, *kept([9000.0], first=40)])
    assert [(s.rule, s.index) for s in jumped.news if s.rule == 1] == [(1, 40)]
    assert not drift([*cases, *kept([9000.0], first=40)]).is_quiet


def test_what_is_long_past_is_no_news() -> None:
    cases = kept([*steady(20), 9000.0, *[4000.0] * NEWEST])
    assert [s.index for s in volumes(cases).signals if s.rule == 1] == [20]
    assert [s.index for s in volumes(cases).news if s.rule == 1] == []


def test_too_few_cases_have_a_chart_without_limits() -> None:
    chart = volumes(kept(steady(19)))
    assert (chart.limits, chart.signals, len(chart.values)) == (None, (), 19)
    assert drift([]).is_quiet


def test_another_model_begins_anew() -> None:
    new = replace(OLD, perfusion="network 2")
    report = drift([*kept(steady(30)), *kept([5000.0] * 3, new, first=30)])
    assert report.made_by == new
    assert [len(chart.values) for chart in report.charts] == [3, 3]


def test_the_cases_that_limits_come_from_raise_no_signal() -> None:
    values = steady(20)
    values[5] = 9000.0
    assert volumes(kept(values)).signals == ()


def test_what_is_kept_is_read_again_in_order_of_time(tmp_path: Path) -> None:
    file, cases = FiguresFile.under(tmp_path), kept(steady(3))
    assert file.read() == ()
    file.write(cases[::-1])
    assert file.read() == tuple(cases)
    file.path.write_text('{"key": "c"}\n')
    with pytest.raises(ValueError, match="none of ours"):
        file.read()
