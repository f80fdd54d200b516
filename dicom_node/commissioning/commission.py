"""Runs a reference set through the running node and says case by case whether it answers as stored."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dicom_node.commissioning.expected import Comparison, ExpectedAnswer, Recorded
from dicom_node.commissioning.installation import Installation
from dicom_node.commissioning.port_test import Answer, ask, series_in
from dicom_node.commissioning.reference_set import ReferenceCase, read_reference_set
from dicom_node.commissioning.report import CaseReport, CaseVerdict, CommissioningReport, iso_time
from dicom_node.errors import NoAnswerInTime, PortTestRefused
from dicom_node.objects.provenance import software_version
from dicom_node.settings.config import NodeSettings

_FIRST: Final = "The answer was stored; there was none before."


def commission(
    settings: NodeSettings, reference: Path, *, by: str, record: bool, limit_s: float, progress: Callable[[str], None]
) -> CommissioningReport:
    """Send every case of a reference set to the running node and compare, or store its answers.

    Args:
        settings: of the running node.
        reference: folder of the set, see `reference_set`.
        by: name of the person who makes it.
        record: store the answers as those to compare with, in place of earlier ones. They are compared with these all
            the same, so that who signs sees what has changed; tolerances that a person wrote stay.
        limit_s: how long to wait for each.
        progress: told what is being done.

    Raises:
        ReferenceUnusable: the set or a stored answer cannot be used.
        NeverStarted: no node has worked with this database yet.
    """
    cases = read_reference_set(reference)
    stored = [ExpectedAnswer.read(case.expected) if case.expected.exists() else None for case in cases]
    began_s, reports = time.time(), []
    for number, (case, expected) in enumerate(zip(cases, stored, strict=True), start=1):
        progress(f"{case.name}, {number} of {len(cases)}")
        reports.append(_report(settings, _Question(case, expected), by if record else "", limit_s))
    return CommissioningReport(began_s, by, Installation.here(), record, tuple(reports))


@dataclass(frozen=True, slots=True)
class _Question:
    """A case and the answer that was stored for it."""

    case: ReferenceCase
    stored: ExpectedAnswer | None

    @property
    def is_of_another_ct(self) -> bool:
        """Whether the stored answer says that it belongs to other files."""
        recorded = self.stored.recorded if self.stored is not None else None
        return recorded is not None and recorded.ct_sha256 not in ("", self.case.ct.sha256)

    def report(
        self, state: CaseVerdict, sentence: str, answer: Answer | None, comparisons: Sequence[Comparison] = ()
    ) -> CaseReport:
        """What is told of it."""
        stored = self.stored
        return CaseReport(
            self.case.name,
            state,
            sentence,
            self.case.ct,
            answer.case.case_id if answer is not None else "",
            round(answer.took_s, 1) if answer is not None else 0.0,
            answer.ran_on if answer is not None else (),
            answer.made_by if answer is not None else None,
            stored.made_by if stored is not None else None,
            stored.recorded if stored is not None else None,
            tuple(comparisons),
        )


def _report(settings: NodeSettings, question: _Question, recorded_by: str, limit_s: float) -> CaseReport:
    if question.is_of_another_ct and not recorded_by:
        why = "The files are not those of which the answer was stored, so there is nothing to compare with."
        return question.report(CaseVerdict.OTHER_CT, why, None)
    try:
        answer = ask(settings, series_in(question.case.files), limit_s)
    except (PortTestRefused, NoAnswerInTime) as fault:
        return question.report(CaseVerdict.NO_ANSWER, str(fault), None)
    if not answer.is_result or answer.made_by is None:
        why = f"The case ended {answer.case.state} {answer.case.code}. {answer.case.message}".strip()
        return question.report(CaseVerdict.NO_ANSWER, why, answer)
    if recorded_by:
        return _recorded(question, answer, recorded_by)
    if question.stored is None:
        return question.report(CaseVerdict.NOTHING_STORED, "No answer is stored; --record stores it.", answer)
    comparisons = question.stored.compared(answer.figures)
    moved = _moved(comparisons)
    sentence = f"{_of_another_maker(question, answer)}{moved or 'Every figure is where it was.'}"
    return question.report(CaseVerdict.MOVED if moved else CaseVerdict.PASSED, sentence, answer, comparisons)


def _recorded(question: _Question, answer: Answer, by: str) -> CaseReport:
    if answer.made_by is None:
        raise ValueError("an answer that nobody made")
    before = None if question.is_of_another_ct else question.stored
    recorded = Recorded(iso_time(time.time()), by, software_version(), question.case.ct.sha256)
    now = ExpectedAnswer.of(answer.made_by, answer.figures, recorded, before)
    now.write(question.case.expected)
    if before is None:
        return question.report(CaseVerdict.RECORDED, _FIRST, answer, now.compared(answer.figures))
    comparisons = before.compared(answer.figures)
    changed = _moved(comparisons) or "Every figure is where it was."
    sentence = f"The answer was stored in place of the one before. {_of_another_maker(question, answer)}{changed}"
    return question.report(CaseVerdict.RECORDED, sentence, answer, comparisons)


def _moved(comparisons: Sequence[Comparison]) -> str:
    moved = [c.name for c in comparisons if not c.passes]
    return f"Moved: {', '.join(moved)}." if moved else ""


def _of_another_maker(question: _Question, answer: Answer) -> str:
    if question.stored is None or answer.made_by is None:
        return ""
    other = answer.made_by.differs_from(question.stored.made_by)
    return f"Not made as the stored answer was: other {', '.join(other)}. " if other else ""
