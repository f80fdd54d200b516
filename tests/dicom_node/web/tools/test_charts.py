"""Charts on the page: those of `perfnode drift`, by model, with what broke a rule in words, shapes and a table."""

import itertools
import re
import threading
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from starlette.testclient import TestClient

from dicom_node.commissioning.case_figures import RUN_TIME, CaseFigures, FiguresFile
from dicom_node.commissioning.drift import drift_of_each
from dicom_node.commissioning.expected import MadeBy
from dicom_node.settings.config import NodeSettings
from dicom_node.web.access.rights import PageRole
from dicom_node.web.tools.chart_drawing import HEIGHT, WIDTH, drawn_figure
from dicom_node.web.tools.chart_figures import figure_charts, maker_key
from dicom_node.web.tools.charts import charts_of
from tests.dicom_node.web.conftest import ClientFor

OLD = MadeBy("atlas 1", "network 1 sha256:" + "a" * 64, "median", "ab")
NEW = replace(OLD, perfusion="network 2 sha256:" + "b" * 64)


def kept(values: list[float], made_by: MadeBy = OLD, first: int = 0) -> list[CaseFigures]:
    return [
        CaseFigures(f"{k:016x}:1", 86400.0 * k, made_by, {"lung_volume": value, "lung_hu": -750.0 + k, RUN_TIME: 60.0})
        for k, value in enumerate(values, start=first)
    ]


def steady(count: int) -> list[float]:
    return (4000.0 + 100.0 * np.random.default_rng(3).normal(size=count)).tolist()


@pytest.fixture
def figures(node_settings: NodeSettings) -> list[CaseFigures]:
    """Thirty steady cases and a jump of one model, before that three of another one."""
    found = [*kept(steady(3), NEW), *kept([*steady(30), 9000.0], first=3)]
    FiguresFile.under(node_settings.shared_dir).write(found)
    return found


def test_the_charts_are_those_of_the_command(node_settings: NodeSettings, figures: list[CaseFigures]) -> None:
    charts = charts_of(node_settings, "patients")
    report = drift_of_each(figures)[0]
    assert [chart.name for chart in charts.charts] == [chart.name for chart in report.charts]
    volume = next(chart for chart in charts.charts if chart.name == "lung_volume")
    theirs = next(chart for chart in report.charts if chart.name == "lung_volume")
    assert theirs.limits is not None
    assert volume.limits is not None
    assert (volume.limits.lower, volume.limits.upper) == (theirs.limits.lower, theirs.limits.upper)
    assert volume.values[-1].rules == sorted({s.rule for s in theirs.signals if s.index == 30})
    assert 1 in volume.values[-1].rules
    assert not volume.is_quiet
    assert (volume.unit, volume.total) == ("ml", 31)


def test_charts_are_chosen_by_model(node_settings: NodeSettings, figures: list[CaseFigures]) -> None:
    charts = charts_of(node_settings, "patients", maker_key(NEW))
    assert charts.made_by is not None
    assert charts.made_by.perfusion == NEW.perfusion
    assert {len(chart.values) for chart in charts.charts} == {3}
    assert [chart.limits for chart in charts.charts] == [None] * len(charts.charts)
    assert [maker.perfusion for maker in charts.makers] == [OLD.perfusion, NEW.perfusion]
    unknown = charts_of(node_settings, "patients", "0" * 12).made_by
    assert unknown is not None
    assert unknown.perfusion == OLD.perfusion, "what made the newest result"
    assert charts_of(node_settings, "self-tests").charts == []


def test_a_picture_keeps_within_its_frame_and_says_what_it_shows() -> None:
    (report,) = drift_of_each(kept([*steady(30), 9000.0]))
    chart = next(chart for chart in figure_charts(report) if chart.name == "lung_volume")
    drawn = drawn_figure(chart)
    assert len(drawn.dots) == 31
    assert all(0 < x < WIDTH and 0 < y < HEIGHT for x, y in drawn.dots)
    assert drawn.dots[-1][1] == min(y for _, y in drawn.dots), "the jump is the highest point"
    (mark,) = [mark for mark in drawn.marks if mark.x == drawn.dots[-1][0]]
    assert "1" in mark.label.split(",")
    labels = [line.label for line in drawn.lines if line.label]
    assert [label.partition(" ")[0] for label in labels] == ["+3", "mean", "\N{MINUS SIGN}3"]
    places = [line.label_y for line in drawn.lines if line.label]
    assert all(below - above >= 12 for above, below in itertools.pairwise(places)), "none lies on another"
    assert drawn.shaded_width == pytest.approx(20 / 31 * 630, abs=0.1)
    assert "31 values" in drawn.description
    assert "rule 1" in drawn.description


def test_one_value_and_equal_values_can_be_drawn() -> None:
    for values in ([4000.0], [4000.0] * 40, [0.0] * 25):
        (report,) = drift_of_each(kept(values))
        assert len(drawn_figure(figure_charts(report)[0]).dots) == len(values)


def test_the_page_shows_each_chart_as_accessible_svg_with_its_table(
    client_for: ClientFor, figures: list[CaseFigures]
) -> None:
    page = client_for(PageRole.VIEWER).get("/tools/charts")
    assert page.status_code == 200
    drawn = re.findall(r"<svg.*?</svg>", page.text, re.DOTALL)
    pictures = [ElementTree.fromstring(svg) for svg in drawn]  # noqa: S314  # our own page
    assert len(pictures) == 4, "volume, HU, run time, refusals"
    for picture in pictures:
        names = picture.attrib["aria-labelledby"].split()
        assert [picture.find("title"), picture.find("desc")] != [None, None]
        assert {element.get("id") for element in picture.iter()} >= set(names)
        assert not [element for element in picture.iter() if "style" in element.attrib or element.tag == "script"]
    assert page.text.count("<table") == 4
    assert "9000" in page.text
    assert "One value lies beyond 3 standard deviations." in page.text


def test_the_api_tells_the_same(client_for: ClientFor, figures: list[CaseFigures]) -> None:
    client = client_for(PageRole.VIEWER)
    found = client.get("/api/v1/charts", params={"made_by": maker_key(NEW)}).json()
    assert found["made_by"]["key"] == maker_key(NEW)
    assert client.get("/api/v1/charts", params={"of": "nobody"}).status_code == 422
    assert client.get("/api/v1/charts", params={"made_by": "../x"}).status_code == 422
    assert len(found["rules"]) == 8


def test_an_empty_node_has_a_page(client_for: ClientFor) -> None:
    assert "No result has been charted yet." in client_for(PageRole.VIEWER).get("/tools/charts").text


def test_collecting_is_for_operators_and_writes_what_was_found(
    client_for: ClientFor, node_settings: NodeSettings
) -> None:
    viewer: TestClient = client_for(PageRole.VIEWER)
    assert viewer.post("/api/v1/charts/collect").status_code == 403
    assert viewer.post("/tools/charts").status_code == 403
    operator = client_for(PageRole.OPERATOR)
    assert charts_of(node_settings, "patients").looked_at == ""
    assert operator.post("/api/v1/charts/collect").status_code == 204
    assert charts_of(node_settings, "patients").looked_at != ""
    assert operator.post("/tools/charts").status_code == 303


def test_only_one_collects_at_a_time(client_for: ClientFor, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = threading.Lock()
    monkeypatch.setattr("dicom_node.web.tools.charts._collecting", taken)
    operator = client_for(PageRole.OPERATOR)
    with taken:
        answer = operator.post("/api/v1/charts/collect")
        assert (answer.status_code, answer.json()["code"]) == (409, "COLLECTING")
    assert operator.post("/api/v1/charts/collect").status_code == 204


def test_figures_name_no_patient(figures: list[CaseFigures], node_settings: NodeSettings) -> None:
    assert Path(FiguresFile.under(node_settings.shared_dir).path).exists()
    (first, *_) = charts_of(node_settings, "patients").charts[0].values
    assert re.fullmatch(r"[0-9a-f]{16}:1", first.case)
