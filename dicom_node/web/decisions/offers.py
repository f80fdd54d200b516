"""What a person may decide about a case as it stands: pure functions of its attempts.

An offer says for which destinations, and in one sentence what follows from it. The engine has the last word: what is
offered here and does not fit any more is refused there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from dicom_node.jobs.attempts import Case, Result, held_since_s, standing_attempts
from dicom_node.review.decision import REASON_NEEDED, Action
from dicom_node.web.access.rights import Right

RIGHT_OF: Final[Mapping[Action, Right]] = MappingProxyType(
    {
        Action.RELEASE: Right.APPROVE,
        Action.DISCARD: Right.APPROVE,
        Action.RETRY: Right.OPERATE,
        Action.RERUN: Right.OPERATE,
        Action.CANCEL: Right.OPERATE,
        Action.PRIORITY: Right.OPERATE,
    }
)
"""What each decision at the page takes."""
TITLES: Final[Mapping[Action, str]] = MappingProxyType(
    {
        Action.RELEASE: "Release",
        Action.DISCARD: "Reject",
        Action.RETRY: "Send again",
        Action.RERUN: "Run again",
        Action.CANCEL: "Cancel",
        Action.PRIORITY: "Change priority",
        Action.REQUEUE: "Try again with others",
    }
)
_SENTENCES: Final[Mapping[Action, str]] = MappingProxyType(
    {
        Action.RELEASE: "What is held is sent now. What a destination has got cannot be taken back from here.",
        Action.DISCARD: "What is held is sent nowhere. To send it after all, somebody sends again and releases it.",
        Action.RETRY: "What a destination does not have is sent to it; where it has everything, all is sent once more "
        "with the same UIDs.",
        Action.RERUN: "The case is processed anew from its images. What is held is superseded; a result that differs "
        "has new UIDs and refers to the one before.",
        Action.CANCEL: "Nothing more is processed or sent. What a destination has got already stays there.",
        Action.PRIORITY: "What is queued of the case from now on takes its new place; what waits already stays.",
    }
)
_AGAIN: Final = "The case is tried again from the stage at which it stopped."
_WAITING: Final = ("ENQUEUED", "DELAYED")


@dataclass(frozen=True, slots=True)
class Offer:
    """One decision that may be made now."""

    action: Action
    destinations: tuple[str, ...]
    """That it may be made for, one by one."""
    for_all: bool
    """Whether it may be made for all that it concerns at once."""
    consequence: str

    @property
    def title(self) -> str:
        """As people call it."""
        return TITLES[self.action]

    @property
    def right(self) -> Right:
        """That it takes."""
        return RIGHT_OF[self.action]

    @property
    def needs_reason(self) -> bool:
        """Whether it is refused without one."""
        return self.action in REASON_NEEDED


def offers(case: Case) -> tuple[Offer, ...]:
    """Every decision that may be made about a case now, the most likely first."""
    held = tuple(sorted(held_since_s(case)))
    found = [_offer(action, held) for action in (Action.RELEASE, Action.DISCARD) if held]
    if (again := _again(case)) is not None:
        found.append(again)
    if case.is_finished:
        found.append(_offer(Action.RERUN))
    if not case.is_finished or held:
        found.append(_offer(Action.CANCEL))
    if not case.is_finished:
        found.append(_offer(Action.PRIORITY))
    return tuple(found)


def offer_of(case: Case, action: Action) -> Offer | None:
    """The offer of one decision; None while it cannot be made."""
    return next((offer for offer in offers(case) if offer.action is action), None)


def _offer(action: Action, destinations: tuple[str, ...] = ()) -> Offer:
    return Offer(action, destinations, for_all=True, consequence=_SENTENCES[action])


def _again(case: Case) -> Offer | None:
    """A try for a finished case, or for a destination whose next attempt waits for its time."""
    standing = {a.id.destination: a for a in standing_attempts(case.attempts)}
    if "" in standing:
        return Offer(Action.RETRY, (), for_all=True, consequence=_AGAIN) if case.is_finished else None
    free = tuple(name for name, a in standing.items() if a.result is not Result.HELD)
    if case.is_finished:
        return _offer(Action.RETRY, free) if free else None
    waiting = tuple(name for name in free if standing[name].status in _WAITING)
    return Offer(Action.RETRY, waiting, for_all=False, consequence=_SENTENCES[Action.RETRY]) if waiting else None
