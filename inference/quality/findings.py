"""What a check says: one measured fact with its limit, and what it does to the result.

A finding is data. `quality` makes it, `engine` decides what a rejecting one means, objects and pages show the rest.
"""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """What a finding does."""

    NOTE = "note"
    """Worth knowing; travels with the result."""
    FLAG = "flag"
    """A person should look before using the result."""
    REJECT = "reject"
    """The result must not be sent."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One measured fact that a reader of the result must know."""

    code: str
    """Stable, upper case, for example `LUNG_TOUCHES_TOP`."""
    severity: Severity
    sentence: str
    """ASCII, one sentence a physicist understands."""
    measured: float
    limit: float
    unit: str
    """UCUM unit of `measured` and `limit`, for example `ml`, `%`, `[hnsf'U]`, `1`."""


Findings = tuple[Finding, ...]
