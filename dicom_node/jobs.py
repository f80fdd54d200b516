"""What is true about every case: a typed view over the durable engine, and what a person may do to a case.

The engine (DBOS, see `job_engine`) keeps one row per attempt of a stage or of a delivery. This file reads
those rows as cases (`attempts`) and starts new ones. It works beside a running node and without one: `perfnode jobs`
uses it too. All ids are derived, so asking twice for the same thing does it once.
"""

from typing import Any, Self

from dbos import DBOSClient, WorkflowStatus
from dbos import EnqueueOptions as DbosEnqueueOptions

from dicom_node.attempts import Attempt, AttemptId, Case, Result, case_of, standing_attempts
from dicom_node.cases import CaseFolder, CaseStore
from dicom_node.errors import NeverStarted, UnknownCase, UnknownDestination
from dicom_node.job_database import JobDatabase
from dicom_node.stages import Stage

APPLICATION_VERSION = "1"
STAGE_WORKFLOW = "run_stage"
DELIVERY_WORKFLOW = "deliver"
"""Also of verifications and notices: all that a destination is called for."""
WORK_QUEUE = "work"
_WAITING = ("ENQUEUED", "DELAYED")


class JobBook:
    """Reads and changes what the engine will do; a context manager that gives the database back.

    Raises:
        NeverStarted: no node has worked with this database yet.
    """

    def __init__(self, database: JobDatabase, cases: CaseStore) -> None:
        if not database.exists:
            raise NeverStarted(str(cases.root.parent))
        self._cases = cases
        self._client = DBOSClient(system_database_url=database.url)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._client.destroy()

    def cases(self) -> list[Case]:
        """Every case, the oldest first."""
        grouped: dict[str, list[Attempt]] = {}
        for row in self._client.list_workflows(load_input=False):
            attempt = attempt_of(row)
            grouped.setdefault(attempt.id.case_id, []).append(attempt)
        return sorted((case_of(attempts) for attempts in grouped.values()), key=lambda case: case.created_at_s)

    def case(self, case_id: str) -> Case:
        """One case.

        Raises:
            UnknownCase: the engine has no row of it.
        """
        attempts = self._attempts(case_id)
        if not attempts:
            raise UnknownCase(case_id)
        return case_of(attempts)

    def submit(self, case_id: str) -> None:
        """Start a case that was never started; any other is left alone."""
        if not self._attempts(case_id):
            self.start(case_id)

    def start(self, case_id: str) -> None:
        """Start a case from its first stage, whatever is known of it from before."""
        runs = [attempt.id.run for attempt in self._attempts(case_id)]
        self._start(AttemptId(case_id, max(runs, default=0) + 1, Stage.READ, 1))

    def rerun(self, case_id: str) -> None:
        """Process a finished case anew with the models and settings in force.

        A result that differs from the one before has new UIDs and refers to it; the same result has the same UIDs.

        Raises:
            UnknownCase: there is no such case.
        """
        if self.case(case_id).is_finished:
            self._cases.folder(case_id).set_cancelled(False)
            self.start(case_id)

    def retry(self, case_id: str, destination: str = "") -> None:
        """Try a case again from where it stopped; what was delivered is delivered again, with the same UIDs.

        Without `destination`, a finished case: its stage, or the destinations that do not have everything, or all if
        all have. With it, that destination alone, even while its next attempt waits for its time.

        Raises:
            UnknownCase: there is no such case.
            UnknownDestination: nothing of the case was ever on its way there.
        """
        case = self.case(case_id)
        standing = {a.id.destination: a for a in standing_attempts(case.attempts)}
        if destination and destination not in standing:
            raise UnknownDestination(destination)
        if not (case.is_finished or (destination and standing[destination].status in _WAITING)):
            return
        self._cases.folder(case_id).set_cancelled(False)
        run = max(attempt.id.run for attempt in case.attempts) + 1
        if "" in standing:
            self._start(AttemptId(case_id, run, case.stage, 1))
            return
        unsent = [name for name, a in standing.items() if a.result is not Result.DONE or not a.is_settled]
        for name in [destination] if destination else unsent or list(standing):
            self._client.cancel_workflows([str(a.id) for a in (standing[name],) if a.is_active])
            self._start(AttemptId(case_id, run, f"{Stage.DELIVER}.{name}", 1))

    def cancel(self, case_id: str) -> None:
        """Stop a case: what runs is killed, what is queued never starts.

        Raises:
            UnknownCase: there is no such case.
        """
        case = self.case(case_id)
        folder: CaseFolder = self._cases.folder(case_id)
        if not case.is_finished:
            folder.set_cancelled(True)
            self._client.cancel_workflows([str(a.id) for a in self.case(case_id).attempts if a.is_active])

    def _attempts(self, case_id: str) -> list[Attempt]:
        rows = self._client.list_workflows(workflow_id_prefix=f"{case_id}:", load_input=False)
        return [attempt_of(row) for row in rows]

    def _start(self, attempt: AttemptId) -> None:
        queue, workflow = queue_of(attempt)
        options: DbosEnqueueOptions = {
            "workflow_name": workflow,
            "queue_name": queue,
            "workflow_id": str(attempt),
            "app_version": APPLICATION_VERSION,
        }
        self._client.enqueue(options, str(attempt), 1)


def delivery_queue(destination: str) -> str:
    """Each destination has a queue of its own, so that one that is down holds up nobody else."""
    return f"send-{destination}"


def queue_of(attempt: AttemptId) -> tuple[str, str]:
    """Queue and workflow of an attempt."""
    if attempt.destination:
        return delivery_queue(attempt.destination), DELIVERY_WORKFLOW
    return WORK_QUEUE, STAGE_WORKFLOW


def attempt_of(row: WorkflowStatus) -> Attempt:
    """The attempt that a row of the engine stands for."""
    return Attempt(
        id=AttemptId.parse(row.workflow_id),
        status=row.status,
        output=row.output if isinstance(row.output, dict) else _fault(row),
        created_at_s=(row.created_at or 0) / 1000,
        updated_at_s=(row.updated_at or 0) / 1000,
    )


def _fault(row: WorkflowStatus) -> dict[str, Any]:
    """What to say of an attempt without an output. Only the kind of fault: its text may hold patient data."""
    if row.status == "MAX_RECOVERY_ATTEMPTS_EXCEEDED":
        return {"code": "TOO_MANY_RESTARTS", "message": "The node was killed again and again during this attempt."}
    if row.status == "ERROR":
        return {"code": "INTERNAL_ERROR", "message": f"An unexpected {type(row.error).__name__}; the log says where."}
    return {}
