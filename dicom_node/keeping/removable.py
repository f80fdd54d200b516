"""Which cases may be removed: a pure function of their attempts, their age and what the site wants.

A case may go when nothing of it is on its way any more and every destination has stored everything and confirmed it as
far as it can be asked. It may also go when there is nothing to send: rejected, stopped or discarded by a person, or
only made to be looked at. What is being processed or delivered, is held, or failed stays, however old it is and however
full the disk.

Nothing here trusts the state of a case alone. That a row is missing which should have followed, or that one object of
one destination is not stored, keeps the case, too.
"""

from collections.abc import Iterator
from enum import StrEnum

from dicom_node.jobs.attempts import Attempt, Case, CaseState, Result, standing_attempts
from dicom_node.jobs.delivery_history import instance_states
from dicom_node.jobs.stages import Stage
from dicom_node.settings.retention_policy import RetentionPolicy

_DAY_S = 86400.0
_FINISHED = (CaseState.DELIVERED, CaseState.REJECTED, CaseState.CANCELLED, CaseState.DISCARDED, CaseState.DRY_RUN)
_NOTICES = (Stage.NOTICE, Stage.TELL)


class Because(StrEnum):
    """Why a case is removed."""

    AGED = "AGED"
    """It was kept as long as the site wants."""
    SPACE = "SPACE"
    """The disk has too little space, and it was the oldest that may go."""
    ASKED = "ASKED"
    """A person said so."""


class Kept(StrEnum):
    """Why a case must not be removed."""

    ON_ITS_WAY = "ON_ITS_WAY"
    """Something is queued or running, or has to follow."""
    NOT_FINISHED = "NOT_FINISHED"
    """It is being processed or delivered, or held for a person."""
    NOT_STORED = "NOT_STORED"
    """A destination does not have an object that was sent to it."""
    NOTICE_WAITS = "NOTICE_WAITS"
    """A notice of refusal has not been sent yet."""
    FAILED = "FAILED"
    """It, or its notice, failed; a person is to decide."""
    NOWHERE_ELSE = "NOWHERE_ELSE"
    """It has a result that was sent nowhere: the only copy. Goes by age only."""
    TOO_YOUNG = "TOO_YOUNG"
    """Its time has not come."""


def removable(case: Case, now_s: float, policy: RetentionPolicy, *, short_of_space: bool = False) -> Because | None:
    """Why the node may remove a case by itself now, or `None` if it must not.

    Args:
        case: with all its attempts.
        now_s: Unix time.
        policy: what the site wants.
        short_of_space: whether the disk is too full to keep what could go.
    """
    kept = kept_because(case)
    age_s = now_s - case.updated_at_s
    if kept is Kept.FAILED:
        is_due = policy.keep_failed_days > 0 and age_s > policy.keep_failed_days * _DAY_S
        return Because.AGED if is_due else None
    if kept not in (None, Kept.NOWHERE_ELSE):
        return None
    if age_s > policy.keep_days * _DAY_S:
        return Because.AGED
    return Because.SPACE if short_of_space and kept is None else None


def kept_because(case: Case) -> Kept | None:
    """Why a case must be kept whatever its age, or `None`.

    `FAILED` and `NOWHERE_ELSE` say that nothing is on its way any more, so that age may decide after all.
    """
    if any(attempt.is_active for attempt in case.attempts):
        return Kept.ON_ITS_WAY
    if case.state not in (*_FINISHED, CaseState.FAILED):
        return Kept.NOT_FINISHED
    standing = standing_attempts(case.attempts)
    if not all(attempt.is_settled for attempt in standing) or _unsent(case, standing):
        return Kept.ON_ITS_WAY
    told = list(_notices(case, standing))
    if None in told or Result.AGAIN in told:
        return Kept.NOTICE_WAITS
    if case.state is CaseState.FAILED or Result.FAILED in told:
        return Kept.FAILED
    if not all(_has_everything(attempt, case) for attempt in standing if attempt.result is Result.DONE):
        return Kept.NOT_STORED
    is_only_copy = case.state is CaseState.DELIVERED and not all(attempt.id.destination for attempt in standing)
    return Kept.NOWHERE_ELSE if is_only_copy or case.state is CaseState.DRY_RUN else None


def way_of(standing: Attempt, case: Case) -> list[Attempt]:
    """The deliveries and verifications of one destination within the run that counts, oldest first."""
    own = [
        a
        for a in case.attempts
        if (a.id.run, a.id.destination) == (standing.id.run, standing.id.destination) and not a.id.is_aside
    ]
    return sorted(own, key=lambda a: a.id.attempt)


def _unsent(case: Case, standing: list[Attempt]) -> set[str]:
    """Destinations that the last stage names and that nothing was ever sent to."""
    stages = [a for a in case.attempts if not a.id.destination and not a.id.is_aside and a.result is Result.DONE]
    run = max((a.id.run for a in case.attempts if not a.id.destination and not a.id.is_aside), default=0)
    checks = [a for a in stages if a.id.run == run and a.id.stage is Stage.CHECK]
    named = {name for attempt in checks for name in attempt.output.get("destinations", ())}
    return named - {attempt.id.destination for attempt in standing}


def _has_everything(standing: Attempt, case: Case) -> bool:
    if not standing.id.destination:
        return True
    return all(state["stored"] for state in instance_states(way_of(standing, case)).values())


def _notices(case: Case, standing: list[Attempt]) -> Iterator[Result | None]:
    """How each notice that is owed ended; `None` for one that has not begun."""
    notices = [a for a in case.attempts if a.id.stage in _NOTICES]
    run = max((a.id.run for a in notices), default=0)
    if any(a.output.get("notice") and a.id.run > run for a in standing):
        yield None
    newest: dict[str, Attempt] = {}
    for attempt in sorted((a for a in notices if a.id.run == run), key=lambda a: a.id.attempt):
        newest[attempt.id.destination] = attempt
    for attempt in newest.values():
        yield attempt.result
    made = newest.get("")
    if made is not None and made.id.stage is Stage.NOTICE and made.result is Result.DONE:
        for name in made.output.get("destinations", ()):
            if name not in newest:
                yield None
