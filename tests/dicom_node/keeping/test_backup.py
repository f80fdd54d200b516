import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from threading import Event, Thread

import pytest

from dicom_node.errors import BackupError
from dicom_node.jobs.cases import CaseStore
from dicom_node.keeping.backup import back_up, backups, reruns, restore
from dicom_node.keeping.backup_files import read_sums
from dicom_node.named_locks import NamedLocks
from dicom_node.settings.config import NodeSettings, parse_settings
from tests.finished_jobs import delivered, write_rows

CASE = "00000000000000a1"


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rows")
    write_rows(folder, {**delivered(CASE, "pacs"), "00000000000000b1:1:read:1": None, f"{CASE}:2:read:1": None})
    return folder / "node.sqlite"


@pytest.fixture
def settings(tmp_path: Path, database: Path) -> NodeSettings:
    """A node with one case and one series in its spool, which share an instance."""
    data_dir = tmp_path / "data"
    received = CaseStore.under(data_dir).folder(CASE).received
    received.mkdir(parents=True)
    (received / "1.dcm").write_bytes(b"first" * 1000)
    (received / "2.dcm").write_bytes(b"second" * 1000)
    spooled = data_dir / "spool" / "series"
    spooled.mkdir(parents=True)
    (spooled / "2.dcm").hardlink_to(received / "2.dcm")
    (spooled / "3.dcm.0123.part").write_bytes(b"half")
    (data_dir / "results").mkdir()
    (data_dir / "selftest").mkdir()
    (data_dir / "selftest" / "ct.npz").write_bytes(b"x")
    (data_dir / "node.lock").write_text("1")
    for cache in (data_dir / "case-index" / "cases.sqlite", data_dir / "cases" / CASE / "view" / "ct.nii"):
        cache.parent.mkdir(parents=True, exist_ok=True)
        cache.write_bytes(b"x")
    shutil.copy(database, data_dir / "node.sqlite")
    return parse_settings({"node": {"data_dir": str(data_dir)}}, base=tmp_path)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def destroyed(settings: NodeSettings) -> NodeSettings:
    shutil.rmtree(settings.data_dir)
    return settings


def test_what_is_restored_is_what_was_backed_up(settings: NodeSettings, tmp_path: Path) -> None:
    before = content(settings.data_dir)
    back_up(settings, tmp_path / "backups")
    files = restore(destroyed(settings), tmp_path / "backups")
    after = content(settings.data_dir)
    left_out = {"node.sqlite", "node.lock", "selftest/ct.npz", "spool/series/3.dcm.0123.part"}
    left_out |= {"case-index/cases.sqlite", f"cases/{CASE}/view/ct.nii"}
    assert set(after) == set(before) - left_out | {"node.sqlite"}
    assert all(after[name] == before[name] for name in set(before) - left_out)
    assert files == len(after) == 4
    assert (settings.data_dir / "results").is_dir()
    rows = sqlite3.connect(settings.data_dir / "node.sqlite")
    assert rows.execute("select count(*) from workflow_status").fetchone() == (len(delivered(CASE, "pacs")) + 2,)
    rows.close()


def test_files_that_are_one_stay_one(settings: NodeSettings, tmp_path: Path) -> None:
    made = back_up(settings, tmp_path / "backups")
    names = (Path("spool/series/2.dcm"), Path("cases") / CASE / "received" / "2.dcm")
    twins = [made.path / "data" / name for name in names]
    assert len({path.stat().st_ino for path in twins}) == 1
    restore(destroyed(settings), made.path)
    twins = [settings.data_dir / name for name in names]
    assert len({path.stat().st_ino for path in twins}) == 1
    assert twins[0].stat().st_nlink == 2  # and the backup does not change with the node


def test_the_next_backup_holds_all_and_takes_space_for_changes_only(settings: NodeSettings, tmp_path: Path) -> None:
    first = back_up(settings, tmp_path / "backups")
    received = CaseStore.under(settings.data_dir).folder(CASE).received
    (received / "1.dcm").write_bytes(b"FIRST" * 1000)
    (received / "4.dcm").write_bytes(b"fourth" * 1000)
    second = back_up(settings, tmp_path / "backups")
    database_mb = (second.path / "node.sqlite").stat().st_size / 1e6
    assert second.new_mb == pytest.approx(database_mb + 0.011)
    one, two = (made.path / "data" / "cases" / CASE / "received" for made in (first, second))
    assert (one / "2.dcm").stat().st_ino == (two / "2.dcm").stat().st_ino
    assert (one / "1.dcm").read_bytes()[:5] == b"first"
    restore(destroyed(settings), tmp_path / "backups")
    assert (received / "1.dcm").read_bytes()[:5] == b"FIRST"
    assert len(list(received.glob("*.dcm"))) == 3


def test_the_oldest_backups_go_and_unfinished_ones_are_never_restored(settings: NodeSettings, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    made = [back_up(settings, folder, keep=2).path for _ in range(3)]
    assert backups(folder) == made[1:]
    made[2].rename(folder / f".partial-{made[2].name}")
    assert backups(folder) == [made[1]]
    back_up(settings, folder)
    assert not list(folder.glob(".partial-*"))


def test_a_damaged_or_missing_file_is_found_and_nothing_is_put_in_place(settings: NodeSettings, tmp_path: Path) -> None:
    made = back_up(settings, tmp_path / "backups")
    victim = made.path / "data" / "cases" / CASE / "received" / "1.dcm"
    whole = victim.read_bytes()
    destroyed(settings)
    victim.write_bytes(whole[:-1] + b"!")
    with pytest.raises(BackupError, match="damaged"):
        restore(settings, made.path)
    assert not (settings.data_dir / "cases").exists()
    victim.unlink()
    with pytest.raises(BackupError, match="missing"):
        restore(settings, made.path)
    victim.write_bytes(whole)
    assert restore(settings, made.path) == len(read_sums(made.path))


def test_a_restore_overwrites_nothing(settings: NodeSettings, tmp_path: Path) -> None:
    made = back_up(settings, tmp_path / "backups")
    before = content(settings.data_dir)
    with pytest.raises(BackupError, match="not empty"):
        restore(settings, made.path)
    assert content(settings.data_dir) == before


@pytest.mark.parametrize("inside", [".", "backups", "cases/backups"])
def test_a_backup_does_not_lie_in_what_it_saves(settings: NodeSettings, inside: str) -> None:
    with pytest.raises(BackupError, match="inside"):
        back_up(settings, settings.data_dir / inside)


def test_a_folder_without_a_whole_backup_is_named(settings: NodeSettings, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="no whole backup"):
        restore(settings, tmp_path / "nowhere")
    made = back_up(settings, tmp_path / "backups")
    (made.path / "backup.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(BackupError, match="another version"):
        restore(destroyed(settings), made.path)


def test_a_server_is_dumped_by_its_own_tools_first(settings: NodeSettings, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    (shared / "cases" / CASE).mkdir(parents=True)
    (shared / "cases" / CASE / "case.json").write_text("{}")
    document = {
        "node": {"data_dir": str(settings.data_dir), "shared_dir": str(shared)},
        "database": {"url": "postgresql://perfnode@nowhere/perfnode"},
    }
    several = parse_settings(document, base=tmp_path)
    with pytest.raises(BackupError, match="pg_dump"):
        back_up(several, tmp_path / "backups")
    with pytest.raises(BackupError, match="is a file"):
        back_up(settings, tmp_path / "backups", files_only=True)


def test_no_case_is_removed_while_a_backup_is_made(settings: NodeSettings, tmp_path: Path) -> None:
    locks = NamedLocks(settings.database, settings.data_dir)
    with locks.hold("chore:retention"):
        backup = Thread(target=back_up, args=(settings, tmp_path / "backups"))
        backup.start()
        backup.join(0.5)
        assert backup.is_alive()
        assert not backups(tmp_path / "backups")
    backup.join(30)
    assert len(backups(tmp_path / "backups")) == 1


def test_a_case_that_began_anew_is_told_from_a_new_one(settings: NodeSettings) -> None:
    assert settings.database.path is not None
    assert reruns(settings.database.path) == {f"{CASE}:2:read:1"}


def test_while_cases_begin_anew_all_the_time_there_is_no_backup(settings: NodeSettings, tmp_path: Path) -> None:
    database, ended = settings.database.path, Event()
    assert database is not None

    def rerun() -> None:
        with closing(sqlite3.connect(database, timeout=30)) as connection:
            names = [name for _, name, *_ in connection.execute("pragma table_info(workflow_status)")]
            copied = ", ".join("?" if name == "workflow_uuid" else name for name in names)
            query = f"insert into workflow_status select {copied} from workflow_status limit 1"  # noqa: S608
            run = 3
            while not ended.wait(0.001):
                with connection:
                    connection.execute(query, (f"{CASE}:{run}:read:1",))
                run += 1

    person = Thread(target=rerun)
    person.start()
    try:
        with pytest.raises(BackupError, match="all the time"):
            back_up(settings, tmp_path / "backups")
    finally:
        ended.set()
        person.join()
    assert backups(tmp_path / "backups") == []
    back_up(settings, tmp_path / "backups")
