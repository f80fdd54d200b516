"""What speaks against sending when an attempt is about to be made: a person, a newer run, the mode of the route."""

from collections.abc import Iterable
from typing import Any

from dicom_node.jobs.attempts import Attempt, AttemptId, Result, is_released, made_in_run
from dicom_node.jobs.case_choice import read_choice
from dicom_node.jobs.cases import CaseFolder
from dicom_node.jobs.delivery_history import UNVERIFIED
from dicom_node.jobs.route_mode import AWAITS_RELEASE, ROUTE_OFF, RouteMode
from dicom_node.jobs.stages import ASIDE, Stage

Output = dict[str, Any]

_OFF = "The site has switched this destination off; nothing is sent."
_FOR_RESEARCH = "The destination is for research models only; nothing of the result in use is sent."
_NOT_FOR_RESEARCH = "Objects of a model in shadow go only to a destination of mode research."
NOT_RESEARCH = "NOT_RESEARCH"
"""Code of objects of a model in shadow that were not sent, since the destination is none for research."""
_HELD = "The objects wait for a person: `perfnode release` sends them, `perfnode discard` ends it."
_UNLOOKED = "The destination gets only what a person has released."
_NOT_ASKED = "The site sends nothing to this destination any more; it was not asked whether it kept what it got."


def stopped(folder: CaseFolder, attempt: AttemptId, attempts: Iterable[Attempt], mode: RouteMode) -> Output | None:
    """The output of an attempt that must not send, or `None` if nothing speaks against it.

    Args:
        folder: of its case.
        attempt: the one that is about to be made.
        attempts: every attempt of its case.
        mode: of its destination, now.
    """
    known = list(attempts)
    if folder.is_cancelled():
        return {"result": Result.CANCELLED.value}
    if attempt.stage is Stage.DISCARD or _is_discarded(attempt, known):
        return {"result": Result.DISCARDED.value}
    if attempt.run < made_in_run(known):
        why = "The case has been processed anew since; what it gives then is sent instead."
        return {"result": Result.CANCELLED.value, "code": "SUPERSEDED", "message": why}
    if mode is RouteMode.LIVE and attempt.stage not in ASIDE and read_choice(folder).is_made:
        mode = RouteMode.HOLD  # what a person chose for one case is in force nowhere: somebody looks at it first
    return _by_mode(attempt, known, mode)


def _is_discarded(attempt: AttemptId, attempts: Iterable[Attempt]) -> bool:
    """Whether a person has discarded, in the same run, what another one released in the same moment."""
    return attempt.stage not in ASIDE and any(
        a.id.stage is Stage.DISCARD and (a.id.run, a.id.destination) == (attempt.run, attempt.destination)
        for a in attempts
    )


def _by_mode(attempt: AttemptId, attempts: list[Attempt], mode: RouteMode) -> Output | None:
    if attempt.stage is Stage.VERIFY:
        asks = mode not in (RouteMode.OFF, RouteMode.DRY_RUN)
        return None if asks else {"result": Result.DONE.value, "code": UNVERIFIED, "message": _NOT_ASKED}
    if mode is RouteMode.OFF:
        return {"result": Result.DISCARDED.value, "code": ROUTE_OFF, "message": _OFF}
    if attempt.stage is Stage.RESEARCH:
        fits = mode is RouteMode.RESEARCH
        return None if fits else {"result": "discarded", "code": NOT_RESEARCH, "message": _NOT_FOR_RESEARCH}
    if mode is RouteMode.RESEARCH:
        return {"result": Result.DISCARDED.value, "code": ROUTE_OFF, "message": _FOR_RESEARCH}
    if mode is not RouteMode.HOLD:
        return None
    if attempt.stage in ASIDE:
        return {"result": Result.DISCARDED.value, "code": AWAITS_RELEASE, "message": _UNLOOKED}
    if is_released(attempt, attempts):
        return None
    return {"result": Result.HELD.value, "code": AWAITS_RELEASE, "message": _HELD}
