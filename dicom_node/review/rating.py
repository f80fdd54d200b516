"""What a planner says of a result after having worked with it."""

from dataclasses import dataclass
from enum import StrEnum


class Changes(StrEnum):
    """How much of a result had to be changed before it could be used."""

    NONE = "none"
    MINOR = "minor"
    MAJOR = "major"


@dataclass(frozen=True, slots=True)
class Rating:
    """One rating; the newest one of a person counts."""

    id: str
    at: str
    """UTC, ISO 8601."""
    by: str
    role: str
    changes: Changes
    minutes: float | None
    """Time that the changes took; None where nobody looked at a clock."""
    words: str
    result_id: str
    """Of the result that was rated; a case that is processed anew may have another one now."""
