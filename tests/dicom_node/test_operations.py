"""What a person does to cases, with the real engine on SQLite and a scripted archive."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from dicom_node.errors import NothingHeld, UnknownDestination
from dicom_node.jobs.attempts import CaseState
from dicom_node.jobs.jobs import JobBook
from dicom_node.network.addresses import AeAddress
from dicom_node.operations import Operations
from dicom_node.processes.roles import Role
from dicom_node.settings.config import NodeSettings, parse_settings
from tests.keeping_pacs import KeepingPacs, keeping_pacs
from tests.peers import eventually, free_port
from tests.prepared_cases import destination, engine, object_uid, prepare_case, queue_deliveries
from tests.torture.postgres import postgres

NOWHERE = AeAddress("PACS", "127.0.0.1", free_port())


def site(folder: Path, *destinations: dict[str, Any], **work: Any) -> NodeSettings:
    document = {
        "node": {"data_dir": str(folder / "data")},
        "work": {"retry_delays_s": [1], **work},
        "destinations": list(destinations),
    }
    return parse_settings(document, base=folder)


def state_of(node: Operations, case_id: str) -> tuple[CaseState, str]:
    case = node.show(case_id).case
    return case.state, case.code


def becomes(node: Operations, case_id: str, state: CaseState) -> bool:
    return eventually(lambda: node.show(case_id).case.state is state, 30.0)


def actions(settings: NodeSettings) -> str:
    """The audit trail as text."""
    return settings.audit_trail().log_file.read_text(encoding="utf-8")


@pytest.fixture
def pacs() -> KeepingPacs:
    return KeepingPacs()


def test_held_objects_wait_over_a_restart_and_a_release_sends_them_once(tmp_path: Path, pacs: KeepingPacs) -> None:
    with keeping_pacs(pacs) as address:
        settings = site(tmp_path, destination("pacs", address, mode="hold"))
        with engine(settings, Role.SENDER), Operations(settings) as node:
            case = prepare_case(settings, 1)
            queue_deliveries(settings, [case], "pacs")
            assert becomes(node, case.case_id, CaseState.HELD)
            assert node.retry(case.case_id).has_effect is False  # a retry is no release
        with engine(settings, Role.SENDER), Operations(settings) as node:
            assert state_of(node, case.case_id) == (CaseState.HELD, "AWAITS_RELEASE")
            assert pacs.received == []
            assert [a.destination for a in node.release(case.case_id).queued] == ["pacs"]
            with pytest.raises(NothingHeld):
                node.release(case.case_id)
            assert becomes(node, case.case_id, CaseState.DELIVERED)
            assert pacs.received == [object_uid(case.case_id)]
            node.retry(case.case_id)  # what was released once is not held again
            assert eventually(lambda: len(pacs.received) == 2, 30.0)
    assert actions(settings).count(f"case:{case.case_id}") >= 3  # release, and two retries
    assert "release" in actions(settings)


def test_discarded_objects_are_sent_nowhere_and_a_retry_asks_again(tmp_path: Path, pacs: KeepingPacs) -> None:
    with keeping_pacs(pacs) as address:
        settings = site(tmp_path, destination("pacs", address, mode="hold"))
        with engine(settings, Role.SENDER), Operations(settings) as node:
            case = prepare_case(settings, 1)
            queue_deliveries(settings, [case], "pacs")
            assert becomes(node, case.case_id, CaseState.HELD)
            node.discard(case.case_id)
            assert state_of(node, case.case_id)[0] is CaseState.DISCARDED
            with pytest.raises(NothingHeld):
                node.release(case.case_id)
            assert node.retry(case.case_id).has_effect
            assert becomes(node, case.case_id, CaseState.HELD)
            assert node.cancel(case.case_id).has_effect
            assert state_of(node, case.case_id)[0] is CaseState.CANCELLED
    assert pacs.received == []


def test_a_released_case_that_is_made_anew_is_held_again(tmp_path: Path, pacs: KeepingPacs) -> None:
    with keeping_pacs(pacs) as address:
        settings = site(tmp_path, destination("pacs", address, mode="hold"))
        with engine(settings, Role.SENDER), Operations(settings) as node:
            case = prepare_case(settings, 1)
            queue_deliveries(settings, [case], "pacs")
            assert becomes(node, case.case_id, CaseState.HELD)
            node.release(case.case_id)
            assert becomes(node, case.case_id, CaseState.DELIVERED)
            assert node.rerun(case.case_id).has_effect
            assert state_of(node, case.case_id)[0] is CaseState.PROCESSING
            queue_deliveries(settings, [case], "pacs")
            assert becomes(node, case.case_id, CaseState.HELD)
    assert len(pacs.received) == 1


@pytest.mark.parametrize(
    ("mode", "state", "code"),
    [("off", CaseState.DISCARDED, "ROUTE_OFF"), ("dry-run", CaseState.DRY_RUN, "DRY_RUN")],
)
def test_a_mode_that_forbids_sending_holds_for_what_waits_already(
    tmp_path: Path, pacs: KeepingPacs, mode: str, state: CaseState, code: str
) -> None:
    live = site(tmp_path, destination("pacs", NOWHERE))
    with engine(live, Role.SENDER), Operations(live) as node:
        case = prepare_case(live, 1)
        queue_deliveries(live, [case], "pacs")
        assert eventually(lambda: state_of(node, case.case_id) == (CaseState.DELIVERING, "PEER_UNREACHABLE"), 30.0)
    with keeping_pacs(pacs) as address:
        settings = site(tmp_path, destination("pacs", address, mode=mode))
        with engine(settings, Role.SENDER), Operations(settings) as node:
            assert becomes(node, case.case_id, state)
            details = node.show(case.case_id).case
    assert details.code == code
    assert pacs.received == []
    planned = details.attempts[-1].output.get("would_send")
    if mode == "dry-run":
        (item,) = planned["objects"]
        assert item["sop_instance_uid"] == object_uid(case.case_id)
        assert item["bytes"] == next(case.objects.iterdir()).stat().st_size
        contexts = planned["to"]["presentation_contexts"]
        assert {c["abstract_syntax"] for c in contexts} == {item["sop_class_uid"]}
        assert planned["to"]["called"] == str(address)
    else:
        assert planned is None


def test_a_shadow_that_fails_leaves_the_case_delivered_and_can_be_tried_again(
    tmp_path: Path, pacs: KeepingPacs
) -> None:
    shadow = KeepingPacs(statuses=[0xA900])
    with keeping_pacs(pacs) as address, keeping_pacs(shadow) as research:
        settings = site(tmp_path, destination("pacs", address), destination("research", research, mode="shadow"))
        with engine(settings, Role.SENDER), Operations(settings) as node:
            case = prepare_case(settings, 1)
            queue_deliveries(settings, [case], "pacs")
            queue_deliveries(settings, [case], "research", "shadow")
            assert eventually(lambda: len(shadow.received) == 1 and node.waiting() == [], 30.0)
            assert becomes(node, case.case_id, CaseState.DELIVERED)
            assert node.requeue() == ()
            node.retry(case.case_id, "research")
            assert eventually(lambda: len(shadow.stored) == 1, 30.0)
            assert state_of(node, case.case_id) == (CaseState.DELIVERED, "")
            with pytest.raises(UnknownDestination):
                node.retry(case.case_id, "nobody")


def test_requeue_tries_what_failed_once_and_only_what_was_asked_for(tmp_path: Path, pacs: KeepingPacs) -> None:
    pacs.statuses = [0xA900, 0xA900]
    tps = KeepingPacs(statuses=[0x0122])
    with keeping_pacs(pacs) as address, keeping_pacs(tps) as other:
        settings = site(tmp_path, destination("pacs", address), destination("tps", other))
        with engine(settings, Role.SENDER), Operations(settings) as node:
            cases = [prepare_case(settings, number) for number in (1, 2, 3)]
            queue_deliveries(settings, cases[:2], "pacs")
            queue_deliveries(settings, cases[2:], "tps")
            assert all(becomes(node, case.case_id, CaseState.FAILED) for case in cases)
            listed = node.jobs(failed=True)
            assert {case.case_id for case in listed.cases} == {case.case_id for case in cases}
            assert [a.case_id for a in node.requeue("pacs", only_ask=True)] == [c.case_id for c in cases[:2]]
            assert node.requeue(code="PEER_UNREACHABLE") == ()
            assert [a.destination for a in node.requeue("pacs", "STORE_REFUSED")] == ["pacs", "pacs"]
            assert node.requeue("pacs") == ()
            assert all(becomes(node, case.case_id, CaseState.DELIVERED) for case in cases[:2])
            assert state_of(node, cases[2].case_id)[0] is CaseState.FAILED
            assert len(node.jobs(limit=2).cases) == 2
            assert node.jobs(limit=2).is_whole is False
            assert [c.case_id for c in node.jobs([CaseState.FAILED]).cases] == [cases[2].case_id]
    assert (len(pacs.received), len(tps.received)) == (4, 1)


def test_urgent_work_goes_first_and_an_old_case_before_a_new_one(tmp_path: Path, pacs: KeepingPacs) -> None:
    with keeping_pacs(pacs) as address:
        settings = site(tmp_path, destination("pacs", address))
        with engine(settings):
            cases = [prepare_case(settings, n, priority=p) for n, p in ((1, "low"), (2, "normal"), (3, "normal"))]
            cases.append(prepare_case(settings, 4, priority="urgent"))
            cases.append(prepare_case(settings, 5))
            with Operations(settings) as node:
                queue_deliveries(settings, cases[::-1][1:], "pacs")  # the newest case is queued first
                queue_deliveries(settings, cases[-1:], "pacs")
                (state,) = node.waiting()
                assert (state.queue, state.waiting, state.running, state.delayed) == ("send-pacs", 5, 0, 0)
        with engine(settings, Role.SENDER):
            assert eventually(lambda: len(pacs.received) == 5, 30.0)
    assert pacs.received == [object_uid(cases[k].case_id) for k in (3, 1, 2, 4, 0)]


def waits(node: Operations, count: int) -> Callable[[], bool]:
    return lambda: sum(queue.delayed for queue in node.waiting()) == count


def test_a_case_that_waits_is_cancelled_and_nothing_of_it_is_sent(tmp_path: Path, pacs: KeepingPacs) -> None:
    settings = site(tmp_path, destination("pacs", NOWHERE), retry_delays_s=[600])
    with engine(settings, Role.SENDER), Operations(settings) as node:
        case = prepare_case(settings, 1)
        queue_deliveries(settings, [case], "pacs")
        assert eventually(waits(node, 1), 30.0)
        assert node.cancel(case.case_id).has_effect
        assert state_of(node, case.case_id)[0] is CaseState.CANCELLED
        assert node.cancel(case.case_id).has_effect is False
        assert node.waiting() == []


def test_a_case_is_stopped_between_two_objects(tmp_path: Path, pacs: KeepingPacs) -> None:
    with keeping_pacs(pacs) as address:
        settings = site(tmp_path, destination("pacs", address))
        with engine(settings, Role.SENDER), Operations(settings) as node:
            case = prepare_case(settings, 1)
            first = case.objects / "mr-twin-0001.dcm"
            second = case.objects / "mr-twin-0002.dcm"
            second.write_bytes(first.read_bytes())

            def cancelling(event: Any) -> int:
                node.cancel(case.case_id)
                return 0x0000

            pacs.statuses = [cancelling]
            _renamed(second)
            queue_deliveries(settings, [case], "pacs")
            assert becomes(node, case.case_id, CaseState.CANCELLED)
    assert len(pacs.received) == 1


def _renamed(path: Path) -> None:
    """Another SOP Instance UID for a copy."""
    from pydicom import dcmread

    dataset = dcmread(path)
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "2.25.999"
    dataset.save_as(path)


@pytest.mark.peers
def test_lines_and_lists_are_read_from_postgresql_alike(tmp_path: Path, pacs: KeepingPacs) -> None:
    port = free_port()
    away = AeAddress("ARCHIVE", "127.0.0.1", port)
    with postgres(tmp_path / "postgres") as server:
        document = {
            "node": {"data_dir": str(tmp_path / "data")},
            "database": {"url": server.url()},
            "work": {"retry_delays_s": [600]},
            "destinations": [destination("pacs", away)],
        }
        settings = parse_settings(document, base=tmp_path)
        with engine(settings, Role.SENDER), Operations(settings) as node:
            cases = [prepare_case(settings, number) for number in (1, 2, 3)]
            queue_deliveries(settings, cases, "pacs")
            assert eventually(waits(node, 3), 60.0), node.waiting()
            with JobBook(settings.database, settings.cases()) as book:
                line = [waiting.attempt.case_id for waiting in book.waiting_line("pacs")]
                assert line == [case.case_id for case in cases]
                assert book.bring_stranded_back() == 0
                with keeping_pacs(pacs, port=port):
                    book.wake([book.waiting_line("pacs")[0].attempt])  # what the first brings wakes the others
                    assert eventually(lambda: node.waiting() == [], 60.0), node.waiting()
            assert {case.case_id for case in node.jobs([CaseState.DELIVERED]).cases} == {c.case_id for c in cases}
    assert pacs.received == [object_uid(case.case_id) for case in cases]


def test_the_first_questions_of_many_threads_open_the_database_once(tmp_path: Path) -> None:
    settings = site(tmp_path)
    with engine(settings), Operations(settings) as node:
        begin = Barrier(8)

        def ask(_: int) -> tuple[int, int]:
            begin.wait()
            return len(node.jobs().cases), id(node._book)

        with ThreadPoolExecutor(8) as threads:
            answers = set(threads.map(ask, range(8)))
    assert len(answers) == 1
