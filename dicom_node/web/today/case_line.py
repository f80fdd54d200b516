"""One case as a line of the list: where it stands, whose images they are, what was found."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from dicom_node.errors import UnknownCase
from dicom_node.jobs.attempts import Case
from dicom_node.jobs.cases import CaseFolder
from dicom_node.web.today.subject import NOBODY, Subject, subject_of
from inference.quality.findings import Severity

_SEVEREST_FIRST: Final = (Severity.REJECT, Severity.FLAG, Severity.NOTE)


@dataclass(frozen=True, slots=True)
class CaseLine:
    """One line. Times are Unix times in milliseconds, so that they can be compared exactly."""

    case_id: str
    state: str
    stage: str
    code: str
    message: str
    created_ms: int
    updated_ms: int
    attempts: int
    """How many the engine knows; with state and times it tells whether something happened."""
    calling_ae_title: str
    rule: str
    priority: str
    instances: int
    model: str
    """Name and version of what made the map; empty before there is one."""
    findings: int
    severity: str
    """The worst of the findings: `reject`, `flag`, `note` or empty."""
    subject: Subject

    def is_of(self, case: Case) -> bool:
        """Whether the line says of the case what the engine says now."""
        told = (self.state, self.stage, self.code, self.updated_ms, self.attempts)
        return told == (case.state, case.stage, case.code, _ms(case.updated_at_s), len(case.attempts))


def line_of(case: Case, folder: CaseFolder, subject: Subject | None = None) -> CaseLine:
    """The line of a case, with what its files say; files that are not there leave their part empty.

    Args:
        case: as the engine knows it.
        folder: its files.
        subject: whose images they are, if that is known; read from an image otherwise.
    """
    record, result = _record(folder), _result(folder)
    findings = result.get("findings", ())
    severities = {finding.get("severity") for finding in findings}
    return CaseLine(
        case_id=case.case_id,
        state=case.state.value,
        stage=case.stage.value,
        code=case.code,
        message=case.message,
        created_ms=_ms(case.created_at_s),
        updated_ms=_ms(case.updated_at_s),
        attempts=len(case.attempts),
        calling_ae_title=str(record.get("calling_ae_title", "")),
        rule=str(record.get("rule", "")),
        priority=str(record.get("priority", "")),
        instances=int(record.get("instances", 0)),
        model=_model(result.get("model")),
        findings=len(findings),
        severity=next((s.value for s in _SEVEREST_FIRST if s in severities), ""),
        subject=subject_of(folder) if subject in (None, NOBODY) else subject,
    )


def _record(folder: CaseFolder) -> Mapping[str, Any]:
    try:
        record = folder.record()
    except (UnknownCase, OSError, ValueError, TypeError):  # removed meanwhile, or spoilt
        return {}
    return {name: getattr(record, name) for name in ("calling_ae_title", "rule", "priority", "instances")}


def _result(folder: CaseFolder) -> Mapping[str, Any]:
    try:
        facts = json.loads(folder.result.with_suffix(".json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def _model(model: Mapping[str, Any] | None) -> str:
    return f"{model.get('name', '')} {model.get('version', '')}".strip() if model else ""


def _ms(time_s: float) -> int:
    return round(1000 * time_s)
