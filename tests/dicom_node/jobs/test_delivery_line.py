"""Whose turn it is in front of a destination that was away, from the rows of the engine."""

from pathlib import Path
from typing import Any

import pytest
from dbos import WorkflowStatus

from dicom_node.jobs.attempts import AttemptId
from dicom_node.jobs.delivery_line import DeliveryLine
from dicom_node.network.addresses import AeAddress
from dicom_node.sending.transmission import Transmission
from dicom_node.settings.config import NodeSettings, parse_settings
from tests.peers import free_port
from tests.prepared_cases import destination, prepare_case


def settings_of(folder: Path) -> NodeSettings:
    return parse_settings({"node": {"data_dir": "data"}}, base=folder)


def row(workflow_id: str, status: Any, code: str = "") -> WorkflowStatus:
    made = WorkflowStatus()
    made.workflow_id, made.status, made.created_at, made.priority = workflow_id, status, 0, None
    made.output = {"code": code}
    return made


def rows_of(rows: list[WorkflowStatus]) -> Any:
    def list_rows(*, workflow_ids: list[str] | None = None, status: Any = None, **_: Any) -> list[WorkflowStatus]:
        wanted = [status] if isinstance(status, str) else status
        return [
            one
            for one in rows
            if (workflow_ids is None or one.workflow_id in workflow_ids) and (wanted is None or one.status in wanted)
        ]

    return list_rows


@pytest.mark.parametrize(
    ("status", "code", "is_behind"),
    [
        ("DELAYED", "PEER_UNREACHABLE", True),
        ("ENQUEUED", "PEER_UNREACHABLE", True),  # woken, and not taken yet
        ("PENDING", "PEER_UNREACHABLE", False),  # it is there already, on another host
        ("DELAYED", "NOT_CONFIRMED", False),
        ("ENQUEUED", "", False),
    ],
)
def test_a_case_lets_an_older_one_go_first_that_waited_for_the_same_destination(
    tmp_path: Path, status: str, code: str, is_behind: bool
) -> None:
    settings = settings_of(tmp_path)
    older, younger = prepare_case(settings, 1), prepare_case(settings, 2)
    rows = [row(f"{older.case_id}:1:deliver.pacs:1", "SUCCESS", code), row(f"{older.case_id}:1:deliver.pacs:2", status)]
    rows[1].priority = older.record().queue_number
    line = DeliveryLine(rows_of(rows), lambda attempt: None, settings.cases())
    assert line.is_behind(AttemptId(younger.case_id, 1, "deliver.pacs", 2)) is is_behind


def test_nobody_lets_a_younger_case_go_first(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    older, younger = prepare_case(settings, 1), prepare_case(settings, 2)
    rows = [row(f"{younger.case_id}:1:deliver.pacs:1", "SUCCESS", "PEER_UNREACHABLE")]
    rows.append(row(f"{younger.case_id}:1:deliver.pacs:2", "DELAYED"))
    rows[1].priority = younger.record().queue_number
    line = DeliveryLine(rows_of(rows), lambda attempt: None, settings.cases())
    assert not line.is_behind(AttemptId(older.case_id, 1, "deliver.pacs", 1))


def test_who_lets_another_go_first_waits_long_since_that_one_asks(tmp_path: Path) -> None:
    nobody = destination("pacs", AeAddress("ARCHIVE", "127.0.0.1", free_port()))
    settings = parse_settings({"node": {"data_dir": "data"}, "destinations": [nobody]}, base=tmp_path)
    older, younger = prepare_case(settings, 1), prepare_case(settings, 2)
    rows = [row(f"{older.case_id}:1:deliver.pacs:1", "SUCCESS", "PEER_UNREACHABLE")]
    rows.append(row(f"{older.case_id}:1:deliver.pacs:2", "DELAYED"))
    rows[1].priority = older.record().queue_number
    line = DeliveryLine(rows_of(rows), lambda attempt: None, settings.cases())
    sending = Transmission(settings, lambda case_id: [], line=line)
    behind = sending.perform(younger, AttemptId(younger.case_id, 1, "deliver.pacs", 1))
    first = sending.perform(older, AttemptId(older.case_id, 1, "deliver.pacs", 1))
    assert (behind["code"], first["code"]) == ("PEER_UNREACHABLE", "PEER_UNREACHABLE")
    assert behind["wait_s"] == max(settings.retry.delays_s)
    assert first["wait_s"] < min(settings.retry.delays_s) * 2
