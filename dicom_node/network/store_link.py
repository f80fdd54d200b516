"""C-STORE requests and their answers on the socket of an association, past pynetdicom's threads.

pynetdicom opens and ends the association. In between its two threads would look for work in turns of a millisecond,
and each slice would wait for several such turns; here the caller's own thread writes a request and waits for its
answer. Whatever else arrives, a release, an abort or a foreign answer, is no answer, and the association is aborted.
"""

import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any, BinaryIO, Final

from pynetdicom import dsutils

from dicom_node.network.bounded_sockets import P_DATA, BoundedAssociationSocket
from dicom_node.network.store_commands import StoreAnswer, read_store_response, store_request

_HEADER: Final = struct.Struct(">BxLLBB")
"""Of a P-DATA-TF PDU with one presentation data value (PS3.8 tables 9-22 and 9-23, annex E.2)."""
_IS_COMMAND: Final = 0x01
_IS_LAST: Final = 0x02
_LARGEST_PDU_BYTES: Final = 1 << 20
"""Also for a peer that sets no limit."""
_LARGEST_ANSWER_BYTES: Final = 1 << 16
_LAST_MESSAGE_ID: Final = 0xFFFF


class NoAnswer(Exception):
    """A request was sent, or was to be, and what became of it is not known."""


class StoreLink:
    """The sending end of an established association that is lent to its caller.

    Args:
        tcp: the association's socket, lent.
        maximum_pdu_bytes: what the peer takes; 0 if it sets no limit.
        answer_timeout_s: from the last byte of a request to its answer.
    """

    def __init__(self, tcp: BoundedAssociationSocket, maximum_pdu_bytes: int, answer_timeout_s: float) -> None:
        self._tcp = tcp
        pdu_bytes = min(maximum_pdu_bytes or _LARGEST_PDU_BYTES, _LARGEST_PDU_BYTES)
        self._fragment_bytes = max(2, (pdu_bytes - 6) & ~1)  # fragments have an even length, PS3.8 annex D.1
        self._buffer = bytearray(_HEADER.size + self._fragment_bytes)
        self._answer_timeout_s = answer_timeout_s
        self._last_id = 0

    def store(self, context_id: int, sop_class_uid: str, sop_instance_uid: str, content: BinaryIO, length: int) -> int:
        """Send one object and return the status that the peer gives it.

        Args:
            context_id: an accepted presentation context.
            sop_class_uid: of the object.
            sop_instance_uid: of the object.
            content: the encoded dataset, from here to its end.
            length: of the dataset, in bytes.

        Raises:
            NoAnswer: the connection broke, the peer ended it or answered something else, or its time ran out.
            EOFError: there is less content than was said.
        """
        self._last_id = self._last_id % _LAST_MESSAGE_ID + 1
        request = store_request(self._last_id, sop_class_uid, sop_instance_uid)
        try:
            self._send(context_id, _IS_COMMAND, BytesIO(request), len(request))
            self._send(context_id, 0, content, length)
            answer = self._answer()
        except TimeoutError as fault:
            raise NoAnswer("no answer came in time") from fault
        except OSError as fault:
            raise NoAnswer("the connection broke") from fault
        if answer.responds_to != self._last_id:
            raise NoAnswer("the peer answered another request")
        return answer.status

    def _send(self, context_id: int, kind: int, content: BinaryIO, length: int) -> None:
        left = length
        while left:
            size = min(left, self._fragment_bytes)
            left -= size
            pdu = memoryview(self._buffer)[: _HEADER.size + size]
            _fill(pdu[_HEADER.size :], content)
            _HEADER.pack_into(pdu, 0, P_DATA, size + 6, size + 2, context_id, kind | (0 if left else _IS_LAST))
            self._tcp.send_whole(pdu)

    def _answer(self) -> StoreAnswer:
        command, is_last = bytearray(), False
        deadline = time.monotonic() + self._answer_timeout_s  # for all of it, in however many pieces it comes
        while not is_last:
            kind, pdu = self._tcp.receive_pdu(deadline - time.monotonic())
            if kind != P_DATA:
                raise NoAnswer("the peer ended the association")
            is_last = _take(command, pdu)
        self._tcp.message_bytes = 0
        return read_store_response(command) or _unusual(command)


def _fill(part: memoryview, content: BinaryIO) -> None:
    """Read from a file or a buffer until the part is full."""
    filled = 0
    while filled < len(part):
        piece = content.read(len(part) - filled)
        if not piece:
            raise EOFError("the object is shorter than its file was")
        part[filled : filled + len(piece)] = piece
        filled += len(piece)


def _take(command: bytearray, pdu: bytes | bytearray) -> bool:
    """Add the fragments of a PDU to a command; whether the last one was among them."""
    at, is_last = 0, False
    while at < len(pdu):
        if is_last or len(pdu) - at < 6:
            raise NoAnswer("the peer sent something that is no answer")
        length, _, control = struct.unpack_from(">LBB", pdu, at)
        fragment = pdu[at + 6 : at + 4 + length]
        if len(fragment) != length - 2 or not control & _IS_COMMAND:
            raise NoAnswer("the peer sent something that is no answer")
        command += fragment
        is_last = bool(control & _IS_LAST)
        at += 4 + length
    if len(command) > _LARGEST_ANSWER_BYTES:
        raise NoAnswer("the peer's answer does not end")
    return is_last


def _unusual(command: bytes | bytearray) -> StoreAnswer:
    """An answer with elements that are allowed and rare."""
    try:
        dataset = dsutils.decode(BytesIO(command), True, True)
        is_answer = dataset.CommandField == 0x8001
        answer = StoreAnswer(int(dataset.MessageIDBeingRespondedTo), int(dataset.Status))
    except Exception as fault:  # whatever a decoder stumbles over
        raise NoAnswer("the peer's answer cannot be read") from fault
    if not is_answer:
        raise NoAnswer("the peer sent something that is no answer")
    return answer


@contextmanager
def store_link(association: Any, answer_timeout_s: float) -> Iterator[StoreLink]:
    """Borrow the socket of an association; afterwards pynetdicom goes on with it, for a release or an abort."""
    tcp, network_timeout_s = association.dul.socket, association.network_timeout
    association.network_timeout = None  # its threads see nothing of what comes and goes; every PDU has its own deadline
    tcp.is_lent = True
    try:
        yield StoreLink(tcp, association.acceptor.maximum_length, answer_timeout_s)
    finally:
        tcp.is_lent = False
        association.dul._idle_timer.restart()
        association.network_timeout = network_timeout_s
