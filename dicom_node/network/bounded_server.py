"""The server that takes associations from peers: limits on connections, a gate before anything is read, a clean stop.

Each connection is one thread (`accepted_association`); the accepting thread does nothing that a peer could hold up.
Several processes may listen on one socket and share one table of connections.
"""

import errno
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import structlog
from pynetdicom.transport import ThreadedAssociationServer

from dicom_node.network.accepted_association import AcceptedAssociation
from dicom_node.network.bounded_sockets import SocketLimits
from dicom_node.network.connection_slots import TOO_MANY_CONNECTIONS, ConnectionSlots
from dicom_node.network.message_assembly import MemoryBudget

log = structlog.get_logger()

_POLL_S: Final = 0.1
"""How often the accepting thread looks whether to stop, and shows that it lives."""
_YIELD_S: Final = 0.003
"""How long a busier process leaves a new connection to the others."""
_MAKE_ROOM_S: Final = 0.05
_LOG_EVERY_S: Final = 1.0


class BoundedServer(ThreadedAssociationServer):  # type: ignore[misc]
    """Accepts connections within limits.

    Args:
        limits: What one peer may cost.
        maximum_connections: Open connections, with an association or without.
        maximum_associations: Associations; further ones are rejected as "local limit exceeded".
        maximum_per_address: Open connections from one address.
        slots: Table of connections that is shared with other processes; makes its own otherwise.
        listening: A socket that listens already, shared with other processes; binds one otherwise.
        tls_context: Asked at each connection, since certificates may be replaced while we run; `None`: not encrypted.
        admits: Whether an address may connect at all; asked before anything is read.
        on_refusal: Told of every peer that was turned away (address, code), at most once a second for the same.
        on_over: Called when an association or a connection is over, in its thread.
    """

    request_queue_size = 128
    socket: Any
    server_address: Any

    def __init__(
        self,
        *args: Any,
        limits: SocketLimits,
        maximum_connections: int,
        maximum_associations: int | None = None,
        maximum_per_address: int | None = None,
        slots: ConnectionSlots | None = None,
        listening: socket.socket | None = None,
        tls_context: Callable[[], ssl.SSLContext] | None = None,
        admits: Callable[[str], bool] = lambda ip: True,
        on_refusal: Callable[[str, str], None] = lambda ip, code: None,
        on_over: Callable[[AcceptedAssociation], None] = lambda association: None,
        **kwargs: Any,
    ) -> None:
        self.limits = limits
        self.budget = MemoryBudget(limits.large_messages_bytes)
        self.maximum_associations = maximum_associations or maximum_connections
        self._maximum_per_address = maximum_per_address or maximum_connections
        self._own_slots = slots is None
        self.slots = slots or ConnectionSlots.create(maximum_connections)
        self._listening = listening
        self.tls_context = tls_context
        self._admits = admits
        self._on_refusal = on_refusal
        self._on_over = on_over
        self._open: dict[AcceptedAssociation, None] = {}  # oldest first
        self._open_lock = threading.Lock()
        self._stopping = threading.Event()
        self._accepting: threading.Thread | None = None
        self._noted: dict[tuple[str, str], tuple[float, int]] = {}
        try:
            super().__init__(*args, **kwargs)
        except BaseException:
            if self._own_slots:
                self.slots.close()
            raise
        self.socket.setblocking(False)

    def server_bind(self) -> None:
        """Bind, unless a listening socket was given."""
        if self._listening is None:
            super().server_bind()
            return
        self.socket.close()
        self.socket = self._listening
        self.server_address = self.socket.getsockname()

    def server_activate(self) -> None:
        """Listen, unless a listening socket was given."""
        if self._listening is None:
            super().server_activate()

    def start(self) -> None:
        """Accept connections in a thread of its own; returns at once."""
        self.ae._servers.append(self)  # where pynetdicom expects to find it
        self._accepting = threading.Thread(target=self._accept_all, name="dicom-server", daemon=True)
        self._accepting.start()

    def stop_accepting(self) -> None:
        """Accept nothing new; what runs goes on."""
        self._stopping.set()
        if self._accepting is not None:
            self._accepting.join()
            self._accepting = None
            self.ae._servers.remove(self)
            self.server_close()

    def stop(self, grace_s: float) -> None:
        """Accept nothing new, let running associations end by themselves for `grace_s`, then abort them."""
        self.stop_accepting()
        deadline = time.monotonic() + grace_s
        for association in self.active_associations:
            if association.is_requested:  # a connection that never asked for one has nothing to finish
                association.join(max(0.0, deadline - time.monotonic()))
        for association in self.active_associations:
            association.stop()
        for association in self.active_associations:
            association.join(5.0)
        if self._own_slots and not self.active_associations:
            self.slots.close()

    def shutdown(self) -> None:
        """Stop at once, as pynetdicom's callers expect."""
        self.stop(grace_s=0.0)

    def server_close(self) -> None:
        """Close our listening socket; one that is shared goes on listening for the others."""
        if self._listening is None:
            super().server_close()
        else:
            self.socket.close()

    @property
    def active_associations(self) -> list[Any]:
        """Connections that are open, with an association or without."""
        with self._open_lock:
            return list(self._open)

    def association_over(self, association: AcceptedAssociation) -> None:
        """Called by the connection's thread as the last thing it does."""
        try:
            self._on_over(association)
        finally:
            with self._open_lock:
                self._open.pop(association, None)
                self.slots.free(association.place)

    def note(self, event: str, code: str, ip: str, **fields: str) -> None:
        """Log and report that a peer was turned away, so that a flood of them does not fill the disk."""
        now = time.monotonic()
        last, hidden = self._noted.get((code, ip), (0.0, 0))
        if now - last < _LOG_EVERY_S:
            self._noted[code, ip] = (last, hidden + 1)
            return
        if len(self._noted) > 1000:
            self._noted.clear()
        self._noted[code, ip] = (now, 0)
        if event == "connection_failed":  # a load balancer looks in every second like that
            log.info(event, code=code, peer=ip, not_logged_before=hidden, **fields)
            return
        log.warning(event, code=code, peer=ip, not_logged_before=hidden, **fields)
        self._on_refusal(ip, code)

    # -- the accepting thread ----------------------------------------------------------------------------------------

    def _accept_all(self) -> None:
        waiting = select.poll()
        waiting.register(self.socket, select.POLLIN)
        while not self._stopping.is_set():
            self.slots.show_life()
            ready = waiting.poll(_POLL_S * 1000)
            if not ready:
                self.service_actions()
                continue
            if not ready[0][1] & select.POLLIN:  # a parent has stopped listening for all of us
                self._stopping.wait(_POLL_S)
                continue
            if self.slots.is_busier_than_others():
                self._stopping.wait(_YIELD_S)
            try:
                self._accept()
            except Exception as error:
                self.note("connection_failed", "CONNECTION_FAILED", "", kind=type(error).__name__)

    def _accept(self) -> None:
        try:
            tcp, remote = self.socket.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # another process was quicker, or the peer has gone already
        except OSError as error:
            if error.errno != errno.EINVAL:  # EINVAL: a parent has stopped listening
                self.note("connection_failed", "NO_DESCRIPTORS", "", kind=errno.errorcode.get(error.errno or 0, ""))
            self._stopping.wait(_POLL_S)
            return
        place = self._place_for(remote[0])
        if isinstance(place, str):
            tcp.close()
            self.note("connection_refused", place, remote[0])
            return
        try:
            association = AcceptedAssociation(self, tcp, remote, place)
            with self._open_lock:
                self._open[association] = None
            association.start()
        except BaseException:
            self.slots.free(place)
            tcp.close()
            raise

    def _place_for(self, ip: str) -> int | str:
        """A place in the table, or why there is none."""
        if not self._admits(ip):
            return "ADDRESS_NOT_ALLOWED"
        place = self.slots.take(ip, self._maximum_per_address)
        deadline = time.monotonic() + _MAKE_ROOM_S
        while place == TOO_MANY_CONNECTIONS and time.monotonic() < deadline and self._make_room():
            time.sleep(0.002)
            place = self.slots.take(ip, self._maximum_per_address)
        return place

    def _make_room(self) -> bool:
        """End the oldest connection that has asked for nothing; a good peer asks within milliseconds."""
        for association in self.active_associations:
            if not association.is_requested:
                if not association.is_ending:
                    association.stop()
                    self.note("connection_refused", "MADE_ROOM_FOR_ANOTHER", association.requestor.address)
                return True
        return False
