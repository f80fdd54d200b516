"""The work of the stage `candidate`: the model in shadow looks at a case, in a process of its own.

It runs while nothing else is to be done anywhere in the node and is ended as soon as a case comes, within half a
second; then it begins anew. Nothing that becomes of it reaches the case: it is delivered already, or waits for somebody
else. A model that crashes, refuses or takes too long is remembered for the report.
"""

from typing import Any

import structlog

from dicom_node.durable_files import remove_abandoned_parts
from dicom_node.errors import StageCrashed
from dicom_node.jobs.attempts import AttemptId, Result
from dicom_node.jobs.cases import CaseFolder
from dicom_node.jobs.stages import Stage
from dicom_node.results.ladder_files import begin
from dicom_node.settings.config import NodeSettings
from dicom_node.shadow.comparisons import Comparisons, not_compared
from dicom_node.work.idle import Idle
from dicom_node.work.stage_process import run_in_child
from dicom_node.work.stage_work import next_try

Output = dict[str, Any]
_STAGE = Stage.CANDIDATE.value
MADE_WAY = "MADE_WAY"
"""Code of an attempt that was ended because a case came."""
_WHY = "A case came, or the node stopped; the model in shadow begins anew when there is nothing else to do."
_WAIT_S = 5.0


class CandidateWork:
    """Runs the model in shadow.

    Args:
        settings: of the node.
        idle: whether there is nothing else to do.
        program: module that is run; tests have one of their own.
    """

    def __init__(self, settings: NodeSettings, idle: Idle, program: str = "dicom_node.work.child") -> None:
        self._settings = settings
        self._idle = idle
        self._program = program

    def perform(self, folder: CaseFolder, attempt: AttemptId, tries: int) -> Output:
        """One attempt; `tries` is how often it has been tried with this one."""
        log = structlog.get_logger().bind(case=attempt.case_id, stage=_STAGE, tries=tries)
        is_free = self._idle.wait(folder.is_cancelled)
        if folder.is_cancelled():
            return {"result": Result.CANCELLED.value}
        if not is_free:
            return _made_way()
        log.info("stage_started")
        begin(folder, _STAGE, attempt.run)
        try:
            status = self._run(folder)
        except StageCrashed as fault:
            if self._idle.is_over():  # whether it was ended for that or by itself: nothing counts
                log.info("stage_made_way")
                return _made_way()
            again, rung = next_try(folder, _STAGE, fault, tries, self._settings.limits.attempts)
            log.warning("stage_crashed", code=fault.code, reason=fault.reason, again=again, rung=rung)
            outcome = {"code": fault.code, "message": str(fault)}
            return {"result": Result.AGAIN.value, **outcome} if again else self._gave_none(folder, outcome)
        if status:
            outcome = folder.outcome(_STAGE) or {}
            log.warning("candidate_gave_no_map", code=outcome.get("code"))
            return self._gave_none(folder, outcome)
        log.info("stage_done")
        return {"result": Result.DONE.value, "destinations": _destinations(folder)}

    def _run(self, folder: CaseFolder) -> int:
        beside, limits = folder.beside().path, self._settings.limits
        remove_abandoned_parts(beside)
        return run_in_child(
            _STAGE,
            folder.path,
            self._settings.source,
            timeout_s=limits.timeout_of(_STAGE),
            stop=lambda: folder.is_cancelled() or self._idle.is_over(),
            program=self._program,
            memory_mb=limits.memory_mb,
            mark=str(beside),  # a stage of the same case ends what bears the mark of the case, and this must not
        )

    def _gave_none(self, folder: CaseFolder, outcome: Output) -> Output:
        """Remember that the candidate gave no map of this case."""
        from inference.models.shadow import shadow_of

        code, message = str(outcome.get("code", "")), str(outcome.get("message", ""))
        registry = self._settings.model_registry()
        if (shadow := shadow_of(registry)) is not None:
            said = not_compared(folder.case_id, shadow.identity, code, message)
            Comparisons(registry.folder, shadow.model.content_sha256).keep(said)
        return {"result": Result.FAILED.value, "code": code, "message": message}


def _made_way() -> Output:
    return {"result": Result.AGAIN.value, "code": MADE_WAY, "message": _WHY, "wait_s": _WAIT_S}


def _destinations(folder: CaseFolder) -> list[str]:
    """Where the objects that were made are to go, as the stage has written it down."""
    beside = folder.beside()
    return list(beside.object_facts()["destinations"]) if beside.contents.exists() else []
