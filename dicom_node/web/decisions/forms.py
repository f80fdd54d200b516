"""The pages on which a decision is asked once more, and on which a result is rated; they work without scripts."""

from typing import Annotated, Any

from fastapi import APIRouter, Form, Path, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import BeforeValidator

from dicom_node.errors import CaseChanged, NodeError
from dicom_node.jobs.priorities import Priority
from dicom_node.review.decision import LONGEST_TEXT, Deciding, plain_text
from dicom_node.review.rating import Changes
from dicom_node.web.access.rights import Person
from dicom_node.web.decisions.api import require_right
from dicom_node.web.decisions.carrying_out import carry_out
from dicom_node.web.decisions.offers import TITLES, offer_of
from dicom_node.web.decisions.said import MOST_MINUTES, DecisionAsked, PageAction
from dicom_node.web.decisions.subject_line import existing_case, subject_line
from dicom_node.web.fault_answers import status_of
from dicom_node.web.guard import Approver, Operator
from dicom_node.web.node import TheNode, WebNode
from dicom_node.web.page import page
from dicom_node.web.viewing import told_view
from inference.function_regions import RULES

router = APIRouter(include_in_schema=False)
CaseId = Annotated[str, Path()]
Name = Annotated[str, Form(max_length=64)]
Reference = Annotated[str, Form(max_length=200)]
Text = Annotated[str, Form(max_length=20 * LONGEST_TEXT)]
"""Longer than is kept, so that whoever writes too much is told so and finds the text again."""
Minutes = Annotated[float | None, BeforeValidator(lambda text: text or None), Form()]
_NOTHING = ("NOTHING_TO_DO", "There was nothing to do: the case does not stand where this would change anything.")


@router.get("/cases/{case_id}/decide/{action}", response_class=HTMLResponse)
def ask(request: Request, case_id: CaseId, action: PageAction, node: TheNode, person: Operator) -> Response:
    """Ask once more: who is the patient, what is decided, and what follows from it."""
    require_right(person, action)
    return _asked_again(request, node, person, case_id, action)


@router.post("/cases/{case_id}/decide/{action}", response_class=HTMLResponse)
def decide(
    request: Request,
    case_id: CaseId,
    action: PageAction,
    node: TheNode,
    person: Operator,
    version: Name,
    reason: Text = "",
    destination: Name = "",
    priority: Annotated[Priority, Form()] = Priority.URGENT,
    function_rule: Name = "",
    model: Reference = "",
) -> Response:
    """Carry a decision out, and show the case; or say why not, and ask again with what was written."""
    require_right(person, action)
    existing_case(node.settings, case_id)
    written = {"reason": reason, "destination": destination, "function_rule": function_rule, "model": model}
    try:
        fields: dict[str, Any] = {**written, "reason": plain_text(reason), "version": version or "none"}
        asked = DecisionAsked(action=action, priority=priority, **fields)
        change = carry_out(node.operations, case_id, asked, person)
    except NodeError as fault:
        if (status := status_of(fault)) >= 500:
            raise
        return _asked_again(request, node, person, case_id, action, written, (fault.code, str(fault)), status)
    if not change.has_effect:
        return _asked_again(request, node, person, case_id, action, written, _NOTHING, 409)
    return RedirectResponse(f"/cases/{case_id}#decisions", 303)


@router.get("/cases/{case_id}/rate", response_class=HTMLResponse)
def ask_rating(request: Request, case_id: CaseId, node: TheNode, person: Approver) -> Response:
    """The form of a planner's rating."""
    return _rating(request, node, person, case_id)


@router.post("/cases/{case_id}/rate", response_class=HTMLResponse)
def rate(
    request: Request,
    case_id: CaseId,
    node: TheNode,
    person: Approver,
    changes: Annotated[Changes, Form()],
    minutes: Minutes = None,
    words: Text = "",
) -> Response:
    """Keep a rating, and show the case."""
    existing_case(node.settings, case_id)
    refused = ("MINUTES_OUT_OF_RANGE", f"Minutes lie between 0 and {MOST_MINUTES:.0f}. Nothing was kept.")
    if minutes is not None and not 0 <= minutes <= MOST_MINUTES:
        return _rating(request, node, person, case_id, refused, words, 422)
    try:
        deciding = Deciding(person.name, person.role, plain_text(words))
    except NodeError as fault:
        return _rating(request, node, person, case_id, (fault.code, str(fault)), words, 422)
    node.operations.rate(case_id, deciding, changes, minutes)
    return RedirectResponse(f"/cases/{case_id}#decisions", 303)


def _asked_again(
    request: Request,
    node: WebNode,
    person: Person,
    case_id: str,
    action: PageAction,
    written: dict[str, str] | None = None,
    refused: tuple[str, str] | None = None,
    status: int = 200,
) -> HTMLResponse:
    folder = existing_case(node.settings, case_id)
    told_view(node, person, case_id)
    details = node.operations.show(case_id)
    offer = offer_of(details.case, action.action)
    return page(
        request,
        "decision_form.html",
        person,
        status=409 if offer is None and status == 200 else status,
        case=details.case,
        subject=subject_line(folder),
        action=action,
        title=TITLES[action.action],
        offer=offer,
        version=details.review.version,
        refused=refused,
        is_stale=refused is not None and refused[0] == CaseChanged.code,
        written=written or {"reason": "", "destination": "", "function_rule": "", "model": ""},
        longest=LONGEST_TEXT,
        priority=details.record.priority,
        priorities=list(Priority),
        rules=sorted(RULES),
        rule_in_force=node.settings.engine.function_rule.name,
        models=[model.reference for model in node.settings.model_registry().models()],
    )


def _rating(
    request: Request,
    node: WebNode,
    person: Person,
    case_id: str,
    refused: tuple[str, str] | None = None,
    words: str = "",
    status: int = 200,
) -> HTMLResponse:
    folder = existing_case(node.settings, case_id)
    told_view(node, person, case_id)
    return page(
        request,
        "rating_form.html",
        person,
        status=status,
        case_id=case_id,
        subject=subject_line(folder),
        refused=refused,
        words=words,
        choices=list(Changes),
        longest=LONGEST_TEXT,
        most_minutes=MOST_MINUTES,
    )
