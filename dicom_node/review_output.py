"""What people decided and said of a case, on the console: lines for a terminal, plain values for programs."""

from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dicom_node.review.case_review import CaseReview
from dicom_node.review.returned_set import ReturnedSet


def review_fields(review: CaseReview) -> dict[str, Any]:
    """The record of a case as plain values."""
    return {
        "decisions": [asdict(decision) for decision in review.decisions],
        "ratings": [asdict(rating) for rating in review.ratings],
        "returned_structure_sets": [
            {
                **asdict(returned),
                "rois": [
                    {**asdict(roi), "change_ml": roi.change_ml, "change_percent": roi.change_percent}
                    for roi in returned.rois
                ],
            }
            for returned in review.returned
        ],
    }


def print_review(console: Console, review: CaseReview) -> None:
    """Decisions, ratings and edited structure sets, the oldest first; nothing where there are none."""
    if review.decisions:
        table = Table("decided", "what", "by", "answer", "reason", title="Decisions")
        for each in review.decisions:
            what = " ".join(filter(None, (each.action, each.destination, *each.details.values())))
            by = f"{each.by} ({each.role})"
            table.add_row(each.at[:19], escape(what), escape(by), each.answer or "unknown", escape(each.reason))
        console.print(table)
    for rating in review.ratings:
        minutes = "" if rating.minutes is None else f", {rating.minutes:g} min"
        words = f": {rating.words}" if rating.words else ""
        line = f"rated {rating.at[:19]} by {rating.by}: {rating.changes.value} changes{minutes}{words}"
        console.print(line, markup=False)
    for returned in review.returned:
        _print_returned(console, returned)


def _print_returned(console: Console, returned: ReturnedSet) -> None:
    title = f"Structure set that came back {returned.came_at[:19]}: {returned.kinship.value}"
    if not returned.rois:
        console.print(title, markup=False)
        return
    table = Table("structure", "Dice", "ours, ml", "edited, ml", "", title=escape(title))
    for roi in returned.rois:
        dice = "" if roi.dice is None else f"{roi.dice:.3f}"
        edited = "" if roi.edited_ml is None else f"{roi.edited_ml:.1f}"
        table.add_row(escape(roi.name), dice, f"{roi.ours_ml:.1f}", edited, roi.code)
    console.print(table)
