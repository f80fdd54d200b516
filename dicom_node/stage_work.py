"""The work of the stages before `deliver`: one attempt, for one case, in a process of its own.

Gives an output, a small dictionary that the engine keeps. A stage has three ends and no fourth: done; refused for good
(rejected, failed); crashed, and to be tried again.
"""

from typing import Any

import structlog

from dicom_node.attempts import AttemptId, Result
from dicom_node.cases import CaseFolder
from dicom_node.child import GAVE_UP, REJECTED, run_in_child
from dicom_node.config import NodeSettings
from dicom_node.errors import StageCrashed
from dicom_node.stages import ASIDE

Output = dict[str, Any]


class StageWork:
    """Runs stages in child processes."""

    def __init__(self, settings: NodeSettings) -> None:
        self._settings = settings
        self._log = structlog.get_logger()

    def perform(self, folder: CaseFolder, attempt: AttemptId, tries: int) -> Output:
        """One attempt of a stage; `tries` is how often it has been tried with this one."""
        log = self._log.bind(case=attempt.case_id, stage=attempt.unit, tries=tries)
        if folder.is_cancelled():
            return {"result": Result.CANCELLED.value}
        log.info("stage_started")
        try:
            ended = run_in_child(
                attempt.unit,
                folder.path,
                self._settings.source,
                timeout_s=self._settings.stage_timeout_s,
                stop=folder.is_cancelled,
            )
        except StageCrashed as fault:
            if folder.is_cancelled():
                return {"result": Result.CANCELLED.value}
            again = tries < self._settings.stage_attempts
            log.warning("stage_crashed", code=fault.code, reason=fault.reason, again=again)
            result = Result.AGAIN if again else Result.FAILED
            return self._gave_up(folder, attempt, result, {"code": fault.code, "message": str(fault)})
        if ended in (REJECTED, GAVE_UP):
            outcome = folder.outcome(attempt.unit) or {}
            log.warning("case_rejected" if ended == REJECTED else "case_failed", code=outcome.get("code"))
            return self._gave_up(folder, attempt, Result.REJECTED if ended == REJECTED else Result.FAILED, outcome)
        log.info("stage_done")
        destinations = self._notified() if attempt.stage in ASIDE else [d.name for d in self._settings.destinations]
        return {"result": Result.DONE.value, "destinations": destinations, "more": bool(destinations)}

    def _gave_up(self, folder: CaseFolder, attempt: AttemptId, result: Result, outcome: Output) -> Output:
        """Keep the reason for the notice, unless it is tried again or the notice itself is what failed."""
        output = {"result": result.value, **outcome}
        if result is Result.AGAIN or attempt.stage in ASIDE:
            return output
        folder.write_refusal(output.get("code", ""), output.get("message", ""), attempt.unit)
        return {**output, "notice": bool(self._notified())}

    def _notified(self) -> list[str]:
        """Names of the destinations that want a notice when a case gives no result."""
        return [name for name, order in self._settings.orders.items() if order.refusal_notice]
