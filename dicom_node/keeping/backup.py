"""Backups of a running node, and their way back.

    <folder>/2026-11-25T020000Z/
        backup.json       what this is
        SHA256SUMS        of every file, as `sha256sum -c` reads it
        node.sqlite       the database, as it stood at one moment
        data/…            the data directory of this host
        shared/…          the shared directory, where there is one

The database is read first and the files afterwards. A row says what has been done, and what it says was made was on
disk before: so a file that a row speaks of is in the backup, and a file without a row is work that is done again. The
other way round a row might speak of files that were not there yet when they were copied. Files are copied in the order
in which instances move on, so that one which moves meanwhile is found at its later place.

Each backup is whole: what has not changed since the one before is a hard link to it. One that is not finished has a
name that says so and is never restored. While a backup is made no case is removed.
"""

import json
import os
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from dicom_node.durable_files import make_directory, rename_directory, sync_directory, write_json
from dicom_node.errors import BackupError
from dicom_node.keeping.backup_files import BackupFiles, copy_hashed, link_or_copy, read_sums
from dicom_node.keeping.retention import REMOVING
from dicom_node.named_locks import NamedLocks
from dicom_node.settings.config import NodeSettings

_FORMAT: Final = 1
_PARTIAL: Final = ".partial-"
_RESTORING: Final = ".restoring"
_NAME: Final = "%Y-%m-%dT%H%M%S.%fZ"
_ROUNDS: Final = 5
_DESCRIPTION: Final = "backup.json"


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that is whole."""

    path: Path
    files: int
    size_mb: float
    new_mb: float
    """What was not in the one before."""


def back_up(settings: NodeSettings, folder: Path, *, keep: int = 7, files_only: bool = False) -> Backup:
    """Make a backup of a node, which may be running.

    Args:
        settings: of the node.
        folder: where backups lie; must not be inside the node's own directories.
        keep: so many backups stay.
        files_only: the database is a server and has just been dumped by its own tools.

    Raises:
        BackupError: nothing to back up, the wrong place, or the node never stood still long enough.
        OSError: the disk; the backups before this one are untouched.
    """
    _require_sense(settings, folder, files_only)
    with _for_nobody_else():
        return _back_up(settings, folder, keep, files_only)


def _back_up(settings: NodeSettings, folder: Path, keep: int, files_only: bool) -> Backup:
    make_directory(folder)
    for leftover in folder.glob(f"{_PARTIAL}*"):
        shutil.rmtree(leftover)
    earlier = backups(folder)
    target = folder / f"{_PARTIAL}{datetime.now(UTC).strftime(_NAME)}"
    with NamedLocks(settings.database, settings.data_dir).hold(REMOVING):
        copy = BackupFiles(target, earlier[-1] if earlier else None)
        _copy_all(settings, copy)
    copy.write_sums()
    made = Backup(folder / target.name.removeprefix(_PARTIAL), len(copy.sums), copy.size_mb, copy.new_mb)
    write_json(target / _DESCRIPTION, {"format": _FORMAT, "files": made.files, "database": not files_only})
    os.sync()
    rename_directory(target, made.path)
    for old in backups(folder)[:-keep]:
        shutil.rmtree(old)
    return made


def backups(folder: Path) -> list[Path]:
    """The whole backups in a folder, the oldest first."""
    return sorted(path.parent for path in folder.glob(f"*/{_DESCRIPTION}") if not path.parent.name.startswith("."))


def restore(settings: NodeSettings, folder: Path) -> int:
    """Put a backup back; how many files it was.

    Every file is compared with its checksum while it is copied, and nothing appears in its place before all are there.

    Args:
        settings: of the node that is to be; its directories must be empty or absent.
        folder: one backup, or a folder of them: then the newest.

    Raises:
        BackupError: there is no whole backup, a file is damaged, or there is something in the way.
    """
    source = folder if (folder / _DESCRIPTION).exists() else next(iter(backups(folder)[::-1]), None)
    if source is None:
        raise BackupError(str(folder), "there is no whole backup here")
    if json.loads((source / _DESCRIPTION).read_text()).get("format") != _FORMAT:
        raise BackupError(str(source), "it was made by another version of this program, which can restore it")
    places = {"data": settings.data_dir}
    if (source / "shared").is_dir():
        places["shared"] = settings.shared_dir
    for place in set(places.values()):
        if place.is_dir() and any(entry.name not in (_RESTORING, "lost+found") for entry in place.iterdir()):
            raise BackupError(str(place), "it is not empty; move away what is there, a restore overwrites nothing")
    if "shared" in places and settings.shared_dir == settings.data_dir:
        raise BackupError(str(source), "it holds a shared directory, and the site file names none")
    with _for_nobody_else():
        files = _copy_back(source, places)
    for place in places.values():
        _move_into_place(place / _RESTORING, place)
    return files


@contextmanager
def _for_nobody_else() -> Iterator[None]:
    """What we keep is patient data."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def _require_sense(settings: NodeSettings, folder: Path, files_only: bool) -> None:
    if settings.database.is_server and not files_only:
        why = "the database is a server: dump it with pg_dump first, then back up with --files-only (docs/backup.md)"
        raise BackupError(str(folder), why)
    if files_only and not settings.database.is_server:
        raise BackupError(str(folder), "--files-only is for a database on a server; this one is a file")
    if not settings.database.exists:
        raise BackupError(str(settings.data_dir), "there is no node here yet")
    for place in (settings.data_dir, settings.shared_dir):
        if folder.resolve().is_relative_to(place.resolve()):
            raise BackupError(str(folder), "it lies inside the directory that it is to save")


def _copy_all(settings: NodeSettings, copy: BackupFiles) -> None:
    """Database, then files; once more if a case began anew meanwhile, whose objects may be of another run by then."""
    for _ in range(_ROUNDS):
        make_directory(copy.target)
        if settings.database.path is not None:
            snapshot(settings.database.path, copy.target / "node.sqlite")
            copy.add(copy.target / "node.sqlite")
        copy.tree(settings.data_dir, copy.target / "data")
        if settings.shared_dir != settings.data_dir:
            copy.tree(settings.shared_dir, copy.target / "shared")
        if settings.database.path is None or reruns(settings.database.path) == reruns(copy.target / "node.sqlite"):
            return
        copy.begin_anew()
    raise BackupError(str(copy.target), "cases were processed anew all the time; try again when it is quieter")


def snapshot(database: Path, target: Path) -> None:
    """The database as it stands at one moment, while others write to it (SQLite's online backup).

    Raises:
        BackupError: what came out is no sound database.
    """
    target.unlink(missing_ok=True)
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(target)) as copy:
        source.backup(copy)
        (said,) = copy.execute("pragma integrity_check").fetchone()
        copy.execute("pragma journal_mode=delete")
    if said != "ok":
        raise BackupError(str(database), "the database is damaged")


def reruns(database: Path) -> set[str]:
    """First attempts of cases that were processed before."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        query = "select workflow_uuid from workflow_status where workflow_uuid like '%:read:1'"
        return {name for (name,) in connection.execute(query) if not name.endswith(":1:read:1")}


def _copy_back(source: Path, places: Mapping[str, Path]) -> int:
    """Copy everything beside its place, and compare it."""
    sums, copied = read_sums(source), dict[tuple[int, int], Path]()
    for place in places.values():
        shutil.rmtree(place / _RESTORING, ignore_errors=True)
        make_directory(place / _RESTORING)
    for name in places:
        for folder in (path for path in (source / name).rglob("*") if path.is_dir()):
            (places[name] / _RESTORING / folder.relative_to(source / name)).mkdir(parents=True, exist_ok=True)
    for name, digest in sums.items():
        root, _, inside = name.partition("/")
        target = places["data"] / _RESTORING / name if not inside else places[root] / _RESTORING / inside
        _put_back(source / name, target, digest, copied)
    os.sync()
    return len(sums)


def _put_back(path: Path, target: Path, digest: str, copied: dict[tuple[int, int], Path]) -> None:
    try:
        opened = path.open("rb")
    except FileNotFoundError as fault:
        raise BackupError(str(path), "this file of the backup is missing") from fault
    with opened:
        facts = os.fstat(opened.fileno())
        if (twin := copied.get((facts.st_dev, facts.st_ino))) is not None:
            link_or_copy(twin, target)
            return
        if copy_hashed(opened, target, facts) != digest:
            raise BackupError(str(path), "this file of the backup is damaged; an earlier backup may be whole")
    copied[facts.st_dev, facts.st_ino] = target


def _move_into_place(restored: Path, place: Path) -> None:
    """The database last: a node that is started too early finds cases that nobody knows and begins them anew."""
    for path in sorted(restored.iterdir(), key=lambda path: path.name == "node.sqlite"):
        if (place / path.name).exists():
            raise BackupError(str(place), "a node was started here before everything was back; begin again")
        path.rename(place / path.name)
    restored.rmdir()
    sync_directory(place)
