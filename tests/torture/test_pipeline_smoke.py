"""A short piece of `make torture-pipeline`, so that it cannot rot, and so that a broken pipeline shows at once."""

import os
import random
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from dicom_node.jobs.attempts import CaseState
from dicom_node.network.delivery import Destination, send
from tests.peers import eventually
from tests.torture.figures import Figures
from tests.torture.pipeline_archive import Trouble, archive
from tests.torture.pipeline_hosts import processes
from tests.torture.pipeline_jobs import DELIVERED, Ending, Job, make_jobs, plain_jobs, planned, scan
from tests.torture.pipeline_rig import Rig, Setting, finished, rig
from tests.torture.pipeline_run import judge_run, torture
from tests.torture.stub_stage import Plan, dicom_object, read_events


@pytest.mark.slow  # `make torture-pipeline`
@pytest.mark.timeout(240)
def test_jobs_survive_kills_and_a_bad_archive(tmp_path: Path) -> None:
    """Some jobs, a kill of everything among the kills, an archive in trouble half of the time."""
    setting = Setting("smoke", jobs=4, seconds=8.0, kills=4, seed=3)

    figures = torture(setting, tmp_path)

    assert figures.kept(times_too=False), figures.table()
    assert figures.faults["kill -9: everything"] == 1


@pytest.mark.timeout(240)
def test_a_stage_dies_with_its_engine_and_is_run_again(tmp_path: Path) -> None:
    setting = Setting("kill of an engine")
    with rig(setting, tmp_path, stage_timeout_s=60.0) as made:
        (job,) = plain_jobs(1, tmp_path, work={"segment": "sleep:4"})
        made.start()
        try:
            assert eventually(lambda: scan(job, made.hosts[0].address), 60.0)
            assert eventually(lambda: bool(_of_kind(made, "stage")) and _has_begun(job, "segment"), 60.0)
            _kill(made, "engine")

            assert eventually(lambda: not _of_kind(made, "stage"), 2.0)
            cases = finished(made, 1, 120.0)
        finally:
            made.stop()
        figures = Figures()
        judge_run(made, [job], cases, figures)

        assert not figures.violations
        starts = [e for e in _events(job) if (e["stage"], e["event"]) == ("segment", "start")]
        assert len(starts) == 2


def _of_kind(rig: Rig, kind: str) -> list[int]:
    return [process.pid for process in processes(rig.run) if process.kind == kind]


def _kill(rig: Rig, kind: str) -> None:
    for pid in _of_kind(rig, kind):
        os.kill(pid, signal.SIGKILL)


def _has_begun(job: Job, stage: str) -> bool:
    return any(event["stage"] == stage for event in _events(job))


def _events(job: Job) -> list[dict[str, Any]]:
    return read_events(Path(job.plan.ledger) / f"{job.number:05d}.log")


def test_every_kind_of_job_comes_up(tmp_path: Path) -> None:
    jobs = make_jobs(60, tmp_path, random.Random(1))

    assert Ending(CaseState.REJECTED, "BAD_SERIES") in planned(jobs)
    assert Ending(CaseState.FAILED, "STAGE_CRASHED") in planned(jobs)
    assert planned(jobs)[DELIVERED] > 30


def test_the_archive_shows_a_second_content_under_a_known_uid(tmp_path: Path) -> None:
    """Otherwise the torture could not fail where it matters most."""
    plan = Plan(1, "", "2.25.5", "2.25.6")
    contents = [dicom_object("mr-twin", plan, "result", digit * 16) for digit in "01"]
    paths = [tmp_path / "first.dcm", tmp_path / "second.dcm"]
    with archive(tmp_path / "archive") as peer:
        for path, content in zip(paths, contents, strict=True):
            path.write_bytes(content)
            send([path], Destination("archive", peer.address))
        peer.set(Trouble.FORGET)
        send([paths[0]], Destination("archive", peer.address))
        arrivals = peer.arrivals()

        assert list(arrivals.values()) == [
            Counter(
                {
                    ("kept", f"result result run {'0' * 16}"): 1,
                    ("kept", f"result result run {'1' * 16}"): 1,
                    ("lost", f"result result run {'0' * 16}"): 1,
                }
            )
        ]
        assert contents[1].endswith(next(iter(peer.holdings().values()))[-100:])
