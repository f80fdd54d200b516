"""The audit file as a person reads it: one entry per message, without the XML around it."""

import base64
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

from dicom_node.audit.chain import is_complete

OURS: Final = "urn:perfusion-node:"
"""What the names of our cases and series begin with in a message."""
_MESSAGE: Final = re.compile(rb"<\?xml.*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Entry:
    """One event."""

    time: str
    """ISO 8601, UTC."""
    event: str
    """For instance `DICOM Instances Transferred`."""
    kind: str
    """For instance `Node Authentication`; empty where the event has no types."""
    outcome: str
    """`0` success, `4`, `8` or `12`; with the code of the error, if there is one."""
    participants: tuple[str, ...]
    """AE title or name, and address, of each."""
    studies: tuple[str, ...]
    patients: tuple[str, ...]
    """As written: pseudonyms, if the site wants them."""
    instances: int
    detail: str
    """In words, for alerts."""
    subjects: tuple[str, ...] = ()
    """What else it is about: `case:<id>`, `series:<key>`, or the address of a file."""

    def fields(self) -> dict[str, object]:
        """For JSON."""
        return {name: getattr(self, name) for name in self.__slots__}


def read_entries(log_file: Path, naming: Collection[str] = ()) -> Iterator[Entry]:
    """The events in the order of the file, without lines that a crash has cut.

    Args:
        log_file: of the trail.
        naming: only messages in which one of these stands; pseudonyms and ids of cases, which XML writes as they are.

    Raises:
        OSError: the file cannot be read.
    """
    wanted = [text.encode() for text in naming]
    with log_file.open("rb") as file:
        for line in file:
            if wanted and not any(text in line for text in wanted):
                continue
            found = _MESSAGE.search(line.removesuffix(b"\n"))
            if found is None or not is_complete(line.removesuffix(b"\n")):
                continue
            try:
                yield _entry(ElementTree.fromstring(found[0]))  # noqa: S314  # our own file; expat bounds entities
            except ElementTree.ParseError:
                continue  # altered by somebody; `verify` says so


def _entry(message: ElementTree.Element) -> Entry:
    event = message.find("EventIdentification")
    if event is None:
        raise ElementTree.ParseError("no event")
    return Entry(
        time=event.get("EventDateTime", ""),
        event=_text(event, "EventID", "originalText"),
        kind=_text(event, "EventTypeCode", "originalText"),
        outcome=" ".join(filter(None, (event.get("EventOutcomeIndicator"), event.findtext("EventOutcomeDescription")))),
        participants=tuple(_participant(found) for found in message.iterfind("ActiveParticipant")),
        studies=_objects(message, "110180"),
        patients=_objects(message, "2"),
        instances=sum(int(found.get("NumberOfInstances", 0)) for found in message.iterfind(".//SOPClass")),
        detail="; ".join(_details(message, "Alert Description")),
        subjects=tuple(uri.removeprefix(OURS) for uri in _objects(message, "12")),
    )


def _text(parent: ElementTree.Element, name: str, attribute: str) -> str:
    found = parent.find(name)
    return "" if found is None else found.get(attribute, "")


def _participant(found: ElementTree.Element) -> str:
    ae_title = found.get("AlternativeUserID", "").removeprefix("AETITLES=")
    address = found.get("NetworkAccessPointID", "")
    name = ae_title or (found.get("UserName", "") if address else "")
    return "@".join(filter(None, (name, address))) or found.get("UserID", "")


def _objects(message: ElementTree.Element, id_type: str) -> tuple[str, ...]:
    return tuple(
        found.get("ParticipantObjectID", "")
        for found in message.iterfind("ParticipantObjectIdentification")
        if _text(found, "ParticipantObjectIDTypeCode", "csd-code") == id_type
    )


def _details(message: ElementTree.Element, kind: str) -> list[str]:
    return [
        base64.b64decode(found.get("value", "")).decode(errors="replace")
        for found in message.iterfind(f".//ParticipantObjectDetail[@type='{kind}']")
    ]
