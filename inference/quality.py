"""Plausibility of input and output, as findings.

A check measures and compares; it does not print and does not stop anything. `engine` decides what a rejecting
finding means, the objects and pages show the rest.
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
    """Stable, upper case, for example `LUNG_TOUCHES_FIRST_SLICE`."""
    severity: Severity
    sentence: str
    """ASCII, one sentence a physicist understands."""
    measured: float
    limit: float
    unit: str
    """UCUM unit of `measured` and `limit`, for example `ml`, `%`, `[hnsf'U]`, `1`."""
