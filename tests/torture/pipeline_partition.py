"""A host that is cut off in the middle of its work: it must stop by itself before another one goes on.

Twice: with its cable pulled out (a network namespace), and with only its line to the database gone silent, so that it
could still deliver. Every stage takes longer than the cut-off host is given, so that work is really taken over.
"""

import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from tests.torture.figures import Figures
from tests.torture.pipeline_archive import Trouble
from tests.torture.pipeline_hosts import processes
from tests.torture.pipeline_jobs import Job, plain_jobs, scan
from tests.torture.pipeline_rig import Rig, Setting, finished, rig
from tests.torture.pipeline_run import judge_run
from tests.torture.stub_stage import read_events

_VICTIM: Final = 2
_STAGE_S: Final = 20.0
"""Longer than the server waits for a host that is gone (11 s), and than it takes to adopt its work."""
_TAKEOVER_LIMIT_S: Final = 30.0
_LIMIT_S: Final = 60.0


def partition(folder: Path, *, jobs: int = 6, on_loopback: bool = False) -> Figures:
    """Cut off a host that works on a case.

    Args:
        folder: for everything.
        jobs: how many; some wait for their turn.
        on_loopback: only the line to the database goes silent.
    """
    figures = Figures()
    setting = Setting("partition", hosts=3, with_server=True, jobs=jobs)
    with rig(setting, folder, stage_timeout_s=90.0, on_loopback=on_loopback) as made:
        work = {"segment": f"sleep:{_STAGE_S:g}"}
        sent = plain_jobs(jobs, folder, work=work)
        made.start()
        try:
            for job in sent:
                receivers = made.receivers
                while not scan(job, receivers[job.number % len(receivers)].address):
                    time.sleep(0.3)
            watched = _busy_job(made, sent)
            _cut_off(made, watched, figures)
            cases = finished(made, jobs)
        finally:
            made.stop()
        judge_run(made, sent, cases, figures)
        figures.fault("host cut off")
    return figures


def _busy_job(rig: Rig, jobs: list[Job]) -> Job:
    """A job whose segmentation runs on the host that will be cut off, and has just begun."""
    end = time.monotonic() + _LIMIT_S
    while time.monotonic() < end:
        for job in jobs:
            events = _events(job)
            if events and events[-1]["event"] == "start" and _is_of(events[-1]):
                return job
        time.sleep(0.1)
    raise RuntimeError(f"the host took no work:\n{rig.hosts[_VICTIM].log[-3000:]}")


def _cut_off(rig: Rig, job: Job, figures: Figures) -> None:
    engines = {p.pid for p in processes(rig.run) if p.kind == "engine" and p.host.startswith(f"h{_VICTIM}/")}
    stages = {p.pid for p in processes(rig.run) if p.kind == "stage" and p.host.startswith(f"h{_VICTIM}/")}
    begun = time.monotonic()
    _set(rig, is_cut=True)
    ended_s = stopped_s = brought_s = taken_s = None
    while time.monotonic() < begun + _LIMIT_S and None in (ended_s, stopped_s, brought_s, taken_s):
        now_s = time.monotonic() - begun
        ended_s = ended_s if ended_s is not None or any(map(_is_alive, engines)) else now_s
        stopped_s = stopped_s if stopped_s is not None or any(map(_is_alive, stages)) else now_s
        last = [event for event in _events(job) if event["event"] == "start"][-1]
        brought_s = now_s if brought_s is None and _is_brought_back(rig) else brought_s
        taken_s = now_s if taken_s is None and not _is_of(last) else taken_s
        time.sleep(0.05)
    time.sleep(3.0)
    _set(rig, is_cut=False)
    for name, value, limit_s in (
        ("seconds until the cut-off engine ended itself", ended_s, _TAKEOVER_LIMIT_S),
        ("seconds until its stage was gone", stopped_s, _TAKEOVER_LIMIT_S),
        ("seconds until its work was back in the queue", brought_s, _TAKEOVER_LIMIT_S),
        ("seconds until another host had room and worked on it", taken_s, _LIMIT_S),
    ):
        is_kept = value is not None and value < limit_s
        figures.add(name, "never" if value is None else value, f"< {limit_s:g}", kept=is_kept)
    if ended_s is None or stopped_s is None or brought_s is None or max(ended_s, stopped_s) >= brought_s:
        figures.violated("another host went on before the cut-off one had stopped")


def _set(rig: Rig, *, is_cut: bool) -> None:
    if rig.network is not None:
        (rig.network.cut if is_cut else rig.network.join)(_VICTIM)
    else:
        rig.lines[_VICTIM].set(Trouble.STALL if is_cut else Trouble.NONE)


def _events(job: Job) -> list[dict[str, Any]]:
    events = read_events(Path(job.plan.ledger) / f"{job.number:05d}.log")
    return [event for event in events if event["stage"] == "segment"]


def _is_of(event: dict[str, Any]) -> bool:
    return str(event["host"]).startswith(f"h{_VICTIM}/")


def _is_brought_back(rig: Rig) -> bool:
    return any('"takeover"' in host.log for number, host in enumerate(rig.hosts) if number != _VICTIM)


def _is_alive(pid: int) -> bool:
    with suppress(OSError):
        return not (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].strip().startswith("Z")
    return False
