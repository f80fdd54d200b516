"""Storage SCP and Verification SCP: answers Success only after the spool holds the instance durably.

Nothing is decoded here. What is refused is refused with a status of PS3.4 table B.2-1 and a line in the log that holds
a code and no patient data. More image classes than CT are accepted on purpose: a wrong series then ends as a case with
a reason that a person can read, not as a silent line in the sender's log.
"""

import threading
import time
import uuid
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)
from pynetdicom import evt
from pynetdicom.pdu_primitives import A_RELEASE
from pynetdicom.sop_class import (
    CTImageStorage,
    EnhancedCTImageStorage,
    MRImageStorage,
    NuclearMedicineImageStorage,
    PositronEmissionTomographyImageStorage,
    SecondaryCaptureImageStorage,
    Verification,
)

from dicom_node.errors import InstanceConflict, InstanceMismatch, InvalidInstance, NodeError, SpoolError, SpoolFull
from dicom_node.network.bounded_sockets import BoundedEntity, BoundedServer, SocketLimits, set_pynetdicom_defaults
from dicom_node.reception.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dicom_node.reception.spool import ReceivedBytes, Spool

log = structlog.get_logger()

STORAGE_CLASSES: Final = (
    CTImageStorage,
    EnhancedCTImageStorage,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
    NuclearMedicineImageStorage,
    SecondaryCaptureImageStorage,
)
"""Accepted SOP classes, Verification apart."""

TRANSFER_SYNTAXES: Final = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    RLELossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEG2000Lossless,
)
"""Accepted transfer syntaxes. No lossy one: HU would be wrong; no deflated one: 0.5 MB can inflate to 512 MB."""

SUCCESS: Final = 0x0000
STATUS_BY_ERROR: Final[tuple[tuple[type[Exception], int], ...]] = (
    (SpoolFull, 0xA700),
    (OSError, 0xA700),
    (InstanceMismatch, 0xA900),
    (InstanceConflict, 0xC001),
    (InvalidInstance, 0xC000),
    (SpoolError, 0xA700),
    (Exception, 0xC002),
)
"""C-STORE status by error, the first that fits (PS3.4 table B.2-1: A7xx out of resources, A9xx data set does not match
SOP class, Cxxx cannot understand). A conflict is not answered 0111, which senders take for "is stored"."""


@dataclass(frozen=True, slots=True)
class ReceiverSettings:
    """How the node listens."""

    ae_title: str
    host: str = "127.0.0.1"
    port: int = 11112
    """0 lets the system choose; see `Receiver.port`."""
    require_called_ae_title: bool = True
    """Refuse associations that call another AE title than ours."""
    accepted_calling_ae_titles: tuple[str, ...] = ()
    """Empty: everybody. AE titles are names, not authentication."""
    maximum_associations: int = 20
    spare_connections: int = 64
    """Sockets beyond `maximum_associations` that may be open without an association request."""
    association_timeout_s: float = 10.0
    """From the connection to the complete association request."""
    idle_timeout_s: float = 60.0
    """An association in which nothing happens for this long is aborted."""
    limits: SocketLimits = field(default_factory=SocketLimits)


class Receiver:
    """The listening side of the node. Threads are its own; `start` returns at once.

    Args:
        spool: Where instances go.
        settings: How to listen.
    """

    def __init__(self, spool: Spool, settings: ReceiverSettings) -> None:
        self._spool = spool
        self._settings = settings
        self._server: BoundedServer | None = None
        self._ids: dict[Any, str] = {}
        self._last_activity = time.monotonic()

    @property
    def port(self) -> int:
        """The TCP port that is listened on, 0 while stopped."""
        return 0 if self._server is None else int(self._server.server_address[1])

    @property
    def associations(self) -> int:
        """Established associations now."""
        return len(self._ids)

    @property
    def idle_s(self) -> float:
        """Seconds since an association was made, ended, or sent an instance; 0 while one is established."""
        return 0.0 if self._ids else time.monotonic() - self._last_activity

    def start(self) -> None:
        """Listen.

        Raises:
            OSError: The address cannot be bound, for instance because another program listens there.
        """
        set_pynetdicom_defaults()
        settings = self._settings
        self._server = self._entity().make_server(
            (settings.host, settings.port),
            evt_handlers=[
                (evt.EVT_ESTABLISHED, self._on_established),
                (evt.EVT_C_STORE, self._on_store),
                (evt.EVT_ACSE_SENT, self._on_acse_sent),
                (evt.EVT_REJECTED, _on_rejected),
            ],
            server_class=BoundedServer,
            limits=settings.limits,
            maximum_connections=settings.maximum_associations + settings.spare_connections,
        )
        self._server.start()
        log.info("receiver_started", ae_title=settings.ae_title, host=settings.host, port=self.port)

    def stop(self, grace_s: float = 30.0) -> None:
        """Accept nothing new, let running associations finish for `grace_s`, then abort them."""
        server, self._server = self._server, None
        if server is None:
            return
        server.stop(grace_s)
        log.info("receiver_stopped")

    def _entity(self) -> BoundedEntity:
        settings = self._settings
        entity = BoundedEntity(settings.ae_title)
        entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        entity.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        entity.require_called_aet = settings.require_called_ae_title
        entity.require_calling_aet = list(settings.accepted_calling_ae_titles)
        entity.maximum_associations = settings.maximum_associations
        entity.maximum_pdu_size = settings.limits.maximum_pdu_bytes
        entity.acse_timeout = settings.association_timeout_s
        entity.network_timeout = settings.idle_timeout_s
        entity.add_supported_context(Verification)
        for storage_class in STORAGE_CLASSES:
            entity.add_supported_context(storage_class, list(TRANSFER_SYNTAXES))
        return entity

    # -- events, each in the thread of its association ---------------------------------------------------------------

    def _on_established(self, event: Any) -> None:
        association_id = uuid.uuid4().hex
        self._ids[event.assoc] = association_id
        self._last_activity = time.monotonic()
        self._spool.association_opened(association_id)
        # There are many ways in which an association ends and no event that all of them share, but its thread ends.
        threading.Thread(target=self._when_over, args=(event.assoc, association_id), daemon=True).start()
        log.info("association_established", association=association_id[:8], calling=event.assoc.requestor.ae_title)

    def _when_over(self, association: Any, association_id: str) -> None:
        association.join()
        self._spool.association_ended(association_id)
        self._last_activity = time.monotonic()
        del self._ids[association]
        log.info("association_ended", association=association_id[:8], released=bool(association.is_released))

    def _on_store(self, event: Any) -> int:
        self._last_activity = time.monotonic()
        association_id = self._ids[event.assoc]
        try:
            instance = self._spool.keep(_received_bytes(event, association_id))
        except Exception as error:  # whatever happens, the peer gets a status and never Success
            status = next(status for kind, status in STATUS_BY_ERROR if isinstance(error, kind))
            code = error.code if isinstance(error, NodeError) else type(error).__name__
            log.warning("instance_refused", code=code, status=f"0x{status:04X}", association=association_id[:8])
            return status
        log.debug("instance_kept", series=instance.series_key[:12], new=instance.is_new)
        return SUCCESS

    def _on_acse_sent(self, event: Any) -> None:
        """Close the series before the answer to a release goes out: the sender has said that it is done."""
        primitive = event.primitive
        if not isinstance(primitive, A_RELEASE) or primitive.result is None:
            return
        if not event.assoc.dimse.msg_queue.empty():
            return  # it released while requests were unanswered, so it cannot know what is stored
        association_id = self._ids.get(event.assoc)
        if association_id is not None:
            self._spool.association_released(association_id)


def _received_bytes(event: Any, association_id: str) -> ReceivedBytes:
    return ReceivedBytes(
        sop_class_uid=str(event.request.AffectedSOPClassUID),
        sop_instance_uid=str(event.request.AffectedSOPInstanceUID),
        transfer_syntax_uid=str(event.context.transfer_syntax),
        calling_ae_title=event.assoc.requestor.ae_title,
        association_id=association_id,
        encoded_dataset=event.encoded_dataset(include_meta=False),
    )


def _on_rejected(event: Any) -> None:
    requestor = event.assoc.requestor
    log.warning("association_rejected", code="ASSOCIATION_REJECTED", peer=requestor.address, calling=requestor.ae_title)
