"""Storage Commitment in both roles: with Orthanc, and with peers that answer late, partly, wrongly or never."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian, RTStructureSetStorage
from pynetdicom import build_context, build_role, evt
from pynetdicom.dimse_primitives import N_EVENT_REPORT
from pynetdicom.dsutils import encode
from pynetdicom.sop_class import CTImageStorage

from dicom_node.errors import CommitmentRefused, PeerUnreachable, UnknownTransaction
from dicom_node.network.addresses import AeAddress
from dicom_node.network.commitment import CommitmentBook, request_commitment
from dicom_node.network.commitment_messages import (
    CLASS_INSTANCE_CONFLICT,
    MAXIMUM_INSTANCES,
    NO_SUCH_INSTANCE,
    PUSH_MODEL,
    PUSH_MODEL_INSTANCE,
    RESOURCE_LIMITATION,
    SYNTAXES,
    CommitmentReport,
    InstanceReference,
    action_information,
    event_information,
    read_action,
    read_report,
)
from dicom_node.network.commitment_service import CommitmentService, CommitmentTimes
from dicom_node.network.delivery import Destination, send
from dicom_node.network.requestor import Peer, association
from dicom_node.reception.holdings import Holdings
from dicom_node.reception.spool import Spool
from tests.peers import eventually, orthanc, scripted_archive
from tests.small_ct import received, small_ct, write_series

TRANSACTION = "2.25.4711"
QUICK = CommitmentTimes(grace_s=0.2, answer_s=2.0, retry_delays_s=(0.1,))


def reference(number: int, sop_class: str = CTImageStorage) -> InstanceReference:
    return InstanceReference(sop_class, str(small_ct(number).SOPInstanceUID))


CT = [reference(number) for number in (1, 2, 3)]


@dataclass
class Node:
    """A listening process of ours with the commitment service and nothing else."""

    address: AeAddress
    book: CommitmentBook
    service: CommitmentService
    holdings: Holdings


@contextmanager
def node(
    data_dir: Path, *, address_of: Callable[[str], Peer | None] = lambda title: None, times: CommitmentTimes = QUICK
) -> Iterator[Node]:
    holdings = Holdings.under(data_dir, data_dir)
    service = CommitmentService(CommitmentBook.under(data_dir), holdings.classes_of, address_of, times)
    contexts = [(abstract, syntaxes) for abstract, syntaxes, _, _ in service.contexts]
    with scripted_archive(contexts, service.handlers) as address:
        yield Node(address, service.book, service, holdings)
        service.stop()


@contextmanager
def archive(on_action: Callable[[Any], tuple[int, Any]]) -> Iterator[AeAddress]:
    with scripted_archive([(PUSH_MODEL, SYNTAXES)], [(evt.EVT_N_ACTION, on_action)]) as address:
        yield address


def reports(event: Any, report: CommitmentReport, statuses: list[int]) -> None:
    """Send a report on the same association, once the answer to the request is out."""

    def work() -> None:
        time.sleep(0.1)
        event_type, information = event_information(report)
        status, _ = event.assoc.send_n_event_report(information, event_type, PUSH_MODEL, PUSH_MODEL_INSTANCE)
        statuses.append(status.get("Status"))

    threading.Thread(target=work, daemon=True).start()


def report_from_outside(address: AeAddress, report: CommitmentReport, *, role: bool = True) -> int | None:
    """Send a report to a node as an archive does, on an association of its own; its status."""
    event_type, information = event_information(report)
    roles = [build_role(PUSH_MODEL, scp_role=True)] if role else []
    with association(Peer("node", address, "ARCHIVE"), [build_context(PUSH_MODEL)], roles=roles) as opened:
        status, _ = opened.send_n_event_report(information, event_type, PUSH_MODEL, PUSH_MODEL_INSTANCE)
        return status.get("Status")


# -- as user ---------------------------------------------------------------------------------------------------------


@pytest.mark.peers
def test_orthanc_commits_to_what_it_has_and_names_what_it_has_not(tmp_path: Path) -> None:
    files = write_series(tmp_path / "ct", 2)
    with node(tmp_path / "node") as ours:
        modality = {"us": {"AET": "PERFNODE", "Host": "127.0.0.1", "Port": ours.address.port}}
        with orthanc(tmp_path / "orthanc", options={"DicomModalities": modality}) as pacs:
            peer = Destination("pacs", pacs.address)
            send(files, peer)
            request_commitment(CT, peer, TRANSACTION, ours.book, wait_s=0.0)
            assert eventually(lambda: ours.book.report(TRANSACTION) is not None)
    report = ours.book.report(TRANSACTION)
    assert report is not None
    assert report.committed == tuple(CT[:2])
    assert report.failed == {CT[2]: NO_SUCH_INSTANCE}


def test_a_report_on_the_same_association_is_waited_for_and_answered(tmp_path: Path) -> None:
    book, statuses = CommitmentBook.under(tmp_path), []
    asked: list[Any] = []

    def on_action(event: Any) -> tuple[int, None]:
        asked.append((event.action_type, event.request.RequestedSOPInstanceUID, read_action(event.action_information)))
        reports(event, CommitmentReport(TRANSACTION, (CT[0],), {CT[1]: NO_SUCH_INSTANCE}), statuses)
        return 0x0000, None

    with archive(on_action) as address:
        started = time.monotonic()
        report = request_commitment(CT, Peer("pacs", address), TRANSACTION, book, wait_s=20.0)
        took_s = time.monotonic() - started
        assert eventually(lambda: statuses == [0x0000])
        assert took_s < 5.0
    assert asked == [(1, PUSH_MODEL_INSTANCE, (TRANSACTION, CT))]
    assert report is not None  # and of the third instance nothing is known
    assert (report.committed, report.failed) == ((CT[0],), {CT[1]: NO_SUCH_INSTANCE})


def test_no_report_is_none_and_one_that_comes_later_to_another_process_is_found(tmp_path: Path) -> None:
    with node(tmp_path) as ours, archive(lambda event: (0x0000, None)) as address:
        peer = Peer("pacs", address)
        assert request_commitment(CT, peer, TRANSACTION, ours.book, wait_s=0.2) is None
        assert report_from_outside(ours.address, CommitmentReport(TRANSACTION, tuple(CT), {})) == 0x0000
        report = request_commitment(CT, peer, TRANSACTION, CommitmentBook.under(tmp_path), wait_s=0.0)
    assert report is not None
    assert report.committed == tuple(CT)


@pytest.mark.parametrize("role", [True, False])  # some archives leave the role selection out
def test_a_report_in_reversed_roles_is_taken(tmp_path: Path, role: bool) -> None:
    with node(tmp_path) as ours:
        ours.book.note_request(TRANSACTION, CT)
        assert report_from_outside(ours.address, CommitmentReport(TRANSACTION, (CT[0],), {}), role=role) == 0x0000
        assert ours.book.report(TRANSACTION) == CommitmentReport(TRANSACTION, (CT[0],), {})


def test_a_report_that_nobody_asked_for_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with node(tmp_path) as ours:
        ours.book.note_request(TRANSACTION, CT)
        assert report_from_outside(ours.address, CommitmentReport("2.25.1", tuple(CT), {})) == 0x0115
        assert ours.book.report(TRANSACTION) is None
        assert ours.book.report("2.25.1") is None
        assert len(list(ours.book.folder.iterdir())) == 1


def test_an_instance_that_was_not_asked_for_does_not_count_and_failed_wins_over_committed(tmp_path: Path) -> None:
    book = CommitmentBook(tmp_path)
    book.note_request(TRANSACTION, CT[:2])
    book.keep(CommitmentReport(TRANSACTION, tuple(CT), {CT[0]: NO_SUCH_INSTANCE}))
    report = book.report(TRANSACTION)
    assert report is not None
    assert (report.committed, report.failed) == ((CT[1],), {CT[0]: NO_SUCH_INSTANCE})
    with pytest.raises(UnknownTransaction):
        book.keep(CommitmentReport("../../etc/x", tuple(CT), {}))
    assert book.sweep(older_than_s=-1.0) == 2
    assert book.report(TRANSACTION) is None


@pytest.mark.parametrize("status", [0x0110, 0x0213])
def test_a_refused_question_is_no_commitment(tmp_path: Path, status: int) -> None:
    with archive(lambda event: (status, None)) as address, pytest.raises(CommitmentRefused) as caught:
        request_commitment(CT, Peer("pacs", address), TRANSACTION, CommitmentBook(tmp_path), wait_s=0.1)
    assert caught.value.status == status


def test_an_archive_without_commitment_says_so_and_an_absent_one_is_unreachable(tmp_path: Path) -> None:
    with scripted_archive([(CTImageStorage, SYNTAXES)], []) as address, pytest.raises(CommitmentRefused) as caught:
        request_commitment(CT, Peer("pacs", address), TRANSACTION, CommitmentBook(tmp_path), wait_s=0.1)
    assert caught.value.status == 0x0122
    with pytest.raises(PeerUnreachable):
        request_commitment(CT, Peer("pacs", address), TRANSACTION, CommitmentBook(tmp_path), wait_s=0.1)


# -- as provider -----------------------------------------------------------------------------------------------------


def ask(address: AeAddress, instances: list[InstanceReference], folder: Path) -> CommitmentReport:
    """Ask and wait for the report on the same association."""
    peer = Peer("node", address, "SCANNER")
    report = request_commitment(instances, peer, TRANSACTION, CommitmentBook(folder), wait_s=5.0)
    assert report is not None
    return report


def ask_and_leave(address: AeAddress, book: CommitmentBook) -> None:
    assert request_commitment(CT, Peer("node", address, "SCANNER"), TRANSACTION, book, wait_s=0.0) is None


def test_we_commit_to_what_lies_durably_in_spool_and_cases_and_to_nothing_else(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "node" / "spool", minimum_free_mb=1)
    for number in (1, 2):
        spool.keep(received(small_ct(number)))
    (series,) = spool.series()
    case = tmp_path / "node" / "cases" / "c" / "received"
    case.mkdir(parents=True)
    series.instances[1].rename(case / series.instances[1].name)
    (case / series.instances[1].name).with_suffix(".dcm.part").write_bytes(b"")
    with node(tmp_path / "node") as ours:
        report = ask(ours.address, CT, tmp_path / "first")
        assert set(report.committed) == {reference(1), reference(2)}
        assert report.failed == {reference(3): NO_SUCH_INSTANCE}
        other_class = reference(1, RTStructureSetStorage)
        assert ask(ours.address, [other_class], tmp_path / "second").failed == {other_class: CLASS_INSTANCE_CONFLICT}
        case.joinpath(series.instances[1].name).unlink()
        assert ask(ours.address, [reference(2)], tmp_path / "later").failed == {reference(2): NO_SUCH_INSTANCE}


def test_a_peer_that_has_left_gets_the_report_at_its_address_and_not_twice(tmp_path: Path) -> None:
    theirs = CommitmentBook(tmp_path / "theirs")
    with node(tmp_path / "their-node") as listener:
        listener.service.book = theirs
        known = {"SCANNER": Peer("ct", listener.address)}
        with node(tmp_path / "node", address_of=known.get) as ours:
            ask_and_leave(ours.address, theirs)
            assert eventually(lambda: theirs.report(TRANSACTION) is not None)
    report = theirs.report(TRANSACTION)
    assert report is not None
    assert set(report.failed.values()) == {NO_SUCH_INSTANCE}


def test_a_peer_that_has_left_and_is_unknown_gets_none_and_costs_nothing(tmp_path: Path) -> None:
    with node(tmp_path) as ours:
        before = threading.active_count()
        ask_and_leave(ours.address, CommitmentBook(tmp_path / "theirs"))
        assert eventually(lambda: threading.active_count() <= before)


@pytest.mark.peers
def test_orthanc_asks_us_and_hears_the_truth(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "node" / "spool", minimum_free_mb=1)
    spool.keep(received(small_ct(1)))
    peers: dict[str, Peer] = {}
    with node(tmp_path / "node", address_of=peers.get) as ours:
        modality = {
            "AET": "PERFNODE", "Host": "127.0.0.1", "Port": ours.address.port, "AllowStorageCommitment": True,
        }  # fmt: skip
        with orthanc(tmp_path / "orthanc", options={"DicomModalities": {"us": modality}}) as pacs:
            peers["ORTHANC"] = Peer("pacs", pacs.address)
            asked = [[i.sop_class_uid, i.sop_instance_uid] for i in CT[:2]]
            transaction = pacs.post("/modalities/us/storage-commitment", {"DicomInstances": asked})["ID"]
            assert eventually(lambda: pacs.get(f"/storage-commitment/{transaction}")["Status"] != "Pending")
            answer = pacs.get(f"/storage-commitment/{transaction}")
    assert answer["Status"] == "Failure"
    assert [i["SOPInstanceUID"] for i in answer["Success"]] == [CT[0].sop_instance_uid]
    assert [(i["SOPInstanceUID"], i["FailureReason"]) for i in answer["Failures"]] == [
        (CT[1].sop_instance_uid, NO_SUCH_INSTANCE)
    ]


def act(address: AeAddress, information: Dataset | None, action_type: int = 1) -> int | None:
    entity = Peer("node", address, "SCANNER")
    with association(entity, [build_context(PUSH_MODEL, ImplicitVRLittleEndian)]) as opened:
        status, _ = opened.send_n_action(information, action_type, PUSH_MODEL, PUSH_MODEL_INSTANCE)
        return status.get("Status")


def broken(**changes: Any) -> Dataset:
    information = action_information(TRANSACTION, CT)
    for keyword, value in changes.items():
        if value is None:
            delattr(information, keyword)
        else:
            setattr(information, keyword, value)
    return information


def test_questions_that_are_none_or_too_long_are_refused(tmp_path: Path) -> None:
    with node(tmp_path) as ours:
        assert act(ours.address, broken(), action_type=2) == 0x0123
        assert act(ours.address, None) == 0x0115
        assert act(ours.address, broken(TransactionUID=None)) == 0x0115
        assert act(ours.address, broken(ReferencedSOPSequence=[])) == 0x0115
        too_many = action_information(TRANSACTION, [reference(n) for n in range(MAXIMUM_INSTANCES + 1)])
        assert act(ours.address, too_many) == 0x0115
        assert act(ours.address, broken()) == 0x0000


def test_more_questions_at_once_than_we_work_on_are_put_off(tmp_path: Path) -> None:
    go_on = threading.Event()

    def slowly(uids: Any) -> dict[str, str]:
        go_on.wait(10.0)
        return {}

    with node(tmp_path) as ours:
        ours.service.classes_of = slowly
        assert [act(ours.address, broken()) for _ in range(9)] == [0x0000] * 8 + [RESOURCE_LIMITATION]
        go_on.set()
        assert eventually(lambda: act(ours.address, broken()) == 0x0000)


def test_many_reports_at_once_are_taken_one_after_the_other(tmp_path: Path) -> None:
    report = CommitmentReport(TRANSACTION, tuple(CT), {})
    event_type, information = event_information(report)
    request = N_EVENT_REPORT()
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = PUSH_MODEL, PUSH_MODEL_INSTANCE
    request.EventTypeID = event_type
    with node(tmp_path) as ours:
        ours.book.note_request(TRANSACTION, CT)
        context = build_context(PUSH_MODEL, ImplicitVRLittleEndian)
        with association(Peer("node", ours.address, "ARCHIVE"), [context]) as opened:
            before = threading.active_count()
            for number in range(1, 60):
                request.MessageID = number
                request.EventInformation = BytesIO(encode(information, True, True) or b"")
                opened.dimse.send_msg(request, opened.accepted_contexts[0].context_id)
                assert threading.active_count() <= before
        assert report_from_outside(ours.address, report) == 0x0000


def test_datasets_read_back_as_written() -> None:
    report = CommitmentReport(TRANSACTION, (CT[0],), {CT[1]: NO_SUCH_INSTANCE})
    event_type, information = event_information(report)
    assert (event_type, read_report(information)) == (2, report)
    event_type, information = event_information(CommitmentReport(TRANSACTION, tuple(CT), {}))
    assert (event_type, "FailedSOPSequence" in information) == (1, False)
