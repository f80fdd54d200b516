"""Over which associations the images of a case came: who called from where, and from when to when.

The spool leaves a marker for each association in the folder of the series; it says who called and when the first image
came. Address, end and number of instances stand in the audit trail of the host that received them, found by the id of
the association. A trail has hundreds of megabytes after some years, so it is searched from its end, not read.
"""

import base64
import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

_DIGITS: Final = 8
"""Of the id of an association, as the trail writes them."""
_MOST_MESSAGES: Final = 16
"""Of one association that are read: one for each patient."""


@dataclass(frozen=True, slots=True)
class Association:
    """One association that brought images of a case."""

    calling_ae_title: str
    began_at_s: float
    """Unix time of its first image of the series."""
    ended_at_s: float | None = None
    """None if the trail here does not say, as when another host received it."""
    address: str = ""
    instances: int = 0
    """All that it brought, of whatever series."""
    ended_well: bool = True
    """Whether it was released, or somebody took the series as it was."""


def associations_of(received: Path, trail: Path) -> list[Association]:
    """The associations that brought the images in a folder, in order of time.

    Args:
        received: the images of a case, with the markers of the spool.
        trail: the audit file of this host; it may be absent.
    """
    markers = [path for path in (received / "associations").glob("*") if path.suffix in (".open", ".closed")]
    return sorted((_association(marker, trail) for marker in markers), key=lambda found: found.began_at_s)


def _association(marker: Path, trail: Path) -> Association:
    known = Association(
        marker.read_text("ascii", "replace").strip(), marker.stat().st_mtime, ended_well=marker.suffix == ".closed"
    )
    messages = list(_messages(trail, marker.stem[:_DIGITS]))
    if not messages:
        return known
    peer = messages[0].find("ActiveParticipant[@UserIsRequestor='true']")
    return Association(
        known.calling_ae_title,
        known.began_at_s,
        max(_time_s(message) for message in messages),
        "" if peer is None else peer.get("NetworkAccessPointID", ""),
        sum(
            int(found.get("NumberOfInstances", 0)) for message in messages for found in message.iterfind(".//SOPClass")
        ),
        known.ended_well,
    )


def _messages(trail: Path, association_id: str) -> Iterator[ElementTree.Element]:
    """The messages about one association, the newest first."""
    wanted = b'type="Association" value="' + base64.b64encode(association_id.encode()) + b'"'
    try:
        with trail.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            end = len(text)
            for _ in range(_MOST_MESSAGES):
                if (found := text.rfind(wanted, 0, end)) < 0:
                    return
                begin, after = text.rfind(b"\n", 0, found) + 1, text.find(b"\n", found)
                yield from _parsed(text[begin : after if after >= 0 else len(text)])
                end = begin
    except (OSError, ValueError):  # no trail here, an empty one, or one that may not be read
        return


def _parsed(line: bytes) -> Iterator[ElementTree.Element]:
    try:
        yield ElementTree.fromstring(line[line.index(b"<?xml") :])  # noqa: S314  # our own file; expat bounds entities
    except (ElementTree.ParseError, ValueError):  # cut by a crash, or altered
        return


def _time_s(message: ElementTree.Element) -> float:
    event = message.find("EventIdentification")
    return datetime.fromisoformat("" if event is None else event.get("EventDateTime", "")).timestamp()
