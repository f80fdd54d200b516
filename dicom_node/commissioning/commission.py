"""Runs a reference set through the running node and says case by case whether it answers as stored."""

import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from dicom_node.commissioning.expected import Comparison, ExpectedAnswer
from dicom_node.commissioning.port_test import Answer, ask, series_in
from dicom_node.commissioning.reference_set import ReferenceCase, read_reference_set
from dicom_node.commissioning.report import CaseReport, CommissioningReport
from dicom_node.errors import NoAnswerInTime, PortTestRefused
from dicom_node.objects.provenance import software_version
from dicom_node.settings.config import NodeSettings


def commission(
    settings: NodeSettings, reference: Path, *, record: bool, limit_s: float, progress: Callable[[str], None]
) -> CommissioningReport:
    """Send every case of a reference set to the running node and compare, or store its answers.

    Args:
        settings: of the running node.
        reference: folder of the set, see `reference_set`.
        record: store the answers as those to compare with, in place of earlier ones.
        limit_s: how long to wait for each.
        progress: told what is being done.

    Raises:
        ReferenceUnusable: the set or a stored answer cannot be used.
        NeverStarted: no node has worked with this database yet.
    """
    cases = read_reference_set(reference)
    reports = []
    for number, case in enumerate(cases, start=1):
        progress(f"{case.name}, {number} of {len(cases)}")
        reports.append(_report(settings, case, record, limit_s))
    return CommissioningReport(time.time(), socket.gethostname(), software_version(), record, tuple(reports))


def _report(settings: NodeSettings, case: ReferenceCase, record: bool, limit_s: float) -> CaseReport:
    stored = ExpectedAnswer.read(case.expected) if case.expected.exists() and not record else None
    try:
        answer = ask(settings, series_in(case.files), limit_s)
    except (PortTestRefused, NoAnswerInTime) as fault:
        stored_by = stored.made_by if stored is not None else None
        return CaseReport(case.name, "no-answer", str(fault), "", 0.0, None, stored_by, ())
    if not answer.is_result or answer.made_by is None:
        why = f"The case ended {answer.case.state} {answer.case.code}. {answer.case.message}".strip()
        return _of(case, answer, "no-answer", why, stored, ())
    if record:
        ExpectedAnswer.of(answer.made_by, answer.figures).write(case.expected)
        return _of(case, answer, "recorded", "The answer was stored.", None, ())
    if stored is None:
        return _of(case, answer, "nothing-stored", "No answer is stored; --record stores it.", None, ())
    comparisons = stored.compared(answer.figures)
    moved = [c.name for c in comparisons if not c.passes]
    sentence = f"Moved: {', '.join(moved)}." if moved else "Every figure is where it was."
    return _of(case, answer, "moved" if moved else "passed", sentence, stored, comparisons)


def _of(
    case: ReferenceCase,
    answer: Answer,
    state: str,
    sentence: str,
    stored: ExpectedAnswer | None,
    comparisons: Sequence[Comparison],
) -> CaseReport:
    stored_by = stored.made_by if stored is not None else None
    ids = case.name, state, sentence, answer.case.case_id
    return CaseReport(*ids, round(answer.took_s, 1), answer.made_by, stored_by, tuple(comparisons))
