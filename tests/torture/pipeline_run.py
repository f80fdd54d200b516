"""`make torture-pipeline`: jobs through whole nodes whose processes, database, network and archive fail at random.

    python -m tests.torture.pipeline_run --jobs 200 --seconds 900 --seed 1

Three configurations: SQLite on one host; PostgreSQL on one host; PostgreSQL on three hosts in network namespaces, or,
where none can be made, three hosts on loopback. Stages are stubs, everything else is real: C-STORE from a scanner, the
receivers, the engine, Orthanc. At the end every job must have been delivered exactly once, or stand where its plan
says, with no process and no half-written file left. The exit status is 1 if not.
"""

import argparse
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import Final

from dicom_node.jobs.attempts import Case, CaseState
from tests.torture.figures import Figures
from tests.torture.pipeline_archive import Trouble
from tests.torture.pipeline_hosts import Killer, listens_at, processes
from tests.torture.pipeline_jobs import Job, make_jobs, planned, scan
from tests.torture.pipeline_rig import END_S, Rig, Setting, finished, rig
from tests.torture.pipeline_verdict import Judge, damage_of, leftovers

_WORK: Final = {"read": "sleep:0.1", "segment": "sleep:0.5", "perfuse": "sleep:0.5", "encode": "sleep:0.2"}
"""So that kills meet a stage at work."""
_JOB_S: Final = 6.0
"""For each job that still waits when the faults end."""
_START_S: Final = 45.0
_KILLED_AT_WORK: Final = 0.8
"""Share of the kills that wait for all hosts to be at work."""


class Torture:
    """Faults of all kinds beside a scanner that sends jobs."""

    def __init__(self, rig: Rig, setting: Setting, jobs: Sequence[Job]) -> None:
        self._rig = rig
        self._setting = setting
        self._jobs = jobs
        self._chance = random.Random(setting.seed + 1)
        self._calm = threading.Event()
        self._sent = 0
        self.killer = Killer(rig.run, random.Random(setting.seed + 2))
        self.troubles: Counter[str] = Counter()
        self.database_kills = 0

    def run(self) -> None:
        """Until all jobs are sent and all kills are done, or the time is over; then everything is sound again."""
        works: list[Callable[[], None]] = [self._scan, self._kill, self._trouble]
        if self._setting.database_kills:
            works.append(self._kill_database)
        threads = [threading.Thread(target=work, daemon=True) for work in works]
        for thread in threads:
            thread.start()
        end = time.monotonic() + self._setting.seconds
        threads[0].join(3 * self._setting.seconds + END_S)
        while time.monotonic() < end and not self._is_done():
            time.sleep(0.2)
        self._calm.set()
        for thread in threads[1:]:
            thread.join()

    def _is_done(self) -> bool:
        kills_done = sum(self.killer.kills.values()) >= self._setting.kills
        return kills_done and self.database_kills >= self._setting.database_kills

    def _scan(self) -> None:
        """Each job to one host, again and again until it has taken everything, as scanners do."""
        pause_s = 0.6 * self._setting.seconds / max(1, len(self._jobs))
        receivers = self._rig.receivers
        for job in self._jobs:
            while not scan(job, receivers[job.number % len(receivers)].address):
                if self._calm.wait(0.3):
                    return
            self._sent += 1
            time.sleep(self._chance.uniform(0, 2 * pause_s))

    def _kill(self) -> None:
        """Mostly while all hosts are at work: a node that is killed before it has begun has nothing to lose."""
        pause_s = self._setting.seconds / (self._setting.kills + 1)
        while sum(self.killer.kills.values()) < self._setting.kills:
            if self._chance.random() < _KILLED_AT_WORK:
                end = time.monotonic() + _START_S
                while not self._is_at_work() and time.monotonic() < end and not self._calm.wait(0.2):
                    pass
            if self._calm.wait(self._chance.uniform(0.1, pause_s)):
                return
            self.killer.strike()

    def _is_at_work(self) -> bool:
        kinds = Counter(
            process.host.partition("/")[0] for process in processes(self._rig.run) if process.kind == "engine"
        )
        are_open = all(listens_at(*host.address.endpoint) for host in self._rig.receivers)
        return (
            are_open and all(kinds[host.name] for host in self._rig.hosts) and all(h.is_ready for h in self._rig.hosts)
        )

    def _trouble(self) -> None:
        troubles = [trouble for trouble in Trouble if trouble is not Trouble.NONE]
        while not self._calm.wait(self._chance.uniform(0.5, 3.0)):
            trouble = self._chance.choice(troubles)
            self._rig.archive.set(trouble)
            self.troubles[str(trouble)] += 1
            self._calm.wait(self._chance.uniform(0.5, 2.5))
            self._rig.archive.set(Trouble.NONE)

    def _kill_database(self) -> None:
        server = self._rig.server
        assert server is not None
        pause_s = 0.8 * self._setting.seconds / (self._setting.database_kills + 1)
        while self.database_kills < self._setting.database_kills and not self._calm.wait(pause_s):
            server.kill()
            time.sleep(self._chance.uniform(0.5, 2.0))
            server.start()
            self.database_kills += 1


def torture(setting: Setting, folder: Path) -> Figures:
    """One configuration from the first job to the verdict."""
    figures, started = Figures(), time.monotonic()
    with rig(setting, folder, work=f"workers = {1 if setting.hosts > 1 else 3}") as made:
        jobs = make_jobs(setting.jobs, folder, made.chance, work=_WORK)
        made.start()
        try:
            faults = Torture(made, setting, jobs)
            faults.run()
            calm = time.monotonic()
            cases = finished(made, len(jobs), END_S + _JOB_S * len(jobs))
            retried = _retried(made, jobs, cases)
            cases = finished(made, len(jobs)) if retried else cases
            settled_s = time.monotonic() - calm
        finally:
            made.stop()
        _add_faults(figures, faults, made)
        judge_run(made, jobs, cases, figures, retried)
        figures.add("seconds until all was settled after the last fault", settled_s)
        figures.add("jobs as planned", ", ".join(f"{n} {e.state} {e.code}".strip() for e, n in planned(jobs).items()))
        figures.add("seconds in all", time.monotonic() - started)
    return figures


def _retried(rig: Rig, jobs: Sequence[Job], cases: Sequence[Case]) -> set[str]:
    """Cases that failed because of what torture did, each tried again once, as a person would."""
    judge, retried = Judge(jobs, rig.store, rig.archive), set()
    by_job = judge.by_job(cases)
    for job in jobs:
        for case in by_job[job.plan.series]:
            is_planned = (case.state, case.code) == (job.ending.state, job.ending.code)
            if case.state is CaseState.FAILED and not is_planned and judge.explains(job, case):
                rig.retry(case.case_id)
                retried.add(case.case_id)
    return retried


def judge_run(
    rig: Rig, jobs: Sequence[Job], cases: Sequence[Case], figures: Figures, retried: Set[str] = frozenset()
) -> None:  # fmt: skip
    """All that must be true when the hosts have stopped."""
    verdict = Judge(jobs, rig.store, rig.archive).verdict(cases, retried)
    figures.violations += verdict.violations
    delivered = {case.case_id for case in cases if case.state is CaseState.DELIVERED}
    figures.violations += [f"left over: {name}" for name in leftovers([h.folder for h in rig.hosts], delivered)]
    figures.violations += [f"left over: {name}" for name in leftovers([rig.shared], delivered) if rig.server]
    for host in rig.hosts:
        figures.violations += [f"{host.name}: a process outlived it: {kind}" for kind in host.outlived]
        if host.exits[-99]:
            figures.violated(f"{host.name} did not stop")
    time.sleep(1.0)
    figures.violations += [f"orphan: {process.kind} of {process.host}" for process in processes(rig.run)]
    if damage := damage_of(rig.database):
        figures.violated(f"the database is damaged: {damage}")
    events = Counter(
        event
        for host in rig.hosts
        for event in ("takeover", "database_lost")
        for _ in range(host.log.count(f'"{event}"'))
    )
    figures.add("jobs", len(jobs))
    figures.add("endings", ", ".join(f"{n} {ending}" for ending, n in verdict.endings.most_common()))
    figures.add("tried again by a person", len(retried))
    figures.add("work of dead processes taken over", events["takeover"])
    figures.add("processes that ended themselves without a database", events["database_lost"])
    figures.add("runs of stages beyond the first", verdict.runs_again)
    figures.add("objects that arrived more than once, same content", verdict.sent_twice)
    figures.add("arrivals that the archive lost", verdict.lost)


def _add_faults(figures: Figures, faults: Torture, rig: Rig) -> None:
    for kind, count in faults.killer.kills.items():
        figures.fault(f"kill -9: {kind}", count)
    for trouble, count in faults.troubles.items():
        figures.fault(f"archive: {trouble}", count)
    if rig.server is not None:
        figures.fault("kill -9: PostgreSQL", faults.database_kills)
    figures.add("starts of hosts", sum(host.starts for host in rig.hosts))


SETTINGS: Final = (
    Setting("SQLite, one host"),
    Setting("PostgreSQL, one host", with_server=True, database_kills=3),
    Setting("PostgreSQL, three hosts", hosts=3, with_server=True, database_kills=1),
)


def _run_all(given: argparse.Namespace, folder: Path) -> Iterator[tuple[str, Figures]]:
    """One configuration after the other, and then the partitions."""
    from tests.torture.pipeline_partition import partition  # it stands on this file

    chosen = [SETTINGS[number] for number in given.only or range(len(SETTINGS))]
    for setting in chosen:
        seconds = given.seconds / len(chosen)
        kills = max(4, int(seconds / given.kill_every))
        one = replace(setting, jobs=given.jobs, seconds=seconds, kills=kills, seed=given.seed)
        yield setting.name, torture(one, folder / setting.name.replace(", ", "-").replace(" ", "-"))
    if not given.only or given.partition:
        yield "three hosts, one with its cable pulled out", partition(folder / "partition-cable")
        yield "three hosts, one without the database", partition(folder / "partition-database", on_loopback=True)


def main() -> None:
    """Run every configuration and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=200, help="per configuration")
    parser.add_argument("--seconds", type=float, default=900.0, help="of faults, for all configurations together")
    parser.add_argument("--kill-every", type=float, default=6.0, help="seconds between two kills, at best")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--only", type=int, action="append", help="number of a configuration, from 0")
    parser.add_argument("--partition", action="store_true", help="with --only: the partitions as well")
    parser.add_argument("--folder", type=Path, help="where everything is kept")
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    folder = given.folder or Path(tempfile.mkdtemp(prefix="torture-pipeline-"))
    all_kept = True
    for name, figures in _run_all(given, folder):
        print(f"\n{name}\n{figures.table()}", flush=True)
        all_kept = all_kept and figures.kept(times_too=True)
    if all_kept and not given.folder:
        shutil.rmtree(folder)
    else:
        print(f"everything is kept in {folder}")
    sys.exit(0 if all_kept else 1)


if __name__ == "__main__":
    main()
