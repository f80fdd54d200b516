"""How the pages of a case write times, spans and sizes."""

from datetime import datetime
from typing import Any, Final

from dicom_node.jobs.attempts import CaseState
from inference.quality.findings import Severity

MEANINGS: Final = {
    CaseState.PROCESSING: "It is being read, mapped or checked, or waits for its turn. Nothing is asked of anybody.",
    CaseState.DELIVERING: "Objects are made and checked. At least one destination has not confirmed them yet.",
    CaseState.DELIVERED: "Every destination has everything and has confirmed it as far as it can be asked.",
    CaseState.REJECTED: "The images cannot be used, for the reason above. No map was made and none was sent.",
    CaseState.FAILED: "It stopped, and goes on only when a person lets it: send or process it again, or leave it.",
    CaseState.CANCELLED: "A person stopped it. Nothing more of it is processed or sent.",
    CaseState.HELD: "Objects are made and checked. They wait for a person, who releases or discards them.",
    CaseState.DISCARDED: "Nothing of it is sent: a person did not want it, or the site has switched the route off.",
    CaseState.DRY_RUN: "Everything was made and checked, and nothing was sent, since the site only wants to look.",
}
SEVERITIES: Final = {
    Severity.NOTE: "Worth knowing. It travels with the result.",
    Severity.FLAG: "A person should look before the result is used.",
    Severity.REJECT: "The result must not be used; none was sent.",
}


def clock(at: datetime) -> str:
    """Date and time of day where the node stands."""
    return at.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def span(seconds: float) -> str:
    """A length of time as people say it, to two figures or so."""
    if seconds < 60.0:
        return f"{seconds:.1f} s"
    if seconds < 3600.0:
        return _two(int(seconds), 60, "min", 1, "s")
    if seconds < 172800.0:
        return _two(int(seconds), 3600, "h", 60, "min")
    return f"{int(seconds) // 86400} days"


def _two(seconds: int, large_s: int, large: str, small_s: int, small: str) -> str:
    """In a large unit and, unless it is nothing, a small one."""
    rest = seconds % large_s // small_s
    return f"{seconds // large_s} {large}" + (f" {rest} {small}" if rest else "")


def size(number: int) -> str:
    """Bytes as people say them."""
    if number < 1000:
        return f"{number} bytes"
    return f"{number / 1e3:.0f} kB" if number < 1e6 else f"{number / 1e6:.1f} MB"


def figure(number: float | None) -> str:
    """A measured number with the figures that matter; a dash where there is none."""
    return "–" if number is None else f"{number:.4g}"


FOR_TEMPLATES: Final[dict[str, Any]] = {"clock": clock, "span": span, "size": size, "figure": figure}
"""By the names that templates know them by."""
