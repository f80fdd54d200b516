"""The socket of an accepted connection gives up instead of waiting for ever."""

import queue
import socket
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from dicom_node.network.accepted_socket import AcceptedSocket, ConnectionEnded, ProtocolViolation
from dicom_node.network.bounded_sockets import SocketLimits

LIMITS = SocketLimits(pdu_deadline_s=0.3)


@pytest.fixture
def pair() -> Iterator[tuple[AcceptedSocket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        peer = socket.create_connection(listening.getsockname())
        tcp, _ = listening.accept()
    association = SimpleNamespace(dul=SimpleNamespace(event_queue=queue.Queue()))
    accepted = AcceptedSocket(association, tcp, LIMITS)
    accepted.event_queue.get_nowait()  # that there is a connection
    yield accepted, peer
    accepted.dispose()
    peer.close()


def test_a_peer_that_takes_nothing_is_given_up(pair: tuple[AcceptedSocket, socket.socket]) -> None:
    accepted, _ = pair
    started = time.monotonic()
    accepted.send(bytes(64 << 20))
    assert 0.2 < time.monotonic() - started < 5.0
    assert accepted.event_queue.get_nowait() == "Evt17"


def test_a_whole_pdu_is_read_and_half_a_one_is_not_waited_for(pair: tuple[AcceptedSocket, socket.socket]) -> None:
    accepted, peer = pair
    assert accepted.read_pdu() is None
    peer.sendall(b"\x05\0\0\0\0\x04abcd")
    assert accepted.wait_readable(5.0)
    assert accepted.read_pdu() == (5, b"\x05\0\0\0\0\x04abcd")
    peer.sendall(b"\x05\0\0")
    assert accepted.wait_readable(5.0)
    with pytest.raises(ProtocolViolation, match="PDU_TOO_SLOW"):
        accepted.read_pdu()
    peer.close()
    assert accepted.wait_readable(5.0)
    with pytest.raises(ConnectionEnded):
        accepted.read_pdu()


def test_waiting_ends_when_another_thread_says_so(pair: tuple[AcceptedSocket, socket.socket]) -> None:
    accepted, _ = pair
    waking = threading.Timer(0.1, accepted.wake)
    waking.start()
    started = time.monotonic()
    assert not accepted.wait_readable(10.0)
    assert time.monotonic() - started < 5.0
    waking.join()
    accepted.dispose()
    accepted.wake()  # after the end it does nothing, and never touches a descriptor that is another's now
