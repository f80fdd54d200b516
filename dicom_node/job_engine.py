"""Runs the stages durably: DBOS Transact on SQLite or PostgreSQL.

Each attempt of a stage is one workflow with a derived id; its last line queues what follows (`following`), again with
derived ids, so a node that is killed at any point goes on where it was and does nothing twice. Outputs in the database
are small dictionaries; arrays and DICOM stay in files. Why DBOS: durable queues, delays, recovery and cancellation with
no server, and the same code on PostgreSQL.

What an attempt does is the matter of `stage_work` and `transmission`.
"""

from collections.abc import Callable
from typing import Any

from dbos import DBOS, DBOSConfig, SetEnqueueOptions, SetWorkflowID

from dicom_node.attempts import Attempt, AttemptId
from dicom_node.config import NodeSettings
from dicom_node.following import Next, after
from dicom_node.jobs import (
    APPLICATION_VERSION,
    DELIVERY_WORKFLOW,
    STAGE_WORKFLOW,
    WORK_QUEUE,
    attempt_of,
    delivery_queue,
    queue_of,
)
from dicom_node.stage_work import StageWork
from dicom_node.transmission import Transmission

_POLL_S = 0.5
Output = dict[str, Any]


class JobEngine:
    """The running engine of one node; there is one per process."""

    def __init__(self, settings: NodeSettings) -> None:
        self._settings = settings
        self._cases = settings.cases()
        self._stages = StageWork(settings)
        self._transmission = Transmission(settings, _attempts_of)
        self._workflows: dict[str, Callable[[str, int], Output]] = {}

    def launch(self) -> None:
        """Open the database, take up what was left unfinished, and begin to work."""
        database = self._settings.database
        database.prepare()
        config: DBOSConfig = {
            "name": "perfnode",
            "system_database_url": database.url,
            "executor_id": "node",
            # Pinned: otherwise an upgrade would leave the jobs of the old code alone for ever.
            "application_version": APPLICATION_VERSION,
            "log_level": "ERROR",
        }
        DBOS(config=config)
        self._register()
        DBOS.launch()
        DBOS.register_queue(WORK_QUEUE, worker_concurrency=1, polling_interval_sec=_POLL_S)
        for destination in self._settings.destinations:
            queue = delivery_queue(destination.name)
            DBOS.register_queue(queue, worker_concurrency=1, polling_interval_sec=_POLL_S)

    def close(self, grace_s: int = 5) -> None:
        """Stop taking work; what still runs is repeated at the next start."""
        DBOS.destroy(workflow_completion_timeout_sec=grace_s)

    def _register(self) -> None:
        """Closures, because DBOS marks the functions it is given, and bound methods cannot be marked."""

        @DBOS.step(name="perform")
        def perform(attempt_id: str, tries: int) -> Output:
            attempt = AttemptId.parse(attempt_id)
            return self._stages.perform(self._cases.folder(attempt.case_id), attempt, tries)

        @DBOS.step(name="transmit")
        def transmit(attempt_id: str, tries: int) -> Output:
            attempt = AttemptId.parse(attempt_id)
            return self._transmission.perform(self._cases.folder(attempt.case_id), attempt)

        @DBOS.workflow(name=STAGE_WORKFLOW)
        def run_stage(attempt_id: str, tries: int) -> Output:
            return self._queued_after(attempt_id, perform(attempt_id, tries), tries)

        @DBOS.workflow(name=DELIVERY_WORKFLOW)
        def deliver(attempt_id: str, tries: int) -> Output:
            return self._queued_after(attempt_id, transmit(attempt_id, tries), tries)

        self._workflows = {STAGE_WORKFLOW: run_stage, DELIVERY_WORKFLOW: deliver}

    def _queued_after(self, attempt_id: str, output: Output, tries: int) -> Output:
        """Queue what follows from an output, and give the output back."""
        for then in after(AttemptId.parse(attempt_id), output, tries):
            self._queue(then)
        return output

    def _queue(self, then: Next) -> None:
        queue, workflow = queue_of(then.attempt)
        with SetWorkflowID(str(then.attempt)), SetEnqueueOptions(delay_seconds=then.delay_s or None):
            DBOS.enqueue_workflow(queue, self._workflows[workflow], str(then.attempt), then.tries)


def _attempts_of(case_id: str) -> list[Attempt]:
    return [attempt_of(row) for row in DBOS.list_workflows(workflow_id_prefix=f"{case_id}:", load_input=False)]
