"""Attempts of stages and deliveries, and the state of a case that follows from them.

The engine keeps one row per attempt; a case has no row of its own. What a person sees of a case, its state, stage and
reason, is derived here from its attempts, so that it cannot disagree with them.

    workflow id = <case id>:<run>:<stage>:<attempt>      stage may be deliver.<destination>, see `stages`

A *run* begins when a series arrives or when somebody asks for another try; attempts within a run are the engine's own.
From the stage `deliver` on each destination goes its own way, and its deliveries and verifications share one count of
attempts. So the last attempt of a destination says where it stands, and the case stands where its least happy one does.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
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
    """Objects are made; at least one destination does not have them yet, or has not confirmed that it has."""
    DELIVERED = "DELIVERED"
    """Every destination has stored every object and, where it can be asked, has confirmed it afterwards.

    The code UNVERIFIED says that at least one could not be asked."""
    REJECTED = "REJECTED"
    """The input cannot be used; the code and the sentence say why. Nothing was sent."""
    FAILED = "FAILED"
    """Attempts are used up, or a destination refused for good or does not keep what it is sent; `retry` tries again."""
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
    """A stage, or `deliver.<destination>`, `verify.<destination>`, `tell.<destination>`."""
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
        """The destination of a delivery, verification or notice, else empty."""
        return self.unit.partition(".")[2]

    @property
    def is_aside(self) -> bool:
        """Whether it is about a notice, which counts for nothing in the state of the case."""
        return self.stage in ASIDE

    def following(self, stage: Stage) -> Self:
        """The next attempt of the same destination or stage, in the same run."""
        unit = f"{stage}.{self.destination}" if self.destination else str(stage)
        return replace(self, unit=unit, attempt=self.attempt + 1)


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

    @property
    def is_settled(self) -> bool:
        """Whether nothing more follows from it by itself on its way."""
        if self.result in (None, Result.AGAIN):
            return False
        is_delivered = self.id.stage is Stage.DELIVER and self.result is Result.DONE
        return not (is_delivered and self.output.get("verify", False))


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


def standing_attempts(attempts: Iterable[Attempt]) -> list[Attempt]:
    """The attempts that say where a case stands: the last of each destination or, before there are any, of the stages.

    A newer run of the stages makes everything that an older run sent void; a newer run of one destination leaves the
    others as they are.
    """
    counted = [a for a in attempts if not a.id.is_aside]
    last = max((a for a in counted if not a.id.destination), key=_progress, default=None)
    run = last.id.run if last else 0
    newest: dict[str, Attempt] = {}
    for attempt in sorted(counted, key=lambda a: (a.id.run, a.id.attempt)):
        if attempt.id.destination and attempt.id.run >= run:
            newest[attempt.id.destination] = attempt
    return [newest[name] for name in sorted(newest)] or [last for last in (last,) if last]


def _progress(attempt: Attempt) -> tuple[int, int, int]:
    return attempt.id.run, _order(attempt), attempt.id.attempt


def _order(attempt: Attempt) -> int:
    return _STAGE_ORDER.index(attempt.id.stage)


def _shown(attempt: Attempt) -> tuple[int, int, str, int]:
    """The order in which a person reads attempts: stages, then destination by destination."""
    stage = Stage.DELIVER if attempt.id.stage is Stage.VERIFY else attempt.id.stage
    return attempt.id.run, _STAGE_ORDER.index(stage), attempt.id.destination, attempt.id.attempt


def case_of(attempts: Sequence[Attempt]) -> Case:
    """The case that these attempts, all of one case, add up to.

    A notice of refusal is shown among the attempts and counts for nothing else.
    """
    telling = min(standing_attempts(attempts), key=_rank)
    reason = _last_words(telling, attempts)
    return Case(
        case_id=attempts[0].id.case_id,
        state=_state(telling),
        stage=telling.id.stage,
        code=str(reason.get("code", "")),
        message=str(reason.get("message", "")),
        created_at_s=min(a.created_at_s for a in attempts),
        updated_at_s=max(a.updated_at_s for a in attempts),
        attempts=tuple(sorted(attempts, key=_shown)),
    )


def _last_words(telling: Attempt, attempts: Sequence[Attempt]) -> dict[str, Any]:
    """What the attempt says or, while it is queued or running, what the one before it said: why it is tried again."""
    if not telling.is_active:
        return telling.output
    own = telling.id
    way = [own.unit] if not own.destination else [f"{s}.{own.destination}" for s in (Stage.DELIVER, Stage.VERIFY)]
    before = [AttemptId(own.case_id, own.run, unit, own.attempt - 1) for unit in way]
    return next((a.output for a in attempts if a.id in before), {})


def _rank(attempt: Attempt) -> int:
    """The lowest of all destinations decides the state: unsettled, failed, cancelled, done with something to say."""
    if not attempt.is_settled:
        return 0
    rank = {Result.FAILED: 1, Result.REJECTED: 1, Result.CANCELLED: 2}
    return rank.get(attempt.result or Result.DONE, 3 if attempt.output.get("code") else 4)


def _state(telling: Attempt) -> CaseState:
    match telling.result:
        case Result.REJECTED:
            return CaseState.REJECTED
        case Result.FAILED:
            return CaseState.FAILED
        case Result.CANCELLED:
            return CaseState.CANCELLED
    if not telling.id.destination:
        is_last = telling.result is Result.DONE and not telling.output.get("more", True)
        return CaseState.DELIVERED if is_last else CaseState.PROCESSING
    return CaseState.DELIVERED if telling.is_settled else CaseState.DELIVERING
