"""Storage SCP and Verification SCP: answers Success only after the spool holds the instance durably.

Nothing is decoded here. What is refused is refused with a status of PS3.4 table B.2-1 and a line in the log that holds
a code and no patient data. What is accepted, and with which status a refusal is answered, stands in `acceptance`.
"""

import socket
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import structlog
from pynetdicom import AE, build_context, evt
from pynetdicom.pdu_primitives import A_RELEASE
from pynetdicom.sop_class import Verification

from dicom_node.audit.trail import AuditTrail, NoAuditTrail, StudyTransfer
from dicom_node.errors import NodeError
from dicom_node.metrics import ASSOCIATIONS, INSTANCES_RECEIVED, INSTANCES_REFUSED, TURNED_AWAY
from dicom_node.network.acceptance import (
    LOSSY_TRANSFER_SYNTAXES,
    STATUS_BY_ERROR,
    STORAGE_CLASSES,
    SUCCESS,
    TRANSFER_SYNTAXES,
)
from dicom_node.network.accepted_association import AcceptedAssociation
from dicom_node.network.access import AccessPolicy, Refusal
from dicom_node.network.bounded_server import BoundedServer
from dicom_node.network.bounded_sockets import SocketLimits, set_pynetdicom_defaults
from dicom_node.network.connection_slots import ConnectionSlots
from dicom_node.network.tls import TlsSettings
from dicom_node.reception.last_received import LastReceived
from dicom_node.reception.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dicom_node.reception.spool import ReceivedBytes, ReceivedInstance, Spool

log = structlog.get_logger()


_CANNOT_DECIDE: Final = Refusal("ACCESS_CHECK_FAILED", 2, 1, 1)
"""Rejected transient, by the service user, no reason given (PS3.8 table 9-21)."""


class Service(Protocol):
    """A further service that the receiver offers, for instance Storage Commitment."""

    @property
    def contexts(self) -> Sequence[tuple[str, Sequence[str], bool | None, bool | None]]:
        """Abstract syntax, transfer syntaxes, and whether we accept a peer as SCU and as SCP (None: as usual)."""

    @property
    def handlers(self) -> Sequence[tuple[Any, Callable[[Any], Any]]]:
        """Pynetdicom events with what handles them; called in the thread of the association."""


@dataclass(frozen=True, slots=True)
class ReceiverSettings:
    """How the node listens."""

    ae_title: str
    host: str = "127.0.0.1"
    port: int = 11112
    """0 lets the system choose; see `Receiver.port`."""
    access: AccessPolicy | None = None
    """Who may call, by AE title and address. `None`: everybody who calls us by our AE title."""
    tls: TlsSettings | None = None
    """`None`: not encrypted."""
    storage_classes: tuple[str, ...] = STORAGE_CLASSES
    """What may be sent to us."""
    accept_lossy: bool = False
    """Whether lossy transfer syntaxes are accepted, too."""
    processes: int = 2
    """How many processes receive at the same time on the one port (`ReceiverProcesses`)."""
    maximum_associations: int = 20
    spare_connections: int = 64
    """Sockets beyond `maximum_associations` that may be open without an association request."""
    maximum_connections_per_address: int = 16
    """Below `maximum_associations`, so that one host in trouble cannot shut out the others."""
    association_timeout_s: float = 10.0
    """From the connection to the complete association request, TLS included."""
    idle_timeout_s: float = 60.0
    """An association in which nothing happens for this long is aborted."""
    limits: SocketLimits = field(default_factory=SocketLimits)

    @property
    def policy(self) -> AccessPolicy:
        """Who may call."""
        return self.access or AccessPolicy(self.ae_title)

    @property
    def maximum_connections(self) -> int:
        """Sockets that may be open at the same time."""
        return self.maximum_associations + self.spare_connections

    @property
    def transfer_syntaxes(self) -> tuple[str, ...]:
        """What images may be encoded in, best first."""
        return TRANSFER_SYNTAXES + (LOSSY_TRANSFER_SYNTAXES if self.accept_lossy else ())


@dataclass(slots=True)
class _Arrivals:
    """What an association has brought so far."""

    association_id: str
    instances: dict[tuple[str, str], dict[str, int]] = field(default_factory=dict)
    """By study and patient: number of instances by SOP class."""

    def add(self, instance: ReceivedInstance) -> None:
        """Count an instance that we keep."""
        header = instance.header
        classes = self.instances.setdefault((header.study_instance_uid, header.patient_id), {})
        classes[header.sop_class_uid] = classes.get(header.sop_class_uid, 0) + 1

    def studies(self) -> list[StudyTransfer]:
        """For the audit trail."""
        return [StudyTransfer(study, patient, classes) for (study, patient), classes in self.instances.items()]


class Receiver:
    """The listening side of the node, in this process. Threads are its own; `start` returns at once.

    Args:
        spool: Where instances go.
        settings: How to listen.
        audit: Told who sent what, and who was refused.
        services: What is offered beside Storage and Verification.
    """

    def __init__(
        self,
        spool: Spool,
        settings: ReceiverSettings,
        *,
        audit: AuditTrail | None = None,
        services: Sequence[Service] = (),
    ) -> None:
        self._spool = spool
        self._settings = settings
        self._policy = settings.policy
        self._audit = audit or NoAuditTrail()
        self._services = tuple(services)
        self._server: BoundedServer | None = None
        self._arrivals: dict[Any, _Arrivals] = {}
        self._last_activity = time.monotonic()

    @property
    def port(self) -> int:
        """The TCP port that is listened on, 0 while stopped."""
        return 0 if self._server is None else int(self._server.server_address[1])

    @property
    def associations(self) -> int:
        """Established associations now."""
        return len(self._arrivals)

    @property
    def connections(self) -> int:
        """Open connections now, with an association or without."""
        return 0 if self._server is None else len(self._server.active_associations)

    @property
    def idle_s(self) -> float:
        """Seconds since an association was made, ended, or sent an instance; 0 while one is established."""
        return 0.0 if self._arrivals else time.monotonic() - self._last_activity

    def start(self, *, listening: socket.socket | None = None, slots: ConnectionSlots | None = None) -> None:
        """Listen.

        Args:
            listening: A socket that listens already and is shared with other processes; binds one otherwise.
            slots: The table of connections shared with them.

        Raises:
            OSError: The address cannot be bound, for instance because another program listens there, or a file of
                the TLS settings cannot be read.
        """
        set_pynetdicom_defaults()
        settings = self._settings
        if settings.tls is not None:
            settings.tls.server_context()  # so that a fault in the files shows now and not at the first peer
        self._server = self._entity().make_server(
            (settings.host, settings.port),
            evt_handlers=self._handlers(),
            server_class=BoundedServer,
            limits=settings.limits,
            maximum_connections=settings.maximum_connections,
            maximum_associations=settings.maximum_associations,
            maximum_per_address=settings.maximum_connections_per_address,
            slots=slots,
            listening=listening,
            tls_context=None if settings.tls is None else settings.tls.server_context,
            admits=self._policy.admits_address,
            on_refusal=self._on_refusal,
            on_over=self._on_over,
        )
        self._server.start()
        log.info("receiver_started", ae_title=settings.ae_title, host=settings.host, port=self.port)

    def stop(self, grace_s: float = 30.0) -> None:
        """Accept nothing new, let running associations finish for `grace_s`, then abort them."""
        server, self._server = self._server, None
        if server is None:
            return
        server.stop(grace_s)
        self._audit.flush()
        log.info("receiver_stopped")

    def _entity(self) -> AE:
        settings = self._settings
        entity = AE(settings.ae_title)
        entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        entity.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        entity.maximum_associations = settings.maximum_connections + 1  # the server counts, over all processes
        entity.maximum_pdu_size = settings.limits.maximum_pdu_bytes
        entity.acse_timeout = settings.association_timeout_s
        entity.network_timeout = settings.idle_timeout_s
        entity.add_supported_context(Verification)
        for storage_class in settings.storage_classes:
            entity.add_supported_context(storage_class, list(settings.transfer_syntaxes))
        for service in self._services:
            for abstract_syntax, transfer_syntaxes, scu_role, scp_role in service.contexts:
                entity.add_supported_context(abstract_syntax, list(transfer_syntaxes), scu_role, scp_role)
        return entity

    def _handlers(self) -> list[tuple[Any, Callable[[Any], Any]]]:
        return [
            (evt.EVT_REQUESTED, self._on_requested),
            (evt.EVT_ESTABLISHED, self._on_established),
            (evt.EVT_C_STORE, self._on_store),
            (evt.EVT_ACSE_SENT, self._on_acse_sent),
            *(pair for service in self._services for pair in service.handlers),
        ]

    # -- events, each in the thread of its association ---------------------------------------------------------------

    def _on_refusal(self, ip: str, code: str) -> None:
        TURNED_AWAY.count(code=code)
        self._audit.association_refused(ip, "", "", code)

    def _on_requested(self, event: Any) -> None:
        requestor = event.assoc.requestor
        ip, calling, called = requestor.address, requestor.ae_title, requestor.primitive.called_ae_title
        try:
            refusal = self._policy.refusal(ip, calling, called)
        except Exception:  # the library would go on as if nothing had happened, and let the peer in
            refusal = _CANNOT_DECIDE
        if refusal is None:
            if self._policy.is_for_echo_only(ip, calling):
                event.assoc.acceptor.supported_contexts = [build_context(Verification)]
            return
        event.assoc.acse.send_reject(refusal.result, refusal.source, refusal.reason)
        TURNED_AWAY.count(code=refusal.code)
        log.warning("association_rejected", code=refusal.code, peer=ip, calling=calling)
        self._audit.association_refused(ip, calling, called, refusal.code)

    def _on_established(self, event: Any) -> None:
        association_id = uuid.uuid4().hex
        self._arrivals[event.assoc] = _Arrivals(association_id)
        self._last_activity = time.monotonic()
        self._spool.association_opened(association_id)
        requestor = event.assoc.requestor
        is_own = self._policy.is_own_call(requestor.address, requestor.ae_title)
        if not is_own:
            ASSOCIATIONS.count()
        tell = log.debug if is_own else log.info  # the watchdog calls twice a minute
        tell("association_established", association=association_id[:8], calling=requestor.ae_title)

    def _on_over(self, association: AcceptedAssociation) -> None:
        arrivals = self._arrivals.get(association)
        if arrivals is None:
            return
        try:
            self._spool.association_ended(arrivals.association_id)
            if studies := arrivals.studies():
                LastReceived.beside(self._spool.root).note()
                requestor = association.requestor
                self._audit.instances_received(requestor.address, requestor.ae_title, arrivals.association_id, studies)
        finally:
            self._last_activity = time.monotonic()
            del self._arrivals[association]
        ended = {"association": arrivals.association_id[:8], "released": bool(association.is_released)}
        instances = sum(sum(c.values()) for c in arrivals.instances.values())
        is_own = self._policy.is_own_call(association.requestor.address, association.requestor.ae_title)
        (log.info if instances or not is_own else log.debug)("association_ended", instances=instances, **ended)

    def _on_store(self, event: Any) -> int:
        self._last_activity = time.monotonic()
        arrivals = self._arrivals[event.assoc]
        try:
            instance = self._spool.keep(_received_bytes(event, arrivals.association_id))
        except Exception as error:  # whatever happens, the peer gets a status and never Success
            status = next(status for kind, status in STATUS_BY_ERROR if isinstance(error, kind))
            code = error.code if isinstance(error, NodeError) else type(error).__name__
            short_id = arrivals.association_id[:8]
            log.warning("instance_refused", code=code, status=f"0x{status:04X}", association=short_id)
            INSTANCES_REFUSED.count(status=f"0x{status:04X}")
            return status
        arrivals.add(instance)
        INSTANCES_RECEIVED.count()
        log.debug("instance_kept", series=instance.series_key[:12], new=instance.is_new)
        return SUCCESS

    def _on_acse_sent(self, event: Any) -> None:
        """Close the series before the answer to a release goes out: the sender has said that it is done."""
        primitive = event.primitive
        if not isinstance(primitive, A_RELEASE) or primitive.result is None:
            return
        if event.assoc.dimse.is_within_message:
            return  # it released in the middle of an instance, so it cannot mean that all is sent
        arrivals = self._arrivals.get(event.assoc)
        if arrivals is None:
            return
        try:
            self._spool.association_released(arrivals.association_id)
        except Exception as error:  # all is kept, but the series stays interrupted; the library would say nothing
            kind, short_id = type(error).__name__, arrivals.association_id[:8]
            log.error("series_not_closed", code="SERIES_NOT_CLOSED", kind=kind, association=short_id)


def _received_bytes(event: Any, association_id: str) -> ReceivedBytes:
    return ReceivedBytes(
        sop_class_uid=str(event.request.AffectedSOPClassUID),
        sop_instance_uid=str(event.request.AffectedSOPInstanceUID),
        transfer_syntax_uid=str(event.context.transfer_syntax),
        calling_ae_title=event.assoc.requestor.ae_title,
        association_id=association_id,
        encoded_dataset=event.encoded_dataset(include_meta=False),
    )
