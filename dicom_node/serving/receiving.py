"""The role `receiver`: instances into the spool of this host, and cases of what is complete.

Receiving needs the spool alone: what a peer sends is acknowledged while the database is away, and becomes cases when it
is back.
"""

import threading
import time
from functools import partial
from typing import Final

import structlog

from dicom_node.audit.trail import AuditTrail
from dicom_node.constancy.own_series import with_self_test
from dicom_node.constancy.stop import VerdictFile
from dicom_node.durable_files import remove_abandoned_parts
from dicom_node.errors import code_of
from dicom_node.jobs.jobs import JobBook
from dicom_node.named_locks import NamedLocks
from dicom_node.network.archive import expected_instances
from dicom_node.network.commitment import CommitmentBook
from dicom_node.network.commitment_service import CommitmentParts
from dicom_node.network.receiver_process import ReceiverParts
from dicom_node.network.receiver_processes import ReceiverProcesses
from dicom_node.recent_log import RecentLog
from dicom_node.reception.intake import Intake
from dicom_node.reception.spool import Spool
from dicom_node.settings.config import NodeSettings
from dicom_node.structures.received import ReceivedStructures
from dicom_node.structures.structure_sets import StructureStore

_LOOK_S: Final = 0.5
_AGAIN_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 5.0
_WELL_S: Final = 60.0
_COMMITMENTS_KEPT_S: Final = 30 * 86400.0
"""An archive that answers a request for commitment later than this is not believed."""


class Receiving:
    """The receiver processes of a host, and the thread that makes cases.

    Args:
        settings: of the node.
        audit: who is told of associations.
    """

    def __init__(self, settings: NodeSettings, audit: AuditTrail) -> None:
        self._settings = settings
        self._spool = Spool(settings.data_dir / "spool", minimum_free_mb=settings.minimum_free_mb)
        self._receivers = ReceiverProcesses(_receiver_parts(settings, self._spool, audit))
        self._stopping = threading.Event()
        self._intake = threading.Thread(target=self._take_in, name="intake", daemon=True)

    @property
    def port(self) -> int:
        """The TCP port that is listened on, 0 while stopped."""
        return self._receivers.port

    def start(self) -> None:
        """Remove what dead processes left half-done, and accept connections.

        Raises:
            OSError: the address cannot be bound, a file of the TLS settings cannot be read, or no process came up.
        """
        self._spool.sweep()
        for folder in ("structures", "commitments"):
            remove_abandoned_parts(self._settings.shared_dir / folder)
        CommitmentBook.under(self._settings.shared_dir).sweep(_COMMITMENTS_KEPT_S)
        self._receivers.start()
        self._intake.start()

    def stop(self) -> None:
        """Accept nothing new; associations that run have half a minute to end."""
        self._stopping.set()
        self._receivers.stop()
        self._intake.join(5.0)

    def _take_in(self) -> None:
        log, said, pause_s = structlog.get_logger(), "", _AGAIN_S
        while not self._stopping.wait(pause_s):
            began = time.monotonic()
            try:
                self._take_in_while_well()
            except Exception as fault:  # the database or the disk, or a bug; what was received stays where it is
                kind = type(fault).__name__
                if said != kind:
                    log.error("intake_failed", code=code_of(fault, "INTAKE_FAILED"), kind=kind)
                said = kind
            pause_s = _AGAIN_S if time.monotonic() - began > _WELL_S else min(2 * pause_s, _LONGEST_PAUSE_S)

    def _take_in_while_well(self) -> None:
        settings = self._settings
        with JobBook(settings.database, settings.cases()) as jobs:
            intake = _intake(settings, self._spool, jobs)
            intake.recover()
            while not self._stopping.wait(_LOOK_S):
                intake.take_complete()


def _receiver_parts(settings: NodeSettings, spool: Spool, audit: AuditTrail) -> ReceiverParts:
    return ReceiverParts(
        spool.root,
        settings.receiver,
        minimum_free_mb=settings.minimum_free_mb,
        audit=audit,
        services=(CommitmentParts(settings.data_dir, settings.shared_dir, settings.called_entities()),),
        log_level=settings.log_level,
        log_format=settings.log_format,
        recent_log=RecentLog.under(settings.data_dir),
    )


def _intake(settings: NodeSettings, spool: Spool, jobs: JobBook) -> Intake:
    archive = settings.completeness.count_from
    return Intake.of(
        settings.data_dir,
        settings.cases(),
        spool,
        jobs,
        with_self_test(settings.rules, settings.shared_dir),
        settings.completeness,
        expected_instances=partial(expected_instances, settings.peer(archive)) if archive else None,
        structures=ReceivedStructures(StructureStore.under(settings.shared_dir), settings.subtraction),
        room_mb=2.0 * settings.minimum_free_mb,
        locks=NamedLocks(settings.database, settings.data_dir),
        stopped=VerdictFile.under(settings.shared_dir).doubt_of,
    )
