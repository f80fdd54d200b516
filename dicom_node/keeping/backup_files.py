"""The files of one backup: copied or linked, each with its checksum, and read again."""

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

from dicom_node.durable_files import make_directory

_IN_ORDER: Final = ("spool", "unmatched", "discarded", "cases", "structures")
"""Instances move from left to right, and files are copied in this order: one that moves meanwhile is found later."""
_LEFT_OUT: Final = (
    "node.sqlite",
    "node.sqlite-wal",
    "node.sqlite-shm",
    "live",
    "selftest",
    "lost+found",
    "logs",
    "tried-files",
    "case-index",
)
"""The database is copied its own way; locks, the self-test, log lines, files on trial and what can be made again mean
nothing elsewhere."""
_CACHE: Final = "view"
"""Folder of a case with volumes for the page, which can be made again."""
_SUMS: Final = "SHA256SUMS"


@dataclass(slots=True)
class BackupFiles:
    """One backup in the making."""

    target: Path
    previous: Path | None
    sums: dict[str, str] = field(default_factory=dict)
    """SHA-256 by path within the backup."""
    size_mb: float = 0.0
    new_mb: float = 0.0
    _seen: dict[tuple[int, int], Path] = field(default_factory=dict)
    _known: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.previous is not None:
            self._known = read_sums(self.previous)

    def begin_anew(self) -> None:
        """Forget what was copied: some of it has changed."""
        shutil.rmtree(self.target)
        self.sums, self.size_mb, self.new_mb, self._seen = {}, 0.0, 0.0, {}

    def tree(self, source: Path, target: Path) -> None:
        """Copy a directory of the node, and skip what is gone when we come to it."""
        make_directory(target)
        here = {path.name for path in source.iterdir() if path.suffix != ".lock"}
        names = sorted(here - {*_LEFT_OUT, *_IN_ORDER})
        for name in (*_IN_ORDER, *names):  # the audit trail after the instances: it speaks of all that are here
            for path in _files(source / name):
                with suppress(FileNotFoundError):
                    self._file(path, target / path.relative_to(source))

    def add(self, path: Path) -> None:
        """Take a file into the list that was made in its place."""
        self._count(path, hash_of(path), is_new=True)

    def write_sums(self) -> None:
        """The list of checksums, in the format of sha256sum."""
        lines = [f"{digest}  {name}\n" for name, digest in sorted(self.sums.items())]
        (self.target / _SUMS).write_text("".join(lines), encoding="utf-8")

    def _file(self, source: Path, target: Path) -> None:
        if source.is_dir():
            target.mkdir(parents=True, exist_ok=True)
            return
        with source.open("rb") as opened:
            facts = os.fstat(opened.fileno())
            target.parent.mkdir(parents=True, exist_ok=True)
            name = str(target.relative_to(self.target))
            if (twin := self._seen.get((facts.st_dev, facts.st_ino))) is not None:
                link_or_copy(twin, target)
                self._count(target, self.sums[str(twin.relative_to(self.target))], is_new=False)
                return
            old = self.previous / name if self.previous is not None else None
            if old is not None and name in self._known and _is_same(old, facts):
                link_or_copy(old, target)
                self._count(target, self._known[name], is_new=False)
            else:
                digest = copy_hashed(opened, target, facts)
                self._count(target, digest, is_new=True)
        if facts.st_nlink > 1:
            self._seen[facts.st_dev, facts.st_ino] = target

    def _count(self, path: Path, digest: str, *, is_new: bool) -> None:
        size_mb = path.stat().st_size / 1e6
        self.sums[str(path.relative_to(self.target))] = digest
        self.size_mb += size_mb
        self.new_mb += size_mb if is_new else 0.0


def read_sums(backup: Path) -> dict[str, str]:
    """The checksums of a backup by path."""
    lines = (backup / _SUMS).read_text(encoding="utf-8").splitlines()
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def link_or_copy(source: Path, target: Path) -> None:
    """One file under two names, where the file system can."""
    try:
        target.hardlink_to(source)
    except OSError:  # a file system without hard links
        shutil.copy2(source, target)


def copy_hashed(source: BinaryIO, target: Path, facts: os.stat_result) -> str:
    """Copy an open file with its time of change; the SHA-256 of what was written."""
    digest = hashlib.sha256()
    with target.open("xb") as file:
        while block := source.read(1 << 20):
            digest.update(block)
            file.write(block)
    os.utime(target, ns=(facts.st_mtime_ns, facts.st_mtime_ns))
    return digest.hexdigest()


def hash_of(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(path: Path) -> Iterator[Path]:
    """A file, or all files and empty directories in a directory; parts of files that are being written are left out."""
    if not path.is_dir():
        yield from [path] if path.exists() else ()
        return
    for folder, folders, names in os.walk(path):
        folders[:] = [name for name in folders if name != _CACHE]
        if not folders and not names:
            yield Path(folder)
        yield from (Path(folder) / name for name in sorted(names) if not name.endswith(".part"))


def _is_same(old: Path, facts: os.stat_result) -> bool:
    """Whether a file is the same as in the backup before, as rsync decides it: by size and time."""
    try:
        was = old.stat()
    except FileNotFoundError:
        return False
    return (was.st_size, was.st_mtime_ns) == (facts.st_size, facts.st_mtime_ns)
