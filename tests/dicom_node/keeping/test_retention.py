import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from dicom_node.cli import app
from dicom_node.errors import CaseNotRemovable, UnknownCase
from dicom_node.jobs.cases import CaseFolder, CaseRecord, CaseStore
from dicom_node.jobs.job_database import JobDatabase, server_database
from dicom_node.jobs.jobs import JobBook
from dicom_node.keeping.removable import Because
from dicom_node.keeping.removal_proof import RemovalLog, hashed
from dicom_node.keeping.retention import Retention, remove_ledgers, remove_structures
from dicom_node.named_locks import NamedLocks
from dicom_node.network.commitment import CommitmentBook
from dicom_node.network.commitment_messages import CommitmentReport, InstanceReference
from dicom_node.operations import Operations
from dicom_node.reception.holdings import Holdings
from dicom_node.reception.spool import key_of
from dicom_node.settings.config import parse_settings
from dicom_node.settings.retention_policy import RetentionPolicy
from tests.finished_jobs import delivered, write_rows
from tests.removal_process import LATER_S, retention
from tests.small_ct import SERIES, write_series
from tests.torture.postgres import postgres

GONE, ALSO, WAITS, FAILED = "00000000000000a1", "00000000000000a2", "00000000000000b1", "00000000000000c1"


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rows")
    rows = {**delivered(GONE, "pacs", "tps"), **delivered(ALSO, "pacs")}
    rows |= {f"{WAITS}:1:read:1": {"result": "done"}, f"{WAITS}:1:encode:1": None}
    rows |= {f"{FAILED}:1:read:1": {"result": "failed", "code": "STAGE_CRASHED"}}
    write_rows(folder, rows)
    return folder / "node.sqlite"


@pytest.fixture
def data_dir(tmp_path: Path, database: Path) -> Path:
    """Four cases of one series; the first two share their instances, as late slices make them."""
    shutil.copy(database, tmp_path / "node.sqlite")
    for number, case_id in enumerate((GONE, ALSO, WAITS, FAILED)):
        folder = CaseStore.under(tmp_path).folder(case_id)
        folder.received.mkdir(parents=True)
        for path in write_series(tmp_path / "sent", 2):
            target = folder.received / f"{key_of(path.stem)}.dcm"
            if number == 1:
                target.hardlink_to(CaseStore.under(tmp_path).folder(GONE).received / target.name)
            else:
                path.rename(target)
        folder.objects.mkdir()
        folder.object("parametric-map").write_bytes(b"object")
        folder.write_record(CaseRecord(case_id, SERIES, f"digest{number}", 2, "CT"))
    return tmp_path


def ids(data_dir: Path) -> list[str]:
    with JobBook(JobDatabase.under(data_dir), CaseStore.under(data_dir)) as jobs:
        rows = {case.case_id for case in jobs.cases()}
    folders = {folder.case_id for folder in CaseStore.under(data_dir).all()}
    assert rows == folders
    return sorted(rows)


def test_what_is_delivered_and_old_goes_and_nothing_else(data_dir: Path) -> None:
    with retention(data_dir) as keeper:
        assert sorted(keeper.look()) == [GONE, ALSO]
        assert keeper.look() == []
    assert ids(data_dir) == [WAITS, FAILED]
    assert not list((data_dir / "removing").iterdir())


def test_young_cases_stay_unless_there_is_no_space_and_the_oldest_goes_first(data_dir: Path) -> None:
    with retention(data_dir, RetentionPolicy(minimum_free_mb=0.0), time.time) as keeper:
        assert keeper.look() == []
    with retention(data_dir, RetentionPolicy(minimum_free_mb=1e12), time.time) as keeper:
        assert list(keeper.due()) == [(GONE, Because.SPACE), (ALSO, Because.SPACE)]
        assert keeper.look() == [GONE, ALSO]
    assert ids(data_dir) == [WAITS, FAILED]


def test_the_proof_says_what_was_stored_and_confirmed_and_names_nobody(data_dir: Path) -> None:
    with retention(data_dir) as keeper:
        keeper.look()
    line = next(line for line in RemovalLog.under(data_dir).lines() if line["case"] == GONE)
    assert (line["because"], line["state"], line["instances_received"]) == ("AGED", "DELIVERED", 2)
    assert line["series_sha256"] == hashed(SERIES)
    uid = f"1.2.3.{int(GONE, 16)}"
    for name in ("pacs", "tps"):
        at = line["destinations"][name]
        assert (at["stored"], at["confirmed"]) == (1, 1)
        assert at["objects"][0]["uid_sha256"] == hashed(uid)
        assert at["objects"][0]["confirmed_by"] == "commitment"
        assert at["objects"][0]["confirmed_at"] >= at["objects"][0]["stored_at"]
    assert not any(text in json.dumps(line) for text in (SERIES, uid, "CANARY"))


def test_a_removed_case_takes_nothing_from_others_and_is_claimed_no_more(data_dir: Path) -> None:
    uid = f"{SERIES}.1"
    holdings = Holdings.under(data_dir, data_dir)
    before = [p.read_bytes() for p in CaseStore.under(data_dir).folder(WAITS).instances()]
    shared = CaseStore.under(data_dir).folder(ALSO)
    with retention(data_dir) as keeper:
        keeper.retire(GONE)
        assert [p.read_bytes() for p in shared.instances()] == before
        assert uid in holdings.classes_of([uid])
    for case_id in (ALSO, WAITS, FAILED):
        shutil.rmtree(CaseStore.under(data_dir).folder(case_id).path)
    assert holdings.classes_of([uid]) == {}


def test_an_old_answer_does_not_count_for_the_next_life_of_a_case(data_dir: Path) -> None:
    transaction = f"2.25.{int(GONE, 16)}"
    book, instance = CommitmentBook.under(data_dir), InstanceReference("1.2", "1.2.3")
    book.note_request(transaction, [instance])
    book.keep(CommitmentReport(transaction, (instance,), {}))
    with retention(data_dir) as keeper:
        keeper.look()
    assert book.report(transaction) is None


def test_a_person_may_remove_a_young_case_but_none_that_has_not_arrived(data_dir: Path) -> None:
    with retention(data_dir, clock=time.time) as keeper:
        for case_id, why in ((WAITS, "ON_ITS_WAY"), (FAILED, "FAILED")):
            with pytest.raises(CaseNotRemovable, match=why):
                keeper.retire(case_id)
        with pytest.raises(UnknownCase):
            keeper.retire("0000")
        keeper.retire(GONE)
    assert ids(data_dir) == [ALSO, WAITS, FAILED]


def test_a_case_that_somebody_works_on_stays(data_dir: Path) -> None:
    locks = NamedLocks(JobDatabase.under(data_dir), data_dir)
    with retention(data_dir) as keeper:
        with locks.hold(f"series:{key_of(SERIES)}"):
            assert keeper.look() == []
            with pytest.raises(CaseNotRemovable):
                keeper.retire(GONE)
        assert ids(data_dir) == [GONE, ALSO, WAITS, FAILED]
        assert keeper.look() == [GONE, ALSO]


def test_a_person_who_wants_a_case_again_waits_until_its_removal_is_decided(data_dir: Path) -> None:
    settings = parse_settings({"node": {"data_dir": str(data_dir)}})

    def retry() -> None:
        with Operations(settings) as node:
            node.retry(GONE)

    person = Thread(target=retry)
    with NamedLocks(settings.database, data_dir).hold(f"series:{key_of(SERIES)}"):
        person.start()
        person.join(0.5)
        assert person.is_alive()
    person.join(30)
    with retention(data_dir) as keeper:
        assert any(attempt.is_active for attempt in keeper.jobs.case(GONE).attempts)


def test_a_retry_between_decision_and_act_keeps_the_case(data_dir: Path) -> None:
    with retention(data_dir) as keeper:
        due = dict(keeper.due())
        keeper.jobs.retry(GONE)
        assert due == {GONE: Because.AGED, ALSO: Because.AGED}
        assert not keeper._retired(GONE, due[GONE])
        assert not keeper._retired(FAILED, Because.AGED)  # as if it had failed since it was decided
        assert keeper.look() == [ALSO]
    assert ids(data_dir) == [GONE, WAITS, FAILED]


def test_a_retry_of_a_case_that_has_just_been_set_aside_brings_it_back(data_dir: Path) -> None:
    folder = CaseStore.under(data_dir).folder(GONE)
    files = sorted(path.name for path in folder.path.rglob("*"))
    with retention(data_dir) as keeper:
        keeper._set_aside(folder, keeper.jobs.case(GONE), Because.AGED)
        assert not folder.path.exists()
        keeper.jobs.retry(GONE)
        assert keeper.look() == [ALSO]
    assert ids(data_dir) == [GONE, WAITS, FAILED]
    assert sorted(path.name for path in folder.path.rglob("*")) == files


def test_the_same_series_sent_while_its_case_goes_is_a_case_of_its_own(data_dir: Path) -> None:
    folder = CaseStore.under(data_dir).folder(GONE)
    with retention(data_dir) as keeper:
        keeper._set_aside(folder, keeper.jobs.case(GONE), Because.AGED)
        folder.received.mkdir(parents=True)
        folder.write_record(CaseRecord(GONE, SERIES, "digest", 2, "CT"))
        keeper.jobs.start(GONE)
        keeper.look()
        (attempt,) = keeper.jobs.case(GONE).attempts
    assert (attempt.id.run, attempt.is_active) == (2, True)
    assert folder.path.exists()
    assert ids(data_dir) == [GONE, WAITS, FAILED]


def test_after_its_removal_a_case_begins_anew_under_the_same_id(data_dir: Path) -> None:
    with retention(data_dir) as keeper:
        keeper.look()
        keeper.jobs.submit(GONE)
        (attempt,) = keeper.jobs.case(GONE).attempts
    assert str(attempt.id) == f"{GONE}:1:read:1"
    assert attempt.is_active


def test_messages_to_people_are_forgotten_once_they_have_ended(data_dir: Path) -> None:
    with retention(data_dir) as keeper:
        for name in ("alert-1", "alert-2"):
            keeper.jobs.tell(name, "oncall", {})
        keeper.jobs._client.cancel_workflows(["alert-1"])
        keeper.look()
        assert [row.workflow_id for row in keeper.jobs._client.list_workflows(name="send_alert")] == ["alert-2"]


def test_the_command_says_what_would_go_and_removes_it(data_dir: Path) -> None:
    site = data_dir / "site.toml"
    site.write_text(f'[node]\ndata_dir = "{data_dir}"\n[retention]\nminimum_free_mb = 1000000000\n')

    def retire(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["retire", *arguments, "--config", str(site)])

    assert "2 case(s) would go" in retire("--dry-run").stdout
    assert "stays: ON_ITS_WAY" in retire("--dry-run", WAITS).stdout
    assert ids(data_dir) == [GONE, ALSO, WAITS, FAILED]
    assert isinstance(retire(WAITS).exception, CaseNotRemovable)
    assert retire(GONE).exit_code == 0
    with NamedLocks(JobDatabase.under(data_dir), data_dir).hold("chore:retention"):
        assert isinstance(retire().exception, CaseNotRemovable)
    assert "removed 1 case(s)" in retire().stdout
    assert ids(data_dir) == [WAITS, FAILED]


def test_killed_at_any_point_the_removal_is_finished_at_the_next_look(data_dir: Path, tmp_path: Path) -> None:
    with retention(data_dir) as keeper:
        keeper.retire(ALSO)
    template = tmp_path / "template"
    shutil.copytree(data_dir, template, ignore=shutil.ignore_patterns("template", "live", "sent", "removals"))
    command = [sys.executable, "-m", "tests.removal_process", str(template), str(tmp_path / "points")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    found: list[tuple[int, dict[str, Any], dict[str, Any]]] = [json.loads(line) for line in done.stdout.splitlines()]
    assert [status for status, _, _ in found] == [-signal.SIGKILL] * (len(found) - 1) + [0]
    for _, first, second in found:
        for left in (first, second):
            assert {WAITS: 2, FAILED: 1}.items() <= left["rows"].items()
            assert {WAITS, FAILED} <= set(left["folders"])
        is_whole = first["files"].get(GONE, 0) >= 4 and first["rows"].get(GONE) == 6
        assert is_whole or GONE in first["leaving"] or GONE in first["proofs"]
        assert second["folders"] == [WAITS, FAILED]
        assert second["leaving"] == []
        assert second["proofs"] == [GONE]
        assert sorted(second["rows"]) == [WAITS, FAILED]
    moments = {(GONE in first["folders"], GONE in first["rows"], GONE in first["proofs"]) for _, first, _ in found}
    whole, aside, forgotten, proven = (
        (True, True, False),
        (False, True, False),
        (False, False, False),
        (False, False, True),
    )
    assert moments == {whole, aside, forgotten, proven}


def test_on_a_server_the_same_goes_and_a_lock_of_another_host_keeps_it(tmp_path: Path) -> None:
    with postgres(tmp_path / "server") as server:
        url = server.url("perfnode")
        database = server_database(url, None)
        write_rows(tmp_path, {**delivered(GONE, "pacs"), f"{WAITS}:1:read:1": None}, url)
        for case_id in (GONE, WAITS):
            folder = CaseStore.under(tmp_path / "shared").folder(case_id)
            folder.received.mkdir(parents=True)
            folder.write_record(CaseRecord(case_id, SERIES, "digest", 1, "CT"))
        here, there = NamedLocks(database, tmp_path / "here"), NamedLocks(database, tmp_path / "there")
        with JobBook(database, CaseStore.under(tmp_path / "shared")) as jobs:
            keeper = Retention(tmp_path / "shared", jobs, RetentionPolicy(), here, lambda: LATER_S)
            with there.hold(f"series:{key_of(SERIES)}"):
                assert keeper.look() == []
            assert keeper.look() == [GONE]
            assert [case.case_id for case in jobs.cases()] == [WAITS]


# -- what belongs to a series ------------------------------------------------------------------------------------------


def test_structure_sets_stay_as_long_as_their_series_has_a_case(tmp_path: Path) -> None:
    for series in ("1.2", "1.3"):
        (tmp_path / key_of(series)).mkdir()
        (tmp_path / key_of(series) / "a.dcm").write_bytes(b"set")
    assert remove_structures(tmp_path, {"1.2"}, LATER_S) == 1
    assert [path.name for path in tmp_path.iterdir()] == [key_of("1.2")]
    assert remove_structures(tmp_path, set(), 0.0) == 0
    assert remove_structures(tmp_path, set(), LATER_S) == 1


def test_results_are_remembered_longer_than_cases(data_dir: Path) -> None:
    ledger = CaseFolder(data_dir / "cases" / GONE).ledger
    ledger.mkdir()
    (ledger / "0123.json").write_text("[]")
    with retention(data_dir, RetentionPolicy(keep_results_days=0.0)) as keeper:
        keeper.look()
    assert (ledger / "0123.json").exists()
    assert remove_ledgers(ledger, set(), 0.0) == 0
    assert remove_ledgers(ledger, set(), LATER_S) == 1
