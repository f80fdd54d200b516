"""One of the processes that receive: `python -m dicom_node.network.receiver_process NUMBER LISTENING SLOTS`.

Started by `receiver_processes` only, which passes the listening socket and the table of connections as descriptors,
what to receive with on standard input, and later, on the same stream, how long to wait before stopping. When the stream
ends without that, the parent is gone and this process ends at once: whoever starts the node anew must be alone on the
port. Small on purpose: no imaging library, no configuration.
"""

import os
import pickle
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dicom_node.audit.trail import AuditTrail, NoAuditTrail
from dicom_node.logs import configure_logs
from dicom_node.network.connection_slots import ConnectionSlots
from dicom_node.network.receiver import Receiver, ReceiverSettings, Service
from dicom_node.recent_log import RecentLog
from dicom_node.reception.spool import Spool


@dataclass(frozen=True)
class ReceiverParts:
    """All that a process needs to receive; every part can be pickled."""

    spool: Path
    """Folder of the spool."""
    settings: ReceiverSettings
    minimum_free_mb: float = 1024.0
    audit: AuditTrail | None = None
    services: tuple[Callable[[Spool], Service], ...] = ()
    """Make the further services in the process that offers them."""
    log_level: str = "info"
    log_format: str = "auto"
    recent_log: RecentLog | None = None

    def receiver(self) -> Receiver:
        """A receiver made of the parts."""
        spool = Spool(self.spool, minimum_free_mb=self.minimum_free_mb)
        services = [make(spool) for make in self.services]
        return Receiver(spool, self.settings, audit=self.audit or NoAuditTrail(), services=services)


def main(arguments: list[str]) -> int:
    """Entry of the process."""
    number, listening, slots = (int(argument) for argument in arguments)
    for ending in (signal.SIGTERM, signal.SIGINT):  # sent to a whole group; when to stop is the parent's decision
        signal.signal(ending, signal.SIG_IGN)
    os.umask(0o077)  # what we keep is patient data
    control = sys.stdin.buffer
    parts: ReceiverParts = pickle.load(control)  # noqa: S301  # from our parent, over a pipe that nobody else can open
    configure_logs(parts.log_level, parts.log_format, parts.recent_log)
    receiver = parts.receiver()
    receiver.start(listening=socket.socket(fileno=listening), slots=ConnectionSlots(slots, number))
    line = control.readline()
    if not line:
        os._exit(1)
    receiver.stop(float(line))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
