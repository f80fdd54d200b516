"""Why a case cannot be shown: it never was, is about to begin or to go, or was removed and left its proof."""

import re
from dataclasses import dataclass, field
from typing import Any, Final

from dicom_node.errors import UnknownCase
from dicom_node.jobs.cases import CaseFolder
from dicom_node.keeping.removal_proof import RemovalLog
from dicom_node.settings.config import NodeSettings

_ID: Final = re.compile(r"[0-9a-f]{16}")
_BECAUSE: Final = {
    "AGED": "it was kept as long as the site wants",
    "SPACE": "the disk had too little space, and it was the oldest that could go",
    "ASKED": "a person said so",
}


@dataclass(frozen=True, slots=True)
class Absence:
    """Why there is no page of a case."""

    code: str
    title: str
    sentence: str
    proof: dict[str, Any] = field(default_factory=dict)
    """Of its removal, see `removal_proof`; empty without one."""


class NoResult(Exception):
    """The case has no result yet, or came to none."""


NO_RESULT: Final = Absence("NO_RESULT", "There is no summary page", "The case has no result yet, or came to none.")


def folder_of(case_id: str, settings: NodeSettings) -> CaseFolder:
    """The folder of a case that exists; an id is never taken for a path.

    Raises:
        UnknownCase: there is none of this id.
    """
    folder = settings.cases().folder(case_id) if _ID.fullmatch(case_id) else None
    if folder is None or not (folder.path / "case.json").exists():
        raise UnknownCase(case_id)
    return folder


def absence_of(case_id: str, settings: NodeSettings) -> Absence:
    """Why the node has no case of this id."""
    if not _ID.fullmatch(case_id):
        return Absence("UNKNOWN_CASE", "There is no such case", "Ids of cases have 16 characters, 0 to 9 and a to f.")
    if (settings.shared_dir / "removing" / case_id).exists():
        return Absence(
            "CASE_REMOVED", "The case is being removed", "In a moment it is gone; the proof of what was sent stays."
        )
    proofs = [line for line in RemovalLog.under(settings.shared_dir).lines() if line.get("case") == case_id]
    if proofs:
        why = _BECAUSE.get(str(proofs[-1]["because"]), str(proofs[-1]["because"]))
        sentence = f"It was removed, since {why}. What is left of it is the proof below."
        return Absence("CASE_REMOVED", "The case was removed", sentence, proofs[-1])
    if settings.cases().folder(case_id).path.exists():
        sentence = "Not all of it is here: it is about to begin, or about to go. Look again in a moment."
        return Absence("CASE_NOT_WHOLE", "The case cannot be shown now", sentence)
    return Absence("UNKNOWN_CASE", "There is no such case", "It may be of another node, or the address is mistyped.")
