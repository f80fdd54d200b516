"""A file of Patient IDs: one on each line, in UTF-8; empty lines, and lines that begin with `#`, are not read.

An ID is taken as it stands, without blanks round it. What could mean another patient, or several, is a mistake: the
file is refused as a whole, with every bad line by its number. No message repeats an ID.
"""

from dataclasses import dataclass
from pathlib import Path

from training.errors import PatientListUnusable

LONGEST_ID = 64
"""Characters of a Patient ID (VR LO, PS3.5 6.2)."""
LARGEST_BYTES = 1 << 20
_PATTERNS = "*?\\"
_OF_TABLES = ',;"'
"""One line of a table would be taken for one strange ID, and a patient who opted out would be missed."""


@dataclass(frozen=True, slots=True)
class ListedPatient:
    """One patient of a list."""

    line: int
    """From 1; stands for the patient in all that is told."""
    patient_id: str


def read_patient_list(path: Path) -> tuple[ListedPatient, ...]:
    """Read a list.

    Returns:
        The patients in their order; one or more.

    Raises:
        PatientListUnusable: with all mistakes.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(LARGEST_BYTES + 1)
    if len(content) > LARGEST_BYTES:
        raise PatientListUnusable(str(path), ("it is larger than a megabyte: is it a list of patients?",))
    found: dict[str, ListedPatient] = {}
    problems = []
    for number, raw in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        text = _text(raw)
        if text is not None and (not text or text.startswith("#")):
            continue
        problem = "not in UTF-8" if text is None else _problem(text)
        if problem:
            problems.append(f"line {number}: {problem}")
        elif text is not None and (first := found.get(text.casefold())):
            problems.append(f"line {number}: the same as line {first.line}")
        elif text is not None:
            found[text.casefold()] = ListedPatient(number, text)
    if problems:
        raise PatientListUnusable(str(path), tuple(problems))
    if not found:
        raise PatientListUnusable(str(path), ("it names no patient",))
    return tuple(found.values())


def _text(raw: bytes) -> str | None:
    try:
        return raw.decode().strip(" \r")
    except UnicodeDecodeError:
        return None


def _problem(text: str) -> str:
    if not text.isprintable():
        return "a tab or another character that cannot be printed; one Patient ID stands on each line, and nothing else"
    if any(character in text for character in _PATTERNS):
        return "*, ? or a backslash would match other patients, too"
    if any(character in text for character in _OF_TABLES):
        return "a comma, semicolon or quotation mark, as in a table; only the column of Patient IDs is wanted"
    if " #" in text:
        return "a comment needs a line of its own"
    if len(text) > LONGEST_ID:
        return f"longer than the {LONGEST_ID} characters of a Patient ID"
    return ""
