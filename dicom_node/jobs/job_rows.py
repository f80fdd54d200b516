"""What the rows of the engine say: the attempt each stands for, how much waits where, and who waits for a destination.

Pure functions of rows, and of a function that lists rows: the running engine and a client beside it list them alike.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from dbos import PortableWorkflowError, WorkflowStatus

from dicom_node.jobs.attempts import Attempt, AttemptId
from dicom_node.jobs.delivery_history import UNREACHABLE

UNFINISHED: Final = ["ENQUEUED", "DELAYED", "PENDING"]
_AT_ONCE: Final = 400
"""Rows that are asked for by name in one question."""
_CLOCK_TOLERANCE_S: Final = 60.0
"""Clocks of several hosts may differ by less than this."""
_LONGEST_STAGE_PAUSE_S: Final = 60.0


class ListRows(Protocol):
    """`list_workflows` of the engine or of its client."""

    def __call__(
        self,
        *,
        workflow_ids: list[str] | None = None,
        status: str | list[str] | None = None,
        queue_name: str | list[str] | None = None,
        name: str | list[str] | None = None,
        load_input: bool = True,
        load_output: bool = True,
    ) -> list[WorkflowStatus]:
        """The rows that fit."""


@dataclass(frozen=True, slots=True)
class QueueState:
    """How much waits in one queue."""

    queue: str
    waiting: int
    """Attempts whose turn it is as soon as somebody is free."""
    running: int
    delayed: int
    """Attempts that wait for their time."""
    oldest_created_at_s: float | None
    """Unix time at which the oldest of all these was queued; None if there is none."""


@dataclass(frozen=True, slots=True, order=True)
class Waiting:
    """An attempt that waits because its destination was not there; these sort as the engine orders its queues."""

    queue_number: int
    created_at_s: float
    attempt: AttemptId


def queue_states(rows: Iterable[WorkflowStatus]) -> list[QueueState]:
    """The state of every queue that unfinished rows stand in, by name."""
    queues: dict[str, list[WorkflowStatus]] = {}
    for row in rows:
        if row.queue_name:
            queues.setdefault(row.queue_name, []).append(row)
    return [_queue_state(queue, queues[queue]) for queue in sorted(queues)]


def _queue_state(queue: str, rows: Sequence[WorkflowStatus]) -> QueueState:
    statuses = [row.status for row in rows]
    return QueueState(
        queue,
        waiting=statuses.count("ENQUEUED"),
        running=statuses.count("PENDING"),
        delayed=statuses.count("DELAYED"),
        oldest_created_at_s=min(row.created_at or 0 for row in rows) / 1000,
    )


def waiting_line(list_rows: ListRows, queue: str, *, and_woken: bool = False) -> list[Waiting]:
    """Who waits in a queue because the attempt before found nobody there, the first in line first.

    Those that wait for a confirmation or after a refusal are not among them.

    Args:
        list_rows: of the engine.
        queue: of a destination.
        and_woken: with those whose wait is over, and whose turn has not come yet.
    """
    status = ["DELAYED", "ENQUEUED"] if and_woken else ["DELAYED"]
    rows = list_rows(queue_name=queue, status=status, load_input=False, load_output=False)
    said = _said_before(list_rows, [AttemptId.parse(row.workflow_id) for row in rows])
    return sorted(
        Waiting(row.priority or 0, (row.created_at or 0) / 1000, attempt)
        for row in rows
        if said.get(attempt := AttemptId.parse(row.workflow_id), {}).get("code") == UNREACHABLE
    )


def stranded(list_rows: ListRows, names: Sequence[str], now_s: float) -> list[tuple[AttemptId, float]]:
    """Attempts whose time was set by a clock that has been put back since, and how long they were to wait at most.

    A delay ends at a time of day. After a clock has jumped back by hours it would last hours longer; such rows were
    made in what is now the future.
    """
    rows = list_rows(name=list(names), status="DELAYED", load_input=False, load_output=False)
    ahead = [row for row in rows if (row.created_at or 0) / 1000 > now_s + _CLOCK_TOLERANCE_S]
    said = _said_before(list_rows, [AttemptId.parse(row.workflow_id) for row in ahead])
    found = []
    for row in ahead:
        attempt = AttemptId.parse(row.workflow_id)
        wait_s = float(said.get(attempt, {}).get("wait_s", _LONGEST_STAGE_PAUSE_S))
        if (row.delay_until_epoch_ms or 0) / 1000 > now_s + wait_s:
            found.append((attempt, wait_s))
    return found


def _said_before(list_rows: ListRows, attempts: Sequence[AttemptId]) -> dict[AttemptId, dict[str, Any]]:
    """The output of the attempt before each."""
    names = {str(before): attempt for attempt in attempts for before in attempt.before()}
    said: dict[AttemptId, dict[str, Any]] = {}
    for some in _parts(list(names)):
        for row in list_rows(workflow_ids=some, load_input=False):
            if isinstance(row.output, dict):
                said[names[row.workflow_id]] = row.output
    return said


def _parts(names: list[str]) -> Iterable[list[str]]:
    return (names[k : k + _AT_ONCE] for k in range(0, len(names), _AT_ONCE))


def attempt_of(row: WorkflowStatus) -> Attempt:
    """The attempt that a row of the engine stands for."""
    return Attempt(
        id=AttemptId.parse(row.workflow_id),
        status=row.status,
        output=row.output if isinstance(row.output, dict) else _fault(row),
        created_at_s=(row.created_at or 0) / 1000,
        updated_at_s=(row.updated_at or 0) / 1000,
        begun_at_s=row.dequeued_at / 1000 if row.dequeued_at else None,
    )


def _fault(row: WorkflowStatus) -> dict[str, Any]:
    """What to say of an attempt without an output. Only the kind of fault: its text may hold patient data."""
    if row.status == "MAX_RECOVERY_ATTEMPTS_EXCEEDED":
        return {"code": "TOO_MANY_RESTARTS", "message": "The node was killed again and again during this attempt."}
    if row.status == "ERROR":
        kind = row.error.name if isinstance(row.error, PortableWorkflowError) else type(row.error).__name__
        return {"code": "INTERNAL_ERROR", "message": f"An unexpected {kind}; the log says where."}
    return {}
