"""What people decided and said, on the console: whole, and without taking their words for markup."""

from io import StringIO

from rich.console import Console

from dicom_node.review.case_review import CaseReview
from dicom_node.review.decision import Action, Decision
from dicom_node.review.rating import Changes, Rating
from dicom_node.review.returned_set import Kinship, ReturnedSet
from dicom_node.review.structure_comparison import RoiChange
from dicom_node.review_output import print_review, review_fields

AT = "2026-11-26T19:00:00.000+00:00"
RERUN = Decision(
    "1", AT, "anna", "approver", "[b]ok[/b]", Action.RERUN, "", {"Function rule": "quartiles"}, {}, "QUEUED"
)
ROIS = (RoiChange("Lungs", 10.0, 9.0, 0.947), RoiChange("Lungs^LowPerf", 1.0, None, None, "DELETED"))
REVIEW = CaseReview(
    "v",
    (RERUN,),
    (Rating("2", AT, "bert", "approver", Changes.MINOR, 3.0, "apex [x]", "r"),),
    (ReturnedSet("f", AT, Kinship.EDITED, True, "r", ROIS),),
)


def test_a_person_reads_every_decision_rating_and_change() -> None:
    text = StringIO()
    print_review(Console(file=text, width=140), REVIEW)
    for words in ("rerun quartiles", "[b]ok[/b]", "QUEUED", "minor changes, 3 min: apex [x]", "0.947", "DELETED"):
        assert words in text.getvalue()


def test_programs_get_the_changes_of_volume_too() -> None:
    fields = review_fields(REVIEW)
    assert [roi["change_ml"] for roi in fields["returned_structure_sets"][0]["rois"]] == [-1.0, None]
    assert fields["decisions"][0]["reason"] == "[b]ok[/b]"
