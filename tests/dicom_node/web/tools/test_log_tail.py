"""The log on the page: by level and case, what is new since the last answer, and for administrators."""

import json
from pathlib import Path

import pytest

from dicom_node.recent_log import RecentLog
from dicom_node.web.access.rights import PageRole
from dicom_node.web.tools.log_tail import tail_of
from tests.dicom_node.web.conftest import ClientFor

CASE, OTHER = "00aa00aa00aa00aa", "00bb00bb00bb00bb"


@pytest.fixture
def log(node_folder: Path) -> RecentLog:
    """Three lines."""
    log = RecentLog.under(node_folder / "data")
    add(log, "case_opened", "info", CASE, instances=3)
    add(log, "stage_crashed", "error", CASE, fault=[{"kind": "ValueError", "at": ["a.py:1 f"]}])
    add(log, "case_opened", "info", OTHER)
    return log


def add(log: RecentLog, event: str, level: str, case: str = "", **fields: object) -> None:
    stamp = "2026-11-26T10:00:00Z"
    log.add(json.dumps({"event": event, "level": level, "timestamp": stamp, "logger": "x", "case": case, **fields}))


def test_lines_are_chosen_by_level_and_case(log: RecentLog) -> None:
    assert [line.event for line in tail_of(log, "info", "", "").lines] == [
        "case_opened",
        "stage_crashed",
        "case_opened",
    ]
    (crash,) = tail_of(log, "warning", CASE[:4], "").lines
    assert (crash.event, crash.case) == ("stage_crashed", CASE)
    assert crash.fields == {"fault": "kind ValueError, at a.py:1 f"}
    assert tail_of(log, "error", OTHER, "").lines == []


def test_an_id_in_another_field_is_no_line_of_the_case(log: RecentLog) -> None:
    add(log, "something", "info", OTHER, said=CASE)
    assert {line.case for line in tail_of(log, "debug", CASE, "").lines} == {CASE}


def test_only_what_is_new_and_the_newest_when_there_is_too_much(log: RecentLog) -> None:
    first = tail_of(log, "info", "", "", most=2)
    assert (len(first.lines), first.is_cut) == (2, True)
    assert [line.event for line in first.lines] == ["stage_crashed", "case_opened"]
    add(log, "later", "info")
    assert [line.event for line in tail_of(log, "info", "", first.after).lines] == ["later"]


def test_the_page_and_the_api_show_it_as_text(client_for: ClientFor, log: RecentLog) -> None:
    add(log, "<script>alert(1)</script>", "warning", CASE)
    client = client_for(PageRole.ADMINISTRATOR)
    page = client.get("/tools/log", params={"case": CASE})
    assert "<script>alert" not in page.text
    assert "&lt;script&gt;alert" in page.text
    found = client.get("/api/v1/log", params={"case": CASE, "level": "error"}).json()
    assert [line["event"] for line in found["lines"]] == ["stage_crashed"]
    assert client.get("/api/v1/log", params={"after": found["after"]}).json()["lines"] == []


@pytest.mark.parametrize("asked", [{"case": "../x"}, {"level": "loud"}, {"after": "x"}, {"case": "0" * 17}])
def test_what_does_not_fit_is_refused(client_for: ClientFor, asked: dict[str, str]) -> None:
    assert client_for(PageRole.ADMINISTRATOR).get("/api/v1/log", params=asked).status_code == 422


def test_the_log_is_for_administrators(client_for: ClientFor) -> None:
    approver = client_for(PageRole.APPROVER)
    assert approver.get("/tools/log").status_code == 403
    assert approver.get("/api/v1/log").status_code == 403
