"""Attempts of stages and deliveries, and the state of a case that follows from them.

The engine keeps one row per attempt; a case has no row of its own. What a person sees of a case, its state, stage and
reason, is derived here from its attempts, so that it cannot disagree with them.

    workflow id = <case id>:<run>:<stage>:<attempt>      stage may be deliver.<destination>, see `stages`

A *run* begins when a series arrives or when somebody asks for another try; attempts within a run are the engine's own.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from dicom_node.stages import ASIDE, Stage

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
    """A stage, or `deliver.<destination>`, `tell.<destination>`."""
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
        """The destination of a delivery or notice, else empty."""
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


def latest_attempts(attempts: Iterable[Attempt]) -> list[Attempt]:
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
    """The case that these attempts, all of one case, add up to.

    A notice of refusal is shown among the attempts and counts for nothing else.
    """
    latest = latest_attempts(a for a in attempts if a.id.stage not in ASIDE)
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
