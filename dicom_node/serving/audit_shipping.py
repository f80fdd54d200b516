"""Sends the audit trail of a host to the syslog server of the site: one process of the host at a time does it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from dicom_node.audit.shipper import Shipper
from dicom_node.audit.trail import AuditTrail
from dicom_node.named_locks import lock_file, tried_file
from dicom_node.settings.config import NodeSettings

_AGAIN_S: Final = 5.0


@contextmanager
def shipped(audit: AuditTrail, settings: NodeSettings) -> Iterator[None]:
    """Ship the trail meanwhile, if the site has a syslog server and no other process here does; then the rest."""
    if settings.audit.syslog is None:
        yield
        return
    shipper = Shipper(audit.log_file, settings.audit.syslog)
    stopping = threading.Event()
    thread = threading.Thread(target=_ship, args=(shipper, settings, stopping), name="shipping", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


def _ship(shipper: Shipper, settings: NodeSettings, stopping: threading.Event) -> None:
    """Wait for our turn; who ships now may end."""
    path = lock_file(settings.data_dir, "shipping:audit")
    while not stopping.is_set():
        with tried_file(path) as is_ours:
            if is_ours:
                shipper.start()
                stopping.wait()
                shipper.stop()
                return
        stopping.wait(_AGAIN_S)
