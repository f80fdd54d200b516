"""A case as a whole: everything that its page and the JSON API say, gathered from the files and rows of the node."""

from datetime import datetime

from dicom_node.audit.trail import AuditTrail
from dicom_node.jobs.attempts import Case
from dicom_node.jobs.cases import CaseFolder
from dicom_node.operations import CaseDetails
from dicom_node.review.case_review import CaseReview
from dicom_node.review.decision import Decision
from dicom_node.review.rating import Rating
from dicom_node.review.returned_set import ReturnedSet
from dicom_node.settings.config import NodeSettings
from dicom_node.web.case.associations import associations_of
from dicom_node.web.case.candidate import differences_said
from dicom_node.web.case.deliveries import deliveries_said
from dicom_node.web.case.found import result_said
from dicom_node.web.case.made import Recheck, checked_said, objects_said, software_of
from dicom_node.web.case.received import WITHHELD, arrived, received_said, ruling_said
from dicom_node.web.case.said import CaseSaid, CaseStanding, Moment, moment
from dicom_node.web.case.time_line import time_line
from dicom_node.web.case.wording import MEANINGS


def case_said(
    details: CaseDetails,
    folder: CaseFolder,
    settings: NodeSettings,
    audit: AuditTrail,
    recheck: Recheck | None,
    *,
    with_patient: bool,
) -> CaseSaid:
    """Everything that is known of a case.

    Args:
        details: rows, record and facts of the result.
        folder: of the case.
        settings: of the node.
        audit: its trail, which knows the associations.
        recheck: what its objects came to when somebody had them checked from the page.
        with_patient: whether the reader may see who the patient is.

    Raises:
        FileNotFoundError: the case is being removed.
    """
    case, record, files = details.case, details.record, arrived(folder, details.record)
    return CaseSaid(
        standing=standing_said(case, folder),
        moments=time_line(
            case,
            record,
            associations_of(folder.received, audit.log_file),
            files.written_s,
            _reviewed(details.review, with_words=with_patient),
        ),
        patient=files.patient if with_patient else None,
        received=received_said(files, record, with_patient=with_patient),
        ruling=ruling_said(files, record, settings.rules, with_patient=with_patient),
        result=result_said(details.result, folder, settings, software_of(folder)) if details.result else None,
        checked=checked_said(case, recheck),
        objects=objects_said(folder, recheck),
        deliveries=deliveries_said(case, settings),
        differences=differences_said(settings.model_registry().folder, case.case_id),
        has_ct=folder.ct.exists(),
        has_map=details.result is not None,
        has_summary=folder.summary.exists(),
    )


def standing_said(case: Case, folder: CaseFolder) -> CaseStanding:
    """Where a case stands now."""
    return CaseStanding(
        case_id=case.case_id,
        state=case.state.value,
        stage=case.stage.value,
        code=case.code,
        message=case.message,
        meaning=MEANINGS[case.state],
        progress="" if case.is_finished else folder.progress,
        is_finished=case.is_finished,
        began_at=moment(case.created_at_s),
        changed_at=moment(case.updated_at_s),
    )


def _reviewed(review: CaseReview, *, with_words: bool) -> list[Moment]:
    """Decisions, ratings, and edited structure sets; what people wrote may name a patient."""
    return [
        *(_decision(each, each.reason if with_words else WITHHELD * bool(each.reason)) for each in review.decisions),
        *(_rating(each, each.words if with_words else WITHHELD * bool(each.words)) for each in review.ratings),
        *(_returned(each) for each in review.returned),
    ]


def _decision(each: Decision, words: str) -> Moment:
    chosen = [f"{name} {value}" for name, value in each.details.items()]
    told = [f"by {each.by} ({each.role})", *chosen, f"answer {each.answer}" if each.answer else "no answer yet", words]
    to = f", {each.destination}" if each.destination else ""
    return Moment(
        at=datetime.fromisoformat(each.at),
        kind="decision",
        title=f"Decision: {each.action}{to}",
        outcome="",
        detail="; ".join(filter(None, told)),
    )


def _rating(each: Rating, words: str) -> Moment:
    minutes = "" if each.minutes is None else f"{each.minutes:g} min"
    return Moment(
        at=datetime.fromisoformat(each.at),
        kind="decision",
        title=f"Rating: {each.changes} changes",
        outcome="",
        detail="; ".join(filter(None, (f"by {each.by} ({each.role})", minutes, words))),
    )


def _returned(each: ReturnedSet) -> Moment:
    return Moment(
        at=datetime.fromisoformat(each.came_at),
        kind="decision",
        title="Structure set that came back",
        outcome="",
        detail=f"{len(each.rois)} of our ROIs in it, {each.other_rois} others",
        code=each.kinship.value,
    )
