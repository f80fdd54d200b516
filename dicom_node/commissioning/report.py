"""What commissioning found, as a document to be signed: `commissioning.json` for programs, a PDF for people."""

import hashlib
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from dicom_node.commissioning.expected import Comparison, MadeBy, Recorded
from dicom_node.commissioning.installation import Installation
from dicom_node.commissioning.reference_set import CtFacts

FORMAT: Final = 2


class CaseVerdict(StrEnum):
    """What became of one reference case."""

    PASSED = "passed"
    MOVED = "moved"
    """A figure is further from the stored one than tolerated."""
    OTHER_CT = "other-ct"
    """The files are not those of which the answer was stored."""
    RECORDED = "recorded"
    NO_ANSWER = "no-answer"
    NOTHING_STORED = "nothing-stored"


@dataclass(frozen=True, slots=True)
class CaseReport:
    """One reference case: what was sent, what was answered, and how that compares."""

    name: str
    state: CaseVerdict
    sentence: str
    ct: CtFacts
    case_id: str
    took_s: float
    ran_on: tuple[str, ...]
    """How each network ran: name, device, precision, rung of the ladder. Empty without a network."""
    made_by: MadeBy | None
    stored_by: MadeBy | None
    """What had made the stored answer; another maker is no difference by itself, and is shown."""
    stored: Recorded | None
    """When and by whom the stored answer was taken; of a recorded one the answer that it replaces."""
    comparisons: tuple[Comparison, ...]
    """Of a recorded answer with the one that it replaces, or with itself."""

    @property
    def passes(self) -> bool:
        """Whether the node answers as stored, or the answer was stored now."""
        return self.state in (CaseVerdict.PASSED, CaseVerdict.RECORDED)


@dataclass(frozen=True, slots=True)
class CommissioningReport:
    """What is signed."""

    made_at_s: float
    by: str
    """Who made it."""
    installation: Installation
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
        return iso_time(self.made_at_s)

    @property
    def reference_sha256(self) -> str:
        """Of the whole set: name and CT of every case."""
        lines = "\n".join(f"{case.name} {case.ct.sha256}" for case in self.cases)
        return hashlib.sha256(lines.encode()).hexdigest()

    def fields(self) -> dict[str, Any]:
        """As JSON."""
        facts = {"format": FORMAT, "made_at": self.made_at, "by": self.by, "installation": asdict(self.installation)}
        cases = [
            {**asdict(case), "passes": case.passes, "comparisons": [_fields(c) for c in case.comparisons]}
            for case in self.cases
        ]
        what = {"is_recording": self.is_recording, "passes": self.passes, "reference_sha256": self.reference_sha256}
        return {**facts, **what, "cases": cases}


def iso_time(at_s: float) -> str:
    """A Unix time, ISO 8601 in UTC."""
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="seconds")


def _fields(comparison: Comparison) -> dict[str, Any]:
    return {**asdict(comparison), "passes": comparison.passes}
