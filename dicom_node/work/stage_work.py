"""The work of the stages before `deliver`: one attempt, for one case, in a process of its own.

Gives an output, a small dictionary that the engine keeps. A stage has four ends and no fifth: done; refused for good
(rejected, failed); crashed, and to be tried again; sent back to an earlier stage.

A crash costs an attempt. When they are used up the case ends FAILED with the code of its last crash, nothing waits
behind it, and a person may try again (`retry`).
"""

from typing import Any

import structlog

from dicom_node.constancy.own_series import is_own_case
from dicom_node.constancy.stop import SELF_TEST_FAILED, WAIT_S, VerdictFile
from dicom_node.durable_files import remove_abandoned_parts
from dicom_node.errors import CaseOvertaken, StageCrashed, StageOutOfMemory
from dicom_node.jobs.attempts import AttemptId, Result
from dicom_node.jobs.cases import CaseFolder
from dicom_node.jobs.route_mode import onward, told
from dicom_node.jobs.stages import ASIDE, Stage
from dicom_node.results.ladder_files import LadderFile, begin
from dicom_node.settings.config import NodeSettings
from dicom_node.shadow.wanted import is_wanted
from dicom_node.work.child import GAVE_UP, REJECTED, WENT_BACK
from dicom_node.work.stage_process import run_in_child

Output = dict[str, Any]
_WITH_NETWORK = (Stage.SEGMENT, Stage.PERFUSE)
OWN_CASE = "SELF_TEST"
"""Code of a case that the node sent to itself and that goes nowhere."""
_OWN_CASE = "The node sent it to itself, to be compared with what it answered before; it is for no destination."


class StageWork:
    """Runs stages in child processes.

    Args:
        settings: of the node.
        program: module that is run for each; tests have one of their own.
    """

    def __init__(self, settings: NodeSettings, program: str = "dicom_node.work.child") -> None:
        self._settings = settings
        self._program = program
        self._log = structlog.get_logger()

    def perform(self, folder: CaseFolder, attempt: AttemptId, tries: int) -> Output:
        """One attempt of a stage; `tries` is how often it has been tried with this one."""
        stage = attempt.stage.value
        log = self._log.bind(case=attempt.case_id, stage=stage, tries=tries)
        if folder.is_cancelled():
            return {"result": Result.CANCELLED.value}
        if (why := self._stopped(folder, attempt)) is not None:
            log.info("stage_waits", code=SELF_TEST_FAILED)
            return {"result": Result.AGAIN.value, "code": SELF_TEST_FAILED, "message": why, "wait_s": WAIT_S}
        log.info("stage_started")
        remove_abandoned_parts(folder.path)
        if attempt.stage in _WITH_NETWORK:
            begin(folder, stage, attempt.run)
        try:
            ended = self._run(folder, stage)
        except StageCrashed as fault:
            if folder.is_cancelled():
                return {"result": Result.CANCELLED.value}
            again, rung = next_try(folder, stage, fault, tries, self._settings.limits.attempts)
            log.warning("stage_crashed", code=fault.code, reason=fault.reason, again=again, rung=rung)
            result = Result.AGAIN if again else Result.FAILED
            return self._gave_up(folder, attempt, result, {"code": fault.code, "message": str(fault)})
        outcome = folder.outcome(stage) or {}
        if ended == WENT_BACK:
            log.warning("stage_went_back", code=outcome.get("code"), to=outcome.get("back_to"))
            return {"result": Result.AGAIN.value, **outcome}
        if ended in (REJECTED, GAVE_UP):
            log.warning("case_rejected" if ended == REJECTED else "case_failed", code=outcome.get("code"))
            return self._gave_up(folder, attempt, Result.REJECTED if ended == REJECTED else Result.FAILED, outcome)
        log.info("stage_done")
        if attempt.stage in ASIDE:
            return {"result": Result.DONE.value, "destinations": self._notified()}
        if attempt.stage is Stage.CHECK and is_own_case(folder):
            return {"result": Result.DONE.value, **self._onward_of_own()}
        beside = attempt.stage is Stage.CHECK and is_wanted(self._settings)
        return {"result": Result.DONE.value, **onward(self._settings.modes), **({"candidate": True} if beside else {})}

    def _stopped(self, folder: CaseFolder, attempt: AttemptId) -> str | None:
        """Why the stage must wait for the self-test to pass; None if it need not."""
        why = VerdictFile.under(self._settings.shared_dir).stopped()
        return why if why and attempt.stage not in ASIDE and not is_own_case(folder) else None

    def _onward_of_own(self) -> Output:
        """Where objects go of a case that the node sent to itself: to the one destination named for it, or nowhere."""
        if name := self._settings.self_test.destination:
            return {"destinations": [name], "shadows": [], "more": True}
        return {"destinations": [], "shadows": [], "more": False, "code": OWN_CASE, "message": _OWN_CASE}

    def _run(self, folder: CaseFolder, stage: str) -> int:
        limits = self._settings.limits
        return run_in_child(
            stage,
            folder.path,
            self._settings.source,
            timeout_s=limits.timeout_of(stage),
            stop=folder.is_cancelled,
            program=self._program,
            memory_mb=limits.memory_mb,
        )

    def _gave_up(self, folder: CaseFolder, attempt: AttemptId, result: Result, outcome: Output) -> Output:
        """Keep the reason for the notice, unless it is tried again or the notice itself is what failed.

        A case that a larger one of the same series has overtaken needs none either: its result is there.
        """
        output = {"result": result.value, **outcome}
        if result is Result.AGAIN or attempt.stage in ASIDE or output.get("code") == CaseOvertaken.code:
            return output
        folder.write_refusal(output.get("code", ""), output.get("message", ""), attempt.stage.value)
        return {**output, "notice": bool(self._notified())}

    def _notified(self) -> list[str]:
        """Names of the destinations that want a notice when a case gives no result."""
        names = [name for name, order in self._settings.orders.items() if order.refusal_notice]
        return told(self._settings.modes, names)


def next_try(folder: CaseFolder, stage: str, fault: StageCrashed, tries: int, attempts: int) -> tuple[bool, str]:
    """Whether a stage that crashed is tried again, and on which rung of the ladder (empty without a network).

    A network that ran out of memory goes on one rung lower for as long as there is one. Any other crash counts.

    Args:
        folder: of the case.
        stage: that crashed.
        fault: how it ended.
        tries: how often it has been tried with this one.
        attempts: how often it may be tried.
    """
    known = LadderFile.read(folder, stage)
    if isinstance(fault, StageOutOfMemory) and known.now:
        lower = known.one_down(fault.code)
        if lower != known:
            lower.write(folder, stage)
            return True, lower.start
        if known.is_used_up:
            return False, known.start
    return tries - known.descents < attempts, known.start if known.now else ""
