"""Attempts of stages and deliveries, and the state of a case that follows from them.

The engine keeps one row per attempt; a case has no row of its own. What a person sees of a case, its state, stage and
reason, is derived here from its attempts, so that it cannot disagree with them.

    workflow id = <case id>:<run>:<stage>:<attempt>      stage may be deliver.<destination>, see `stages`

A *run* begins when a series arrives, when somebody asks for another try, or when a stage goes back to an earlier one;
attempts within a run are the engine's own.
From the stage `deliver` on each destination goes its own way, and its deliveries and verifications share one count of
attempts. So the last attempt of a destination says where it stands, and the case stands where its least happy one does.

A delivery that is held ends as `held`, and nothing follows by itself. A person's release queues the next attempt of the
same run: so whoever comes after a held one in its run has been released, and no other mark is needed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Self

from dicom_node.jobs.route_mode import DRY_RUN, ROUTE_OFF
from dicom_node.jobs.stages import ASIDE, Stage

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
    HELD = "HELD"
    """Objects are made and checked, and wait for a person: `release` sends them, `discard` ends it."""
    DISCARDED = "DISCARDED"
    """Nothing is sent: a person did not want held objects, or the site switched the destination off (ROUTE_OFF)."""
    DRY_RUN = "DRY_RUN"
    """Everything was made and checked, and nothing was sent, since the site only wants to see what would be."""


class Result(StrEnum):
    """How one attempt ended; the `result` of a workflow's output."""

    DONE = "done"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    AGAIN = "again"
    """It failed and another attempt has been queued."""
    FAILED = "failed"
    HELD = "held"
    """It waits for a person."""
    DISCARDED = "discarded"


@dataclass(frozen=True, slots=True, order=True)
class AttemptId:
    """The name of one row of the engine."""

    case_id: str
    run: int
    unit: str
    """A stage, or for a destination `deliver.<destination>`; `verify`, `tell`, `shadow`, `research` and `discard`
    likewise."""
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
        """The destination of a delivery and all that belongs to it, else empty."""
        return self.unit.partition(".")[2]

    @property
    def is_aside(self) -> bool:
        """Whether it is about a notice, a shadow or a candidate, which count for nothing in the state of the case."""
        return self.stage in ASIDE

    def following(self, stage: Stage) -> Self:
        """The next attempt of the same destination or stage, in the same run."""
        unit = f"{stage}.{self.destination}" if self.destination else str(stage)
        return replace(self, unit=unit, attempt=self.attempt + 1)

    def before(self) -> list[Self]:
        """The names that the attempt before it in its run may have; there is one attempt at most among them."""
        takes_turns = self.stage in (Stage.DELIVER, Stage.VERIFY)
        units = [f"{s}.{self.destination}" for s in (Stage.DELIVER, Stage.VERIFY)] if takes_turns else [self.unit]
        return [replace(self, unit=unit, attempt=self.attempt - 1) for unit in units]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt as the engine knows it."""

    id: AttemptId
    status: str
    """The engine's own word: ENQUEUED, DELAYED, PENDING, SUCCESS, ERROR, CANCELLED, …"""
    output: dict[str, Any]
    created_at_s: float
    updated_at_s: float
    begun_at_s: float | None = None
    """When a worker took it; None while it waits."""

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
    for attempt in sorted(counted, key=lambda a: (a.id.run, a.id.attempt, a.id.stage is Stage.DISCARD)):
        if attempt.id.destination and attempt.id.run >= run:
            newest[attempt.id.destination] = attempt
    return [newest[name] for name in sorted(newest)] or [last for last in (last,) if last]


def held_since_s(case: Case) -> dict[str, float]:
    """Since when each destination of a case waits for a person, as Unix time, by its name."""
    held = [a for a in standing_attempts(case.attempts) if a.result is Result.HELD]
    return {attempt.id.destination: attempt.updated_at_s for attempt in held}


def is_released(attempt: AttemptId, attempts: Iterable[Attempt]) -> bool:
    """Whether a person has released what a delivery is to send: these objects, to this destination, then or before.

    A newer run of the stages makes new objects, which nobody has looked at.
    """
    known = list(attempts)
    made = made_in_run(known)
    own = [a for a in known if a.id.destination == attempt.destination and a.id.run >= made]
    sends = {(a.id.run, a.id.attempt) for a in own if a.id.stage in (Stage.DELIVER, Stage.VERIFY)}
    sends.add((attempt.run, attempt.attempt))
    return any(a.result is Result.HELD and (a.id.run, a.id.attempt + 1) in sends for a in own)


def made_in_run(attempts: Iterable[Attempt]) -> int:
    """The last run of the stages: the objects that are there are of this run."""
    return max((a.id.run for a in attempts if not a.id.destination and not a.id.is_aside), default=0)


def _progress(attempt: Attempt) -> tuple[int, int, int]:
    return attempt.id.run, _order(attempt), attempt.id.attempt


def _order(attempt: Attempt) -> int:
    return _STAGE_ORDER.index(attempt.id.stage)


def _shown(attempt: Attempt) -> tuple[int, int, str, int]:
    """The order in which a person reads attempts: stages, then destination by destination."""
    on_its_way = (Stage.VERIFY, Stage.DISCARD)
    stage = Stage.DELIVER if attempt.id.stage in on_its_way else attempt.id.stage
    return attempt.id.run, _STAGE_ORDER.index(stage), attempt.id.destination, attempt.id.attempt


def case_of(attempts: Sequence[Attempt]) -> Case:
    """The case that these attempts, all of one case, add up to.

    A notice of refusal, a shadow or a candidate is shown among the attempts and counts for nothing else.
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
    before = telling.id.before()
    return next((a.output for a in attempts if a.id in before), {})


def _rank(attempt: Attempt) -> int:
    """The lowest of all destinations decides the state: unsettled, failed, held, cancelled, done with something to say.

    A destination that gets nothing because the site says so speaks only if there is no other.
    """
    code = attempt.output.get("code")
    if attempt.id.stage is Stage.DISCARD:
        return 3
    if not attempt.is_settled:
        return 0
    if code in (DRY_RUN, ROUTE_OFF):
        return 6 if code == DRY_RUN else 7
    rank = {Result.FAILED: 1, Result.REJECTED: 1, Result.HELD: 2, Result.CANCELLED: 3, Result.DISCARDED: 3}
    return rank.get(attempt.result or Result.DONE, 4 if code else 5)


def _state(telling: Attempt) -> CaseState:
    match telling.result:
        case Result.REJECTED:
            return CaseState.REJECTED
        case Result.FAILED:
            return CaseState.FAILED
        case Result.CANCELLED:
            return CaseState.CANCELLED
        case Result.HELD:
            return CaseState.HELD
        case Result.DISCARDED:
            return CaseState.DISCARDED
    if telling.id.stage is Stage.DISCARD:  # not handled yet, and decided
        return CaseState.DISCARDED
    by_mode = {DRY_RUN: CaseState.DRY_RUN, ROUTE_OFF: CaseState.DISCARDED}
    if telling.is_settled and (code := telling.output.get("code")) in by_mode:
        return by_mode[code]
    if not telling.id.destination:
        is_last = telling.result is Result.DONE and not telling.output.get("more", True)
        return CaseState.DELIVERED if is_last else CaseState.PROCESSING
    return CaseState.DELIVERED if telling.is_settled else CaseState.DELIVERING
