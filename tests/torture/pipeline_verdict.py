"""Whether every job of a run has ended as it may, and nothing else was left anywhere."""

import sqlite3
import subprocess
from collections import Counter
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from dicom_node.jobs.attempts import Case, CaseState
from dicom_node.jobs.cases import CaseStore
from dicom_node.jobs.job_database import JobDatabase
from tests.small_ct import dataset_bytes
from tests.torture.pipeline_archive import Archive
from tests.torture.pipeline_jobs import DELIVERED, STAGE_ATTEMPTS, Ending, Job
from tests.torture.postgres import postgres_program
from tests.torture.stub_stage import read_events, uid_of

_LOST_ROUNDS: Final = 3
"""How often the node sends again what an archive does not have (`RetryPolicy.rounds`)."""
_BY_KILLS: Final = frozenset({"STAGE_CRASHED", "STAGE_OUT_OF_MEMORY", "TOO_MANY_RESTARTS", "POISON"})
_KILLED_OFTEN: Final = 3


@dataclass(slots=True)
class Verdict:
    """What is wrong, and what was counted on the way."""

    violations: list[str] = field(default_factory=list)
    endings: Counter[str] = field(default_factory=Counter)
    sent_twice: int = 0
    """Objects that arrived at the archive more than once, always with the same content."""
    lost: int = 0
    """Arrivals that the archive answered with Success and did not keep."""
    runs_again: int = 0
    """Runs of stages beyond the first."""


@dataclass(slots=True)
class Judge:
    """Compares what was sent to the node with what became of it."""

    jobs: Sequence[Job]
    store: CaseStore
    archive: Archive
    _verdict: Verdict = field(default_factory=Verdict)

    def explains(self, job: Job, case: Case) -> bool:
        """Whether what torture did to a job is the reason why it ended otherwise than by its plan."""
        if case.code == "NOT_STORED":
            arrivals = self.archive.arrivals()
            uids = (uid for uid, _ in self._objects(case))
            return any(
                sum(n for (word, _), n in arrivals.get(uid, Counter()).items() if word == "lost") >= _LOST_ROUNDS
                for uid in uids
            )
        if case.code in _BY_KILLS:
            unfinished = self._unfinished_runs(job)
            return case.stage.value in ("deliver", "verify") or max(unfinished.values(), default=0) >= _KILLED_OFTEN
        return False

    def by_job(self, cases: Iterable[Case]) -> dict[str, list[Case]]:
        """Cases by the series they came from."""
        found: dict[str, list[Case]] = {job.plan.series: [] for job in self.jobs}
        for case in cases:
            series = self.store.folder(case.case_id).record().series_instance_uid
            found.setdefault(series, []).append(case)
        return found

    def verdict(self, cases: Iterable[Case], retried: Set[str] = frozenset()) -> Verdict:
        """Of a run that is over. `retried` are cases that a person had to try again."""
        by_job, arrivals, holdings = self.by_job(cases), self.archive.arrivals(), self.archive.holdings()
        expected: set[str] = set()
        for job in self.jobs:
            own = by_job.pop(job.plan.series)
            if len(own) != 1:
                self._wrong(job, f"became {len(own)} cases")
                continue
            expected |= self._look_at(job, own[0], arrivals, holdings, was_retried=own[0].case_id in retried)
        self._verdict.violations += [f"a case of no job: {series}" for series in by_job]
        strange = holdings.keys() - expected
        if strange:
            self._verdict.violations.append(f"{len(strange)} object(s) in the archive that no job has made")
        for counts in arrivals.values():
            self._verdict.lost += sum(n for (word, _), n in counts.items() if word == "lost")
        return self._verdict

    def _look_at(
        self, job: Job, case: Case, arrivals: dict[str, Counter[tuple[str, str]]], holdings: dict[str, bytes],
        *, was_retried: bool,
    ) -> set[str]:  # fmt: skip
        """What of the archive belongs to this job."""
        ending = Ending(case.state, "" if case.state is CaseState.DELIVERED else case.code)
        self._verdict.endings[f"{ending.state} {ending.code}".strip()] += 1
        self._runs(job)
        notice = uid_of(job.plan.series, "none", "refusal-notice")
        if ending != job.ending and not self.explains(job, case):
            self._wrong(job, f"ended as {ending.state} {ending.code} at {case.stage}, planned was {job.ending}")
        objects = dict(self._objects(case))
        is_delivered = case.state is CaseState.DELIVERED
        for uid, path in objects.items():
            self._look_at_object(job, path, arrivals.get(uid, Counter()), holdings.get(uid), must=is_delivered)
        if not is_delivered and job.ending == ending and ending != DELIVERED and not arrivals.get(notice):
            self._wrong(job, "ended without a result, and no notice of it was sent")
        if is_delivered and notice in holdings and not was_retried:
            self._wrong(job, "was delivered, and a notice says that it has no result")
        return {*objects, notice}

    def _look_at_object(
        self, job: Job, path: Path, arrived: Counter[tuple[str, str]], held: bytes | None, *, must: bool
    ) -> None:
        contents = {comment for _, comment in arrived}
        if len(contents) > 1:
            self._wrong(job, f"{path.stem} was delivered with {len(contents)} contents under one UID")
        self._verdict.sent_twice += sum(arrived.values()) > 1
        if not must:
            if arrived and job.ending.code == "CHECK_FAILED":
                self._wrong(job, f"{path.stem} was sent although its check failed")
            return
        if held is None:
            self._wrong(job, f"counts as delivered, and the archive does not have its {path.stem}")
        elif _dataset(held) != dataset_bytes(path):
            self._wrong(job, f"{path.stem} in the archive has another content than here")

    def _objects(self, case: Case) -> list[tuple[str, Path]]:
        folder = self.store.folder(case.case_id)
        return [(_instance_uid(path), path) for path in folder.object_paths()]

    def _unfinished_runs(self, job: Job) -> Counter[str]:
        """Runs by stage that began and did not end."""
        runs: Counter[str] = Counter()
        for event in self._events(job):
            runs[event["stage"]] += {"start": 1, "end": -1}.get(event["event"], 0)
        return runs

    def _runs(self, job: Job) -> None:
        events = self._events(job)
        starts = Counter(event["stage"] for event in events if event["event"] == "start")
        self._verdict.runs_again += sum(n - 1 for n in starts.values())
        if any(event["event"] == "overlap" for event in events):
            self._wrong(job, "was worked on by two processes at the same time")
        most = STAGE_ATTEMPTS * 10
        self._verdict.violations += [f"job {job.number}: {s} ran {n} times" for s, n in starts.items() if n > most]

    def _events(self, job: Job) -> list[dict[str, Any]]:
        return read_events(Path(job.plan.ledger) / f"{job.number:05d}.log")

    def _wrong(self, job: Job, what: str) -> None:
        self._verdict.violations.append(f"job {job.number}: {what}")


def _instance_uid(path: Path) -> str:
    content = path.read_bytes()
    at = content.index(b"\x02\x00\x03\x00UI") + 8
    length = int.from_bytes(content[at - 2 : at], "little")
    return content[at : at + length].rstrip(b"\0").decode()


def _dataset(file: bytes) -> bytes:
    return file[144 + int.from_bytes(file[140:144], "little") :]


def leftovers(folders: Iterable[Path], delivered: set[str]) -> list[str]:
    """Part files and half-removed folders that nobody will ever finish, and series that still wait in a spool.

    Args:
        folders: of the node, on all hosts.
        delivered: cases whose stages have all ended well; a stage that gave up may leave its last half-written file.
    """
    found = []
    for folder in folders:
        for path in folder.rglob("*"):
            is_part = path.name.endswith(".part") or ".removing" in path.name
            case = path.parent.name if path.parent.parent.name == "cases" else ""
            if (is_part and not (case and case not in delivered)) or ("spool" in path.parts and path.suffix == ".dcm"):
                found.append(str(path.relative_to(folder)))
    return found


def damage_of(database: JobDatabase) -> str:
    """What the database itself finds wrong with its files; empty if nothing."""
    if database.path is not None:
        with sqlite3.connect(database.path) as connection:
            (said,) = connection.execute("pragma integrity_check").fetchone()
        connection.close()
        return "" if said == "ok" else str(said)
    at = urlsplit(database.url)
    where = ["-h", str(at.hostname), "-p", str(at.port), "-U", str(at.username), "-d", at.path[1:]]
    command = [postgres_program("pg_amcheck"), "--install-missing", "--heapallindexed", *where]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else (done.stdout + done.stderr)[-500:]
