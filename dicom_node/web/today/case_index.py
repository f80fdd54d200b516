"""The case index: one line for each case in a file of SQLite, so that lists and searches ask neither engine nor images.

A cache and nothing else: whoever deletes it loses nothing, and it is made anew from the engine, as it is when it is
spoilt or of another version. It names patients, so only the node's account may read it. One thread writes (`indexing`),
any number read, each question over a connection of its own.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any, Final, Self

from dicom_node.web.today.case_line import CaseLine
from dicom_node.web.today.subject import Subject, key_of, words_of

_VERSION: Final = 1
_SUBJECT: Final = tuple(field.name for field in fields(Subject))
_LINE: Final = tuple(field.name for field in fields(CaseLine) if field.name != "subject")
_COLUMNS: Final = (*_LINE, *_SUBJECT)
_KEYS: Final = ("patient_key", "accession_key")
_SCHEMA: Final = f"""
create table cases (case_id text primary key, {", ".join(c for c in _COLUMNS[1:])}, {", ".join(_KEYS)}) without rowid;
create index by_time on cases (created_ms, case_id);
create index by_state on cases (state, created_ms, case_id);
create index by_patient on cases (patient_key);
create index by_accession on cases (accession_key);
create table name_words (word text, case_id text, primary key (word, case_id)) without rowid;
create index by_case on name_words (case_id);
pragma user_version = {_VERSION};
"""
_MARKS: Final = ", ".join("?" * (len(_COLUMNS) + len(_KEYS)))
_BUSY_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class CaseIndex:
    """The file of the index."""

    path: Path

    @classmethod
    def under(cls, data_dir: Path) -> Self:
        """That of the page on the host with this data directory."""
        return cls(data_dir / "case-index" / "cases.sqlite")

    def prepare(self) -> bool:
        """Make sure that there is an index which can be used; whether it was made anew, and so is empty."""
        if self._is_usable():
            return False
        for name in (self.path.name, f"{self.path.name}-wal", f"{self.path.name}-shm"):
            self.path.with_name(name).unlink(missing_ok=True)
        self.path.parent.mkdir(mode=0o700, exist_ok=True)
        os.close(os.open(self.path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        with self._connection() as connection:
            connection.execute("pragma journal_mode=wal")
            connection.executescript(_SCHEMA)
        return True

    def put(self, lines: Iterable[CaseLine]) -> None:
        """Keep lines, in place of those that are there of the same cases."""
        with self._connection() as connection, connection:
            for line in lines:
                connection.execute(f"insert or replace into cases values ({_MARKS})", _values(line))  # noqa: S608  # question marks
                connection.execute("delete from name_words where case_id = ?", (line.case_id,))
                words = {(word, line.case_id) for word in words_of(line.subject.patient_name)}
                connection.executemany("insert into name_words values (?, ?)", words)

    def remove(self, case_ids: Iterable[str]) -> None:
        """Forget cases."""
        gone = [(case_id,) for case_id in case_ids]
        with self._connection() as connection, connection:
            connection.executemany("delete from cases where case_id = ?", gone)
            connection.executemany("delete from name_words where case_id = ?", gone)

    def lines(self, where: str = "true", values: Iterable[Any] = ()) -> list[CaseLine]:
        """The lines that fit.

        Args:
            where: a condition in SQL, of our own words only, and what may follow one.
            values: for its question marks: whatever comes from outside.
        """
        return [_line(row) for row in self._asked(", ".join(_COLUMNS), where, values)]

    def line(self, case_id: str) -> CaseLine | None:
        """One line; None if there is no such case."""
        return next(iter(self.lines("case_id = ?", (case_id,))), None)

    def case_ids(self, where: str) -> set[str]:
        """The ids of the lines that fit."""
        return {case_id for (case_id,) in self._asked("case_id", where)}

    def count(self, where: str = "true", values: Iterable[Any] = ()) -> int:
        """How many lines fit; arguments as for `lines`."""
        return next((int(count) for (count,) in self._asked("count(*)", where, values)), 0)

    def counts(self) -> Mapping[str, int]:
        """How many cases are in each state, by its name."""
        return dict(self._asked("state, count(*)", "true group by state"))

    def _asked(self, what: str, where: str, values: Iterable[Any] = ()) -> list[Any]:
        """The answer; nothing while there is no index, as when somebody has just deleted it."""
        question = f"select {what} from cases where {where}"  # noqa: S608  # our own words; what comes from outside is in `values`
        with suppress(sqlite3.Error), self._connection() as connection:
            return connection.execute(question, tuple(values)).fetchall()
        return []

    def _is_usable(self) -> bool:
        try:
            with self._connection() as connection:
                version = connection.execute("pragma user_version").fetchone()[0]
                return bool(version == _VERSION and connection.execute("pragma quick_check(1)").fetchone()[0] == "ok")
        except sqlite3.Error:
            return False

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """A connection to the file that is there; none makes it."""
        with closing(sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=rw", timeout=_BUSY_S, uri=True)) as opened:
            opened.execute("pragma synchronous=normal")
            yield opened


def _values(line: CaseLine) -> tuple[Any, ...]:
    subject = line.subject
    keys = key_of(subject.patient_id), key_of(subject.accession_number)
    return (*(getattr(line, name) for name in _LINE), *astuple(subject), *keys)


def _line(row: tuple[Any, ...]) -> CaseLine:
    named: dict[str, Any] = dict(zip(_COLUMNS, row, strict=True))
    subject = Subject(**{name: named.pop(name) for name in _SUBJECT})
    return CaseLine(**named, subject=subject)
