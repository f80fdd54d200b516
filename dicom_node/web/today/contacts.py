"""Which destinations are there, from what the node's own deliveries met: nobody is called for this.

A destination is away while a case waits for it because nobody answered; else its last delivery or verification says
how it is.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from dicom_node.jobs.attempts import Attempt, Case, Result
from dicom_node.jobs.delivery_history import UNREACHABLE
from dicom_node.jobs.route_mode import RouteMode
from dicom_node.jobs.stages import Stage
from dicom_node.settings.config import NodeSettings
from dicom_node.web.today.engine_view import EngineView

_SILENT: Final = (RouteMode.OFF, RouteMode.DRY_RUN)
_CALLS: Final = (Stage.DELIVER, Stage.VERIFY, Stage.TELL, Stage.SHADOW, Stage.RESEARCH)
_NO_CALL: Final = (None, Result.HELD, Result.DISCARDED, Result.CANCELLED)


class Standing(StrEnum):
    """How a destination is."""

    UP = "up"
    """It took or confirmed what it was last called for."""
    AWAY = "away"
    """Nobody answered, and something waits for it."""
    REFUSING = "refusing"
    """It answered last with a failure."""
    UNKNOWN = "unknown"
    """It was not called yet, as far as cases that are still here tell."""
    OFF = "off"
    """The site sends nothing there."""


@dataclass(frozen=True, slots=True)
class LastCalls:
    """When a destination was last called with and without success."""

    good_s: float = 0.0
    """Unix time; 0: never."""
    bad_s: float = 0.0
    code: str = ""
    """What it failed with."""


@dataclass(frozen=True, slots=True)
class DestinationState:
    """How one destination is."""

    name: str
    mode: str
    standing: Standing
    waiting: int
    """Deliveries and verifications that are queued, running, or wait for their time."""
    last: LastCalls


class Contacts:
    """What deliveries and verifications met; for one thread."""

    def __init__(self) -> None:
        self._last: dict[str, LastCalls] = {}

    def note(self, cases: Iterable[Case]) -> None:
        """Take in what these cases met."""
        for case in cases:
            for attempt in case.attempts:
                if attempt.id.destination and attempt.id.stage in _CALLS and attempt.result not in _NO_CALL:
                    self._note(attempt)

    def states(self, settings: NodeSettings, view: EngineView | None) -> tuple[DestinationState, ...]:
        """How every destination of the site is, in the order of the site file."""
        active = [] if view is None else [a for a in view.active if a.id.destination]
        away = {a.id.destination for a in active if view is not None and _code(view.before(a)) == UNREACHABLE}
        found = []
        for name in (destination.name for destination in settings.destinations):
            last, mode = self._last.get(name, LastCalls()), settings.modes[name]
            standing = Standing.OFF if mode in _SILENT else _standing(last, is_away=name in away)
            waiting = sum(a.id.destination == name for a in active)
            found.append(DestinationState(name, mode.value, standing, waiting, last))
        return tuple(found)

    def _note(self, attempt: Attempt) -> None:
        name, at_s, code = attempt.id.destination, attempt.updated_at_s, _code(attempt)
        last = self._last.get(name, LastCalls())
        if attempt.result is Result.DONE:
            last = replace(last, good_s=max(last.good_s, at_s))
        elif code and at_s >= last.bad_s:
            last = replace(last, bad_s=at_s, code=code)
        self._last[name] = last


def _standing(last: LastCalls, *, is_away: bool) -> Standing:
    if is_away:
        return Standing.AWAY
    if not last.good_s and not last.bad_s:
        return Standing.UNKNOWN
    if last.good_s >= last.bad_s:
        return Standing.UP
    return Standing.AWAY if last.code == UNREACHABLE else Standing.REFUSING


def _code(attempt: Attempt | None) -> str:
    output: Mapping[str, object] = {} if attempt is None else attempt.output
    return str(output.get("code", ""))
