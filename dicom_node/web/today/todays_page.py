"""The page that stays open all day: cases, what waits, and how the node is. Without scripts it is read anew by hand."""

from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from pydantic import ValidationError

from dicom_node.jobs.attempts import CaseState
from dicom_node.web.access.rights import Person
from dicom_node.web.guard import Viewer
from dicom_node.web.node import TheNode
from dicom_node.web.page import page
from dicom_node.web.today.case_filter import NO_FILTER, CaseFilter, filter_of
from dicom_node.web.today.case_search import BadCursor, CasePage, find_cases
from dicom_node.web.today.today import TheToday, Today, looking
from dicom_node.web.viewing import told_list

router = APIRouter(lifespan=looking, include_in_schema=False)
_FIELDS: Final = ("q", "state", "received_from", "received_to", "cursor")
_NOTHING: Final = CasePage((), "", 0)
_NOT_UNDERSTOOD: Final = "What was asked for is not understood: {what}. Nothing was looked for."


@router.get("/", response_class=HTMLResponse)
def today_page(request: Request, person: Viewer, today: TheToday, node: TheNode) -> HTMLResponse:
    """Today: cases, destinations, alarms."""
    # Before the cases are read: what changes meanwhile is told once more, and never missed.
    place = today.changes.name_of(today.changes.place())
    fields = [(name, value) for name, value in request.query_params.multi_items() if name in _FIELDS]
    wanted, found, fault = _found(today, person, fields)
    sees_patients = wanted.query(person).sees_patients
    told_list(node, person, {line.case_id: line.subject.patient_id for line in found.lines})
    shown: dict[str, Any] = {
        "cases": [today.answer_of(line, sees_patients=sees_patients) for line in found.lines],
        "found": found,
        "wanted": wanted,
        "fault": fault,
        "sees_patients": sees_patients,
        "next_page": _next_page(fields, found.next_cursor),
        "place": place,
        "states": list(CaseState),
    }
    return page(request, "today.html", person, status=422 if fault else 200, **shown, **_of_node(today))


@router.get("/today/node", response_class=HTMLResponse)
def node_part(request: Request, person: Viewer, today: TheToday) -> HTMLResponse:
    """The part of the page about the node, for a page that is open."""
    return page(request, "today_node.html", person, **_of_node(today))


def _of_node(today: Today) -> dict[str, Any]:
    return {"node": today.node(), "age": age, "clock": clock, "size": size, "now": datetime.now(UTC)}


def _found(today: Today, person: Person, fields: list[tuple[str, str]]) -> tuple[CaseFilter, CasePage, str]:
    """What is looked for, what was found, and why nothing was, if the question was none."""
    try:
        wanted = filter_of(fields)
        return wanted, find_cases(today.index, wanted.query(person), limit=wanted.limit, cursor=wanted.cursor), ""
    except ValidationError as fault:
        what = ", ".join(sorted({str(error["loc"][0]).replace("_", " ") for error in fault.errors() if error["loc"]}))
        return NO_FILTER, _NOTHING, _NOT_UNDERSTOOD.format(what=what)
    except BadCursor as fault:
        return NO_FILTER, _NOTHING, str(fault)


def _next_page(fields: list[tuple[str, str]], cursor: str) -> str:
    """Address of the next page; empty if this is the last."""
    kept = [(name, value) for name, value in fields if name != "cursor" and value]
    return f"/?{urlencode([*kept, ('cursor', cursor)])}" if cursor else ""


def age(since: datetime, now: datetime) -> str:
    """How long ago something was: `40 s`, `12 min`, `3 h 5 min`, `2 d 4 h`. `static/today.js` writes the same."""
    seconds = max(0, round((now - since).total_seconds()))
    if seconds < 60:
        return f"{seconds} s"
    minutes = seconds // 60
    if minutes < 60:
        return f"{minutes} min"
    hours = minutes // 60
    if hours < 24:
        return f"{hours} h {minutes % 60} min"
    return f"{hours // 24} d {hours % 24} h"


def clock(time: datetime) -> str:
    """A time by the clock of the node: `2026-03-01 14:05`."""
    return time.astimezone().strftime("%Y-%m-%d %H:%M")


def size(count: int) -> str:
    """A number of bytes, in decimal units: `812 MB`, `1.2 TB`."""
    for unit, one in (("TB", 1e12), ("GB", 1e9)):
        if count >= one:
            return f"{count / one:.1f} {unit}"
    return f"{count / 1e6:.0f} MB"
