"""DICOM messages out of the fragments that a peer sends, within limits.

While an association serves a message it reads nothing, so a peer that sends ahead fills its own buffers and not our
memory; a single message may be large, and all large ones of a process together have a budget.
"""

import struct
import threading
import time
from io import BytesIO
from typing import Any, Final

from pynetdicom import evt
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import DIMSEMessage
from pynetdicom.dimse_primitives import C_CANCEL, C_STORE
from pynetdicom.pdu_primitives import P_DATA

from dicom_node.network.accepted_socket import ProtocolViolation
from dicom_node.network.bounded_sockets import SocketLimits
from dicom_node.network.store_commands import read_store_request, store_response

_COMMAND_BYTES: Final = 1 << 16
"""A command set is below 1 kB."""
_LARGE_MESSAGE_BYTES: Final = 8 << 20
_WAITING_MESSAGES: Final = 2
"""More complete requests than this in one PDU means a peer that does not keep to one at a time."""


class MemoryBudget:
    """What all large messages of a process may take together.

    Args:
        total_bytes: the budget.
    """

    def __init__(self, total_bytes: int) -> None:
        self._free = total_bytes
        self._lock = threading.Lock()

    def reserve(self, size_bytes: int) -> bool:
        """Take from the budget; False if there is not enough left. A negative size gives back."""
        with self._lock:
            if size_bytes > self._free:
                return False
            self._free -= size_bytes
            return True


class Messages(DIMSEServiceProvider):  # type: ignore[misc]  # pynetdicom publishes no types here
    """Puts messages together from fragments and queues complete ones for the association's thread.

    EVT_DIMSE_RECV is triggered for every message but an ordinary C-STORE request.

    Args:
        association: Whose messages.
        limits: How large and how slow one may be.
        budget: Shared by the associations of the process.
    """

    def __init__(self, association: Any, limits: SocketLimits, budget: MemoryBudget) -> None:
        super().__init__(association)
        self._limits = limits
        self._budget = budget
        self._reserved = 0
        self._begin()

    @property
    def is_within_message(self) -> bool:
        """Whether a message has begun and not ended."""
        return self._context_id is not None

    def receive(self, fragments: memoryview) -> None:
        """Take in the presentation data values of one P-DATA PDU (PS3.8 section 9.3.5 and annex E).

        Raises:
            ProtocolViolation: They are no such values, or not the next ones of a message, or beyond a limit.
        """
        offset, end = 0, len(fragments)
        if not end:
            raise ProtocolViolation("EMPTY_PDU")
        while offset < end:
            if end - offset < 6:
                raise ProtocolViolation("MALFORMED_PDV")
            length, context_id, control = struct.unpack_from(">LBB", fragments, offset)
            stop = offset + 4 + length
            if length < 2 or stop > end:
                raise ProtocolViolation("MALFORMED_PDV")
            self._take(context_id, control, fragments[offset + 6 : stop])
            offset = stop

    def get_msg(self, block: bool = False) -> Any:
        """The next message, or (None, None); with `block`, wait for it as long as the DIMSE timeout says."""
        timeout_s = self.dimse_timeout
        deadline = time.monotonic() + (timeout_s if timeout_s is not None else float("inf"))
        while block and self.msg_queue.empty() and not self.dul.is_over and time.monotonic() < deadline:
            self.dul.step()
        return super().get_msg(block=False)

    def send_msg(self, primitive: Any, context_id: int) -> None:
        """Send a message; for the usual answer to a C-STORE request without EVT_DIMSE_SENT."""
        if isinstance(primitive, C_STORE) and primitive.MessageIDBeingRespondedTo is not None:
            encoded = store_response(primitive, context_id, self.maximum_pdu_size)
            if encoded is not None:
                self.dul.send_at_once(encoded)
                return
        super().send_msg(primitive, context_id)

    def release_memory(self) -> None:
        """Forget a message that has not ended."""
        self._begin()

    def _begin(self) -> None:
        self._budget.reserve(-self._reserved)
        self._reserved = 0
        self._bytes = 0
        self._started = 0.0
        self._context_id: int | None = None
        self._command = bytearray()
        self._dataset = BytesIO()
        self.message: Any = None
        self._store: C_STORE | None = None

    def _take(self, context_id: int, control: int, data: memoryview) -> None:
        if self._context_id is None:
            self._start(context_id)
        elif context_id != self._context_id:
            raise ProtocolViolation("MIXED_CONTEXTS")
        self._count(len(data))
        is_command, is_last = bool(control & 1), bool(control & 2)
        if is_command == (self.message is not None or self._store is not None):
            raise ProtocolViolation("UNEXPECTED_FRAGMENT")
        if not is_command:
            self._dataset.write(data)
            if is_last:
                self._complete()
            return
        self._command += data
        if len(self._command) > _COMMAND_BYTES:
            raise ProtocolViolation("COMMAND_TOO_LARGE")
        if is_last:
            self._decode_command(context_id)

    def _start(self, context_id: int) -> None:
        if context_id not in self.assoc._accepted_cx:
            raise ProtocolViolation("UNKNOWN_CONTEXT")
        self._context_id = context_id
        self._started = time.monotonic()

    def _count(self, size_bytes: int) -> None:
        self._bytes += size_bytes
        if self._bytes > self._limits.maximum_message_bytes:
            raise ProtocolViolation("MESSAGE_TOO_LARGE")
        if time.monotonic() - self._started > self._limits.message_deadline_s:
            raise ProtocolViolation("MESSAGE_TOO_SLOW")
        beyond = self._bytes - _LARGE_MESSAGE_BYTES - self._reserved
        if beyond > 0:
            if not self._budget.reserve(beyond):
                raise ProtocolViolation("TOO_MANY_LARGE_MESSAGES")
            self._reserved += beyond

    def _decode_command(self, context_id: int) -> None:
        self._store = read_store_request(self._command)
        if self._store is not None:
            return
        primitive = P_DATA()
        primitive.presentation_data_value_list.append((context_id, b"\x03" + self._command))
        message = DIMSEMessage()
        try:
            is_complete = message.decode_msg(primitive)
        except Exception as error:  # a command set of random bytes ends in any error there is
            raise ProtocolViolation("MALFORMED_COMMAND") from error
        self.message = message
        if is_complete:
            self._complete()

    def _complete(self) -> None:
        primitive = self._store
        if primitive is not None:
            primitive.DataSet = self._dataset
            primitive._context_id = self._context_id
        else:
            primitive = self._decode_message()
        context = self.assoc._accepted_cx[self._context_id]
        is_store = isinstance(primitive, C_STORE) and primitive.MessageIDBeingRespondedTo is None
        if is_store and primitive.AffectedSOPClassUID != context.abstract_syntax:
            raise ProtocolViolation("CLASS_NOT_OF_CONTEXT")
        if isinstance(primitive, C_CANCEL):
            self.cancel_req = {primitive.MessageIDBeingRespondedTo: primitive}  # one request at a time, one to cancel
        else:
            self.msg_queue.put((self._context_id, primitive))
            if self.msg_queue.qsize() > _WAITING_MESSAGES:
                raise ProtocolViolation("TOO_MANY_REQUESTS_AT_ONCE")
        self._begin()

    def _decode_message(self) -> Any:
        self.message.data_set = self._dataset
        evt.trigger(self.assoc, evt.EVT_DIMSE_RECV, {"message": self.message})
        try:
            return self.message.message_to_primitive()
        except Exception as error:  # values that the standard does not allow
            raise ProtocolViolation("MALFORMED_COMMAND") from error
