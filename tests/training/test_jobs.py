import json
from dataclasses import replace
from pathlib import Path

import pytest

from training.errors import JobUnreadable
from training.jobs import Job, Progress, Result, read_record, write_progress, write_record
from training.recipe import InputPlan, NetworkPlan, Optimisation

JOB = Job(
    "arm/fold1/seed2",
    "arm",
    "arm",
    fold=1,
    seed=2,
    start="pretrained",
    needs="pretraining/net/seed2",
    learns="decoder",
    network=NetworkPlan("net", "A network.", "UNet", {"channels": [4, 8], "strides": [2]}, ("hu",)),
    input=InputPlan((4.0, 4.5, 5.0), (-1000.0, 100.0), (16, 16, 16), ("hu",)),
    optimisation=Optimisation(steps=3, batch_size=1, learning_rate=0.1),
    training=("LC-001",),
    validation=("LC-002",),
    test=("LC-003",),
    cases_sha256="abc",
)
RESULT = Result("arm", "digest", 3, 10, "ff", "processor", {"training": 1.5}, 2.0, {"torch": "2"}, {}, 0.0, {"LC": {}})


@pytest.mark.parametrize("record", [JOB, RESULT])
def test_what_is_written_is_read(tmp_path: Path, record: Job | Result) -> None:
    write_record(tmp_path / "x.json", record)
    assert read_record(tmp_path / "x.json", type(record)) == record
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_progress_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_progress(tmp_path / "x.json", Progress("training", 3, 7))
    assert read_record(tmp_path / "x.json", Progress) == Progress("training", 3, 7)


def test_the_digest_of_a_job_is_of_all_that_it_says_and_survives_the_file(tmp_path: Path) -> None:
    write_record(tmp_path / "x.json", JOB)
    assert read_record(tmp_path / "x.json", Job).digest == JOB.digest
    assert JOB.network is not None
    others = [
        replace(JOB, seed=3),
        replace(JOB, training=("LC-004",)),
        replace(JOB, network=replace(JOB.network, arguments={"channels": [4, 9], "strides": [2]})),
        replace(JOB, cases_sha256="xyz"),
    ]
    assert len({job.digest for job in (JOB, *others)}) == 5


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file"),
        ("{", "Expecting property name"),
        ("[]", "not of format 1"),
        (json.dumps({"format": 99}), "not of format 1"),
        (json.dumps({"format": 1, "phase": "dreaming", "step": 1, "steps": 1}), "phase"),
    ],
)
def test_a_record_that_cannot_be_used_says_why_and_where(tmp_path: Path, content: str | None, said: str) -> None:
    path = tmp_path / "x.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(JobUnreadable, match=said) as refused:
        read_record(path, Progress)
    assert refused.value.path == str(path)
