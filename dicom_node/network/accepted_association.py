"""One connection that a peer made, from its first byte to its last, in a thread of its own.

TLS, negotiation, reading and serving happen there, each with a deadline, so that nobody else waits for this peer.
"""

import socket
import ssl
import time
from typing import Any, Final

import structlog
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.transport import AddressInformation

from dicom_node.network.accepted_socket import AcceptedSocket
from dicom_node.network.message_assembly import Messages
from dicom_node.network.upper_layer import UpperLayer

log = structlog.get_logger()

_LOCAL_LIMIT_EXCEEDED: Final = (0x02, 0x03, 0x02)
"""Rejected transient, by the presentation service provider, local limit exceeded (PS3.8 table 9-21)."""


class AcceptedAssociation(Association):  # type: ignore[misc]  # pynetdicom publishes no types here
    """One connection from its first byte to its last, in a thread of its own.

    Args:
        server: The `BoundedServer` that accepted it.
        tcp: The connection.
        remote: Address of the peer.
        place: Its place in the server's table of connections.
    """

    is_established: bool

    def __init__(self, server: Any, tcp: socket.socket, remote: Any, place: int) -> None:
        super().__init__(server.ae, "acceptor")
        self._server = server
        self.place = place
        self.name = f"association-{place}"
        self.dul = UpperLayer(self)
        self.dimse = Messages(self, server.limits, server.budget)
        self.acse_timeout, self.network_timeout = server.ae.acse_timeout, server.ae.network_timeout
        self.set_socket(AcceptedSocket(self, tcp, server.limits))
        entity = server.ae
        self.acceptor.maximum_length = entity.maximum_pdu_size
        self.acceptor.ae_title = server.ae_title
        self.acceptor.address_info = AddressInformation.from_tuple(server.server_address)
        self.acceptor.implementation_class_uid = entity.implementation_class_uid
        self.acceptor.implementation_version_name = entity.implementation_version_name
        self.requestor.address_info = AddressInformation.from_tuple(remote)
        self._handlers = {e: b if e.is_intervention else list(b) for e, b in server._handlers.items()}

    @property
    def is_requested(self) -> bool:
        """Whether the peer has sent an association request; otherwise it is only a connection."""
        return self.requestor.primitive is not None

    @property
    def is_ending(self) -> bool:
        """Whether it has been told to end, or is ending by itself."""
        return bool(self._kill)

    def run(self) -> None:
        """Serve the connection; nothing that happens in it leaves this thread."""
        try:
            self._live()
        except Exception as error:
            log.warning("association_aborted", code="ASSOCIATION_FAULT", kind=type(error).__name__)
            self.is_aborted = True
            self.dul.abort_at_once()
        finally:
            self._end()

    def stop(self) -> None:
        """Abort, or hang up if there is no association yet; called by other threads."""
        if self.is_established:
            self.abort(block=False)
        else:
            self.dul.kill_dul()
            self.dul.socket.hang_up()
        self._kill = True
        self.dul.socket.wake()

    def _live(self) -> None:
        deadline = time.monotonic() + self.acse_timeout
        evt.trigger(self, evt.EVT_CONN_OPEN, {"address": self.requestor.address_info.as_tuple})
        if not self._secure(deadline):
            return
        self._started_dul = True
        self._dul_ready.set()
        primitive = self.dul.receive_pdu(wait=True, timeout=deadline - time.monotonic())
        if not isinstance(primitive, A_ASSOCIATE):
            self._server.note("connection_failed", "NO_ASSOCIATION_REQUEST", self.requestor.address)
            return
        self.requestor.primitive = primitive
        self.requestor.ae_title = primitive.calling_ae_title
        self.acceptor.supported_contexts = self._server.contexts
        evt.trigger(self, evt.EVT_REQUESTED, {})  # here the policy may reject
        if self.is_aborted or self.is_rejected:
            return
        if not self._server.slots.associate(self.place, self._server.maximum_associations):
            self._server.note("association_rejected", "TOO_MANY_ASSOCIATIONS", self.requestor.address)
            self.acse.send_reject(*_LOCAL_LIMIT_EXCEEDED)
            return
        self.acse.negotiate_association()
        if self.is_established:
            self._run_reactor()

    def _secure(self, deadline: float) -> bool:
        if self._server.tls_context is None:
            return True
        try:
            self.dul.socket.handshake(self._server.tls_context(), deadline)
        except OSError as error:
            reason = (error.reason if isinstance(error, ssl.SSLError) else None) or type(error).__name__
            self._server.note("connection_refused", "TLS_HANDSHAKE_FAILED", self.requestor.address, reason=reason)
            return False
        return True

    def _run_reactor(self) -> None:
        self._is_paused = False
        while not self._kill:
            self._is_paused = True
            self._reactor_checkpoint.wait()
            self._is_paused = False
            self.dul.step()
            while not self._kill and not self.dimse.msg_queue.empty():
                context_id, message = self.dimse.get_msg()
                if message is not None:
                    self._serve_request(message, context_id)
                    self.dul.last_activity = time.monotonic()
            if self._has_ended():
                return

    def _has_ended(self) -> bool:
        if self.is_established and self.acse.is_release_requested():
            self.acse.send_release(is_response=True)
            self.is_released, self.is_established = True, False
            evt.trigger(self, evt.EVT_RELEASED, {})
            return True
        if self.acse.is_aborted():
            self.dul.receive_pdu()  # for EVT_ACSE_RECV
            self.is_aborted, self.is_established = True, False
            evt.trigger(self, evt.EVT_ABORTED, {})
            return True
        if self.dul.is_over:
            self.is_aborted, self.is_established = True, False
            return True
        if self.dul.idle_timer_expired():
            log.warning("association_aborted", code="IDLE_TOO_LONG", peer=self.requestor.address)
            self.abort(block=False)
            self.is_aborted, self.is_established = True, False
            return True
        return False

    def _end(self) -> None:
        self.is_established = False
        self._kill = True
        self._is_paused = True
        try:
            self.dul.close()
        finally:
            self.dimse.release_memory()
            self._server.association_over(self)
