"""`opted-out.json`: pseudonyms of patients who must never be in the store.

The audit tells of each of them too, and both are asked: whoever loses or empties the list lets nobody back in.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from training.errors import StoreUnusable
from training.insilico.files.whole_folder import write_whole
from training.store.audit_lines import AuditTrail

EVENT: Final = "opted-out"


@dataclass(frozen=True, slots=True)
class OptedOut:
    """What became of one patient of a list."""

    patient: str
    """Pseudonym."""
    pairs: int
    """How many were removed."""


class OptOuts:
    """The list of one store."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def listed(self) -> frozenset[str]:
        """Pseudonyms in the file.

        Raises:
            StoreUnusable: it is damaged.
        """
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            if not isinstance(content, list) or not all(isinstance(patient, str) for patient in content):
                raise ValueError("it is no list of pseudonyms")
            return frozenset(content)
        except FileNotFoundError:
            return frozenset()
        except ValueError as fault:
            raise StoreUnusable(
                str(self.path.parent), f"{self.path.name} is damaged: remove it, the audit knows who opted out"
            ) from fault

    def patients(self, trail: AuditTrail) -> frozenset[str]:
        """Pseudonyms in the file or in the audit.

        Raises:
            StoreUnusable: the file is damaged.
        """
        return self.listed() | told(trail)

    def write(self, patients: Iterable[str]) -> None:
        """Write the file anew, whole.

        Raises:
            OSError: the file system refuses.
        """
        write_whole(self.path, (json.dumps(sorted(patients), indent=1) + "\n").encode())


def told(trail: AuditTrail) -> frozenset[str]:
    """Pseudonyms of which the audit says that they opted out."""
    return frozenset(str(line["patient"]) for line in trail.lines if line["event"] == EVENT)
