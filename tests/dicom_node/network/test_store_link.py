"""Requests on the socket of an association: what peers answer, and what is no answer at all."""

import socket
import struct
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import build_context, evt
from pynetdicom.sop_class import CTImageStorage
from pynetdicom.transport import AssociationSocket

from dicom_node.errors import DeliveryInterrupted, StoreRefused
from dicom_node.network.addresses import AeAddress
from dicom_node.network.bounded_sockets import BoundedAssociationSocket, SocketLimits
from dicom_node.network.delivery import Destination, send
from dicom_node.network.requestor import association
from dicom_node.network.store_commands import store_request
from dicom_node.network.store_link import NoAnswer, StoreLink, store_link
from tests.peers import eventually, scripted_pacs, storescp
from tests.small_ct import dataset_bytes, small_ct, write_series

RELEASE_REQUEST = b"\x05\0\0\0\0\x04\0\0\0\0"
"""PS3.8 table 9-24."""


def to(address: AeAddress, **timeouts: float) -> Destination:
    return Destination("pacs", address, "PERFNODE", **timeouts)


def fragment(context_id: int, control: int, content: bytes) -> bytes:
    return struct.pack(">LBB", len(content) + 2, context_id, control) + content


def data_pdu(*fragments: bytes) -> bytes:
    content = b"".join(fragments)
    return struct.pack(">BxL", 0x04, len(content)) + content


def answer(message_id: int, status: int, kind: int = 0x8001) -> bytes:
    """A response, by default to C-STORE, as a peer of few words writes it."""
    elements = b"".join(
        struct.pack("<HHLH", 0, element, 2, value)
        for element, value in ((0x0100, kind), (0x0120, message_id), (0x0800, 0x0101), (0x0900, status))
    )
    return struct.pack("<HHLL", 0, 0, 4, len(elements)) + elements


def instead(pdu: bytes) -> Callable[[Any], int]:
    """Answer with these bytes; what comes after them is too late."""

    def on_store(event: Any) -> int:
        event.assoc.dul.send_at_once(pdu)
        time.sleep(0.2)
        return 0x0000

    return on_store


@pytest.mark.peers
@pytest.mark.parametrize("pdu_bytes", [4096, 131072])
def test_objects_go_in_pieces_as_large_as_the_peer_takes(tmp_path: Path, pdu_bytes: int) -> None:
    files = write_series(tmp_path / "ct", 3, side=129)  # an odd number of pixels
    with storescp(tmp_path / "pacs", "-pdu", str(pdu_bytes)) as address:
        send(files, to(address))
    stored = [path for path in (tmp_path / "pacs").iterdir() if path.is_file()]
    assert sorted(map(dataset_bytes, stored)) == sorted(map(dataset_bytes, files))


def test_an_answer_may_come_in_pieces(tmp_path: Path) -> None:
    said = answer(1, 0xB007)
    pieces = data_pdu(fragment(1, 1, said[:10]), fragment(1, 1, said[10:30])) + data_pdu(fragment(1, 3, said[30:]))
    with scripted_pacs(instead(pieces), [CTImageStorage], [ExplicitVRLittleEndian]) as address:
        report = send(write_series(tmp_path / "ct", 1), to(address))
    assert [instance.status for instance in report.instances] == [0xB007]


def test_an_answer_with_rare_elements_is_understood(tmp_path: Path) -> None:
    def on_store(event: Any) -> Dataset:
        said = Dataset()
        said.Status, said.ErrorComment, said.OffendingElement = 0xA900, "no", [0x00100010]
        return said

    with (
        scripted_pacs(on_store, [CTImageStorage], [ExplicitVRLittleEndian]) as address,
        pytest.raises(StoreRefused) as caught,
    ):
        send(write_series(tmp_path / "ct", 1), to(address))
    assert caught.value.status == 0xA900


@pytest.mark.parametrize(
    "pdu",
    [
        pytest.param(data_pdu(fragment(1, 3, answer(2, 0))), id="answer to another request"),
        pytest.param(data_pdu(fragment(1, 3, answer(1, 0, 0x8030))), id="answer to an echo"),
        pytest.param(data_pdu(fragment(1, 2, answer(1, 0))), id="data"),
        pytest.param(data_pdu(fragment(1, 3, answer(1, 0)[:-4])), id="cut answer"),
        pytest.param(data_pdu(fragment(1, 3, store_request(1, CTImageStorage, "1.2"))), id="a request"),
        pytest.param(data_pdu(fragment(1, 3, b"nonsense")), id="nonsense"),
        pytest.param(data_pdu(fragment(1, 3, answer(1, 0)), fragment(1, 3, answer(1, 0))), id="two answers at once"),
        pytest.param(data_pdu(struct.pack(">LBB", 900, 1, 3)), id="longer than its PDU"),
        pytest.param(data_pdu(b"\0\0\0"), id="no fragment"),
        pytest.param(struct.pack(">BxL", 0x04, 1 << 30), id="huge"),
        pytest.param(b"\x09\0\0\0\0\0", id="unknown PDU"),
        pytest.param(RELEASE_REQUEST, id="release"),
    ],
)
def test_what_is_no_answer_leaves_it_unknown_what_became_of_the_object(tmp_path: Path, pdu: bytes) -> None:
    files = write_series(tmp_path / "ct", 2)
    with (
        scripted_pacs(instead(pdu), [CTImageStorage], [ExplicitVRLittleEndian]) as address,
        pytest.raises(DeliveryInterrupted) as caught,
    ):
        send(files, to(address, response_timeout_s=2.0))
    assert caught.value.instances == ()
    assert not caught.value.permanent


def test_an_answer_that_does_not_end_is_given_up(tmp_path: Path) -> None:
    endless = data_pdu(fragment(1, 1, bytes(40_000)))
    with (
        scripted_pacs(instead(endless * 3), [CTImageStorage], [ExplicitVRLittleEndian]) as address,
        pytest.raises(DeliveryInterrupted, match="does not end"),
    ):
        send(write_series(tmp_path / "ct", 1), to(address))


def test_an_answer_in_pieces_without_end_is_given_up_in_time(tmp_path: Path) -> None:
    def drip(event: Any) -> int:
        for _ in range(40):
            event.assoc.dul.send_at_once(data_pdu(fragment(1, 1, b"")))
            time.sleep(0.1)
        return 0x0000

    with (
        scripted_pacs(drip, [CTImageStorage], [ExplicitVRLittleEndian]) as address,
        pytest.raises(DeliveryInterrupted, match="in time"),
    ):
        send(write_series(tmp_path / "ct", 1), to(address, response_timeout_s=0.5))


def test_a_peer_that_stops_reading_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as tcp:
        bounded = AssociationSocket.__new__(AssociationSocket)
        bounded.socket, bounded._is_connected = tcp, True
        BoundedAssociationSocket.bind_limits(bounded, SocketLimits(pdu_deadline_s=0.3))
        content = bytes(64 << 20)
        with pytest.raises(NoAnswer, match="in time"):
            StoreLink(bounded, 0, 30.0).store(1, CTImageStorage, "1.2.3", BytesIO(content), len(content))


def test_a_file_that_has_become_shorter_is_no_fault_of_the_peer(tmp_path: Path) -> None:
    got: list[str] = []

    def keep(event: Any) -> int:
        got.append(event.request.AffectedSOPInstanceUID)
        return 0x0000

    with scripted_pacs(keep, [CTImageStorage], [ExplicitVRLittleEndian]) as address:
        with (
            pytest.raises(EOFError),
            association(to(address), [build_context(CTImageStorage, ExplicitVRLittleEndian)]) as opened,
            store_link(opened, 2.0) as link,
        ):
            link.store(1, CTImageStorage, "1.2.3", BytesIO(b"12345678"), 10)
        assert send(write_series(tmp_path / "ct", 1), to(address)).instances
    assert got == [small_ct(1).SOPInstanceUID]


def test_an_association_may_last_longer_than_the_quiet_that_ends_one(tmp_path: Path) -> None:
    files = write_series(tmp_path / "ct", 4)

    def slow(event: Any) -> int:
        time.sleep(0.4)
        return 0x0000

    with scripted_pacs(slow, [CTImageStorage], [ExplicitVRLittleEndian]) as address:
        with association(to(address), [build_context(CTImageStorage, ExplicitVRLittleEndian)]) as opened:
            opened.network_timeout = 0.5
            with store_link(opened, 2.0) as link:
                for path in files:
                    content = dataset_bytes(path)
                    uid = small_ct(files.index(path) + 1).SOPInstanceUID
                    assert link.store(1, CTImageStorage, uid, BytesIO(content), len(content)) == 0x0000
            assert opened.network_timeout == 0.5
            assert opened.is_established
        assert opened.is_released


def test_the_release_after_the_last_object_reaches_the_peer(tmp_path: Path) -> None:
    ended: list[str] = []
    handlers = [(evt.EVT_RELEASED, lambda event: ended.append("released"))]
    with scripted_pacs(lambda event: 0x0000, [CTImageStorage], [ExplicitVRLittleEndian], handlers) as address:
        send(write_series(tmp_path / "ct", 2), to(address))
        assert eventually(lambda: ended == ["released"])
