"""What the engine costs beside the work: time and CPU per job, an idle node, and what more workers bring.

    make bench-engine            (by hand: python -m benchmarks.engine --jobs 24)

Whole nodes with stub stages, a real scanner's C-STORE and a real Orthanc: what is measured is reception, engine,
processes and delivery. A job has seven attempts: five stages, one delivery, one verification. Beside it, empty tasks of
two peers: DBOS as its documentation shows it, which is our engine without our processes, and Huey, the queue of the
least machinery. Memory is PSS, shared pages counted once.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import psutil
from rich.console import Console
from rich.table import Table

from dicom_node.jobs.attempts import Case
from tests.peers import eventually
from tests.torture.pipeline_hosts import listens_at, processes
from tests.torture.pipeline_jobs import Job, plain_jobs, scan
from tests.torture.pipeline_rig import Rig, Setting, finished, rig
from tests.torture.postgres import postgres
from tests.torture.stub_stage import read_events

ATTEMPTS: Final = 7
"""Of one job: five stages, a delivery, a verification."""
_STAGES: Final = {"wait": "sleep:2", "compute": "cpu:1"}
"""What the stage `perfuse` does: wait 2 s, as for a GPU, or compute 1 s."""
_PEERS: Final = Path(sys.prefix) / "engine-peers"
_LIMIT_S: Final = 900.0
console = Console(width=140)


@dataclass(frozen=True, slots=True)
class Work:
    """How jobs were worked off."""

    jobs_per_min: float
    cpu_s_per_job: float
    """Of all processes of the node, stages included."""
    busy_percent: float
    """Of the machine, median while the jobs were worked off."""


@contextmanager
def _node(folder: Path, workers: int, *, with_server: bool) -> Iterator[Rig]:
    setting = Setting("bench", with_server=with_server)
    with rig(setting, folder, work=f"workers = {workers}", stage_timeout_s=120.0) as made:
        made.start()
        try:
            host = made.hosts[0]
            assert eventually(lambda: host.is_ready and listens_at(*host.address.endpoint), 120.0), host.log[-2000:]
            yield made
        finally:
            made.stop()


def lone_job(folder: Path, jobs: int, *, with_server: bool) -> tuple[float, float]:
    """Median seconds of a job from its first row to its last, and of these what its stage programs took."""
    with _node(folder, 1, with_server=with_server) as made:
        whole, own = [], []
        for job in plain_jobs(jobs, folder):
            assert scan(job, made.hosts[0].address)
            case = max(finished(made, job.number + 1, _LIMIT_S), key=lambda case: case.created_at_s)
            whole.append(case.updated_at_s - case.created_at_s)
            own.append(_stage_s(job))
    return median(whole), median(own)


def _stage_s(job: Job) -> float:
    """What the stage programs of a job took, from their first line to their last, without the start of Python."""
    events, taken_s = read_events(Path(job.plan.ledger) / f"{job.number:05d}.log"), 0.0
    for event in events:
        taken_s += event["at"] * {"start": -1, "end": 1}.get(event["event"], 0)
    return taken_s


def full_queue(folder: Path, jobs: int, workers: int, work: dict[str, str], *, with_server: bool) -> Work:
    """Jobs that come faster than they are done."""
    with _node(folder, workers, with_server=with_server) as made:
        before_s = _cpu_s(made)
        with _watched_machine() as busy_percent:
            for job in plain_jobs(jobs, folder, work=work):
                assert scan(job, made.hosts[0].address)
            cases = finished(made, jobs, _LIMIT_S)
        spent_s = _cpu_s(made) - before_s
    return Work(60 * jobs / _lasted_s(cases), spent_s / jobs, median(busy_percent))


@contextmanager
def _watched_machine() -> Iterator[list[float]]:
    """How busy all cores are, in percent, once a second."""
    busy_percent, over = list[float](), threading.Event()

    def look() -> None:
        while not over.is_set():
            busy_percent.append(psutil.cpu_percent(1.0))

    watch = threading.Thread(target=look)
    watch.start()
    try:
        yield busy_percent
    finally:
        over.set()
        watch.join()


def _lasted_s(cases: Sequence[Case]) -> float:
    assert all(case.is_finished for case in cases), "not everything was delivered"
    return max(case.updated_at_s for case in cases) - min(case.created_at_s for case in cases)


def _cpu_s(rig: Rig) -> float:
    """Processor time of a node, with that of children that have ended."""
    total = 0.0
    for process in processes(rig.run):
        with suppress(psutil.Error):
            if process.kind in ("supervisor", "engine", "receiver", "other"):
                times = psutil.Process(process.pid).cpu_times()
                total += times.user + times.system
                total += times.children_user + times.children_system
    return total


def idle(folder: Path, seconds: float, *, with_server: bool) -> Table:
    """A node that nobody sends anything to."""
    table = Table("process", "PSS, MB", "CPU, % of a core", title=f"idle node, {_name(with_server)}")
    with _node(folder, 1, with_server=with_server) as made:
        time.sleep(8.0)  # what a start leaves to do
        before = {p.pid: psutil.Process(p.pid).cpu_times() for p in processes(made.run)}
        time.sleep(seconds)
        memory_mb, cpu_s = defaultdict[str, float](float), defaultdict[str, float](float)
        for process in processes(made.run):
            memory_mb[process.kind] += _pss_mb(process.pid)
            now, then = psutil.Process(process.pid).cpu_times(), before[process.pid]
            cpu_s[process.kind] += now.user + now.system - then.user - then.system
        for kind, value in memory_mb.items():
            table.add_row(kind, f"{value:.0f}", f"{100 * cpu_s[kind] / seconds:.1f}")
        table.add_row("all", f"{sum(memory_mb.values()):.0f}", f"{100 * sum(cpu_s.values()) / seconds:.1f}")
    return table


def _pss_mb(pid: int) -> float:
    lines = (Path("/proc") / str(pid) / "smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:"))


def peer(name: str, database: str, tasks: int) -> tuple[float, float]:
    """Milliseconds and processor milliseconds of an empty task."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.engine_peers", name, database, str(tasks)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([".", str(_PEERS)])}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    said = json.loads(done.stdout.splitlines()[-1])
    return 1000 * said["seconds"] / tasks, 1000 * said["cpu_s"] / tasks


def _name(with_server: bool) -> str:
    return "PostgreSQL" if with_server else "SQLite"


def _overhead(folder: Path, jobs: int, tasks: int) -> Table:
    table = Table("", "per job or task", "per attempt", "ratio to DBOS", title="overhead of the engine")
    for with_server in (False, True):
        name, where = _name(with_server), folder / f"overhead-{with_server}"
        whole_s, own_s = lone_job(where / "lone", max(3, jobs // 8), with_server=with_server)
        table.add_row(f"a lone job, {name}", f"{whole_s:.2f} s, stages {own_s:.2f} s",
                      f"{1000 * (whole_s - own_s) / ATTEMPTS:.0f} ms waiting and starting", "")  # fmt: skip
        full = full_queue(where / "full", jobs, 1, {}, with_server=with_server)
        with postgres(where / "peer") as server:
            url = server.url("peer") if with_server else f"sqlite:///{where / 'dbos.sqlite'}"
            plain_ms, plain_cpu_ms = peer("dbos", url, tasks)
        each_ms, cpu_ms = 60_000 / full.jobs_per_min / ATTEMPTS, 1000 * full.cpu_s_per_job / ATTEMPTS
        table.add_row(f"a full queue of empty jobs, {name}", f"{60 / full.jobs_per_min:.2f} s, CPU "
                      f"{full.cpu_s_per_job:.2f} s", f"{each_ms:.0f} ms, CPU {cpu_ms:.0f} ms",
                      f"{each_ms / plain_ms:.1f}, CPU {cpu_ms / plain_cpu_ms:.1f}")  # fmt: skip
        table.add_row(f"DBOS, empty workflow, {name}", f"{plain_ms:.0f} ms, CPU {plain_cpu_ms:.0f} ms", "", "1")
    if _PEERS.exists():
        huey_ms, huey_cpu_ms = peer("huey", str(folder / "huey.sqlite"), tasks)
        table.add_row("Huey, empty task, SQLite", f"{huey_ms:.0f} ms, CPU {huey_cpu_ms:.0f} ms", "", "")
    return table


def _scaling(folder: Path, jobs: int, counts: Sequence[int], stages: Sequence[str]) -> Table:
    title = "more workers on one host: jobs/min (ratio to one worker, share of the machine's processors in use)"
    table = Table("stages", "database", *(f"{n} worker(s)" for n in counts), title=title)
    for what in stages:
        work = _STAGES[what]
        for with_server in (False, True):
            cells, first = [], 0.0
            for workers in counts:
                where = folder / f"scaling-{work.partition(':')[0]}-{with_server}-{workers}"
                done = full_queue(where, jobs, workers, {"perfuse": work}, with_server=with_server)
                first = first or done.jobs_per_min
                cells.append(f"{done.jobs_per_min:.0f} ({done.jobs_per_min / first:.2f} ×, {done.busy_percent:.0f} %)")
            table.add_row(what, _name(with_server), *cells)
    return table


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=24)
    parser.add_argument("--tasks", type=int, default=200, help="of the peers")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--stages", nargs="+", default=list(_STAGES), choices=list(_STAGES))
    parser.add_argument("--idle-s", type=float, default=30.0)
    parser.add_argument("--parts", nargs="+", default=["idle", "overhead", "scaling"])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-engine-") as name:
        folder = Path(name)
        if "idle" in given.parts:
            for with_server in (False, True):
                console.print(idle(folder / f"idle-{with_server}", given.idle_s, with_server=with_server))
        if "overhead" in given.parts:
            console.print(_overhead(folder, given.jobs, given.tasks))
        if "scaling" in given.parts:
            console.print(_scaling(folder, given.jobs, given.workers, given.stages))


if __name__ == "__main__":
    main()
