"""Runs the stages durably: DBOS Transact on SQLite.

Each attempt of a stage is one workflow with a derived id; its last line queues what follows, again with a derived id,
so a node that is killed at any point goes on where it was and does nothing twice. Outputs in the database are small
dictionaries; arrays and DICOM stay in files. Why DBOS: durable queues, delays, recovery and cancellation with no
server, and the same code on PostgreSQL later.

A step has three ends and no fourth: done; refused for good (rejected, failed); to be tried again, after a delay.
What is done for a destination, and when it is tried again, is the matter of `transmission` and `delivery_history`.
"""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog
from dbos import DBOS, DBOSConfig, SetEnqueueOptions, SetWorkflowID

from dicom_node.attempts import Attempt, AttemptId, Result
from dicom_node.cases import CaseFolder, CaseStore
from dicom_node.child import GAVE_UP, REJECTED, run_in_child
from dicom_node.config import NodeSettings
from dicom_node.errors import StageCrashed
from dicom_node.jobs import (
    APPLICATION_VERSION,
    DELIVERY_WORKFLOW,
    STAGE_WORKFLOW,
    WORK_QUEUE,
    attempt_of,
    database_path,
    database_url,
    delivery_queue,
)
from dicom_node.stages import ASIDE, FOLLOWING, Stage
from dicom_node.transmission import Transmission, following

_POLL_S = 0.5
Output = dict[str, Any]


class JobEngine:
    """The running engine of one node; there is one per process."""

    def __init__(self, settings: NodeSettings) -> None:
        self._settings = settings
        self._cases = CaseStore.under(settings.data_dir)
        self._transmission = Transmission(settings, _attempts_of)
        self._log = structlog.get_logger()
        self._stage_workflow: Callable[[str, int], Output]
        self._delivery_workflow: Callable[[str, int], Output]

    def launch(self) -> None:
        """Open the database, take up what was left unfinished, and begin to work."""
        _prepare_database(self._settings.data_dir)
        config: DBOSConfig = {
            "name": "perfnode",
            "system_database_url": database_url(self._settings.data_dir),
            "executor_id": "node",
            # Pinned: otherwise an upgrade would leave the jobs of the old code alone for ever.
            "application_version": APPLICATION_VERSION,
            "log_level": "ERROR",
        }
        DBOS(config=config)

        # Closures, because DBOS marks the functions it is given, and bound methods cannot be marked.
        @DBOS.step(name="perform")
        def perform(attempt_id: str, tries: int) -> Output:
            return self._perform(AttemptId.parse(attempt_id), tries)

        @DBOS.step(name="transmit")
        def transmit(attempt_id: str, tries: int) -> Output:
            attempt = AttemptId.parse(attempt_id)
            return self._transmission.perform(self._cases.folder(attempt.case_id), attempt)

        @DBOS.workflow(name=STAGE_WORKFLOW)
        def run_stage(attempt_id: str, tries: int) -> Output:
            output = perform(attempt_id, tries)
            self._queue_following(AttemptId.parse(attempt_id), output, tries)
            return output

        @DBOS.workflow(name=DELIVERY_WORKFLOW)
        def deliver(attempt_id: str, tries: int) -> Output:
            output = transmit(attempt_id, tries)
            attempt = AttemptId.parse(attempt_id)
            if (then := following(attempt, output)) is not None:
                self._queue_delivery(then, output.get("wait_s", 0.0))
            return output

        self._stage_workflow, self._delivery_workflow = run_stage, deliver
        DBOS.launch()
        DBOS.register_queue(WORK_QUEUE, worker_concurrency=1, polling_interval_sec=_POLL_S)
        for destination in self._settings.destinations:
            queue = delivery_queue(destination.name)
            DBOS.register_queue(queue, worker_concurrency=1, polling_interval_sec=_POLL_S)

    def close(self, grace_s: int = 5) -> None:
        """Stop taking work; what still runs is repeated at the next start."""
        DBOS.destroy(workflow_completion_timeout_sec=grace_s)

    def _perform(self, attempt: AttemptId, tries: int) -> Output:
        """Run one stage in a child process; the step of `run_stage`."""
        folder = self._cases.folder(attempt.case_id)
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
            return self._gave_up(folder, attempt, _not_done(fault.code, str(fault), again=again))
        if ended in (REJECTED, GAVE_UP):
            outcome = folder.outcome(attempt.unit) or {}
            log.warning("case_rejected" if ended == REJECTED else "case_failed", code=outcome.get("code"))
            result = Result.REJECTED if ended == REJECTED else Result.FAILED
            return self._gave_up(folder, attempt, {"result": result.value, **outcome})
        log.info("stage_done")
        destinations = self._notified() if attempt.stage in ASIDE else [d.name for d in self._settings.destinations]
        return {"result": Result.DONE.value, "destinations": destinations, "more": bool(destinations)}

    def _gave_up(self, folder: CaseFolder, attempt: AttemptId, output: Output) -> Output:
        """Keep the reason for the notice, unless it is tried again or the notice itself is what failed."""
        if output["result"] == Result.AGAIN or attempt.stage in ASIDE:
            return output
        folder.write_refusal(output.get("code", ""), output.get("message", ""), attempt.unit)
        return {**output, "notice": bool(self._notified())}

    def _notified(self) -> list[str]:
        """Names of the destinations that want a notice when a case gives no result."""
        return [name for name, order in self._settings.orders.items() if order.refusal_notice]

    def _queue_following(self, attempt: AttemptId, output: Output, tries: int) -> None:
        if output["result"] == Result.AGAIN:
            again = AttemptId(attempt.case_id, attempt.run, attempt.unit, attempt.attempt + 1)
            with SetWorkflowID(str(again)), SetEnqueueOptions(delay_seconds=min(2.0**tries, 60.0)):
                DBOS.enqueue_workflow(WORK_QUEUE, self._stage_workflow, str(again), tries + 1)
        elif output["result"] == Result.DONE:
            following = FOLLOWING[attempt.stage]
            if following not in (Stage.DELIVER, Stage.TELL):
                self._queue_stage(AttemptId(attempt.case_id, attempt.run, following, 1))
                return
            for name in output["destinations"]:
                self._queue_delivery(AttemptId(attempt.case_id, attempt.run, f"{following}.{name}", 1))
        elif output.get("notice"):
            self._queue_stage(AttemptId(attempt.case_id, attempt.run, Stage.NOTICE, 1))

    def _queue_stage(self, attempt: AttemptId) -> None:
        with SetWorkflowID(str(attempt)):
            DBOS.enqueue_workflow(WORK_QUEUE, self._stage_workflow, str(attempt), 1)

    def _queue_delivery(self, attempt: AttemptId, wait_s: float = 0.0) -> None:
        queue = delivery_queue(attempt.destination)
        with SetWorkflowID(str(attempt)), SetEnqueueOptions(delay_seconds=wait_s or None):
            DBOS.enqueue_workflow(queue, self._delivery_workflow, str(attempt), attempt.attempt)


def _not_done(code: str, message: str, *, again: bool) -> Output:
    result = Result.AGAIN if again else Result.FAILED
    return {"result": result.value, "code": code, "message": message}


def _attempts_of(case_id: str) -> list[Attempt]:
    return [attempt_of(row) for row in DBOS.list_workflows(workflow_id_prefix=f"{case_id}:", load_input=False)]


def _prepare_database(data_dir: Path) -> None:
    """Make the database in WAL mode, which lets `perfnode jobs` read while the node writes."""
    path = database_path(data_dir)
    with sqlite3.connect(path) as connection:
        connection.execute("pragma journal_mode=wal")
    connection.close()
    path.chmod(0o600)
