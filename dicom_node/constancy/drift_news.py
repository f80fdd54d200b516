"""What the last look at the control charts found, in a small file that the status page reads without more libraries.

constancy/drift.json      {"at_s": …, "patients": {"lung_volume": [1, 2], …}, "self-tests": {…}}
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from dicom_node.durable_files import make_directory, write_json

PATIENTS: Final = "patients"
SELF_TESTS: Final = "self-tests"


@dataclass(frozen=True, slots=True)
class DriftNews:
    """Which of Nelson's rules the newest values of each figure broke. Holds no patient data."""

    at_s: float
    """Unix time of the look."""
    patients: Mapping[str, list[int]]
    """By figure; an empty list for a quiet one."""
    self_tests: Mapping[str, list[int]]


@dataclass(frozen=True, slots=True)
class DriftNewsFile:
    """Where it lies."""

    path: Path

    @classmethod
    def under(cls, shared_dir: Path) -> Self:
        """That of the node with that shared directory."""
        return cls(shared_dir / "constancy" / "drift.json")

    def write(self, news: DriftNews) -> None:
        """Put a new look in place of the last one; a killed process leaves the old or the new one."""
        make_directory(self.path.parent)
        charts = {PATIENTS: dict(news.patients), SELF_TESTS: dict(news.self_tests)}
        write_json(self.path, {"at_s": news.at_s, **charts})

    def read(self) -> DriftNews | None:
        """The last look; None if there was none yet.

        Raises:
            ValueError: the file is not what we wrote.
        """
        try:
            fields = json.loads(self.path.read_text(encoding="utf-8"))
            return DriftNews(float(fields["at_s"]), dict(fields[PATIENTS]), dict(fields[SELF_TESTS]))
        except FileNotFoundError:
            return None
        except (KeyError, TypeError) as fault:
            raise ValueError(f"{self.path.name} is no look at the charts") from fault
