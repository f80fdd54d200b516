"""Runs the stages durably: DBOS Transact on SQLite.

Each attempt of a stage is one workflow with a derived id; its last line queues what follows, again with a derived id,
so a node that is killed at any point goes on where it was and does nothing twice. Outputs in the database are small
dictionaries; arrays and DICOM stay in files. Why DBOS: durable queues, delays, recovery and cancellation with no
server, and the same code on PostgreSQL later.

A step has three ends and no fourth: done; refused for good (rejected, failed); to be tried again, after a delay.
A peer that cannot be reached does not use up attempts; one that answers with a failure does.
"""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog
from dbos import DBOS, DBOSConfig, SetEnqueueOptions, SetWorkflowID

from dicom_node.attempts import AttemptId, Result
from dicom_node.cases import CaseFolder, CaseStore
from dicom_node.child import GAVE_UP, REJECTED, run_in_child
from dicom_node.config import NodeSettings
from dicom_node.errors import DeliveryError, PeerUnreachable, StageCrashed
from dicom_node.jobs import (
    APPLICATION_VERSION,
    DELIVERY_WORKFLOW,
    STAGE_WORKFLOW,
    WORK_QUEUE,
    database_path,
    database_url,
    delivery_queue,
)
from dicom_node.network.delivery import DeliveryReport, send
from dicom_node.stages import ASIDE, FOLLOWING, Stage

_POLL_S = 0.5
Output = dict[str, Any]


class JobEngine:
    """The running engine of one node; there is one per process."""

    def __init__(self, settings: NodeSettings) -> None:
        self._settings = settings
        self._cases = CaseStore.under(settings.data_dir)
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
            return self._transmit(AttemptId.parse(attempt_id), tries)

        @DBOS.workflow(name=STAGE_WORKFLOW)
        def run_stage(attempt_id: str, tries: int) -> Output:
            output = perform(attempt_id, tries)
            self._queue_following(AttemptId.parse(attempt_id), output, tries)
            return output

        @DBOS.workflow(name=DELIVERY_WORKFLOW)
        def deliver(attempt_id: str, tries: int) -> Output:
            output = transmit(attempt_id, tries)
            self._queue_delivery_again(AttemptId.parse(attempt_id), output, tries)
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

    def _queue_delivery(self, attempt: AttemptId) -> None:
        with SetWorkflowID(str(attempt)):
            DBOS.enqueue_workflow(delivery_queue(attempt.destination), self._delivery_workflow, str(attempt), 1)

    def _transmit(self, attempt: AttemptId, tries: int) -> Output:
        """Send all objects of a case, or its notice, to one destination; the step of `deliver`."""
        folder = self._cases.folder(attempt.case_id)
        log = self._log.bind(case=attempt.case_id, destination=attempt.destination, tries=tries)
        if folder.is_cancelled():
            return {"result": Result.CANCELLED.value}
        try:
            destination = self._settings.destination(attempt.destination)
        except KeyError:
            return _not_done("UNKNOWN_DESTINATION", "The site has no destination of this name any more.", again=False)
        paths, absent = self._ordered(folder, attempt)
        if absent:
            why = f"The site orders objects that were not made ({', '.join(absent)}); `perfnode rerun` makes them."
            return _not_done("OBJECTS_NOT_MADE", why, again=False)
        if not paths:  # a notice that a result has overtaken, or regions that are all empty
            return {"result": Result.DONE.value, "instances": []}
        try:
            report = send(paths, destination)
        except DeliveryError as fault:
            used_up = tries > len(self._settings.retry_delays_s) and not isinstance(fault, PeerUnreachable)
            again = not fault.permanent and not used_up
            log.warning("delivery_failed", code=fault.code, again=again)
            return _not_done(fault.code, str(fault), again=again)
        log.info("delivered", objects=len(report.instances))
        return {"result": Result.DONE.value, "instances": _instances(report)}

    def _ordered(self, folder: CaseFolder, attempt: AttemptId) -> tuple[list[Path], list[str]]:
        """The files a destination is to get, and the roles that objects were not made for."""
        if attempt.stage is Stage.TELL:
            return sorted(folder.notice.glob("*.dcm")), []
        ordered = [str(role) for role in self._settings.orders[attempt.destination].roles()]
        made_for = folder.object_facts()["ordered"] if folder.contents.exists() else []
        return [path for role in ordered for path in folder.objects_of(role)], [r for r in ordered if r not in made_for]

    def _queue_delivery_again(self, attempt: AttemptId, output: Output, tries: int) -> None:
        if output["result"] != Result.AGAIN:
            return
        delays = self._settings.retry_delays_s
        again = AttemptId(attempt.case_id, attempt.run, attempt.unit, attempt.attempt + 1)
        with SetWorkflowID(str(again)), SetEnqueueOptions(delay_seconds=delays[min(tries, len(delays)) - 1]):
            DBOS.enqueue_workflow(delivery_queue(attempt.destination), self._delivery_workflow, str(again), tries + 1)


def _not_done(code: str, message: str, *, again: bool) -> Output:
    result = Result.AGAIN if again else Result.FAILED
    return {"result": result.value, "code": code, "message": message}


def _instances(report: DeliveryReport) -> list[Output]:
    return [{"sop_instance_uid": i.sop_instance_uid, "status": i.status} for i in report.instances]


def _prepare_database(data_dir: Path) -> None:
    """Make the database in WAL mode, which lets `perfnode jobs` read while the node writes."""
    path = database_path(data_dir)
    with sqlite3.connect(path) as connection:
        connection.execute("pragma journal_mode=wal")
    connection.close()
    path.chmod(0o600)
