"""What is true about every case: a typed view over the durable engine, and what a person may do to a case.

The engine (DBOS, see `job_engine`) keeps one row per attempt of a stage or of a delivery. This file names those rows,
reads them as cases, and starts new ones. It works beside a running node and without one: `perfnode jobs` uses it too.

    workflow id = <case id>:<run>:<stage>:<attempt>      stage is read, infer, encode or deliver.<destination>

A *run* begins when a series arrives or when somebody asks for another try; attempts within a run are the engine's own.
All ids are derived, so asking twice for the same thing does it once.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from dbos import DBOSClient, WorkflowStatus
from dbos import EnqueueOptions as DbosEnqueueOptions

from dicom_node.cases import CaseFolder, CaseStore
from dicom_node.errors import NeverStarted, UnknownCase
from dicom_node.stages import Stage

APPLICATION_VERSION = "1"
STAGE_WORKFLOW = "run_stage"
DELIVERY_WORKFLOW = "deliver"
WORK_QUEUE = "work"
_ACTIVE = ("PENDING", "ENQUEUED", "DELAYED")
_STAGE_ORDER = tuple(stage.value for stage in Stage)


class CaseState(StrEnum):
    """Where a case stands, for people."""

    PROCESSING = "PROCESSING"
    """Being read, inferred or encoded, or waiting for its turn."""
    DELIVERING = "DELIVERING"
    """Objects are made; at least one destination does not have them yet."""
    DELIVERED = "DELIVERED"
    """Every destination has stored every object."""
    REJECTED = "REJECTED"
    """The input cannot be used; the code and the sentence say why. Nothing was sent."""
    FAILED = "FAILED"
    """Attempts are used up or a destination refused for good; `retry` tries again."""
    CANCELLED = "CANCELLED"
    """Stopped by a person."""


class Result(StrEnum):
    """How one attempt ended; the `result` of a workflow's output."""

    DONE = "done"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    AGAIN = "again"
    """It failed and another attempt has been queued."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True, order=True)
class AttemptId:
    """The name of one row of the engine."""

    case_id: str
    run: int
    unit: str
    """A stage, or `deliver.<destination>`."""
    attempt: int

    def __str__(self) -> str:
        return f"{self.case_id}:{self.run}:{self.unit}:{self.attempt}"

    @classmethod
    def parse(cls, workflow_id: str) -> Self:
        """Read an id as written by `str`."""
        case_id, run, unit, attempt = workflow_id.split(":")
        return cls(case_id, int(run), unit, int(attempt))

    @property
    def stage(self) -> Stage:
        """The stage this attempt belongs to."""
        return Stage(self.unit.partition(".")[0])

    @property
    def destination(self) -> str:
        """The destination of a delivery, else empty."""
        return self.unit.partition(".")[2]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt as the engine knows it."""

    id: AttemptId
    status: str
    """The engine's own word: ENQUEUED, DELAYED, PENDING, SUCCESS, ERROR, CANCELLED, …"""
    output: dict[str, Any]
    created_at_s: float
    updated_at_s: float

    @property
    def is_active(self) -> bool:
        """Whether it is queued or running."""
        return self.status in _ACTIVE

    @property
    def result(self) -> Result | None:
        """How it ended, or `None` while it is active."""
        if self.is_active:
            return None
        if self.status == "CANCELLED":
            return Result.CANCELLED
        return Result(self.output.get("result", Result.FAILED))


@dataclass(frozen=True, slots=True)
class Case:
    """One case with all its attempts, oldest first."""

    case_id: str
    state: CaseState
    stage: Stage
    """The last stage reached."""
    code: str
    """Why it was rejected, failed or waits; empty otherwise."""
    message: str
    created_at_s: float
    updated_at_s: float
    attempts: tuple[Attempt, ...]

    @property
    def is_finished(self) -> bool:
        """Whether nothing more happens by itself."""
        return self.state not in (CaseState.PROCESSING, CaseState.DELIVERING)


class JobBook:
    """Reads and changes what the engine will do; a context manager that gives the database back.

    Raises:
        NeverStarted: no node has worked in this data directory yet.
    """

    def __init__(self, data_dir: Path) -> None:
        if not database_path(data_dir).exists():
            raise NeverStarted(str(data_dir))
        self._cases = CaseStore.under(data_dir)
        self._client = DBOSClient(system_database_url=database_url(data_dir))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._client.destroy()

    def cases(self) -> list[Case]:
        """Every case, the oldest first."""
        grouped: dict[str, list[Attempt]] = {}
        for row in self._client.list_workflows(load_input=False):
            attempt = _attempt(row)
            grouped.setdefault(attempt.id.case_id, []).append(attempt)
        return sorted((case_of(attempts) for attempts in grouped.values()), key=lambda case: case.created_at_s)

    def case(self, case_id: str) -> Case:
        """One case.

        Raises:
            UnknownCase: the engine has no row of it.
        """
        rows = self._client.list_workflows(workflow_id_prefix=f"{case_id}:", load_input=False)
        if not rows:
            raise UnknownCase(case_id)
        return case_of([_attempt(row) for row in rows])

    def submit(self, case_id: str) -> None:
        """Start a new case; a case that was started before is left alone."""
        if not self._client.list_workflows(workflow_id_prefix=f"{case_id}:", load_input=False, load_output=False):
            self._start_stage(AttemptId(case_id, 1, Stage.READ, 1))

    def retry(self, case_id: str) -> None:
        """Try a finished case again from where it stopped; a delivered one is delivered again, with the same UIDs.

        Raises:
            UnknownCase: there is no such case.
        """
        case = self.case(case_id)
        if not case.is_finished:
            return
        self._cases.folder(case_id).set_cancelled(False)
        run = max(attempt.id.run for attempt in case.attempts) + 1
        if case.stage is not Stage.DELIVER:
            self._start_stage(AttemptId(case_id, run, case.stage, 1))
            return
        latest = _latest(case.attempts)
        unsent = [a for a in latest if a.id.destination and a.result is not Result.DONE]
        for attempt in unsent or [a for a in latest if a.id.destination]:
            self._start_delivery(AttemptId(case_id, run, attempt.id.unit, 1))

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

    def _start_stage(self, attempt: AttemptId) -> None:
        self._client.enqueue(_options(attempt, STAGE_WORKFLOW, WORK_QUEUE), str(attempt), 1)

    def _start_delivery(self, attempt: AttemptId) -> None:
        queue = delivery_queue(attempt.destination)
        self._client.enqueue(_options(attempt, DELIVERY_WORKFLOW, queue), str(attempt), 1)


def database_path(data_dir: Path) -> Path:
    """The file the engine keeps its rows in."""
    return data_dir / "node.sqlite"


def database_url(data_dir: Path) -> str:
    """The same as a URL."""
    return f"sqlite:///{database_path(data_dir)}"


def delivery_queue(destination: str) -> str:
    """Each destination has a queue of its own, so that one that is down holds up nobody else."""
    return f"send-{destination}"


def _options(attempt: AttemptId, workflow: str, queue: str) -> DbosEnqueueOptions:
    return {
        "workflow_name": workflow,
        "queue_name": queue,
        "workflow_id": str(attempt),
        "app_version": APPLICATION_VERSION,
    }


def _attempt(row: WorkflowStatus) -> Attempt:
    return Attempt(
        id=AttemptId.parse(row.workflow_id),
        status=row.status,
        output=row.output if isinstance(row.output, dict) else {},
        created_at_s=(row.created_at or 0) / 1000,
        updated_at_s=(row.updated_at or 0) / 1000,
    )


def _latest(attempts: Iterable[Attempt]) -> list[Attempt]:
    """The newest attempt of each stage and destination that still counts.

    A newer run that begins at some stage makes everything after that stage in older runs void.
    """
    newest: dict[str, Attempt] = {}
    for attempt in sorted(attempts, key=lambda a: (a.id.run, a.id.attempt)):
        order = _STAGE_ORDER.index(attempt.id.stage)
        newest = {u: a for u, a in newest.items() if a.id.run == attempt.id.run or _order(a) <= order}
        newest[attempt.id.unit] = attempt
    return sorted(newest.values(), key=_order)


def _order(attempt: Attempt) -> int:
    return _STAGE_ORDER.index(attempt.id.stage)


def case_of(attempts: Sequence[Attempt]) -> Case:
    """The case that these attempts, all of one case, add up to."""
    latest = _latest(attempts)
    stage = latest[-1].id.stage
    last = [a for a in latest if a.id.stage is stage]
    telling = _most_telling(last)
    reason = _last_words(telling, attempts)
    return Case(
        case_id=attempts[0].id.case_id,
        state=_state(stage, telling),
        stage=stage,
        code=str(reason.get("code", "")),
        message=str(reason.get("message", "")),
        created_at_s=min(a.created_at_s for a in attempts),
        updated_at_s=max(a.updated_at_s for a in attempts),
        attempts=tuple(sorted(attempts, key=lambda a: (a.id.run, _order(a), a.id.unit, a.id.attempt))),
    )


def _last_words(telling: Attempt, attempts: Sequence[Attempt]) -> dict[str, Any]:
    """What the attempt says or, while it is queued or running, what the one before it said: why it is tried again."""
    before = AttemptId(telling.id.case_id, telling.id.run, telling.id.unit, telling.id.attempt - 1)
    if telling.is_active:
        return next((a.output for a in attempts if a.id == before), {})
    return telling.output


def _most_telling(attempts: Sequence[Attempt]) -> Attempt:
    """Of the deliveries of one case, the one that decides its state: active before failed before done."""
    rank = {None: 0, Result.AGAIN: 0, Result.FAILED: 1, Result.REJECTED: 1, Result.CANCELLED: 2, Result.DONE: 3}
    return min(attempts, key=lambda a: rank[a.result])


def _state(stage: Stage, telling: Attempt) -> CaseState:
    match telling.result:
        case Result.REJECTED:
            return CaseState.REJECTED
        case Result.FAILED:
            return CaseState.FAILED
        case Result.CANCELLED:
            return CaseState.CANCELLED
        case Result.DONE if stage is Stage.DELIVER or not telling.output.get("more", True):
            return CaseState.DELIVERED
        case _:
            return CaseState.DELIVERING if stage is Stage.DELIVER else CaseState.PROCESSING
