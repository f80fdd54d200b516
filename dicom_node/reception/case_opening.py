"""Cases begin here: received instances, those that came earlier, and the rule that wanted them.

A case is named after what it holds. Whatever is asked for twice is done once: the same instances give the same case,
and a crash at any point is made good by `recover`.
"""

import hashlib
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import structlog

from dicom_node.durable_files import link_durably, make_directory, rename_directory, sync_directory
from dicom_node.errors import code_of
from dicom_node.jobs.cases import CaseFolder, CaseRecord, CaseStore, case_id_of
from dicom_node.jobs.jobs import JobBook
from dicom_node.jobs.priorities import Priority
from dicom_node.reception.rules import Rule, decide
from dicom_node.reception.series_facts import read_series_facts
from dicom_node.reception.shelf import Shelf
from dicom_node.reception.spool import content_digest, key_of

_AGAIN: Final = ".again-"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the new instances of a case come from, and why they may become one."""

    series_instance_uid: str
    instances: Sequence[Path]
    """The new ones, where they lie now."""
    rule: str
    """Name of the rule that took the series."""
    released: str = ""
    """Code of the hold that a person overrode; empty if nobody had to."""
    priority: Priority = Priority.NORMAL


class Structures(Protocol):
    """What a node keeps of structure sets."""

    def add(self, path: Path) -> str | None:
        """Keep a structure set durably; the series it refers to, or `None` if it refers to none."""

    def used_for(self, series_instance_uid: str) -> Sequence[Path]:
        """Structure sets that change the result of a series."""


class Locks(Protocol):
    """Locks that hold over all hosts (`named_locks.NamedLocks`)."""

    def hold(self, name: str) -> AbstractContextManager[None]:
        """Wait for the lock and hold it."""


class NoLocks:
    """For a node whose intake is the only one."""

    def hold(self, name: str) -> AbstractContextManager[None]:
        """Nothing to wait for."""
        return nullcontext()


@dataclass(frozen=True, slots=True)
class CaseOpening:
    """Makes cases, and starts them. What is done about one series is done by one host at a time."""

    cases: CaseStore
    jobs: JobBook
    unmatched: Shelf
    """Where earlier instances of a series may lie."""
    structures: Structures | None = None
    """Where structure sets are kept; those that matter to a case are part of it."""
    locks: Locks = field(default_factory=NoLocks)
    """Held as `series:<key>` while something is done about a series."""

    def recover(self, rules: Sequence[Rule]) -> bool:
        """Finish what a killed node had begun, or this one without its database: hand over every case that was not.

        What goes wrong with one case is logged and holds up no other. Whether nothing did.
        """
        make_directory(self.cases.root)
        self.cases.sweep()
        for leftover in self.cases.root.glob(f"{_AGAIN}*"):
            with self._held(leftover.name.removeprefix(_AGAIN).partition("-")[0]):
                shutil.rmtree(leftover, ignore_errors=True)  # whoever made it may have removed it meanwhile
        started, is_whole = self.jobs.case_ids(), True
        for received in sorted(self.cases.root.glob("*/received")):
            case = CaseFolder(received.parent)
            if case.case_id not in started or not (case.path / "case.json").exists():
                is_whole = self._recovered(case, rules) and is_whole
        return is_whole

    def _recovered(self, case: CaseFolder, rules: Sequence[Rule]) -> bool:
        try:
            self._recover(case, rules)
        except Exception as fault:  # the database or the disk, or a bug
            code, kind = code_of(fault, "INTAKE_FAILED"), type(fault).__name__
            structlog.get_logger().error("case_not_recovered", case=case.case_id, code=code, kind=kind)
            return False
        return True

    def _recover(self, case: CaseFolder, rules: Sequence[Rule]) -> None:
        facts = read_series_facts(case.instances())
        with self._held(key_of(facts.series_instance_uid)):
            if not (case.path / "case.json").exists():
                decision = decide(rules, facts)
                origin = Origin(facts.series_instance_uid, case.instances(), decision.name, priority=decision.priority)
                self._register(case, origin)
            self.jobs.submit(case.case_id)

    def _held(self, key: str) -> AbstractContextManager[None]:
        return self.locks.hold(f"series:{key}")

    def earlier(self, series_instance_uid: str) -> list[Path]:
        """Instances of the series that came before: those of its largest case, and what was put aside unmatched."""
        largest = self._largest(series_instance_uid)
        shelved = [path for series in self.unmatched.of_key(key_of(series_instance_uid)) for path in series.instances()]
        return [*shelved, *(largest.instances() if largest else ())]

    def is_known(self, origin: Origin) -> bool:
        """Whether there is a case of just these instances already."""
        uid = origin.series_instance_uid
        if not any(case.record().series_instance_uid == uid for case in self.cases.all()):
            return False
        return self._case(origin).received.exists()

    def open(self, origin: Origin, move: Callable[[Path], None]) -> str:
        """Make a case of new and earlier instances and start it; one that exists is tried or delivered again.

        Args:
            origin: what the case is made of.
            move: moves the new instances into a folder that does not exist yet, durably.

        Raises:
            SeriesNotComplete: `move` does, and nothing has happened.
        """
        with self._held(key_of(origin.series_instance_uid)):
            return self._open(origin, move)

    def _open(self, origin: Origin, move: Callable[[Path], None]) -> str:
        log = structlog.get_logger().bind(series=key_of(origin.series_instance_uid)[:8])
        case = self._case(origin)
        if case.received.exists():
            log.info("series_came_again", case=case.case_id)
            again = self._again(origin, case)
            move(again)
            shutil.rmtree(again)
            self.jobs.retry(case.case_id)
        else:
            new = len(origin.instances)
            move(case.received)
            self._register(case, origin)
            self.jobs.start(case.case_id)
            count = len(case.instances())
            log.info("case_opened", case=case.case_id, instances=count, new=new, rule=origin.rule)
        return case.case_id

    def open_with_structures(self, series_instance_uid: str) -> str | None:
        """Structure sets came: make a case of the series anew if it has one and they matter to it, and start that."""
        largest = self._largest(series_instance_uid)
        if largest is None or not self._used_for(series_instance_uid):
            return None
        record = largest.record()
        priority = Priority(record.priority)
        origin = Origin(series_instance_uid, largest.instances(), record.rule, record.released, priority)
        case = self._case(origin)
        if case.received.exists():
            return None
        return self.open(origin, lambda into: _linked(origin.instances, into, self._again(origin, case)))

    def _again(self, origin: Origin, case: CaseFolder) -> Path:
        """A folder that lasts no longer than the lock of its series is held."""
        return self.cases.root / f"{_AGAIN}{key_of(origin.series_instance_uid)}-{case.case_id}"

    def _largest(self, series_instance_uid: str) -> CaseFolder | None:
        """The case of a series with most instances; cases of one series only ever grow."""
        cases = [
            (record.instances, case)
            for case in self.cases.all()
            if (record := case.record()).series_instance_uid == series_instance_uid
        ]
        return max(cases, key=lambda pair: pair[0])[1] if cases else None

    def _used_for(self, series_instance_uid: str) -> Sequence[Path]:
        return self.structures.used_for(series_instance_uid) if self.structures is not None else ()

    def _case(self, origin: Origin) -> CaseFolder:
        uid = origin.series_instance_uid
        together = {path.name: path for path in (*self.earlier(uid), *origin.instances)}
        digests = [content_digest(tuple(together.values()))]
        digests += [hashlib.sha256(path.read_bytes()).hexdigest() for path in self._used_for(uid)]
        return self.cases.folder(case_id_of(uid, "\n".join(digests)))

    def _register(self, case: CaseFolder, origin: Origin) -> None:
        """Complete a case folder that so far holds only what was just received."""
        uid = origin.series_instance_uid
        for path in self.earlier(uid):
            target = case.received / path.name
            if not target.exists():
                link_durably(path, target)
        sync_directory(case.received)
        for path in self._used_for(uid):
            make_directory(case.structures)
            if not (case.structures / path.name).exists():
                link_durably(path, case.structures / path.name)
            sync_directory(case.structures)
        instances = case.instances()
        senders = sorted({m.read_text() for m in case.received.glob("associations/*.closed")})
        case.write_record(
            CaseRecord(
                case.case_id,
                uid,
                content_digest(tuple(instances)),
                len(instances),
                ",".join(senders),
                rule=origin.rule,
                released=origin.released,
                priority=origin.priority.value,
                arrived_at_s=self.cases.next_arrival_s(),
            )
        )
        for shelved in self.unmatched.of_key(key_of(uid)):  # they are part of the case now
            self.unmatched.remove(shelved)


def _linked(paths: Sequence[Path], into: Path, part: Path) -> None:
    """Make a folder of links to files; it appears whole or not at all."""
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    for path in paths:
        link_durably(path, part / path.name)
    sync_directory(part)
    make_directory(into.parent)
    rename_directory(part, into)
