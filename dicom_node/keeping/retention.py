"""Removes cases whose time has come, and nothing that has not arrived everywhere: the act behind `removable`.

    cases/<id>  --rename-->  removing/<id>  -->  its rows go  -->  the proof is written  -->  the folder goes

A node that is killed at any point finishes the removal when it looks again, or takes it back: rows that nobody knew of
when it was decided mean that somebody wants the case after all, and then the folder returns to its place. What belongs
to a series rather than to a case (structure sets, the ledger of results) goes some time after its last case.
"""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import structlog

from dicom_node.durable_files import make_directory, rename_directory, sync_directory, write_json
from dicom_node.errors import CaseNotRemovable, UnknownCase
from dicom_node.jobs.attempts import Case
from dicom_node.jobs.cases import CaseFolder, CaseRecord, CaseStore
from dicom_node.jobs.jobs import JobBook
from dicom_node.keeping.removable import Because, Kept, kept_because, removable
from dicom_node.keeping.removal_proof import RemovalLog, proof_of
from dicom_node.named_locks import NamedLocks
from dicom_node.network.commitment import CommitmentBook
from dicom_node.reception.spool import key_of
from dicom_node.results.ledger import ResultLedger
from dicom_node.settings.config import NodeSettings
from dicom_node.settings.retention_policy import RetentionPolicy
from dicom_node.shadow.comparisons import remove_old
from dicom_node.watching.chores import Chore

_DAY_S = 86400.0
_LOOK_S = 600.0
REMOVING = "chore:retention"
"""Lock of whoever removes cases by age, and of a backup, which wants none to go meanwhile."""
_PLAN = "removal.json"

log = structlog.get_logger()


class Locks(Protocol):
    """Locks that hold over all hosts of the node."""

    def try_hold(self, name: str) -> AbstractContextManager[bool]:
        """Hold the lock if nobody does; the value says whether."""


@dataclass(frozen=True, slots=True)
class Retention:
    """The removal of cases of one node.

    Whoever starts something on an existing case does it under the lock of its series, and so does this.
    """

    shared_dir: Path
    jobs: JobBook
    policy: RetentionPolicy
    locks: Locks
    clock: Callable[[], float] = time.time
    """Unix time."""

    def look(self) -> list[str]:
        """Remove what may go; the ids of the cases that went.

        Raises:
            OSError: the disk; everything that was begun is finished at the next look.
        """
        self.finish()
        removed = [case_id for case_id, because in self.due() if self._retired(case_id, because)]
        self._tidy()
        return removed

    def due(self) -> Iterator[tuple[str, Because]]:
        """Cases that may go now, the oldest first; asked for the next one, it looks at the disk again."""
        for case in sorted(self.jobs.cases(), key=lambda case: case.updated_at_s):
            may = removable(case, self.clock(), self.policy, short_of_space=True)
            if may is Because.AGED or (may is Because.SPACE and self._is_short_of_space()):
                yield case.case_id, may

    def retire(self, case_id: str) -> None:
        """Remove one case at once, because a person says so. Like `look`, to be done under the lock `REMOVING`.

        Raises:
            CaseNotRemovable: it has not arrived everywhere, or somebody works on it.
            UnknownCase: there is none.
        """
        self.finish()
        kept = kept_because(self.jobs.case(case_id))
        if kept not in (None, Kept.NOWHERE_ELSE):
            raise CaseNotRemovable(case_id, kept.value if kept else "")
        if not self._retired(case_id, Because.ASKED):
            raise CaseNotRemovable(case_id, Kept.ON_ITS_WAY.value)

    def finish(self) -> None:
        """Bring to an end, or take back, what a killed node had begun."""
        for path in sorted(self._leaving.glob("*")):
            with self.locks.try_hold(lock_of(CaseFolder(path))) as held:
                if held:
                    self._finish(path)

    @property
    def _leaving(self) -> Path:
        return self.shared_dir / "removing"

    def _retired(self, case_id: str, because: Because) -> bool:
        """Decide once more, under the lock of the case, and do it."""
        folder = CaseStore.under(self.shared_dir).folder(case_id)
        with self.locks.try_hold(lock_of(folder)) as held:
            if not held or (self._leaving / case_id).exists():
                return False
            case = self.jobs.case(case_id)
            if not self._may_still_go(case, because):
                return False
            self._set_aside(folder, case, because)
            return self._finish(self._leaving / case_id)

    def _may_still_go(self, case: Case, because: Because) -> bool:
        if because is Because.ASKED:
            return kept_because(case) in (None, Kept.NOWHERE_ELSE)
        return removable(case, self.clock(), self.policy, short_of_space=because is Because.SPACE) is not None

    def _set_aside(self, folder: CaseFolder, case: Case, because: Because) -> None:
        """Write down what is to be done, and take the case out of everybody's sight."""
        make_directory(self._leaving)
        make_directory(folder.path)  # a person may have deleted it; the rows still have to go
        plan = {
            "rows": [str(attempt.id) for attempt in case.attempts],
            "transactions": sorted({a.output["transaction"] for a in case.attempts if "transaction" in a.output}),
            "proof": proof_of(case, _record(folder), because, self.clock()),
        }
        write_json(folder.path / _PLAN, plan)
        rename_directory(folder.path, self._leaving / case.case_id)

    def _finish(self, path: Path) -> bool:
        """The rest of a removal from wherever it stands; whether the case is gone."""
        try:
            plan = json.loads((path / _PLAN).read_text())
        except FileNotFoundError:  # files go last: all the rest is done
            shutil.rmtree(path)
            return True
        home = CaseStore.under(self.shared_dir).folder(path.name).path
        if self._is_wanted_again(path.name, plan) and not home.exists():
            rename_directory(path, home)
            (home / _PLAN).unlink()
            return False
        self.jobs.forget(plan["rows"])
        for transaction in plan["transactions"]:
            CommitmentBook.under(self.shared_dir).forget(transaction)
        RemovalLog.under(self.shared_dir).append(plan["proof"])
        shutil.rmtree(path)
        sync_directory(path.parent)
        proof = plan["proof"]
        log.info("case_retired", case=path.name, because=proof["because"], state=proof["state"])
        return True

    def _is_wanted_again(self, case_id: str, plan: dict[str, Any]) -> bool:
        """Whether rows have come since it was decided: a `retry`, or the same series sent again."""
        try:
            attempts = self.jobs.case(case_id).attempts
        except UnknownCase:
            return False
        return any(a.is_active or str(a.id) not in plan["rows"] for a in attempts)

    def _is_short_of_space(self) -> bool:
        return shutil.disk_usage(self.shared_dir).free / 1e6 < self.policy.minimum_free_mb

    def _tidy(self) -> None:
        """Structure sets, ledgers and comparisons that belong to no case any more, when their time has come."""
        uids = {case.record().series_instance_uid for case in CaseStore.under(self.shared_dir).all()}
        before = self.clock() - self.policy.keep_days * _DAY_S
        remove_structures(self.shared_dir / "structures", uids, before)
        self.jobs.forget_messages(before)
        if self.policy.keep_results_days:
            before = self.clock() - self.policy.keep_results_days * _DAY_S
            remove_ledgers(self.shared_dir / "results", uids, before)
            remove_old(self.shared_dir / "perfusion-models", before)


def chore(settings: NodeSettings) -> Chore:
    """The removal as the node does it by itself."""

    def look() -> None:
        if settings.database.exists:
            with node_retention(settings) as keeper:
                keeper.look()

    return Chore("retention", _LOOK_S, look, once_for_all_hosts=True)


@contextmanager
def node_retention(settings: NodeSettings) -> Iterator[Retention]:
    """The removal of the cases of this node.

    Raises:
        NeverStarted: no node has worked with its database yet.
    """
    locks = NamedLocks(settings.database, settings.data_dir)
    with JobBook(settings.database, settings.cases()) as jobs:
        yield Retention(settings.shared_dir, jobs, settings.retention, locks)


def lock_of(folder: CaseFolder) -> str:
    """The lock under which the intake opens cases of the same series; a case without a record has nobody else."""
    record = _record(folder)
    return f"series:{key_of(record.series_instance_uid) if record else folder.case_id}"


def remove_structures(root: Path, living_series: set[str], before_s: float) -> int:
    """Remove structure sets of series without a case that came before a time; how many went."""
    living, old = {key_of(uid) for uid in living_series}, 0
    for folder in root.glob("*"):
        if folder.name in living:
            continue
        for path in folder.glob("*.dcm"):
            if path.stat().st_mtime < before_s:
                path.unlink()
                old += 1
        if not any(folder.iterdir()):
            folder.rmdir()
    return old


def remove_ledgers(root: Path, living_series: set[str], before_s: float) -> int:
    """Forget the results of series without a case that were last published before a time; how many series went."""
    living = {ResultLedger(root).path_of(uid) for uid in living_series}
    old = [path for path in root.glob("*.json") if path not in living and path.stat().st_mtime < before_s]
    for path in old:
        path.unlink()
    return len(old)


def _record(folder: CaseFolder) -> CaseRecord | None:
    try:
        return folder.record()
    except UnknownCase:
        return None
