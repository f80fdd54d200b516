"""The DICOM upper layer of an association that a peer opened, in the association's own thread.

pynetdicom gives each association two threads that look for work every millisecond; half of the time of a transfer goes
into that. Here one thread waits for the socket, reads a PDU, puts messages together and serves them. Protocol machine,
PDU classes and services are pynetdicom's; the common case, P-DATA in the established state, goes a short way past them.
"""

import threading
import time
from typing import Any, Final

import structlog
from pynetdicom.dul import DULServiceProvider

from dicom_node.network.accepted_socket import AcceptedSocket, ConnectionEnded, ProtocolViolation
from dicom_node.network.bounded_sockets import KNOWN_PDUS
from dicom_node.network.bounded_sockets import P_DATA as P_DATA_PDU

log = structlog.get_logger()

_TURN_S: Final = 0.5
"""Longest wait for a peer before the association looks at its clocks."""
_ABORT: Final = b"\x07\0\0\0\0\x04\0\0\x02\0"
"""A-ABORT by the service provider, reason not specified (PS3.8 table 9-26)."""
_EXPECTED: Final = {"Sta2": (0x01, 0x07), "Sta6": (P_DATA_PDU, 0x05, 0x07)}
"""PDUs that may come before and during an association: request, data, release, abort (PS3.8 table 9-10)."""


class UpperLayer(DULServiceProvider):  # type: ignore[misc]  # pynetdicom publishes no types here
    """The protocol machine, driven by whoever calls `step`; it has no thread."""

    socket: AcceptedSocket

    def __init__(self, association: Any) -> None:
        super().__init__(association)
        self._turn = threading.RLock()
        self.last_activity = time.monotonic()

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be read: released, aborted, rejected or disconnected."""
        return bool(self._kill_thread) or self.state_machine.current_state == "Sta13"

    def start(self) -> None:
        """Nothing to start."""

    def is_alive(self) -> bool:
        """False: there is no thread to wait for."""
        return False

    def idle_timer_expired(self) -> bool:
        """Whether the peer sent nothing for too long; on a clock that nobody sets."""
        timeout_s = self.network_timeout
        return timeout_s is not None and time.monotonic() - self.last_activity > timeout_s

    def step(self, timeout_s: float = _TURN_S) -> None:
        """Do what waits to be done; if that is nothing, wait for one PDU and take it in."""
        with self._turn:
            if self._act() or self.is_over:
                return
            if not self._read_pdu_data():
                self.socket.wait_readable(timeout_s)
            self._act()

    def receive_pdu(self, wait: bool = False, timeout: float | None = None) -> Any:
        """The next primitive for the service user, or None."""
        deadline = time.monotonic() + (timeout if timeout is not None else float("inf"))
        while wait and self.to_user_queue.empty() and not self.is_over and time.monotonic() < deadline:
            self.step(min(_TURN_S, max(0.0, deadline - time.monotonic())))
        return super().receive_pdu(wait=False)

    def send_pdu(self, primitive: Any) -> None:
        """Send at once, or, if another thread waits for the peer just now, let that one send."""
        super().send_pdu(primitive)
        if self._turn.acquire(blocking=False):
            try:
                self._act()
            finally:
                self._turn.release()
        else:
            self.socket.wake()

    def send_at_once(self, pdu: bytes) -> None:
        """Send an encoded P-DATA PDU after all that waits to be sent."""
        with self._turn:
            self._act()
            if self.state_machine.current_state == "Sta6":
                self.socket.send(pdu)

    def abort_at_once(self) -> None:
        """Send an A-ABORT past the protocol machine, whose state cannot be trusted any more."""
        self.socket.send(_ABORT)
        self.kill_dul()

    def close(self) -> None:
        """Send what is left to send, then end the connection."""
        with self._turn:
            self._act()
            self.socket.finish()
            self.socket.dispose()

    def _act(self) -> bool:
        acted = False
        while not self.is_over:
            if self.event_queue.empty() and not self._process_recv_primitive():
                break
            self.state_machine.do_action(self.event_queue.get_nowait())
            acted = True
        return acted

    def _read_pdu_data(self) -> bool:
        """Read what is there, until it makes a message or something else to act on; False if nothing is there."""
        has_read = False
        while not self._has_work():
            try:
                received = self.socket.read_pdu()
                if received is None:
                    return has_read
                has_read = True
                self.last_activity = time.monotonic()
                self._take(*received)
            except ConnectionEnded:
                self.event_queue.put("Evt17")
            except ProtocolViolation as violation:
                self._reject(violation.code)
            except Exception as error:  # whatever a decoder of pynetdicom or pydicom stumbles over
                self._reject("MALFORMED_PDU", kind=type(error).__name__)
        return True

    def _has_work(self) -> bool:
        """Whether there is something to do before the next PDU is read."""
        waiting = (self.event_queue, self.assoc.dimse.msg_queue, self.to_provider_queue)
        return bool(self.assoc._kill) or any(queue.queue for queue in waiting)

    def _take(self, kind: int, pdu: memoryview) -> None:
        if kind not in _EXPECTED.get(self.state_machine.current_state, KNOWN_PDUS):
            raise ProtocolViolation("UNEXPECTED_PDU")
        if kind == P_DATA_PDU and self.state_machine.current_state == "Sta6":
            self.assoc.dimse.receive(pdu[6:])
            return
        decoded, event = self._decode_pdu(bytearray(pdu))
        self._recv_pdu.put(decoded)
        self.event_queue.put(event)

    def _reject(self, code: str, **fields: str) -> None:
        log.warning("association_aborted", code=code, peer=self.assoc.requestor.address, **fields)
        self.event_queue.put("Evt19")
