"""Retrieval from real archives, and from ones that send less, other, broken or nothing."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGLSLossless, RTStructureSetStorage
from pynetdicom import evt
from pynetdicom.sop_class import CTImageStorage, MRImageStorage

from dicom_node.audit.trail import NoAuditTrail, StudyTransfer
from dicom_node.errors import PeerUnreachable, QueryRefused, RetrievalIncomplete
from dicom_node.network.acceptance import TRANSFER_SYNTAXES
from dicom_node.network.addresses import AeAddress
from dicom_node.network.delivery import Destination, send
from dicom_node.network.query import ArchivePeer, FoundSeries
from dicom_node.network.receiver import Receiver, ReceiverSettings
from dicom_node.network.retrieve import FETCHED_CLASSES, GET, get_series, move_series
from dicom_node.reception.spool import Spool, SpooledSeries
from tests.peers import dcmqrscp, eventually, free_port, orthanc, scripted_archive, scripted_pacs
from tests.small_ct import SERIES, dataset_bytes, small_ct, write_file, write_series

STUDY = "1.2.826.0.1.3680043.8.498"
Step = tuple[int, Dataset | None] | int
NATIVE = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
GETS = [(GET, NATIVE), (CTImageStorage, NATIVE), (MRImageStorage, NATIVE)]


def found(instances: int | None, series: str = SERIES) -> FoundSeries:
    return FoundSeries(STUDY, series, "CT", "1", "", instances)


def archive(address: AeAddress, **settings: Any) -> ArchivePeer:
    return ArchivePeer("archive", address, **{"retrieve_timeout_s": 5.0, **settings})


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", minimum_free_mb=1)


def only_series(spool: Spool) -> SpooledSeries:
    (series,) = spool.series()
    return series


class Trail(NoAuditTrail):
    """Remembers what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[Any] = []

    def instances_received(self, ip: str, calling: str, association_id: str, studies: Any) -> None:
        self.told.append((ip, calling, list(studies)))


# -- real archives -----------------------------------------------------------------------------------------------------


@pytest.mark.peers
@pytest.mark.parametrize("run", [orthanc, dcmqrscp])
def test_c_get_brings_every_dataset_and_closes_the_series(
    tmp_path: Path, spool: Spool, run: Callable[..., Any]
) -> None:
    files = write_series(tmp_path / "ct", 4, side=32)
    trail, told = Trail(), []
    with run(tmp_path / "archive") as running:
        address = running if isinstance(running, AeAddress) else running.address
        send([*files, *write_series(tmp_path / "other", 2, series=f"{SERIES}.9")], Destination("archive", address))
        got = get_series(archive(address), found(4), spool, audit=trail, progress=lambda: told.append(1))
    assert (got, len(told)) == (4, 4)
    series = only_series(spool)
    assert series.is_complete
    assert series.calling_ae_titles == (address.ae_title,)
    assert sorted(map(dataset_bytes, series.instances)) == sorted(map(dataset_bytes, files))
    assert trail.told == [("127.0.0.1", address.ae_title, [StudyTransfer(STUDY, "CANARY-ID", {CTImageStorage: 4})])]


@pytest.mark.peers
def test_c_get_brings_compressed_images_as_they_are_stored(tmp_path: Path, spool: Spool) -> None:
    dataset = small_ct(side=32)
    path = write_file(tmp_path, dataset)
    dataset.compress(JPEGLSLossless, generate_instance_uid=False)
    dataset.save_as(path, enforce_file_format=True)
    with orthanc(tmp_path / "archive") as running:
        send([path], Destination("archive", running.address))
        assert get_series(archive(running.address), found(1), spool) == 1
    assert dataset_bytes(only_series(spool).instances[0]) == dataset_bytes(path)


@pytest.mark.peers
@pytest.mark.parametrize("kind", ["orthanc", "dcmqrscp"])
def test_c_move_sends_to_our_receiver(tmp_path: Path, spool: Spool, kind: str) -> None:
    files = write_series(tmp_path / "ct", 4, side=32)
    us = AeAddress("PERFNODE", "127.0.0.1", free_port())
    receiver = Receiver(spool, ReceiverSettings(us.ae_title, port=us.port))
    receiver.start()
    run = (
        orthanc(tmp_path / "a", modalities={"us": us})
        if kind == "orthanc"
        else dcmqrscp(tmp_path / "a", movers={"us": us})
    )
    try:
        with run as running:
            address = running if isinstance(running, AeAddress) else running.address
            send(files, Destination("archive", address))
            assert move_series(archive(address), found(4)) == 4
            with pytest.raises((QueryRefused, RetrievalIncomplete)):
                move_series(archive(address, calling_ae_title="STRANGER"), found(4))
            with pytest.raises(RetrievalIncomplete, match="sent 4 of 5"):
                move_series(archive(address), found(5))
        assert eventually(lambda: [s.is_complete for s in spool.series()] == [True])
    finally:
        receiver.stop()
    assert sorted(map(dataset_bytes, only_series(spool).instances)) == sorted(map(dataset_bytes, files))


@pytest.mark.peers
def test_c_move_to_a_node_that_does_not_listen_is_incomplete(tmp_path: Path) -> None:
    us = AeAddress("PERFNODE", "127.0.0.1", free_port())
    with orthanc(tmp_path / "archive", modalities={"us": us}) as running:
        send(write_series(tmp_path / "ct", 2), Destination("archive", running.address))
        with pytest.raises((QueryRefused, RetrievalIncomplete)):
            move_series(archive(running.address), found(2))


# -- scripted ----------------------------------------------------------------------------------------------------------


def giving(*steps: Step) -> list[tuple[Any, Callable[[Any], Any]]]:
    def on_get(event: Any) -> Iterator[Step]:
        yield from steps

    return [(evt.EVT_C_GET, on_get)]


def image(number: int, **options: Any) -> Dataset:
    dataset = small_ct(number, **options)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset


def pending(*numbers: int, **options: Any) -> list[Step]:
    return [(0xFF00, image(number, **options)) for number in numbers]


def test_fewer_images_than_the_archive_has_are_kept_as_interrupted_until_all_came(spool: Spool) -> None:
    with (
        scripted_archive(GETS, giving(2, *pending(1, 2))) as address,
        pytest.raises(RetrievalIncomplete, match="2 of 3"),
    ):
        get_series(archive(address), found(3), spool)
    series = only_series(spool)
    assert (len(series.instances), series.interrupted, series.is_complete) == (2, True, False)
    with scripted_archive(GETS, giving(3, *pending(1, 2, 3))) as address:
        assert get_series(archive(address), found(3), spool) == 3
    assert only_series(spool).is_complete


def test_an_image_sent_twice_counts_once(spool: Spool) -> None:
    with (
        scripted_archive(GETS, giving(3, *pending(1, 2, 2))) as address,
        pytest.raises(RetrievalIncomplete, match="2 of 3"),
    ):
        get_series(archive(address), found(3), spool)


def test_without_a_count_the_archive_is_believed(spool: Spool) -> None:
    with scripted_archive(GETS, giving(2, *pending(1, 2))) as address:
        assert get_series(archive(address), found(None), spool) == 2
    assert only_series(spool).is_complete


def test_nothing_is_not_a_series(spool: Spool) -> None:
    with scripted_archive(GETS, giving(0)) as address, pytest.raises(RetrievalIncomplete, match="nothing came"):
        get_series(archive(address), found(None), spool)
    assert spool.series() == []


def test_images_of_another_series_are_refused_and_not_kept(spool: Spool) -> None:
    steps = giving(2, *pending(1), *pending(1, series=f"{SERIES}.7"))
    with scripted_archive(GETS, steps) as address, pytest.raises(RetrievalIncomplete, match="1 sent, 1 failed"):
        get_series(archive(address), found(1), spool)
    series = only_series(spool)
    assert (len(series.instances), series.is_complete) == (1, False)


def broken(number: int) -> Dataset:
    dataset = image(number)
    dataset.PixelData = bytes(10)
    return dataset


def of_another_class(number: int) -> Dataset:
    dataset = image(number)
    dataset.SOPClassUID = MRImageStorage
    return dataset


@pytest.mark.parametrize("spoil", [broken, of_another_class])
def test_one_image_that_cannot_be_kept_makes_the_series_incomplete(
    spool: Spool, spoil: Callable[[int], Dataset]
) -> None:
    steps = giving(3, *pending(1, 2), (0xFF00, spoil(3)))
    with scripted_archive(GETS, steps) as address, pytest.raises(RetrievalIncomplete, match="2 sent, 1 failed"):
        get_series(archive(address), found(None), spool)
    assert not only_series(spool).is_complete


def test_a_full_disk_is_told_to_the_archive(tmp_path: Path) -> None:
    statuses = []

    def on_get(event: Any) -> Iterator[Step]:
        yield 1
        yield 0xFF00, image(1)

    def on_answer(event: Any) -> None:
        statuses.append(event.message.command_set.get("Status"))

    full = Spool(tmp_path / "spool", minimum_free_mb=1e12)
    handlers = [(evt.EVT_C_GET, on_get), (evt.EVT_DIMSE_RECV, on_answer)]
    with scripted_archive(GETS, handlers) as address, pytest.raises(RetrievalIncomplete):
        get_series(archive(address), found(1), full)
    assert 0xA700 in statuses
    assert full.series() == []


@pytest.mark.parametrize("status", [0xA701, 0xA900, 0xC001, 0xFE00])
def test_a_refusal_before_anything_was_sent_says_its_status(spool: Spool, status: int) -> None:
    with (
        scripted_archive(GETS, giving(1, (status, None))) as address,
        pytest.raises((QueryRefused, RetrievalIncomplete), match=f"0x{status:04X}"),
    ):
        get_series(archive(address), found(1), spool)
    assert spool.series() == []


def test_an_archive_that_does_no_c_get_or_c_move_refuses(spool: Spool) -> None:
    with scripted_archive([(CTImageStorage, NATIVE)], []) as address:
        for ask in (
            lambda: get_series(archive(address), found(1), spool),
            lambda: move_series(archive(address), found(1)),
        ):
            with pytest.raises(QueryRefused) as caught:
                ask()
            assert caught.value.status == 0x0122


@pytest.mark.parametrize("aborts", [True, False])
def test_a_retrieval_that_stops_half_way_ends_and_stays_interrupted(spool: Spool, aborts: bool) -> None:
    over = threading.Event()

    def on_get(event: Any) -> Iterator[Step]:
        yield 2
        yield 0xFF00, image(1)
        if aborts:
            event.assoc.abort()
        over.wait(5)

    started = time.monotonic()
    with scripted_archive(GETS, [(evt.EVT_C_GET, on_get)]) as address:
        with pytest.raises(PeerUnreachable, match="fell silent"):
            get_series(archive(address, retrieve_timeout_s=0.4), found(2), spool)
        took_s = time.monotonic() - started
        over.set()
    assert took_s < 3
    series = only_series(spool)
    assert (len(series.instances), series.interrupted, series.open_associations) == (1, True, 0)


@pytest.mark.peers
def test_move_counts_what_failed_and_what_came_with_warnings(tmp_path: Path) -> None:
    answers = iter([0x0000, 0xA700, 0xB000])
    with (
        scripted_pacs(lambda event: next(answers), [CTImageStorage], NATIVE) as target,
        dcmqrscp(tmp_path / "archive", movers={"us": target}) as address,
    ):
        send(write_series(tmp_path / "ct", 3), Destination("archive", address))
        with pytest.raises(RetrievalIncomplete, match="1 sent, 1 failed, 1 with warnings"):
            move_series(archive(address, calling_ae_title=target.ae_title), found(3))


def test_all_contexts_fit_in_one_association() -> None:
    assert RTStructureSetStorage in FETCHED_CLASSES
    assert 1 + len(FETCHED_CLASSES) * len(TRANSFER_SYNTAXES) <= 128
