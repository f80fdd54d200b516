"""The receiver with TLS: who has no certificate of ours gets nowhere, and nobody can hold up the others."""

import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from dicom_node.network.addresses import AeAddress
from dicom_node.network.receiver import Receiver, ReceiverSettings
from dicom_node.network.tls import TlsSettings
from dicom_node.reception.spool import Spool
from tests.certificates import Identity, certificates
from tests.peers import eventually, storescu
from tests.small_ct import SERIES, dataset_bytes, encoded, small_ct, write_series
from tests.torture import wire
from tests.torture.wire import Association, Context, NotAssociated

CONTEXTS = (Context(1, wire.CT), Context(3, wire.VERIFICATION))


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", minimum_free_mb=1)


@pytest.fixture
def receiver(spool: Spool) -> Iterator[Receiver]:
    own = certificates().server
    tls = TlsSettings(own.certificate, own.key, certificates().authority)
    receiver = Receiver(spool, ReceiverSettings("PERFNODE", port=0, tls=tls, association_timeout_s=1.0))
    receiver.start()
    yield receiver
    receiver.stop(grace_s=0.2)


def address(receiver: Receiver) -> AeAddress:
    return AeAddress("PERFNODE", "127.0.0.1", receiver.port)


def client(identity: Identity | None = None, authority: Path | None = None) -> ssl.SSLContext:
    own = identity or certificates().client
    return TlsSettings(own.certificate, own.key, authority or certificates().authority).client_context()


def test_a_known_peer_stores_large_and_small_and_releases(receiver: Receiver, spool: Spool) -> None:
    with Association.open(address(receiver), CONTEXTS, tls=client()) as association:
        for number, side in enumerate((4, 700, 64), start=1):
            instance = small_ct(number, side=side)
            assert association.store(f"{SERIES}.{number}", encoded(instance)) == 0x0000
        assert association.echo(3) == 0x0000
        assert association.release()
    (series,) = spool.series()
    assert len(series.instances) == 3
    assert series.is_complete


@pytest.mark.peers
def test_storescu_with_a_client_certificate_is_served(receiver: Receiver, spool: Spool, tmp_path: Path) -> None:
    files = write_series(tmp_path / "ct", 5, side=300)
    known, authority = certificates().client, certificates().authority
    sent = storescu(address(receiver), files, "+tls", str(known.key), str(known.certificate), "+cf", str(authority))
    assert sent.returncode == 0, sent.stderr
    assert sorted(map(dataset_bytes, spool.series()[0].instances)) == sorted(map(dataset_bytes, files))


@pytest.mark.parametrize("who", ["stranger", "expired", "cleartext", "silent"])
def test_who_does_not_get_through_the_handshake_is_closed_and_named(receiver: Receiver, who: str) -> None:
    with capture_logs() as events:
        if who in ("cleartext", "silent"):
            with socket.create_connection(address(receiver).endpoint, 5.0) as tcp:
                tcp.sendall(wire.association_request() if who == "cleartext" else b"")
                assert wire.ABORT not in ended(tcp)
        else:
            identity: Identity = getattr(certificates(), who)
            with pytest.raises(NotAssociated):
                Association.open(address(receiver), CONTEXTS, tls=client(identity))
        assert eventually(lambda: "TLS_HANDSHAKE_FAILED" in [event.get("code") for event in events])


def ended(tcp: socket.socket) -> bytes:
    received = b""
    try:
        while piece := tcp.recv(4096):
            received += piece
    except ConnectionResetError:
        pass
    return received


def test_silent_and_dripping_clients_do_not_hold_up_a_good_one(receiver: Receiver) -> None:
    held = [socket.create_connection(address(receiver).endpoint, 5.0) for _ in range(10)]
    try:
        for number, tcp in enumerate(held):
            tcp.sendall(b"\x16\x03\x01\x02\x00"[: number % 6])
        started = time.monotonic()
        with Association.open(address(receiver), CONTEXTS, tls=client()) as association:
            assert association.store(SERIES + ".1", encoded(small_ct())) == 0x0000
            assert association.release()
        assert time.monotonic() - started < 0.8
        assert all(ended(tcp) is not None for tcp in held)
    finally:
        for tcp in held:
            tcp.close()
    assert eventually(lambda: receiver.connections == 0)


def test_a_peer_that_ends_tls_in_the_middle_of_an_instance_leaves_nothing(receiver: Receiver, spool: Spool) -> None:
    whole = wire.store_request(1, SERIES + ".1", encoded(small_ct(side=200)))
    for ending in ("close", "reset"):
        with Association.open(address(receiver), CONTEXTS, tls=client()) as association:
            association.tcp.sendall(whole[: len(whole) // 2])
            if ending == "reset":
                association.reset()
    assert eventually(lambda: receiver.associations == 0)
    assert spool.series() == []
