"""What commissioning found, as a document to be signed: `commissioning.json` for programs, a PDF for people."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

from dicom_node.commissioning.expected import Comparison, MadeBy

FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class CaseReport:
    """What became of one reference case."""

    name: str
    state: str
    """`passed`, `moved`, `recorded`, `no-answer` or `nothing-stored`."""
    sentence: str
    case_id: str
    took_s: float
    made_by: MadeBy | None
    stored_by: MadeBy | None
    """What had made the stored answer; another maker is no difference by itself, and is shown."""
    comparisons: tuple[Comparison, ...]

    @property
    def passes(self) -> bool:
        """Whether the node answers as stored, or the answer was stored now."""
        return self.state in ("passed", "recorded")


@dataclass(frozen=True, slots=True)
class CommissioningReport:
    """What is signed."""

    made_at_s: float
    host: str
    software: str
    is_recording: bool
    """Whether answers were stored instead of compared."""
    cases: tuple[CaseReport, ...]

    @property
    def passes(self) -> bool:
        """Whether every case passes."""
        return all(case.passes for case in self.cases)

    @property
    def made_at(self) -> str:
        """When it was made, ISO 8601 in UTC."""
        return datetime.fromtimestamp(self.made_at_s, UTC).isoformat(timespec="seconds")

    def fields(self) -> dict[str, Any]:
        """As JSON."""
        cases = [
            {**asdict(case), "passes": case.passes, "comparisons": [_fields(c) for c in case.comparisons]}
            for case in self.cases
        ]
        facts = {"format": FORMAT, "made_at": self.made_at, "host": self.host, "software": self.software}
        return {**facts, "is_recording": self.is_recording, "passes": self.passes, "cases": cases}


def _fields(comparison: Comparison) -> dict[str, Any]:
    return {**asdict(comparison), "passes": comparison.passes}
