"""Runs the stages durably: DBOS Transact on SQLite or PostgreSQL.

Each attempt of a stage is one workflow with a derived id; its last line queues what follows (`following`), again with
derived ids, so a node that is killed at any point goes on where it was and does nothing twice. Outputs in the database
are small dictionaries; arrays and DICOM stay in files. Why DBOS: durable queues, delays, recovery and cancellation with
no server, and the same code on PostgreSQL.

What an attempt does is the matter of `stage_work`, `candidate_work` and `transmission`.
"""

from collections import Counter
from collections.abc import Callable, Collection
from typing import Any

from dbos import DBOS, SetEnqueueOptions, SetWorkflowID

from dicom_node.jobs.attempts import Attempt, AttemptId
from dicom_node.jobs.dbos_settings import dbos_config
from dicom_node.jobs.delivery_line import DeliveryLine
from dicom_node.jobs.following import Next, after
from dicom_node.jobs.job_rows import attempt_of
from dicom_node.jobs.queues import (
    ALERT_QUEUE,
    ALERT_WORKFLOW,
    CANDIDATE_QUEUE,
    DELIVERY_WORKFLOW,
    STAGE_WORKFLOW,
    WORK_QUEUE,
    delivery_queue,
    number_of,
    queue_of,
)
from dicom_node.jobs.route_mode import RouteMode
from dicom_node.jobs.stages import Stage
from dicom_node.metrics import counted_attempt
from dicom_node.processes.programs import PROGRAMS, Programs
from dicom_node.processes.roles import Role
from dicom_node.sending.transmission import Transmission
from dicom_node.settings.config import NodeSettings
from dicom_node.watching import alerts
from dicom_node.work.candidate_work import CandidateWork
from dicom_node.work.idle import Idle
from dicom_node.work.stage_work import StageWork

_POLL_S = {WORK_QUEUE: 0.3, ALERT_QUEUE: 2.0, CANDIDATE_QUEUE: 2.0}
"""How often a queue is looked at: a worker is idle meanwhile, and each look costs processor time and a transaction."""
_DELIVERY_POLL_S = 0.5
Output = dict[str, Any]


class JobEngine:
    """The running engine of one process; there is one per process.

    Args:
        settings: of the node.
        roles: which queues it takes work from.
        executor_id: under which it works; no two processes at a time may have the same (`liveness`).
        programs: what it starts for stages.
    """

    def __init__(
        self, settings: NodeSettings, roles: Collection[Role], executor_id: str, programs: Programs = PROGRAMS
    ) -> None:
        self._settings = settings
        self._roles = frozenset(roles)
        self._executor_id = executor_id
        self._cases = settings.cases()
        self._stages = StageWork(settings, programs.stage)
        self._idle = Idle(self._has_work)
        self._candidates = CandidateWork(settings, self._idle, programs.stage)
        line = DeliveryLine(DBOS.list_workflows, _wake, self._cases)
        self._transmission = Transmission(settings, _attempts_of, line=line)
        self._workflows: dict[str, Callable[[str, int], Output]] = {}

    def launch(self) -> None:
        """Open the database, take up what was left unfinished under our id, and begin to work."""
        self._settings.database.prepare()
        DBOS(config=dbos_config(self._settings.database.url, self._executor_id))
        self._register()
        DBOS.listen_queues(self._listened())
        DBOS.launch()
        for queue in self._queues():
            poll_s = _POLL_S.get(queue, _DELIVERY_POLL_S)
            DBOS.register_queue(queue, worker_concurrency=1, polling_interval_sec=poll_s)

    def unfinished(self) -> Counter[str]:
        """How many attempts each executor has as running, of all processes on all hosts."""
        rows = DBOS.list_workflows(status="PENDING", load_input=False, load_output=False)
        return Counter(row.executor_id for row in rows if row.executor_id)

    def close(self, grace_s: int = 5) -> None:
        """Stop taking work; what still runs is repeated at the next start."""
        self._idle.close()
        DBOS.destroy(workflow_completion_timeout_sec=grace_s)

    def _queues(self) -> list[str]:
        """Every queue that there is."""
        deliveries = [delivery_queue(destination.name) for destination in self._settings.destinations]
        return [WORK_QUEUE, *deliveries, CANDIDATE_QUEUE, ALERT_QUEUE]

    def _has_work(self) -> bool:
        """Whether a case is being worked on or delivered, or waits for its turn, on any host; models in shadow apart.

        A delivery whose destination is away waits for its time and does not count.
        """
        modes = self._settings.modes
        counted = [delivery_queue(name) for name, mode in modes.items() if mode is not RouteMode.RESEARCH]
        status = ["ENQUEUED", "PENDING"]
        queues = [WORK_QUEUE, *counted]
        return bool(DBOS.list_workflows(queue_name=queues, status=status, limit=1, load_input=False, load_output=False))

    def _listened(self) -> list[str]:
        """The queues of our roles."""
        role_of = {WORK_QUEUE: Role.WORKER, CANDIDATE_QUEUE: Role.WORKER}
        return [queue for queue in self._queues() if role_of.get(queue, Role.SENDER) in self._roles]

    def _register(self) -> None:
        """Closures, because DBOS marks the functions it is given, and bound methods cannot be marked."""
        limit = self._settings.work.restart_limit

        @DBOS.step(name="perform")
        def perform(attempt_id: str, tries: int) -> Output:
            attempt = AttemptId.parse(attempt_id)
            with counted_attempt(attempt.stage) as counting:
                works = self._candidates if attempt.stage is Stage.CANDIDATE else self._stages
                return counting.of(works.perform(self._cases.folder(attempt.case_id), attempt, tries))

        @DBOS.step(name="transmit")
        def transmit(attempt_id: str, tries: int) -> Output:
            attempt = AttemptId.parse(attempt_id)
            with counted_attempt(attempt.stage, attempt.destination) as counting:
                return counting.of(self._transmission.perform(self._cases.folder(attempt.case_id), attempt))

        @DBOS.workflow(name=STAGE_WORKFLOW, max_recovery_attempts=limit)
        def run_stage(attempt_id: str, tries: int) -> Output:
            return self._queued_after(attempt_id, perform(attempt_id, tries), tries)

        @DBOS.workflow(name=DELIVERY_WORKFLOW, max_recovery_attempts=limit)
        def deliver(attempt_id: str, tries: int) -> Output:
            return self._queued_after(attempt_id, transmit(attempt_id, tries), tries)

        self._workflows = {STAGE_WORKFLOW: run_stage, DELIVERY_WORKFLOW: deliver}

        @DBOS.step(name="send_message")
        def send_message(alert: str, message: Output, tries: int) -> Output:
            return alerts.send(self._settings, alert, message, tries)

        @DBOS.workflow(name=ALERT_WORKFLOW, max_recovery_attempts=limit)
        def send_alert(alert: str, message: Output, tries: int) -> Output:
            output = send_message(alert, message, tries)
            if (wait_s := output.get("wait_s")) is not None:
                name = SetWorkflowID(alerts.message_id(alert, message, tries + 1))
                with name, SetEnqueueOptions(delay_seconds=wait_s):
                    DBOS.enqueue_workflow(ALERT_QUEUE, send_alert, alert, message, tries + 1)
            return output

    def _queued_after(self, attempt_id: str, output: Output, tries: int) -> Output:
        """Queue what follows from an output, and give the output back."""
        for then in after(AttemptId.parse(attempt_id), output, tries):
            self._queue(then)
        return output

    def _queue(self, then: Next) -> None:
        queue, workflow = queue_of(then.attempt)
        number = number_of(self._cases.folder(then.attempt.case_id))
        options = SetEnqueueOptions(delay_seconds=then.delay_s or None, priority=number)
        with SetWorkflowID(str(then.attempt)), options:
            DBOS.enqueue_workflow(queue, self._workflows[workflow], str(then.attempt), then.tries)


def _attempts_of(case_id: str) -> list[Attempt]:
    return [attempt_of(row) for row in DBOS.list_workflows(workflow_id_prefix=f"{case_id}:", load_input=False)]


def _wake(attempt: AttemptId) -> None:
    DBOS.set_workflow_delay(str(attempt), delay_seconds=0.0)
