"""What the JSON API takes and gives about decisions, ratings and edited structure sets. Times are UTC."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from dicom_node.jobs.priorities import Priority
from dicom_node.review.case_review import CaseReview
from dicom_node.review.decision import LONGEST_TEXT, Action, Decision
from dicom_node.review.rating import Changes, Rating
from dicom_node.review.returned_set import Kinship, ReturnedSet
from dicom_node.web.decisions.offers import Offer

MOST_MINUTES = 1440.0
Text = Annotated[str, Field(max_length=LONGEST_TEXT)]
Name = Annotated[str, Field(max_length=64)]


class PageAction(StrEnum):
    """What may be decided about one case."""

    RELEASE = "release"
    REJECT = "reject"
    RETRY = "retry"
    RERUN = "rerun"
    CANCEL = "cancel"
    PRIORITY = "priority"

    @property
    def action(self) -> Action:
        """As the node calls it."""
        return Action.DISCARD if self is PageAction.REJECT else Action(self.value)

    @classmethod
    def of(cls, action: Action) -> "PageAction":
        """As the page calls it."""
        return cls.REJECT if action is Action.DISCARD else cls(action.value)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DecisionAsked(_Frozen):
    """A decision that somebody makes."""

    action: PageAction
    version: Annotated[str, Field(min_length=1, max_length=64)]
    """Of the case as it was shown; the decision is refused once the case has changed."""
    reason: Text = ""
    """Needed to reject, to cancel and to run again."""
    destination: Name = ""
    """Of release, reject and retry: this one only; empty for all that it concerns."""
    priority: Priority = Priority.URGENT
    """Of priority."""
    function_rule: Name = ""
    """Of rerun: in place of the site's; what it gives is held at every destination."""
    model: Annotated[str, Field(max_length=200)] = ""
    """Of rerun: a model of the registry, in place of the one in force; what it gives is held at every destination."""


class DecisionAnswer(_Frozen):
    """What the engine answered."""

    action: PageAction
    case_id: str
    has_effect: bool
    """False if there was nothing to do."""
    queued: list[str]
    """Attempts that were queued."""


class OfferSaid(_Frozen):
    """A decision that may be made now, by whoever has the right."""

    action: PageAction
    right: str
    destinations: list[str]
    for_all: bool
    needs_reason: bool
    consequence: str


class DecisionSaid(_Frozen):
    """A decision as it was recorded."""

    id: str
    at: datetime
    by: str
    role: str
    reason: str | None
    """Null for whoever may not see patients: free text might name one."""
    action: Action
    destination: str
    details: dict[str, str]
    objects: dict[str, list[str]]
    """Of a release: the SOP Instance UIDs that went to each destination."""
    answer: str | None
    """Null: the node was stopped in this moment; the attempts of the case say what became of it."""
    queued: list[str]


class RatingAsked(_Frozen):
    """What a planner says of a result."""

    changes: Changes
    minutes: Annotated[float, Field(ge=0, le=MOST_MINUTES)] | None = None
    """That the changes took."""
    words: Text = ""


class RatingSaid(_Frozen):
    """A rating as it was recorded."""

    id: str
    at: datetime
    by: str
    role: str
    changes: Changes
    minutes: float | None
    words: str | None
    """Null for whoever may not see patients."""
    result_id: str


class RoiChangeSaid(_Frozen):
    """One structure of ours and what became of it."""

    name: str
    ours_ml: float
    edited_ml: float | None
    change_ml: float | None
    change_percent: float | None
    dice: float | None
    code: str


class ReturnedSaid(_Frozen):
    """A structure set that was made from ours and came back."""

    came_at: datetime
    kinship: Kinship
    names_ours: bool
    result_id: str
    other_rois: int
    rois: list[RoiChangeSaid]


class ReviewSaid(_Frozen):
    """What may be decided about a case, and what people decided and said of it."""

    version: str
    offers: list[OfferSaid]
    decisions: list[DecisionSaid]
    ratings: list[RatingSaid]
    returned: list[ReturnedSaid]


def review_said(review: CaseReview, offered: tuple[Offer, ...], *, with_words: bool) -> ReviewSaid:
    """The record of a case; what people wrote only `with_words`, since it might name a patient."""
    return ReviewSaid(
        version=review.version,
        offers=[_offer(each) for each in offered],
        decisions=[_decision(each, with_words) for each in review.decisions],
        ratings=[rating_said(each, with_words=with_words) for each in review.ratings],
        returned=[_returned(each) for each in review.returned],
    )


def rating_said(rating: Rating, *, with_words: bool) -> RatingSaid:
    """A rating as the API says it."""
    return RatingSaid(
        id=rating.id,
        at=datetime.fromisoformat(rating.at),
        by=rating.by,
        role=rating.role,
        changes=rating.changes,
        minutes=rating.minutes,
        words=rating.words if with_words else None,
        result_id=rating.result_id,
    )


def _offer(offer: Offer) -> OfferSaid:
    return OfferSaid(
        action=PageAction.of(offer.action),
        right=offer.right.value,
        destinations=list(offer.destinations),
        for_all=offer.for_all,
        needs_reason=offer.needs_reason,
        consequence=offer.consequence,
    )


def _decision(decision: Decision, with_words: bool) -> DecisionSaid:
    return DecisionSaid(
        id=decision.id,
        at=datetime.fromisoformat(decision.at),
        by=decision.by,
        role=decision.role,
        reason=decision.reason if with_words else None,
        action=decision.action,
        destination=decision.destination,
        details=dict(decision.details),
        objects={name: list(uids) for name, uids in decision.objects.items()},
        answer=decision.answer,
        queued=list(decision.queued),
    )


def _returned(returned: ReturnedSet) -> ReturnedSaid:
    return ReturnedSaid(
        came_at=datetime.fromisoformat(returned.came_at),
        kinship=returned.kinship,
        names_ours=returned.names_ours,
        result_id=returned.result_id,
        other_rois=returned.other_rois,
        rois=[
            RoiChangeSaid(
                name=roi.name,
                ours_ml=roi.ours_ml,
                edited_ml=roi.edited_ml,
                change_ml=roi.change_ml,
                change_percent=roi.change_percent,
                dice=roi.dice,
                code=roi.code,
            )
            for roi in returned.rois
        ],
    )
