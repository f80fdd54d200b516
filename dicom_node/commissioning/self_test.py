"""The self-test through the port: the node sends itself the digital thorax and compares the answer with the last ones.

Two questions. Does the answer fit the thorax, whose lungs and poorly perfused region are known (`selftest`)? And is it
the answer that the same models and settings gave before? The first answer of models and settings is kept as the one
to compare with; so a promoted model begins anew, and a changed library, driver, disk or memory under the same model
does not. `--accept` keeps another answer, with the name of who says so.

    constancy/answers/<digest of models and settings>.json
    constancy/self-tests.jsonl       the figures of every answer, for the charts of `drift`
"""

import hashlib
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import structlog

from dicom_node.commissioning.case_figures import RUN_TIME, CaseFigures, FiguresFile
from dicom_node.commissioning.expected import Comparison, ExpectedAnswer, MadeBy, Recorded
from dicom_node.commissioning.figures import shown_unit
from dicom_node.commissioning.port_test import Answer, ask
from dicom_node.commissioning.report import iso_time
from dicom_node.constancy.own_series import is_own_case
from dicom_node.constancy.stop import SELF_TEST_FAILED, Outcome, Verdict, VerdictFile
from dicom_node.errors import NoAnswerInTime, NodeError, PortTestRefused, ReferenceUnusable, SelfTestFailed
from dicom_node.jobs.attempts import Attempt, Result
from dicom_node.jobs.jobs import JobBook
from dicom_node.jobs.stages import Stage
from dicom_node.objects.provenance import software_version
from dicom_node.selftest import SPACING_MM, require_recognised
from dicom_node.settings.config import NodeSettings
from inference.ct.instances import ct_instances
from inference.phantom.thorax import DEFAULT_GRID, DigitalThorax, draw_thorax

_AGAIN: Final = "Patients wait until a self-test passes: perfnode selftest."


@dataclass(frozen=True, slots=True)
class SelfTestReport:
    """What a self-test found."""

    verdict: Verdict
    comparisons: tuple[Comparison, ...] = ()
    is_first: bool = False
    """Whether this answer is kept: there was nothing to compare with, or a person accepts it."""
    took_s: float = 0.0
    made_since: tuple[str, ...] = ()
    """Of a failed one: cases of patients whose objects were made since the last one that passed."""


def run_port_test(settings: NodeSettings, accepted_by: str = "") -> SelfTestReport:
    """Make a self-test, keep its verdict, and stop or let go the processing of patients by it.

    Args:
        settings: of the running node.
        accepted_by: who wants this answer kept as the right one; empty: nobody.

    Raises:
        NeverStarted: no node has worked with this database yet.
    """
    thorax = draw_thorax(DEFAULT_GRID.with_spacing(SPACING_MM))
    try:
        answer = ask(settings, ct_instances(thorax.ct), settings.self_test.answer_within_s)
    except (PortTestRefused, NoAnswerInTime) as fault:
        report = _not_run(settings, fault)
    else:
        report = judged(settings, thorax, answer, accepted_by)
    return _kept(settings, report, accepted_by)


def answer_file(settings: NodeSettings, made_by: MadeBy) -> Path:
    """Where the answer of these models and settings is kept."""
    digest = hashlib.sha256(json.dumps(asdict(made_by), sort_keys=True).encode()).hexdigest()
    return settings.shared_dir / "constancy" / "answers" / f"{digest[:32]}.json"


def judged(settings: NodeSettings, thorax: DigitalThorax, answer: Answer, accepted_by: str) -> SelfTestReport:
    """What an answer says: does it fit the thorax, and is it the one that is kept? The first one is kept.

    Args:
        settings: of the node.
        thorax: what was sent.
        answer: what came of it.
        accepted_by: who wants it kept as the right one; empty: nobody. One that does not fit the thorax is not kept.
    """
    if answer.result is None or answer.made_by is None:
        return _failed(f"The node made nothing of the digital thorax: {answer.case.state} {answer.case.code}.")
    figures = {**answer.figures, RUN_TIME: answer.took_s}
    now_s = time.time()
    told = CaseFigures(f"self-test-{now_s:.0f}", now_s, answer.made_by, figures)
    with suppress(OSError):  # a chart is not worth a verdict
        FiguresFile.of_self_tests(settings.shared_dir).add(told)
    try:
        require_recognised(thorax, answer.result)
        return _compared(settings, answer, answer.made_by, accepted_by)
    except (SelfTestFailed, ReferenceUnusable) as fault:
        return _failed(str(fault))


def _compared(settings: NodeSettings, answer: Answer, made_by: MadeBy, accepted_by: str) -> SelfTestReport:
    path = answer_file(settings, made_by)
    passed = Verdict(Outcome.PASSED, "", "The answer is the one it was.", time.time())
    if accepted_by or not path.exists():
        recorded = Recorded(iso_time(time.time()), accepted_by, software_version())
        before = _before(path)
        ExpectedAnswer.of(made_by, answer.figures, recorded, before).write(path)
        return SelfTestReport(passed, is_first=True, took_s=answer.took_s)
    comparisons = ExpectedAnswer.read(path).compared(answer.figures)
    if moved := [c for c in comparisons if not c.passes]:
        return _failed(f"The answer to the digital thorax has moved: {_told(moved)}.", comparisons)
    return SelfTestReport(passed, comparisons, took_s=answer.took_s)


def _before(path: Path) -> ExpectedAnswer | None:
    """The kept answer that another one replaces; a spoilt one must not keep a person from accepting."""
    try:
        return ExpectedAnswer.read(path) if path.exists() else None
    except ReferenceUnusable:
        return None


def _told(moved: Sequence[Comparison]) -> str:
    first = moved[0]
    was, now = ("none" if v is None else f"{v:.2f}" for v in (first.stored, first.found))
    more = f", and {len(moved) - 1} more" if len(moved) > 1 else ""
    return f"{first.name} was {was} and is {now} {shown_unit(first.unit)}, tolerated {first.tolerance:.2f}{more}"


def _failed(sentence: str, comparisons: tuple[Comparison, ...] = ()) -> SelfTestReport:
    verdict = Verdict(Outcome.FAILED, SELF_TEST_FAILED, f"{sentence} {_AGAIN}", time.time())
    return SelfTestReport(verdict, comparisons)


def _not_run(settings: NodeSettings, fault: NodeError) -> SelfTestReport:
    """A test that could not be made changes nothing: what was stopped stays stopped."""
    before = VerdictFile.under(settings.shared_dir).stopped()
    why = f"{fault} Patients wait all the same: {before}" if before else str(fault)
    return SelfTestReport(Verdict(Outcome.NOT_RUN, fault.code, why, time.time()))


def _kept(settings: NodeSettings, report: SelfTestReport, accepted_by: str) -> SelfTestReport:
    file, verdict = VerdictFile.under(settings.shared_dir), report.verdict
    passed_s = file.last_passed_s()
    if verdict.stops:
        file.add(verdict)  # before anything else can go wrong
    if verdict.stops and passed_s:
        made = made_since(settings, passed_s)
        told = (
            f"{verdict.sentence} Since the last one that passed ({iso_time(passed_s)}) {len(made)} case(s) were made."
        )
        report = replace(report, verdict=replace(verdict, sentence=told), made_since=made)
    if verdict.outcome is not Outcome.NOT_RUN or not file.stopped():
        report = replace(report, verdict=file.add(report.verdict))
    log = structlog.get_logger().bind(outcome=verdict.outcome.value, code=verdict.code, first=report.is_first)
    (log.error if verdict.stops else log.info)("self_test_ended", sentence=report.verdict.sentence)
    if accepted_by and report.is_first:
        settings.audit_trail().operator_action("accept-answer", f"by:{accepted_by}")
    return report


def made_since(settings: NodeSettings, at_s: float) -> tuple[str, ...]:
    """Cases of patients whose objects were made and checked after a time: what a person looks at after a failure.

    Args:
        settings: of the node.
        at_s: Unix time.
    """
    with JobBook(settings.database, settings.cases()) as book:
        return tuple(
            case.case_id
            for case in book.cases()
            if any(_made_objects(attempt, at_s) for attempt in case.attempts)
            and not is_own_case(settings.cases().folder(case.case_id))
        )


def _made_objects(attempt: Attempt, after_s: float) -> bool:
    return attempt.id.stage is Stage.CHECK and attempt.result is Result.DONE and attempt.updated_at_s > after_s
