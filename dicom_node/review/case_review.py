"""All that people decided and said of one case, for whoever shows it."""

from dataclasses import dataclass

from dicom_node.jobs.cases import CaseFolder
from dicom_node.review.decision import Decision
from dicom_node.review.rating import Rating
from dicom_node.review.returned_set import ReturnedSet, read_returned
from dicom_node.review.review_log import ReviewLog


@dataclass(frozen=True, slots=True)
class CaseReview:
    """The record of one case that people write."""

    version: str
    """Of the case as it is now; a decision that carries it is refused once the case has changed."""
    decisions: tuple[Decision, ...]
    ratings: tuple[Rating, ...]
    returned: tuple[ReturnedSet, ...]
    """Structure sets that were made from ours and came back."""


def read_review(case: CaseFolder, version: str) -> CaseReview:
    """The record of a case.

    Args:
        case: its folder.
        version: of the case as it is now.
    """
    log = ReviewLog.of(case)
    return CaseReview(version, log.decisions(), log.ratings(), read_returned(case))
