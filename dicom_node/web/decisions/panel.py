"""What the page of a case shows about decisions: what may be decided now, and what people decided and said."""

from dataclasses import dataclass

from dicom_node.operations import CaseDetails
from dicom_node.review.case_review import CaseReview
from dicom_node.web.access.rights import Person, Right
from dicom_node.web.decisions.offers import TITLES, Offer, offers
from dicom_node.web.decisions.said import PageAction


@dataclass(frozen=True, slots=True)
class DecisionPanel:
    """For `decision_panel.html`."""

    case_id: str
    offers: tuple[Offer, ...]
    """That this person may make."""
    may_rate: bool
    with_words: bool
    """Whether this person may read what people wrote, which might name a patient."""
    review: CaseReview

    @staticmethod
    def address(offer: Offer) -> str:
        """The word for it in the address of its form."""
        return PageAction.of(offer.action).value

    @staticmethod
    def title(action: str) -> str:
        """A decision as people call it."""
        return next((title for known, title in TITLES.items() if known.value == action), action)


def panel_of(details: CaseDetails, person: Person) -> DecisionPanel:
    """The panel of a case for a person."""
    return DecisionPanel(
        case_id=details.case.case_id,
        offers=tuple(offer for offer in offers(details.case) if person.may(offer.right)),
        may_rate=person.may(Right.APPROVE) and details.result is not None,
        with_words=person.may(Right.SEE_PATIENTS),
        review=details.review,
    )
