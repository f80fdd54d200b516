"""Looks after what waits: asks a destination that was away whether it is back, and mends delays after a clock jump.

While cases stand in line for a destination, this asks it with a C-ECHO, or its counterpart on the web: after the waits
of the site file, and from then on once a minute, however many cases wait. When it answers, the first in line is woken
and goes; what it brings decides about the others (`delivery_line`). So a weekend's results leave within minutes of the
return of an archive, and an archive that is down hears little of us.
"""

import time
from typing import Final

import structlog

from dicom_node.errors import ArchiveError, DeliveryError, PeerUnreachable
from dicom_node.jobs.jobs import JobBook
from dicom_node.jobs.route_mode import RouteMode
from dicom_node.network.delivery import Destination, echo
from dicom_node.network.web_peer import DicomwebPeer
from dicom_node.settings.config import NodeSettings
from dicom_node.watching.chores import Chore

_LOOK_S: Final = 2.0
_LONGEST_S: Final = 60.0
_SILENT: Final = (RouteMode.OFF, RouteMode.DRY_RUN)


class LineWatch:
    """Watches the lines of one node; for one thread.

    Args:
        settings: of the node.
    """

    def __init__(self, settings: NodeSettings) -> None:
        self._settings = settings
        self._opened: JobBook | None = None
        self._due_s: dict[str, float] = {}
        """When each destination is asked next, by the clock that only runs forward."""
        self._asked: dict[str, int] = {}

    def look(self) -> None:
        """Look once at every delay, and at every line.

        Raises:
            NeverStarted: no engine has made the database yet.
        """
        if mended := self._book.bring_stranded_back():
            structlog.get_logger().warning("clock_was_put_back", code="CLOCK_WENT_BACK", delays=mended)
        for destination in self._settings.destinations:
            if self._settings.modes[destination.name] not in _SILENT:
                self._look_at(destination)

    def close(self) -> None:
        """Give the database back."""
        if self._opened is not None:
            self._opened.__exit__()

    @property
    def _book(self) -> JobBook:
        if self._opened is None:
            self._opened = JobBook(self._settings.database, self._settings.cases())
        return self._opened

    def _look_at(self, destination: Destination | DicomwebPeer) -> None:
        name, now_s = destination.name, time.monotonic()
        line = self._book.waiting_line(name)
        if not line:
            self._due_s.pop(name, None)
            self._asked.pop(name, None)
            return
        if now_s < self._due_s.setdefault(name, now_s + self._wait_s(name)):
            return
        self._asked[name] = self._asked.get(name, 0) + 1
        is_there = _answers(destination)
        structlog.get_logger().info("destination_asked", destination=name, waiting=len(line), is_there=is_there)
        if is_there:
            self._book.wake([line[0].attempt])
        self._due_s[name] = time.monotonic() + self._wait_s(name)

    def _wait_s(self, name: str) -> float:
        delays_s = self._settings.retry.delays_s
        return min(_LONGEST_S, delays_s[min(self._asked.get(name, 0), len(delays_s) - 1)])


def chore(settings: NodeSettings) -> Chore:
    """The watch as work that comes round on every host that sends."""
    return Chore("waiting-line", _LOOK_S, LineWatch(settings).look)


def _answers(destination: Destination | DicomwebPeer) -> bool:
    """Whether there is somebody; one that does not know the question is there, too."""
    try:
        if isinstance(destination, DicomwebPeer):
            from dicom_node.network import dicomweb  # loads an HTTP library that few sites need

            dicomweb.echo(destination)
        else:
            echo(destination)
    except PeerUnreachable:
        return False
    except (DeliveryError, ArchiveError):
        return True
    return True
