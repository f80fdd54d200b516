"""What is true about every case: a typed view over the durable engine, and what a person may do to a case.

The engine (DBOS, see `job_engine`) keeps one row per attempt of a stage or of a delivery. This file reads
those rows as cases (`attempts`) and starts new ones. It works beside a running node and without one: `perfnode jobs`
uses it too. All ids are derived, so asking twice for the same thing does it once.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final, Self

from dbos import DBOSClient, DBOSPortableJSONSerializer, PortableWorkflowError, WorkflowStatus
from dbos import EnqueueOptions as DbosEnqueueOptions

from dicom_node.attempts import Attempt, AttemptId, Case, CaseState, Result, case_of, standing_attempts
from dicom_node.cases import CaseFolder, CaseStore
from dicom_node.errors import NeverStarted, UnknownCase, UnknownDestination
from dicom_node.job_database import JobDatabase
from dicom_node.job_rows import UNFINISHED, QueueState, Waiting, queue_states, stranded, waiting_line
from dicom_node.priorities import Priority, queue_number
from dicom_node.stages import Stage

APPLICATION_VERSION = "1"
SERIALIZER = DBOSPortableJSONSerializer()
"""Text that a person and every later version can read; rows of earlier versions say themselves that they are not."""
STAGE_WORKFLOW = "run_stage"
DELIVERY_WORKFLOW = "deliver"
"""Also of verifications and notices: all that a destination is called for."""
WORK_QUEUE = "work"
CASE_WORKFLOWS = (STAGE_WORKFLOW, DELIVERY_WORKFLOW)
"""Those whose rows are attempts of cases."""
ALERT_WORKFLOW = "send_alert"
ALERT_QUEUE = "alerts"
"""Of messages to people, so that a mail server that is away holds up no case."""
_WAITING = ("ENQUEUED", "DELAYED")
_ROWS_AT_ONCE: Final = 1000
_CASES_AT_ONCE: Final = 50


class JobBook:
    """Reads and changes what the engine will do; a context manager that gives the database back.

    Raises:
        NeverStarted: no node has worked with this database yet.
    """

    def __init__(self, database: JobDatabase, cases: CaseStore) -> None:
        if not database.exists:
            raise NeverStarted(str(cases.root.parent))
        self._cases = cases
        # Whoever asks hears that the database is away, and decides when to ask again.
        self._client = DBOSClient(
            system_database_url=database.url, serializer=SERIALIZER, retry_connection_errors=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._client.destroy()

    def cases(self) -> list[Case]:
        """Every case, the oldest first."""
        grouped: dict[str, list[Attempt]] = {}
        for row in self._client.list_workflows(name=list(CASE_WORKFLOWS), load_input=False):
            attempt = attempt_of(row)
            grouped.setdefault(attempt.id.case_id, []).append(attempt)
        return sorted((case_of(attempts) for attempts in grouped.values()), key=lambda case: case.created_at_s)

    def changed_since(self, since_s: float) -> list[Case]:
        """Every case of which an attempt ended after that Unix time."""
        since = datetime.fromtimestamp(since_s, UTC).isoformat()
        ended = self._client.list_workflows(
            name=list(CASE_WORKFLOWS), completed_after=since, load_input=False, load_output=False
        )
        case_ids = sorted({AttemptId.parse(row.workflow_id).case_id for row in ended})
        return list(self._cases_of(case_ids))

    def tell(self, message_id: str, alert: str, message: dict[str, Any]) -> None:
        """Let a message be sent to somebody; the same id twice is one message.

        Args:
            message_id: derived from what happened.
            alert: name of the recipient, as in the site file.
            message: what it says.
        """
        options: DbosEnqueueOptions = {
            "workflow_name": ALERT_WORKFLOW,
            "queue_name": ALERT_QUEUE,
            "workflow_id": message_id,
            "app_version": APPLICATION_VERSION,
        }
        self._client.enqueue(options, alert, message, 1)

    def case_ids(self) -> set[str]:
        """Ids of all cases that were ever started."""
        rows = self._client.list_workflows(load_input=False, load_output=False)
        return {row.workflow_id.partition(":")[0] for row in rows}

    def newest_cases(self) -> Iterator[Case]:
        """Every case, the one with the newest attempt first; read bit by bit, so that the first ones cost little."""
        seen: set[str] = set()
        offset = 0
        while rows := self._client.list_workflows(
            name=list(CASE_WORKFLOWS),
            sort_desc=True,
            limit=_ROWS_AT_ONCE,
            offset=offset,
            load_input=False,
            load_output=False,
        ):
            offset += len(rows)
            ids = dict.fromkeys(AttemptId.parse(row.workflow_id).case_id for row in rows)
            new = [case_id for case_id in ids if case_id not in seen]
            seen.update(new)
            yield from self._cases_of(new)

    def waiting(self) -> list[QueueState]:
        """How much waits and runs in every queue that is not empty; loads neither inputs nor outputs."""
        return queue_states(self._client.list_workflows(status=UNFINISHED, load_input=False, load_output=False))

    def waiting_line(self, destination: str) -> list[Waiting]:
        """Who waits for a destination because it was not there, the first in line first."""
        return waiting_line(self._client.list_workflows, delivery_queue(destination))

    def wake(self, attempts: Sequence[AttemptId]) -> None:
        """Let attempts that wait for their time be made at once, or as soon as somebody is free."""
        for attempt in attempts:
            self._client.set_workflow_delay(str(attempt), delay_seconds=0.0)

    def bring_stranded_back(self) -> int:
        """After a clock was put back: end delays that would last too long when they should; how many there were."""
        found = stranded(self._client.list_workflows, CASE_WORKFLOWS, time.time())
        for attempt, wait_s in found:
            self._client.set_workflow_delay(str(attempt), delay_seconds=wait_s)
        return len(found)

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

    def start(self, case_id: str) -> list[AttemptId]:
        """Start a case from its first stage, whatever is known of it from before; what was queued."""
        return [self.start_unit(case_id, Stage.READ)]

    def start_unit(self, case_id: str, unit: str) -> AttemptId:
        """Start a case at a stage, or at a delivery, in a run of its own."""
        runs = [attempt.id.run for attempt in self._attempts(case_id)]
        return self._start(AttemptId(case_id, max(runs, default=0) + 1, unit, 1))

    def hasten(self, case_id: str) -> None:
        """Make a case urgent: whatever is queued of it from now on goes before what is not.

        Raises:
            UnknownCase: there is no such case.
        """
        folder = self._cases.folder(case_id)
        record = folder.record()
        if record.priority != Priority.URGENT:
            folder.write_record(replace(record, priority=Priority.URGENT.value))

    def rerun(self, case_id: str) -> list[AttemptId]:
        """Process a finished case anew with the models and settings in force; what was held of it is superseded.

        A result that differs from the one before has new UIDs and refers to it; the same result has the same UIDs.

        Returns:
            What was queued; nothing while the case is not finished.

        Raises:
            UnknownCase: there is no such case.
        """
        if not self.case(case_id).is_finished:
            return []
        self._cases.folder(case_id).set_cancelled(False)
        return self.start(case_id)

    def retry(self, case_id: str, destination: str = "") -> list[AttemptId]:
        """Try a case again from where it stopped; what was delivered is delivered again, with the same UIDs.

        Without `destination`, a finished case: its stage, or the destinations that do not have everything, or all if
        all have. With it, that destination alone, even while its next attempt waits for its time. What is held stays
        held: that is for `release`.

        Returns:
            What was queued.

        Raises:
            UnknownCase: there is no such case.
            UnknownDestination: nothing of the case was ever on its way there.
        """
        case = self.case(case_id)
        standing = {a.id.destination: a for a in standing_attempts(case.attempts)}
        run = max(attempt.id.run for attempt in case.attempts) + 1
        if destination and destination not in standing:
            return self._retry_shadow(case, destination, run)
        if not (case.is_finished or (destination and standing[destination].status in _WAITING)):
            return []
        self._cases.folder(case_id).set_cancelled(False)
        if "" in standing:
            return [self._start(AttemptId(case_id, run, case.stage, 1))]
        free = {name: a for name, a in standing.items() if a.result is not Result.HELD}
        unsent = [name for name, a in free.items() if a.result is not Result.DONE or not a.is_settled]
        chosen = [n for n in free if n == destination] if destination else unsent or list(free)
        self._client.cancel_workflows([str(free[name].id) for name in chosen if free[name].is_active])
        return [self._start(AttemptId(case_id, run, f"{Stage.DELIVER}.{name}", 1)) for name in chosen]

    def _retry_shadow(self, case: Case, destination: str, run: int) -> list[AttemptId]:
        shadows = [a for a in case.attempts if a.id.destination == destination and a.id.stage is Stage.SHADOW]
        if not shadows:
            raise UnknownDestination(destination)
        last = max(shadows, key=lambda a: (a.id.run, a.id.attempt))
        if last.is_active and last.status not in _WAITING:
            return []
        self._client.cancel_workflows([str(last.id)] if last.is_active else [])
        return [self._start(AttemptId(case.case_id, run, f"{Stage.SHADOW}.{destination}", 1))]

    def release(self, case_id: str, destination: str = "") -> list[AttemptId]:
        """Send what is held of a case: to one destination, or to all that wait for a person.

        Returns:
            What was queued; nothing if nothing is held.

        Raises:
            UnknownCase: there is no such case.
        """
        held = self._held(case_id, destination)
        return [self._start(attempt.id.following(Stage.DELIVER)) for attempt in held]

    def discard(self, case_id: str, destination: str = "") -> list[AttemptId]:
        """Send nothing of what is held of a case, neither now nor later; `retry` asks a person again.

        Returns:
            What was queued to say so; nothing if nothing is held.

        Raises:
            UnknownCase: there is no such case.
        """
        held = self._held(case_id, destination)
        return [self._start(attempt.id.following(Stage.DISCARD)) for attempt in held]

    def requeue(self, destination: str = "", code: str = "", *, only_ask: bool = False) -> list[AttemptId]:
        """Try every failed delivery again, in the order of the queue.

        Args:
            destination: only those to it; all if empty.
            code: only those that failed with it; all if empty.
            only_ask: change nothing.

        Returns:
            The failed attempts, which are failed no longer: a second call finds nothing.
        """
        failed = [case for case in self.newest_cases() if case.state in (CaseState.FAILED, CaseState.DELIVERING)]
        found = []
        for case in sorted(failed, key=lambda case: number_of(self._cases.folder(case.case_id))):
            for attempt in standing_attempts(case.attempts):
                if _is_dead_letter(attempt, destination, code):
                    found.append(attempt.id)
                    if not only_ask:
                        self._again(attempt, case)
        return found

    def _again(self, attempt: Attempt, case: Case) -> None:
        """A new run of one destination, also while another one of the case is still on its way."""
        run = max(a.id.run for a in case.attempts) + 1
        self._cases.folder(case.case_id).set_cancelled(False)
        self._start(AttemptId(case.case_id, run, f"{Stage.DELIVER}.{attempt.id.destination}", 1))

    def cancel(self, case_id: str) -> bool:
        """Stop a case: what runs is killed, what is queued or held is never sent. Holds on every host of the node.

        Returns:
            Whether there was anything to stop.

        Raises:
            UnknownCase: there is no such case.
        """
        case = self.case(case_id)
        folder: CaseFolder = self._cases.folder(case_id)
        if case.is_finished and case.state is not CaseState.HELD:
            return False
        folder.set_cancelled(True)
        self.discard(case_id)
        self._client.cancel_workflows([str(a.id) for a in self.case(case_id).attempts if a.is_active])
        return True

    def _held(self, case_id: str, destination: str) -> list[Attempt]:
        standing = [a for a in standing_attempts(self.case(case_id).attempts) if a.result is Result.HELD]
        return [a for a in standing if a.id.destination == (destination or a.id.destination)]

    def forget(self, attempts: Sequence[str]) -> None:
        """Delete rows for good, by their ids; those that are gone already are no matter."""
        self._client.delete_workflows(list(attempts))

    def forget_messages(self, before_s: float) -> None:
        """Delete the rows of messages to people that ended before a Unix time."""
        before = datetime.fromtimestamp(before_s, UTC).isoformat()
        rows = self._client.list_workflows(
            name=ALERT_WORKFLOW, completed_before=before, load_input=False, load_output=False
        )
        self._client.delete_workflows([row.workflow_id for row in rows])

    def _attempts(self, case_id: str) -> list[Attempt]:
        rows = self._client.list_workflows(workflow_id_prefix=f"{case_id}:", load_input=False)
        return [attempt_of(row) for row in rows]

    def _cases_of(self, case_ids: Sequence[str]) -> Iterator[Case]:
        for first in range(0, len(case_ids), _CASES_AT_ONCE):
            some = case_ids[first : first + _CASES_AT_ONCE]
            grouped: dict[str, list[Attempt]] = {case_id: [] for case_id in some}
            prefixes = [f"{case_id}:" for case_id in some]
            for row in self._client.list_workflows(workflow_id_prefix=prefixes, load_input=False):
                attempt = attempt_of(row)
                grouped[attempt.id.case_id].append(attempt)
            yield from (case_of(attempts) for attempts in grouped.values() if attempts)

    def _start(self, attempt: AttemptId) -> AttemptId:
        queue, workflow = queue_of(attempt)
        options: DbosEnqueueOptions = {
            "workflow_name": workflow,
            "queue_name": queue,
            "workflow_id": str(attempt),
            "app_version": APPLICATION_VERSION,
            "priority": number_of(self._cases.folder(attempt.case_id)),
        }
        self._client.enqueue(options, str(attempt), attempt.attempt)
        return attempt


def _is_dead_letter(attempt: Attempt, destination: str, code: str) -> bool:
    """Whether it is a delivery that failed, to that destination and with that code where they are given."""
    if not attempt.id.destination or attempt.result is not Result.FAILED:
        return False
    is_there = attempt.id.destination == (destination or attempt.id.destination)
    return is_there and attempt.output.get("code") == (code or attempt.output.get("code"))


def delivery_queue(destination: str) -> str:
    """Each destination has a queue of its own, so that one that is down holds up nobody else."""
    return f"send-{destination}"


def number_of(folder: CaseFolder) -> int:
    """The number by which the engine orders its queues, for every attempt of a case."""
    try:
        return folder.record().queue_number
    except UnknownCase:  # its files are gone; the attempt will say so
        return queue_number(Priority.NORMAL, time.time())


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
        kind = row.error.name if isinstance(row.error, PortableWorkflowError) else type(row.error).__name__
        return {"code": "INTERNAL_ERROR", "message": f"An unexpected {kind}; the log says where."}
    return {}
