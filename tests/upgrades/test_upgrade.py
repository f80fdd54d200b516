"""Jobs of the previous version finish under this one: its database in every state, and a node that goes on with it."""

import json
import sqlite3
from collections import Counter
from pathlib import Path

import pytest
from pydicom import dcmread

from dicom_node.jobs.attempts import AttemptId
from dicom_node.jobs.cases import CaseFolder, CaseRecord, CaseStore
from tests.keeping_pacs import KeepingPacs, keeping_pacs
from tests.peers import eventually
from tests.running_node import RunningNode, running_node
from tests.upgrades.stage import KINDS, NOTICE, STORAGE, object_uid, run

HERE = Path(__file__).parent
VERSIONS = sorted(path.stem for path in HERE.glob("*.sql"))
Rows = dict[str, tuple[str, int]]


def rows_of(data_dir: Path) -> Rows:
    """Status and time of the last change of every row."""
    connection = sqlite3.connect(data_dir / "node.sqlite")
    try:
        rows = connection.execute("select workflow_uuid, status, updated_at from workflow_status").fetchall()
    finally:
        connection.close()
    return {name: (status, updated) for name, status, updated in rows}


def left_by(version: str, data_dir: Path) -> dict[str, tuple[CaseFolder, str]]:
    """The data directory as that version left it: folder, and how it is to end, of the case in each state."""
    data_dir.mkdir(parents=True)
    connection = sqlite3.connect(data_dir / "node.sqlite")
    connection.executescript((HERE / f"{version}.sql").read_text())
    connection.close()
    done = [AttemptId.parse(name) for name, (status, _) in rows_of(data_dir).items() if status == "SUCCESS"]
    cases = {}
    for number, entry in enumerate(json.loads((HERE / f"{version}.json").read_text())):
        folder = CaseStore.under(data_dir).folder(entry["case"])
        folder.received.mkdir(parents=True)
        (folder.received / "1.dcm").write_bytes(b"received")
        folder.write_record(CaseRecord(folder.case_id, f"1.2.3.{number}", "digest", 1, "CT"))
        folder.set_cancelled(entry["ends"] == "CANCELLED")
        for unit in ("read", "infer", "encode", "check", "notice"):
            if any((a.case_id, a.unit) == (folder.case_id, unit) for a in done):
                run(unit, folder)
        cases[entry["state"]] = folder, entry["ends"]
    return cases


def uids(folder: CaseFolder, *kinds: str) -> set[str]:
    return {object_uid(folder.case_id, kind) for kind in kinds or KINDS}


@pytest.mark.parametrize("version", VERSIONS)
def test_jobs_of_an_earlier_version_finish_under_this_one(tmp_path: Path, version: str) -> None:
    node_dir = tmp_path / "node"
    cases = left_by(version, node_dir / "data")
    before = rows_of(node_dir / "data")
    first, second = KeepingPacs(), KeepingPacs()
    delivered_before = [dcmread(path) for path in cases["verify-queued"][0].object_paths()]
    first.stored.update({dataset.SOPInstanceUID: dataset for dataset in delivered_before})
    with (
        keeping_pacs(first, storage=STORAGE) as d0,
        keeping_pacs(second, storage=STORAGE) as d1,
        running_node(node_dir, [d0, d1], program="tests.upgrades.node", work="workers = 2") as node,
    ):
        assert eventually(lambda: nothing_waits(node, len(cases)), 120.0), node.log()
        ended = {case.case_id: case.state.value for case in node.cases()}
    assert ended == {folder.case_id: ends for folder, ends in cases.values()}, node.log()
    to_both = {name for name, (_, ends) in cases.items() if ends == "DELIVERED"} - {"delivered"}
    expected = [{uid for name in to_both for uid in uids(cases[name][0])} | uids(cases["notice-queued"][0], NOTICE)] * 2
    expected[0] = expected[0] - uids(cases["verify-queued"][0]) - uids(cases["deliver-delayed"][0])
    for pacs, wanted in zip((first, second), expected, strict=True):
        assert Counter(pacs.received) == Counter(wanted)  # each once, and none of what was delivered before
    after = rows_of(node_dir / "data")
    finished_before = [name for name, (status, _) in before.items() if status in ("SUCCESS", "CANCELLED")]
    assert finished_before
    assert all(after[name] == before[name] for name in finished_before)
    assert all(status in ("SUCCESS", "CANCELLED") for status, _ in after.values())


def nothing_waits(node: RunningNode, count: int) -> bool:
    cases = node.cases()
    return len(cases) >= count and not any(a.is_active for case in cases for a in case.attempts)
