"""The JSON API of decisions and ratings."""

from typing import Annotated

from fastapi import APIRouter, HTTPException, Path

from dicom_node.review.decision import Deciding, plain_text
from dicom_node.web.access.rights import Person, Right
from dicom_node.web.decisions.carrying_out import carry_out
from dicom_node.web.decisions.offers import RIGHT_OF, offers
from dicom_node.web.decisions.said import (
    DecisionAnswer,
    DecisionAsked,
    PageAction,
    RatingAsked,
    RatingSaid,
    ReviewSaid,
    rating_said,
    review_said,
)
from dicom_node.web.decisions.subject_line import existing_case
from dicom_node.web.guard import Approver, Operator, Viewer
from dicom_node.web.node import TheNode
from dicom_node.web.viewing import told_view

router = APIRouter(tags=["decisions"])
CaseId = Annotated[str, Path(description="Id of a case, whole: 16 hexadecimal digits.")]


@router.get("/api/v1/cases/{case_id}/decisions")
def case_decisions(case_id: CaseId, node: TheNode, person: Viewer) -> ReviewSaid:
    """What may be decided about a case now, and what people decided and said of it."""
    existing_case(node.settings, case_id)
    told_view(node, person, case_id)
    details = node.operations.show(case_id)
    offered = tuple(offer for offer in offers(details.case) if person.may(offer.right))
    return review_said(details.review, offered, with_words=person.may(Right.SEE_PATIENTS))


@router.post("/api/v1/cases/{case_id}/decisions")
def decide(case_id: CaseId, asked: DecisionAsked, node: TheNode, person: Operator) -> DecisionAnswer:
    """Decide. To release or to reject takes the right to approve.

    The decision carries the version of the case as it was shown, so two clicks, or two people, decide once.
    """
    require_right(person, asked.action)
    existing_case(node.settings, case_id)
    change = carry_out(node.operations, case_id, asked, person)
    queued = [str(attempt) for attempt in change.queued]
    return DecisionAnswer(action=asked.action, case_id=case_id, has_effect=change.has_effect, queued=queued)


@router.post("/api/v1/cases/{case_id}/ratings", status_code=201)
def rate(case_id: CaseId, asked: RatingAsked, node: TheNode, person: Approver) -> RatingSaid:
    """Say how much of a result had to be changed before it could be used."""
    existing_case(node.settings, case_id)
    deciding = Deciding(person.name, person.role, plain_text(asked.words))
    return rating_said(node.operations.rate(case_id, deciding, asked.changes, asked.minutes), with_words=True)


def require_right(person: Person, action: PageAction) -> None:
    """Refuse a decision that the role does not include.

    Raises:
        HTTPException: 403.
    """
    right = RIGHT_OF[action.action]
    if not person.may(right):
        raise HTTPException(403, f"NOT_ALLOWED: your role, {person.role}, does not include this ({right}).")
