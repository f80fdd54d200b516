"""Charts of invented cases: limits from the first, news of the newest, and a new beginning with each model."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dicom_node.commissioning.case_figures import RUN_TIME, CaseFigures, FiguresFile
from dicom_node.commissioning.drift import CHARTED, Chart, drift, drift_of_each
from dicom_node.commissioning.expected import MadeBy
from dicom_node.commissioning.figures import FIGURES

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
    still = volumes(kept([*steady(20), 9000.0, *[4000.0] * 14]))
    assert [s.index for s in still.news if s.rule == 1] == [20], "it is the oldest of the fifteen newest"
    cases = kept([*steady(20), 9000.0, *[4000.0] * 15])
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


def test_after_a_rollback_the_old_model_goes_on_with_its_own_charts() -> None:
    new, values = replace(OLD, perfusion="network 2"), steady(30)
    cases = [*kept(values[:25]), *kept([9000.0] * 25, new, first=25), *kept(values[25:], first=50)]
    back = drift(cases)
    assert back.made_by == OLD
    assert volumes(cases).values == tuple(values), "what the other model made is on no chart of this one"
    assert volumes(cases).limits == volumes(kept(values)).limits
    assert [report.made_by for report in drift_of_each(cases)] == [OLD, new]


def test_other_settings_begin_anew() -> None:
    other = replace(OLD, settings_digest="cd")
    assert [len(r.charts[0].values) for r in drift_of_each([*kept(steady(30)), *kept([1.0], other, 30)])] == [1, 30]


def test_a_case_that_was_made_anew_counts_once_and_as_it_was_made_last() -> None:
    again = CaseFigures("c3:2", 99.0, OLD, {"lung_volume": 4711.0})
    chart = volumes([*kept(steady(5)), again])
    assert chart.keys == ("c0:1", "c1:1", "c2:1", "c4:1", "c3:2")
    assert chart.values[-1] == 4711.0


def test_what_the_issue_wants_watched_is_charted() -> None:
    assert {"lung_volume", "lung_hu", "defect_share", "out_of_domain", RUN_TIME, "volume_RML"} <= set(CHARTED)
    figures = {**dict.fromkeys(FIGURES, 1.0), RUN_TIME: 5.0}
    (report,) = drift_of_each([CaseFigures("c:1", 1.0, OLD, figures)])
    assert [chart.name for chart in report.charts] == list(CHARTED)
    assert {chart.name: chart.unit for chart in report.charts}["lung_hu"] == "[hnsf'U]"


@pytest.mark.parametrize("name", CHARTED)
def test_every_chart_sees_a_jump(name: str) -> None:
    figures = [10.0 + 0.1 * (k % 2) for k in range(20)] + [10.05] * 3 + [60.0]
    cases = [CaseFigures(f"c{k}:1", float(k), OLD, {name: value}) for k, value in enumerate(figures)]
    report = drift(cases)
    assert report.news_by_figure()[name][0] == 1
    assert [s.index for s in report.charts[0].news if s.rule == 1] == [23]


def test_first_cases_that_lie_beyond_their_own_limits_are_pointed_out() -> None:
    values = [4000.0, 4010.0] * 10
    values[5] = 5000.0
    chart = volumes(kept(values))
    assert (chart.first_beyond, chart.signals) == ((5,), ())


def test_a_site_may_ask_fewer_rules() -> None:
    cases = kept([*steady(20), 9000.0, *[9000.0] * 3])
    assert {s.rule for s in drift(cases, rules=[1]).charts[0].signals} == {1}
    assert 2 in {s.rule for s in drift(kept([*steady(20), *[4400.0] * 9]), rules=[2]).charts[0].signals}


def test_a_figure_that_is_no_number_is_on_no_chart() -> None:
    assert volumes(kept([4000.0, float("nan"), 4100.0])).values == (4000.0, 4100.0)


def test_a_file_of_self_tests_that_cannot_be_read_makes_way(tmp_path: Path) -> None:
    file, (one, two) = FiguresFile.of_self_tests(tmp_path), kept([1.0, 2.0])
    file.add(one)
    file.add(two)
    assert file.read() == (one, two)
    file.path.write_text("{")
    file.add(two)
    assert file.read() == (two,)
    assert file.path.with_suffix(".unreadable").read_text() == "{"
