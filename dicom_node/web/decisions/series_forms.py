"""The page on which a series that is no case is released or discarded: held, interrupted, or put aside by a rule."""

from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Form, Path, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from dicom_node.errors import NodeError, ReasonMissing, UnknownSeries
from dicom_node.operations import arrival_version
from dicom_node.reception.arrivals import Arrival, ArrivalState
from dicom_node.review.decision import LONGEST_TEXT, Deciding, plain_text
from dicom_node.web.access.rights import Person
from dicom_node.web.fault_answers import status_of
from dicom_node.web.guard import Approver
from dicom_node.web.node import TheNode, WebNode
from dicom_node.web.page import page

router = APIRouter(include_in_schema=False)
SeriesKey = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]
Name = Annotated[str, Form(max_length=64)]
Text = Annotated[str, Form(max_length=20 * LONGEST_TEXT)]
_DECIDED = (ArrivalState.RECEIVING, ArrivalState.RELEASED)
"""States in which there is nothing to decide."""


class SeriesAction(StrEnum):
    """What may be decided about a series."""

    RELEASE = "release"
    DISCARD = "discard"


@router.get("/series/{series_key}/decide", response_class=HTMLResponse)
def ask(request: Request, series_key: SeriesKey, node: TheNode, person: Approver) -> Response:
    """Say what the series is and what follows from each decision; nobody can tell the patient before it is a case."""
    return _asked(request, node, person, series_key)


@router.post("/series/{series_key}/decide", response_class=HTMLResponse)
def decide(
    request: Request,
    series_key: SeriesKey,
    node: TheNode,
    person: Approver,
    action: Annotated[SeriesAction, Form()],
    version: Name,
    reason: Text = "",
) -> Response:
    """Carry the decision out; or say why not, and ask again with what was written."""
    try:
        deciding = Deciding(person.name, person.role, plain_text(reason), version or "none")
        if action is SeriesAction.DISCARD:
            if not deciding.reason:
                raise ReasonMissing(action)
            node.operations.discard(series_key, deciding=deciding)
        else:
            node.operations.release(series_key, deciding=deciding)
    except NodeError as fault:
        if (status := status_of(fault)) >= 500 or isinstance(fault, UnknownSeries):
            raise
        return _asked(request, node, person, series_key, reason, (fault.code, str(fault)), status)
    return RedirectResponse("/", 303)


def _asked(
    request: Request,
    node: WebNode,
    person: Person,
    series_key: str,
    reason: str = "",
    refused: tuple[str, str] | None = None,
    status: int = 200,
) -> HTMLResponse:
    arrival = _arrival(node, series_key)
    return page(
        request,
        "series_decision.html",
        person,
        status=status,
        arrival=arrival,
        version=arrival_version(arrival),
        can_release=arrival.state not in _DECIDED,
        can_discard=arrival.state not in (*_DECIDED, ArrivalState.DISCARDED),
        refused=refused,
        reason=reason,
        longest=LONGEST_TEXT,
    )


def _arrival(node: WebNode, series_key: str) -> Arrival:
    found = [arrival for arrival in node.operations.jobs(limit=0).arrivals if arrival.series_key == series_key]
    if not found:
        raise UnknownSeries(series_key, 0)
    return found[0]
