"""Whether the node may process patients: the last word of its self-test, in one small file that all processes read.

    constancy/verdict.json       the last self-test: passed, failed or not run, with code, sentence and time

After a failed self-test nothing new is processed on any host of the node. Images are received and acknowledged as
ever; complete series wait as HELD with the code SELF_TEST_FAILED, cases on their way wait before their next stage.
All go on by themselves when a self-test passes. What was sent before stays where it is.
"""

import json
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final, Self

from dicom_node.constancy.own_series import SELF_TEST_RULE
from dicom_node.durable_files import make_directory, write_json
from dicom_node.reception.completeness import Doubt

SELF_TEST_FAILED: Final = "SELF_TEST_FAILED"
"""Code of what waits because the self-test failed."""
WAIT_S: Final = 300.0
"""After so long a case that waits looks again."""


class Outcome(StrEnum):
    """What a self-test through the port found."""

    PASSED = "passed"
    FAILED = "failed"
    """The answer is another one, or none although the node had time."""
    NOT_RUN = "not-run"
    """Nothing could be sent, or the node was too busy to answer in time; stops nothing."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The last word of the self-test. Holds no patient data."""

    outcome: Outcome
    code: str
    """Why it did not pass; empty if it did."""
    sentence: str
    at_s: float
    """Unix time at which it ended."""
    answered_at_s: float = 0.0
    """Unix time of the last self-test that passed or failed; where there was none yet, of the first that was tried."""
    passed_at_s: float = 0.0
    """Unix time of the last one that passed; 0 if none has."""

    @property
    def stops(self) -> bool:
        """Whether patients wait."""
        return self.outcome is Outcome.FAILED

    def after(self, before: "Verdict | None") -> "Verdict":
        """This word with the times of the words before it; a test that was not made is no answer."""
        answered_s = self.at_s if self.outcome is not Outcome.NOT_RUN else 0.0
        passed_s = self.at_s if self.outcome is Outcome.PASSED else 0.0
        if before is not None:
            answered_s, passed_s = answered_s or before.answered_at_s, passed_s or before.passed_at_s
        return replace(self, answered_at_s=answered_s or self.at_s, passed_at_s=passed_s)


@dataclass(frozen=True, slots=True)
class VerdictFile:
    """Where the last word lies."""

    path: Path

    @classmethod
    def under(cls, shared_dir: Path) -> Self:
        """That of the node with that shared directory."""
        return cls(shared_dir / "constancy" / "verdict.json")

    def read(self) -> Verdict | None:
        """The last word; None if there was no self-test through the port yet.

        Raises:
            ValueError: the file is not what we wrote.
        """
        try:
            fields = json.loads(self.path.read_text(encoding="utf-8"))
            return Verdict(**{**fields, "outcome": Outcome(fields["outcome"])})
        except FileNotFoundError:
            return None
        except (KeyError, TypeError) as fault:
            raise ValueError(f"{self.path.name} is no verdict") from fault

    def write(self, verdict: Verdict) -> None:
        """Put a new word in place of the last one; a killed process leaves the old or the new one."""
        make_directory(self.path.parent)
        write_json(self.path, {**asdict(verdict), "outcome": verdict.outcome.value})

    def add(self, verdict: Verdict) -> Verdict:
        """Put a new word in place of the last one, with the times of the last answer and the last pass; what is kept.

        Of several hosts that end a self-test at once the last to write is heard; each answers for itself.
        """
        new = verdict.after(self._known())
        self.write(new)
        return new

    def last_passed_s(self) -> float:
        """Unix time of the last self-test that passed; 0 if there was none or nobody knows."""
        known = self._known()
        return known.passed_at_s if known is not None else 0.0

    def _known(self) -> Verdict | None:
        try:
            return self.read()
        except (OSError, ValueError):
            return None

    def stopped(self) -> str:
        """Why patients wait, as a sentence; empty if they do not. A file that cannot be read stops them, too."""
        try:
            verdict = self.read()
        except (OSError, ValueError):
            return "What the last self-test said cannot be read: perfnode selftest makes a new one."
        return verdict.sentence if verdict is not None and verdict.stops else ""

    def doubt_of(self, rule: str) -> Doubt | None:
        """Why a series that this rule takes must wait; a self-test waits for nobody, or nothing would ever end it."""
        if rule == SELF_TEST_RULE or not (why := self.stopped()):
            return None
        return Doubt(SELF_TEST_FAILED, why)
