"""Delivery to real archives and to peers that refuse, abort, hang or are absent."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGLSLossless
from pynetdicom.association import Association
from pynetdicom.sop_class import CTImageStorage, ParametricMapStorage, RTStructureSetStorage

from dicom_node.errors import DeliveryInterrupted, PeerUnreachable, StoreRefused
from dicom_node.network.access import AccessPolicy, Sender, parse_network
from dicom_node.network.addresses import AeAddress
from dicom_node.network.delivery import Destination, InstanceDelivery, echo, send
from dicom_node.network.receiver import Receiver, ReceiverSettings
from dicom_node.network.storage_folder import StorageFolder
from dicom_node.network.tls import TlsSettings
from dicom_node.reception.spool import Spool
from tests.certificates import Identity, certificates
from tests.peers import eventually, free_port, orthanc, scripted_pacs, storescp
from tests.small_ct import dataset_bytes, small_ct, write_file, write_series


def to(address: AeAddress, **timeouts: float) -> Destination:
    return Destination("pacs", address, "PERFNODE", **timeouts)


def object_of(sop_class: str, number: int) -> Dataset:
    dataset = small_ct(number)
    dataset.SOPClassUID = sop_class
    return dataset


@pytest.mark.peers
def test_storescp_gets_every_object_unchanged_and_reports_each(tmp_path: Path) -> None:
    files = write_series(tmp_path / "ct", 3, side=32)
    told: list[InstanceDelivery] = []
    with storescp(tmp_path / "pacs") as address:
        assert echo(to(address)) < 5
        started = time.monotonic()
        report = send(files, to(address), told.append)
        took_s = time.monotonic() - started
    assert [instance.status for instance in report.instances] == [0, 0, 0]
    assert [instance.sop_instance_uid for instance in told] == [small_ct(n).SOPInstanceUID for n in (1, 2, 3)]
    stored = [path for path in (tmp_path / "pacs").iterdir() if path.is_file()]
    assert sorted(pydicom.dcmread(path).PixelData for path in stored) == sorted(
        pydicom.dcmread(path).PixelData for path in files
    )
    assert took_s < 5


@pytest.mark.peers
def test_orthanc_stores_ct_map_and_structure_set_byte_for_byte_and_takes_them_again(tmp_path: Path) -> None:
    classes = [CTImageStorage, ParametricMapStorage, RTStructureSetStorage]
    syntaxes = [ExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian]
    files = [
        write_file(tmp_path, object_of(sop_class, number), syntax)
        for number, (sop_class, syntax) in enumerate(zip(classes, syntaxes, strict=True))
    ]
    with orthanc(tmp_path / "orthanc") as pacs:
        for _ in range(2):
            report = send(files, to(pacs.address))
            assert all(instance.is_stored for instance in report.instances)
        stored = [pacs.file(instance) for instance in pacs.get("/instances")]
    assert len(stored) == 3
    for path in files:
        assert any(content.endswith(dataset_bytes(path)) for content in stored)


@pytest.mark.parametrize(
    ("status", "permanent"),
    [
        (0xA700, False),
        (0xA7FF, False),
        (0x0110, False),
        (0x0213, False),
        (0xA900, True),
        (0xC000, True),
        (0xCFFF, True),
        (0x0117, True),
        (0x0122, True),
        (0x0124, True),
    ],
)
def test_a_refusal_says_whether_trying_again_can_help(tmp_path: Path, status: int, permanent: bool) -> None:
    files = write_series(tmp_path / "ct", 1)
    with (
        scripted_pacs(lambda event: status, [CTImageStorage], [ExplicitVRLittleEndian]) as address,
        pytest.raises(StoreRefused) as caught,
    ):
        send(files, to(address))
    assert (caught.value.status, caught.value.permanent) == (status, permanent)


@pytest.mark.parametrize("status", [0x0111, 0xB000, 0xB006, 0xB007])
def test_a_warning_or_duplicate_counts_as_stored_and_is_reported(tmp_path: Path, status: int) -> None:
    files = write_series(tmp_path / "ct", 1)
    with scripted_pacs(lambda event: status, [CTImageStorage], [ExplicitVRLittleEndian]) as address:
        report = send(files, to(address))
    assert [(instance.status, instance.is_warning) for instance in report.instances] == [(status, True)]


def test_one_refused_object_does_not_keep_the_others_back(tmp_path: Path) -> None:
    files = write_series(tmp_path / "ct", 3)
    answers = iter([0xC000, 0xA700, 0x0000])
    with (
        scripted_pacs(lambda event: next(answers), [CTImageStorage], [ExplicitVRLittleEndian]) as address,
        pytest.raises(StoreRefused) as caught,
    ):
        send(files, to(address))
    assert not caught.value.permanent  # one of the refusals may pass
    assert [instance.status for instance in caught.value.instances] == [0xC000, 0xA700, 0x0000]


def test_a_planning_system_that_refuses_maps_still_gets_its_structure_set(tmp_path: Path) -> None:
    structure_set = write_file(tmp_path, object_of(RTStructureSetStorage, 1), ImplicitVRLittleEndian)
    parametric_map = write_file(tmp_path, object_of(ParametricMapStorage, 2))
    got: list[str] = []

    def keep(event: Any) -> int:
        got.append(event.request.AffectedSOPClassUID)
        return 0x0000

    with scripted_pacs(keep, [RTStructureSetStorage], [ImplicitVRLittleEndian]) as address:
        for objects in ([parametric_map, structure_set], [parametric_map]):
            with pytest.raises(StoreRefused) as caught:
                send(objects, to(address))
            assert (caught.value.status, caught.value.permanent) == (0x0122, True)
    assert got == [RTStructureSetStorage]


def test_a_native_object_is_converted_for_a_peer_that_knows_implicit_only(tmp_path: Path) -> None:
    files = write_series(tmp_path / "ct", 1)
    kept: list[Dataset] = []

    def keep(event: Any) -> int:
        assert event.context.transfer_syntax == ImplicitVRLittleEndian
        kept.append(event.dataset)
        return 0x0000

    with scripted_pacs(keep, [CTImageStorage], [ImplicitVRLittleEndian]) as address:
        send(files, to(address))
    assert kept == [pydicom.dcmread(files[0])]


def test_a_compressed_object_goes_in_its_own_syntax_or_not_at_all(tmp_path: Path) -> None:
    dataset = small_ct(side=16)
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.compress(JPEGLSLossless, generate_instance_uid=False)
    dataset.save_as(tmp_path / "ls.dcm", enforce_file_format=True)
    folder = StorageFolder(tmp_path / "pacs", AeAddress("PACS", "127.0.0.1", free_port()))
    folder.start()
    try:
        send([tmp_path / "ls.dcm"], to(folder.address))
    finally:
        folder.stop()
    assert [dataset_bytes(path) for path in folder.instances()] == [dataset_bytes(tmp_path / "ls.dcm")]
    with (
        scripted_pacs(lambda event: 0x0000, [CTImageStorage], [ExplicitVRLittleEndian]) as address,
        pytest.raises(StoreRefused),
    ):
        send([tmp_path / "ls.dcm"], to(address))


def _abort(event: Any) -> int:
    event.assoc.abort()
    return 0x0000


def _hang(event: Any) -> int:
    time.sleep(1.5)
    return 0x0000


@pytest.mark.parametrize("behaviour", [_abort, _hang])
def test_no_status_means_unknown_not_refused(tmp_path: Path, behaviour: Callable[[Any], int]) -> None:
    files = write_series(tmp_path / "ct", 2)
    told: list[InstanceDelivery] = []
    threads_before = threading.active_count()
    with (
        scripted_pacs(behaviour, [CTImageStorage], [ExplicitVRLittleEndian]) as address,
        pytest.raises(DeliveryInterrupted) as caught,
    ):
        send(files, to(address, response_timeout_s=0.4), told.append)
    assert told == []
    assert eventually(lambda: threading.active_count() <= threads_before)
    assert not caught.value.permanent


def test_an_answer_is_not_lost_to_a_thread_of_the_library(tmp_path: Path) -> None:
    files = write_series(tmp_path / "ct", 20)
    over = threading.Event()

    def take_like_the_reactor() -> None:
        while not over.is_set():
            for thread in threading.enumerate():
                if isinstance(thread, Association) and thread.is_requestor:
                    thread.dimse.get_msg(block=False)

    thief = threading.Thread(target=take_like_the_reactor)
    thief.start()
    try:
        with scripted_pacs(lambda event: 0x0000, [CTImageStorage], [ExplicitVRLittleEndian]) as address:
            assert len(send(files, to(address, response_timeout_s=2.0)).instances) == 20
    finally:
        over.set()
        thief.join()


def test_a_peer_that_is_not_there_is_unreachable(tmp_path: Path) -> None:
    files = write_series(tmp_path / "ct", 1)
    with pytest.raises(PeerUnreachable, match="TCP"):
        send(files, to(AeAddress("PACS", "127.0.0.1", free_port())))


def test_a_peer_that_accepts_tcp_and_says_nothing_is_unreachable(tmp_path: Path) -> None:
    files = write_series(tmp_path / "ct", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = AeAddress("PACS", "127.0.0.1", silent.getsockname()[1])
        with pytest.raises(PeerUnreachable, match="did not answer"):
            send(files, to(address, association_timeout_s=0.4))


def test_a_peer_that_does_not_know_us_is_unreachable_and_says_why(tmp_path: Path) -> None:
    access = AccessPolicy("PERFNODE", senders=(Sender("OTHER", (parse_network("127.0.0.1"),)),))
    receiver = Receiver(Spool(tmp_path), ReceiverSettings("PERFNODE", port=0, access=access))
    receiver.start()
    try:
        with pytest.raises(PeerUnreachable, match="Calling AE title not recognised"):
            echo(to(AeAddress("PERFNODE", "127.0.0.1", receiver.port)))
    finally:
        receiver.stop()


def test_the_stand_in_pacs_keeps_objects_as_files_named_by_modality(tmp_path: Path) -> None:
    files = [
        write_file(tmp_path, object_of(RTStructureSetStorage, 1), ImplicitVRLittleEndian),
        write_file(tmp_path, object_of(ParametricMapStorage, 2)),
    ]
    folder = StorageFolder(tmp_path / "pacs", AeAddress("PACS", "127.0.0.1", free_port()))
    folder.start()
    try:
        assert echo(to(folder.address)) < 5
        send(files, to(folder.address))
        send(files, to(folder.address))
    finally:
        folder.stop()
    assert eventually(lambda: len(folder.instances()) == 2)
    assert sorted(map(dataset_bytes, folder.instances())) == sorted(map(dataset_bytes, files))
    assert all(pydicom.dcmread(path).Modality == path.name.split("-")[0] for path in folder.instances())


def tls_of(ours: Identity, trusted: Path) -> TlsSettings:
    return TlsSettings(ours.certificate, ours.key, trusted)


@contextmanager
def dcmtk_with_tls(folder: Path) -> Iterator[AeAddress]:
    known = certificates()
    options = ["+tls", str(known.server.key), str(known.server.certificate), "+cf", str(known.authority)]
    with storescp(folder, *options, "--require-peer-cert") as address:
        yield address


@contextmanager
def orthanc_with_tls(folder: Path) -> Iterator[AeAddress]:
    known = certificates()
    options = {
        "DicomTlsEnabled": True,
        "DicomTlsCertificate": str(known.server.certificate),
        "DicomTlsPrivateKey": str(known.server.key),
        "DicomTlsTrustedCertificates": str(known.authority),
        "DicomTlsRemoteCertificateRequired": True,
    }
    with orthanc(folder, options=options) as pacs:
        yield pacs.address


@pytest.mark.peers
@pytest.mark.parametrize("archive", [dcmtk_with_tls, orthanc_with_tls])
def test_delivery_over_tls_with_client_certificates_and_to_nobody_else(
    tmp_path: Path, archive: Callable[[Path], AbstractContextManager[AeAddress]]
) -> None:
    files, known = write_series(tmp_path / "ct", 2, side=32), certificates()
    with archive(tmp_path / "pacs") as address:
        destination = replace(to(address), tls=tls_of(known.client, known.authority))
        assert echo(destination) < 5
        assert [instance.status for instance in send(files, destination).instances] == [0, 0]
        refused = [
            replace(to(address)),  # not encrypted
            replace(to(address), tls=tls_of(known.client, known.other_authority)),  # we do not know its authority
            replace(to(address), tls=tls_of(known.stranger, known.authority)),  # it does not know ours
        ]
        for stranger in refused:
            with pytest.raises(PeerUnreachable):
                send(files, replace(stranger, association_timeout_s=3.0))
        assert send(files, destination).instances  # and goes on after all of them
