"""A decision of a person about a case, as a frozen type: who, when, why, what, for which destination, and the answer.

Nothing here has an effect. `review_log` keeps decisions, `decision_desk` lets them be made.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Self

from dicom_node.errors import ReasonMissing, TextTooLong
from dicom_node.login import login_at_host

LONGEST_TEXT: Final = 500
"""Characters of a reason, and of what a planner says of a result."""
COMMAND_LINE: Final = "command line"
"""In the place of a role, for somebody who used `perfnode` on the computer itself."""


class Action(StrEnum):
    """What a person may want of a case."""

    RELEASE = "release"
    """Send what is held."""
    DISCARD = "discard"
    """Send nothing of what is held: it is rejected."""
    RETRY = "retry"
    """Try again from where it stopped, or send again."""
    RERUN = "rerun"
    """Process anew, with the settings in force or with a model or a function rule that the person chose."""
    CANCEL = "cancel"
    """Stop it."""
    PRIORITY = "priority"
    """Let it go before others, or after them."""
    REQUEUE = "requeue"
    """Try its failed deliveries again, with those of other cases."""


REASON_NEEDED: Final = (Action.DISCARD, Action.CANCEL, Action.RERUN)
"""What nobody may do at the page without saying why."""


@dataclass(frozen=True, slots=True)
class Deciding:
    """Who decides, why, and upon what they saw."""

    by: str
    role: str
    reason: str = ""
    """Free text of at most `LONGEST_TEXT` characters; it may hold patient data and is never logged."""
    version: str = ""
    """The case as the person saw it (`case_version`); empty where nothing was shown."""

    @classmethod
    def at_command_line(cls, reason: str = "") -> Self:
        """Whoever runs this process."""
        return cls(login_at_host(), COMMAND_LINE, plain_text(reason))

    def require_reason(self, action: Action) -> None:
        """Refuse what needs a reason and has none.

        Raises:
            ReasonMissing: it has none.
        """
        if action in REASON_NEEDED and not self.reason:
            raise ReasonMissing(action)


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person wants of a case."""

    action: Action
    destination: str = ""
    """This one only; empty for all that it concerns."""
    details: Mapping[str, str] = field(default_factory=dict)
    """What was chosen, in words: `function_rule`, `model`, `priority`."""
    objects: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """For a release: the SOP Instance UIDs that go to each destination."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision as it was recorded."""

    id: str
    at: str
    """UTC, ISO 8601."""
    by: str
    role: str
    reason: str
    action: Action
    destination: str
    details: Mapping[str, str]
    objects: Mapping[str, tuple[str, ...]]
    answer: str | None = None
    """`QUEUED`, `DONE`, `NOTHING_TO_DO`, or the code of an error. None: the node was stopped in this very moment, and
    what became of it is seen by the attempts of the case."""
    queued: tuple[str, ...] = ()
    """Attempts that were queued."""


def plain_text(text: str) -> str:
    """What a person wrote, without what would move a cursor; lines are kept.

    Raises:
        TextTooLong: it has more than `LONGEST_TEXT` characters.
    """
    lines = text.replace("\r\n", "\n").strip().split("\n")
    plain = "\n".join("".join(c if c.isprintable() else " " for c in line).strip() for line in lines)
    if len(plain) > LONGEST_TEXT:
        raise TextTooLong(len(plain), LONGEST_TEXT)
    return plain
