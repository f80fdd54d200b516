"""What an audit message says, as one sentence for a person."""

from collections.abc import Callable
from typing import Final

from dicom_node.audit.reading import Entry

_FROM, _TO = 0, 1


def sentence(entry: Entry) -> str:
    """The event in words; one that has none of its own is named as the standard names it."""
    told = _SENTENCES.get(entry.event, _named)(entry)
    return f"{told}; {trouble}" if (trouble := _trouble(entry)) else told


def _transferred(entry: Entry) -> str:
    images = f"{entry.instances} instance{'s' * (entry.instances != 1)}"
    return f"{images} went from {_who(entry, _FROM)} to {_who(entry, _TO)}"


def _accessed(entry: Entry) -> str:
    return f"{_who(entry, _FROM)} looked at the patient's data"


def _log_used(entry: Entry) -> str:
    whose = "this patient's messages" if entry.patients else "the audit trail"
    return f"{_who(entry, _FROM)} read {whose}"


def _query(entry: Entry) -> str:
    listed = sum(subject.startswith("case:") for subject in entry.subjects)
    if listed:
        return f"{_who(entry, _FROM)} saw the patient in a list of {listed} case{'s' * (listed != 1)}"
    return f"{_who(entry, _FROM)} asked {_who(entry, _TO)}"


def _alert(entry: Entry) -> str:
    return entry.detail or _named(entry)


def _named(entry: Entry) -> str:
    words = [entry.kind or entry.event, "by " + ", ".join(entry.participants) if entry.participants else ""]
    return ": ".join(filter(None, (" ".join(filter(None, words)), entry.detail)))


_SENTENCES: Final[dict[str, Callable[[Entry], str]]] = {
    "DICOM Instances Transferred": _transferred,
    "DICOM Instances Accessed": _accessed,
    "Audit Log Used": _log_used,
    "Query": _query,
    "Security Alert": _alert,
}


def _who(entry: Entry, place: int) -> str:
    return entry.participants[place] if place < len(entry.participants) else "somebody"


def _trouble(entry: Entry) -> str:
    indicator, _, description = entry.outcome.partition(" ")
    if indicator == "0" or description in entry.detail:
        return ""
    return f"it failed ({description or indicator})"
