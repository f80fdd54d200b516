"""The self-test through the port: the node sends itself the digital thorax and compares the answer with the last ones.

Two questions. Does the answer fit the thorax, whose lungs and poorly perfused region are known (`selftest`)? And is it
the answer that the same models and settings gave before? The first answer of models and settings is kept as the one
to compare with; so a promoted model begins anew, and a changed library, driver, disk or memory under the same model
does not. `--accept` keeps another answer, with the name of who says so.

    constancy/answers/<digest of models and settings>.json
"""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import structlog

from dicom_node.commissioning.expected import Comparison, ExpectedAnswer, MadeBy
from dicom_node.commissioning.port_test import Answer, ask
from dicom_node.constancy.stop import SELF_TEST_FAILED, Outcome, Verdict, VerdictFile
from dicom_node.errors import NoAnswerInTime, NodeError, PortTestRefused, ReferenceUnusable, SelfTestFailed
from dicom_node.selftest import SPACING_MM, require_recognised
from dicom_node.settings.config import NodeSettings
from inference.ct.instances import ct_instances
from inference.phantom.thorax import DEFAULT_GRID, draw_thorax

_AGAIN: Final = "Patients wait until a self-test passes: perfnode selftest."


@dataclass(frozen=True, slots=True)
class SelfTestReport:
    """What a self-test found."""

    verdict: Verdict
    comparisons: tuple[Comparison, ...] = ()
    is_first: bool = False
    """Whether this answer is kept: there was nothing to compare with, or a person accepts it."""
    took_s: float = 0.0


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
        if not answer.is_result:
            report = _failed(f"The node made nothing of the digital thorax: {answer.case.state} {answer.case.code}.")
        else:
            if answer.result is not None:
                require_recognised(thorax, answer.result)
            report = _compared(settings, answer, accepted_by)
    except SelfTestFailed as fault:
        report = _failed(str(fault))
    except (PortTestRefused, NoAnswerInTime) as fault:
        report = _not_run(settings, fault)
    _keep(settings, report, accepted_by)
    return report


def answer_file(settings: NodeSettings, made_by: MadeBy) -> Path:
    """Where the answer of these models and settings is kept."""
    digest = hashlib.sha256(json.dumps(asdict(made_by), sort_keys=True).encode()).hexdigest()
    return settings.shared_dir / "constancy" / "answers" / f"{digest[:32]}.json"


def _compared(settings: NodeSettings, answer: Answer, accepted_by: str) -> SelfTestReport:
    if answer.made_by is None:
        return _failed("The node does not say what made its answer.")
    path = answer_file(settings, answer.made_by)
    passed = Verdict(Outcome.PASSED, "", "The answer is the one it was.", time.time())
    if not path.exists() or accepted_by:
        ExpectedAnswer.of(answer.made_by, answer.figures).write(path)
        return SelfTestReport(passed, is_first=True, took_s=answer.took_s)
    try:
        comparisons = ExpectedAnswer.read(path).compared(answer.figures)
    except ReferenceUnusable as fault:
        return _failed(str(fault))
    if moved := [c for c in comparisons if not c.passes]:
        return _failed(f"The answer to the digital thorax has moved: {_told(moved)}.", comparisons)
    return SelfTestReport(passed, comparisons, took_s=answer.took_s)


def _told(moved: Sequence[Comparison]) -> str:
    first = moved[0]
    was, now = ("none" if v is None else f"{v:.2f}" for v in (first.stored, first.found))
    more = f", and {len(moved) - 1} more" if len(moved) > 1 else ""
    return f"{first.name} was {was} and is {now} {first.unit}, tolerated {first.tolerance:.2f}{more}"


def _failed(sentence: str, comparisons: tuple[Comparison, ...] = ()) -> SelfTestReport:
    verdict = Verdict(Outcome.FAILED, SELF_TEST_FAILED, f"{sentence} {_AGAIN}", time.time())
    return SelfTestReport(verdict, comparisons)


def _not_run(settings: NodeSettings, fault: NodeError) -> SelfTestReport:
    """A test that could not be made changes nothing: what was stopped stays stopped."""
    before = VerdictFile.under(settings.shared_dir).stopped()
    if before:
        return SelfTestReport(Verdict(Outcome.FAILED, SELF_TEST_FAILED, before, time.time()))
    return SelfTestReport(Verdict(Outcome.NOT_RUN, fault.code, str(fault), time.time()))


def _keep(settings: NodeSettings, report: SelfTestReport, accepted_by: str) -> None:
    verdict = report.verdict
    VerdictFile.under(settings.shared_dir).write(verdict)
    log = structlog.get_logger().bind(outcome=verdict.outcome.value, code=verdict.code, first=report.is_first)
    (log.error if verdict.stops else log.info)("self_test_ended", sentence=verdict.sentence)
    if accepted_by:
        settings.audit_trail().operator_action("accept-answer", f"by:{accepted_by}")
