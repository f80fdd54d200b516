"""The newest log lines of a host, kept in two files of bounded size, so that the page can show them.

    DATA_DIR/logs/recent.jsonl          appended to by every process of the host
    DATA_DIR/logs/recent-before.jsonl   the one before it

It holds what standard error gets, as JSON: no patient data (`logs`). It is a convenience and no record: the journal of
the system is that, and a line that cannot be written is left out without a word. Nothing waits for a disk flush.
"""

import contextlib
import json
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, Self

from dicom_node.held_files import locked

LARGEST_BYTES: Final = 4 << 20
"""Of each of the two files; some 20,000 lines."""
_LINE_BYTES: Final = 1 << 14
"""A longer line is left out: an append of this size is one write, which no other process divides."""
LEVELS: Final = ("debug", "info", "warning", "error", "critical")


@dataclass(frozen=True, slots=True)
class LogPlace:
    """How far somebody has read: a file by its number in the file system, and a position in it."""

    file: int = 0
    offset: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """As `str` wrote it.

        Raises:
            ValueError: it is none.
        """
        file, _, offset = text.partition(":")
        return cls(int(file), int(offset))


@dataclass(frozen=True, slots=True)
class RecentLog:
    """The two files."""

    folder: Path
    largest_bytes: int = LARGEST_BYTES

    @classmethod
    def under(cls, data_dir: Path) -> Self:
        """Those of the host with that data directory."""
        return cls(data_dir / "logs")

    @property
    def newest(self) -> Path:
        """The file that is written."""
        return self.folder / "recent.jsonl"

    @property
    def before(self) -> Path:
        """The file that was written before."""
        return self.folder / "recent-before.jsonl"

    def add(self, line: str) -> None:
        """Append a line; several processes may do so at once.

        Raises:
            OSError: it could not be written.
        """
        data = line.encode("utf-8", "replace") + b"\n"
        if len(data) > _LINE_BYTES:
            return
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.newest, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, data)
            is_full = os.fstat(descriptor).st_size >= self.largest_bytes
        finally:
            os.close(descriptor)
        if is_full:
            self._turn()

    def read(self, since: LogPlace | None = None, *, mentioning: str = "") -> tuple[list[dict[str, Any]], LogPlace]:
        """Lines in the order in which they were written, and the place after the last one.

        Args:
            since: only what came after it; without it, or where what it names is gone, everything.
            mentioning: only lines in which this text stands.
        """
        found: list[dict[str, Any]] = []
        place = LogPlace()
        with contextlib.ExitStack() as opened:
            files = self._opened(opened)
            start = list(files).index(since.file) if since is not None and since.file in files else 0
            for number, file in list(files.items())[start:]:
                offset = since.offset if since is not None and since.file == number else 0
                if offset > os.fstat(file.fileno()).st_size:  # the number was given to another file meanwhile
                    offset = 0
                file.seek(offset)
                content = file.read()
                end = content.rfind(b"\n") + 1  # a line without its end is being written
                found += _lines(content[:end], mentioning.encode())
                place = LogPlace(number, offset + end)
        return found, place

    def _turn(self) -> None:
        with locked(self.folder / ".lock"), contextlib.suppress(FileNotFoundError):  # by whoever tidies up
            if self.newest.stat().st_size >= self.largest_bytes:  # else another process was faster
                self.newest.replace(self.before)

    def _opened(self, opened: contextlib.ExitStack) -> dict[int, BinaryIO]:
        """Both files by number, the older one first. The newest is opened first: it may become the older meanwhile."""
        files: dict[int, BinaryIO] = {}
        for path in (self.newest, self.before):
            with contextlib.suppress(FileNotFoundError):
                file = opened.enter_context(path.open("rb"))
                files[os.fstat(file.fileno()).st_ino] = file
        return dict(reversed(files.items()))


class RecentLogHandler(logging.Handler):
    """Adds every record to the recent log of a host, as its formatter gives it."""

    def __init__(self, log: RecentLog) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Add it if that can be done: what is logged must go on, and standard error has the line."""
        with contextlib.suppress(Exception):
            self._log.add(self.format(record))


def _lines(content: bytes, mentioning: bytes) -> Iterator[dict[str, Any]]:
    for line in content.splitlines():
        if mentioning not in line:
            continue
        try:
            fields = json.loads(line)
        except ValueError:
            continue
        if isinstance(fields, dict):
            yield fields
