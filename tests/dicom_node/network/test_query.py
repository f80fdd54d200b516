"""Questions to real archives, and to ones that answer with what nobody asked for."""

import threading
import time
import warnings
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import evt
from structlog.testing import capture_logs

from dicom_node.errors import PeerUnreachable, QueryRefused, QueryTooWide
from dicom_node.network.addresses import AeAddress
from dicom_node.network.delivery import Destination, send
from dicom_node.network.query import (
    FIND,
    ArchivePeer,
    FoundSeries,
    expected_instances,
    find_instances,
    find_series,
    find_studies,
)
from dicom_node.network.retrieve import get_series
from dicom_node.network.tls import TlsSettings
from dicom_node.reception.spool import Spool
from tests.certificates import Certificates, Identity, certificates
from tests.peers import dcmqrscp, eventually, free_port, orthanc, scripted_archive
from tests.small_ct import SERIES, small_ct, write_file

STUDY = "1.2.826.0.1.3680043.8.498"
Answer = tuple[int, Dataset | None]


def archive(address: AeAddress, **settings: Any) -> ArchivePeer:
    return ArchivePeer("archive", address, **{"response_timeout_s": 5.0, **settings})


def dated_series(folder: Path) -> list[Path]:
    """Two studies of two days, of 2 and 3 images."""
    folder.mkdir()
    files = []
    for day, images in (("20240305", 2), ("20240306", 3)):
        for number in range(1, images + 1):
            dataset = small_ct(number, series=f"{SERIES}.{day}")
            dataset.StudyInstanceUID = f"{STUDY}.{day}"
            dataset.StudyDate, dataset.AccessionNumber, dataset.PatientID = day, f"A{day}", f"ID{day}"
            dataset.StudyDescription = f"Planning {day}"
            files.append(write_file(folder, dataset))
    return files


@pytest.mark.peers
@pytest.mark.parametrize("run", [orthanc, dcmqrscp])
def test_real_archives_are_asked_down_to_the_instances(tmp_path: Path, run: Callable[..., Any]) -> None:
    with run(tmp_path / "archive") as running:
        address = running if isinstance(running, AeAddress) else running.address
        send(dated_series(tmp_path / "ct"), Destination("archive", address))
        peer = archive(address)
        (study,) = find_studies(peer, patient_id="ID20240305")
        assert (study.study_instance_uid, study.study_date) == (f"{STUDY}.20240305", "20240305")
        assert study.description == "Planning 20240305"
        assert find_studies(peer, accession_number="A20240305") == [study]
        assert find_studies(peer, study_instance_uid=study.study_instance_uid) == [study]
        days = (date(2024, 3, 5), date(2024, 3, 6))
        assert [s.study_date for s in find_studies(peer, study_dates=days)] == ["20240305", "20240306"]
        assert [s.study_date for s in find_studies(peer, study_dates=(days[1], days[1]))] == ["20240306"]
        assert find_studies(peer, study_dates=days, patient_id="ID20240305") == [study]
        assert find_studies(peer, patient_id="NOBODY") == []
        (series,) = find_series(peer, f"{STUDY}.20240306", "CT")
        assert (series.series_instance_uid, series.modality) == (f"{SERIES}.20240306", "CT")
        assert find_series(peer, f"{STUDY}.20240306", "RTSTRUCT") == []
        uids = {f"{SERIES}.20240306.{number}" for number in (1, 2, 3)}
        assert find_instances(peer, f"{STUDY}.20240306", f"{SERIES}.20240306") == uids
        # dcmtk leaves Number of Series Related Instances empty, so its images are counted
        assert series.instances == (None if run is dcmqrscp else 3)
        assert expected_instances(peer, f"{STUDY}.20240306", f"{SERIES}.20240306") == 3
        assert expected_instances(peer, f"{STUDY}.20240306", "1.2.3") is None


def identity(made: Certificates, who: Identity) -> TlsSettings:
    return TlsSettings(who.certificate, who.key, made.authority)


@pytest.mark.peers
def test_an_archive_behind_tls_is_asked_with_our_certificate_only(tmp_path: Path) -> None:
    made = certificates()
    options = {
        "DicomTlsEnabled": True,
        "DicomTlsCertificate": str(made.server.certificate),
        "DicomTlsPrivateKey": str(made.server.key),
        "DicomTlsTrustedCertificates": str(made.authority),
        "DicomTlsRemoteCertificateRequired": True,
    }
    files = dated_series(tmp_path / "ct")
    with orthanc(tmp_path / "archive", options=options) as running:
        ours = identity(made, made.client)
        send(files, Destination("archive", running.address, tls=ours))
        peer = archive(running.address, tls=ours)
        (study,) = find_studies(peer, patient_id="ID20240306")
        (series,) = find_series(peer, study.study_instance_uid)
        assert get_series(peer, series, Spool(tmp_path / "spool", minimum_free_mb=1)) == 3
        for tls in (identity(made, made.stranger), None):
            with pytest.raises(PeerUnreachable):
                find_studies(archive(running.address, tls=tls, association_timeout_s=2.0), patient_id="ID20240306")


# -- scripted ----------------------------------------------------------------------------------------------------------


def answering(*answers: Answer) -> list[tuple[Any, Callable[[Any], Any]]]:
    def on_find(event: Any) -> Iterator[Answer]:
        yield from answers

    return [(evt.EVT_C_FIND, on_find)]


FINDS = [(FIND, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])]


def answer(**values: Any) -> Dataset:
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def test_answers_that_nobody_asked_for_are_dropped_and_logged_without_what_they_say() -> None:
    right = answer(StudyInstanceUID=STUDY, PatientID="P1 ", StudyDate="20240305")
    wrong = [
        answer(StudyInstanceUID=STUDY + ".1", PatientID="CANARY-P2", StudyDate="20240305"),
        answer(StudyInstanceUID=STUDY + ".2", PatientID="P1", StudyDate="20240309"),
        answer(StudyInstanceUID=STUDY + ".3", StudyDate="20240305"),
        answer(PatientID="P1", StudyDate="20240305"),
    ]
    handlers = answering(*((0xFF00, dataset) for dataset in [*wrong, right]))
    with scripted_archive(FINDS, handlers) as address, capture_logs() as logs:
        studies = find_studies(archive(address), patient_id="P1", study_dates=(date(2024, 3, 5), date(2024, 3, 6)))
    assert [study.study_instance_uid for study in studies] == [STUDY]
    assert [entry["code"] for entry in logs if entry["event"] == "answer_dropped"] == ["ANSWER_NOT_ASKED_FOR"] * 4
    assert "CANARY" not in str(logs)
    assert STUDY not in str(logs)


def test_series_and_instances_of_another_study_are_dropped() -> None:
    answers = [
        answer(StudyInstanceUID="1.9", SeriesInstanceUID="1.9.1", Modality="CT"),
        answer(StudyInstanceUID=STUDY, SeriesInstanceUID=SERIES, Modality="MR"),
        answer(StudyInstanceUID=STUDY, SeriesInstanceUID=SERIES, Modality="CT", SOPInstanceUID="1.9.1.1"),
        answer(StudyInstanceUID=STUDY, SeriesInstanceUID="1.9.1", Modality="CT", SOPInstanceUID="1.9.1.2"),
    ]
    with scripted_archive(FINDS, answering(*((0xFF01, dataset) for dataset in answers))) as address:
        assert {s.series_instance_uid for s in find_series(archive(address), STUDY, "CT")} == {SERIES, "1.9.1"}
        assert find_instances(archive(address), STUDY, SERIES) == {"1.9.1.1"}


@pytest.mark.parametrize("status", [0xA700, 0xA900, 0xC000, 0xC123, 0xFE00])
def test_a_failure_after_some_answers_is_no_shorter_list(status: int) -> None:
    handlers = answering((0xFF00, answer(StudyInstanceUID=STUDY, PatientID="P1")), (status, None))
    with scripted_archive(FINDS, handlers) as address, pytest.raises(QueryRefused) as caught:
        find_studies(archive(address), patient_id="P1")
    assert caught.value.status == status


def test_an_archive_that_offers_no_query_refuses() -> None:
    verification = [("1.2.840.10008.1.1", [ImplicitVRLittleEndian])]
    with scripted_archive(verification, []) as address, pytest.raises(QueryRefused) as caught:
        find_studies(archive(address), patient_id="P1")
    assert caught.value.status == 0x0122


def test_too_many_answers_are_cancelled_and_are_an_error() -> None:
    cancelled = threading.Event()

    def on_find(event: Any) -> Iterator[Answer]:
        for number in range(1, 99):
            time.sleep(0.02 if number > 50 else 0)  # leave it time to read
            if event.is_cancelled:
                cancelled.set()
                yield 0xFE00, None
                return
            yield 0xFF00, answer(StudyInstanceUID=f"{STUDY}.{number}", PatientID="P1")

    handlers = [(evt.EVT_C_FIND, on_find)]
    with (
        scripted_archive(FINDS, handlers, reads_while_answering=True) as address,
        pytest.raises(QueryTooWide),
    ):
        find_studies(archive(address), patient_id="P1", limit=50)
    assert cancelled.wait(5)


def test_a_flood_that_does_not_listen_ends_all_the_same() -> None:
    sent = []

    def on_find(event: Any) -> Iterator[Answer]:
        for number in range(100_000):
            sent.append(number)
            yield 0xFF00, answer(StudyInstanceUID=f"{STUDY}.{number + 1}", PatientID="P1")

    with scripted_archive(FINDS, [(evt.EVT_C_FIND, on_find)]) as address, pytest.raises(QueryTooWide):
        find_studies(archive(address), patient_id="P1", limit=20)
    assert len(sent) < 100_000


def test_a_silent_archive_is_given_up_and_leaves_no_thread() -> None:
    over = threading.Event()

    def on_find(event: Any) -> Iterator[Answer]:
        yield 0xFF00, answer(StudyInstanceUID=STUDY, PatientID="P1")
        over.wait(10)

    before = threading.active_count()
    with scripted_archive(FINDS, [(evt.EVT_C_FIND, on_find)]) as address:
        with pytest.raises(PeerUnreachable, match="did not answer the query"):
            find_studies(archive(address, response_timeout_s=0.3), patient_id="P1")
        over.set()
    assert eventually(lambda: threading.active_count() <= before)


def test_an_archive_that_is_not_there_is_unreachable() -> None:
    with pytest.raises(PeerUnreachable):
        find_studies(archive(AeAddress("ARCHIVE", "127.0.0.1", free_port())), patient_id="P1")


@pytest.mark.parametrize(
    ("charset", "raw", "text"),
    [
        ("ISO_IR 100", b"Lunge gepr\xfcft", "Lunge geprüft"),
        ("ISO_IR 192", "Лёгкие".encode(), "Лёгкие"),
        ("GB18030", "肺部".encode("gb18030"), "肺部"),
        ("ISO 2022 IR 87", b"\x1b$BGY\x1b(B", "肺"),
        (None, b"plain", "plain"),
    ],
)
def test_text_comes_in_the_character_set_that_the_answer_declares(charset: str | None, raw: bytes, text: str) -> None:
    found = _described(charset, raw)
    assert found.description == text


def test_text_that_cannot_be_read_spoils_nothing_else() -> None:
    assert _described("NO_SUCH_SET", b"Lunge\xe9\xff").instances == 7


def _described(charset: str | None, raw: bytes) -> FoundSeries:
    dataset = answer(StudyInstanceUID=STUDY, SeriesInstanceUID=SERIES, NumberOfSeriesRelatedInstances="7")
    if charset:
        dataset.add_new("SpecificCharacterSet", "CS", charset)
    dataset.add_new("SeriesDescription", "LO", raw)
    dataset["SeriesDescription"].VR = "UN"  # written as the bytes they are; implicit VR has no VR on the wire
    finds = [(FIND, [ImplicitVRLittleEndian])]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom warns the archive's thread of what it writes
        with scripted_archive(finds, answering((0xFF00, dataset))) as address:
            (series,) = find_series(archive(address), STUDY)
    return series


@pytest.mark.parametrize("count", [None, "", "0x10"])
def test_a_count_that_is_no_number_is_replaced_by_counting(count: str | None) -> None:
    asked = []

    def on_find(event: Any) -> Iterator[Answer]:
        level = str(event.identifier.QueryRetrieveLevel)
        asked.append(level)
        for number in range(1, 4 if level == "IMAGE" else 2):
            found = answer(StudyInstanceUID=STUDY, SeriesInstanceUID=SERIES)
            if count is not None:
                found.add_new("NumberOfSeriesRelatedInstances", "LO", count)
            found.SOPInstanceUID = f"{SERIES}.{number}"
            yield 0xFF00, found

    finds = [(FIND, [ImplicitVRLittleEndian])]
    with scripted_archive(finds, [(evt.EVT_C_FIND, on_find)]) as address:
        assert expected_instances(archive(address), STUDY, SERIES) == 3
    assert asked == ["SERIES", "IMAGE"]


def test_a_name_outside_ascii_goes_out_in_utf_8() -> None:
    asked: list[Dataset] = []

    def on_find(event: Any) -> Iterator[Answer]:
        asked.append(event.identifier)
        yield 0x0000, None

    with scripted_archive(FINDS, [(evt.EVT_C_FIND, on_find)]) as address:
        find_studies(archive(address), patient_id="Ж-1")
        find_studies(archive(address), accession_number="A" * 20)  # longer than VR SH allows
    assert (asked[0].SpecificCharacterSet, asked[0].PatientID) == ("ISO_IR 192", "Ж-1")
    assert "SpecificCharacterSet" not in asked[1]


@pytest.mark.parametrize("value", ["*", "P?", "P1\\P2", "P\n1", " ", "x" * 65])
def test_a_question_that_might_match_others_is_not_asked(value: str) -> None:
    nowhere = archive(AeAddress("ARCHIVE", "127.0.0.1", 1))
    for keys in ({"patient_id": value}, {"accession_number": value}, {"study_instance_uid": value}):
        with pytest.raises(ValueError, match=r"must have|has at most") as caught:
            find_studies(nowhere, **keys)
        assert len(value) < 5 or value not in str(caught.value)
    with pytest.raises(ValueError, match="must be given"):
        find_studies(nowhere)
    with pytest.raises(ValueError, match="before the first"):
        find_studies(nowhere, study_dates=(date(2024, 1, 2), date(2024, 1, 1)))
