"""A job of the study: one training run and its scores, as a folder that says all it needs and all it found.

    OUT/
    ├─ recipe/                               the files of configs/study/ that the study was planned from
    ├─ cases/NC-001.npz ...                  prepared patients (`case_files`)
    └─ jobs/
       ├─ pretraining/NETWORK/seed1/         a network taught on the pre-training patients
       ├─ references/shape/ ...              maps that cases bring along: trivial predictors, noise ceiling, SPECT
       └─ ARM/fold0/seed1/
          ├─ job.json                        what is to be done (`Job`); written by the runner
          ├─ job.log                         what the process said
          ├─ progress.json                   how far it is (`Progress`)
          ├─ checkpoint.safetensors          of the loop; gone when it is done
          ├─ history.json, trained.json      losses and validation by step (`training.history`)
          ├─ weights.safetensors             the best step's, by validation
          ├─ model_card.json                 what they are; the folder is one of a model (`inference.checkpoint`)
          ├─ predictions/LC-001.npz ...      of the fold's test patients (`prediction`)
          └─ result.json                     scores and costs (`Result`); written last, so it means done

A job is one process, `python -m training.job_process FOLDER`, on any machine that sees the folder. Every file appears
whole under its name. A process that is killed goes on from its last checkpoint when it is started again.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError

from training.errors import JobUnreadable
from training.insilico.files.whole_folder import write_whole
from training.recipe import InputPlan, Learns, NetworkPlan, Optimisation, Start, TrainsOn

FORMAT = 1
JOB_FILE = "job.json"
LOG_FILE = "job.log"
LOCK_FILE = "job.lock"
PROGRESS_FILE = "progress.json"
RESULT_FILE = "result.json"
FAILURE_FILE = "failure.txt"
PREDICTIONS = "predictions"
CASES = "cases"
JOBS = "jobs"
RECIPE = "recipe"
PRETRAINING = "pretraining"
REFERENCES = "references"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Job:
    """What one process has to do; the content of `job.json`."""

    name: str
    """Its folder below `jobs/`, such as `scratch/fold0/seed1`."""
    kind: Literal["pretraining", "arm", "reference", "retraining"]
    arm: str
    """Name of the arm, of the network that is pre-trained or retrained, or one of `REFERENCE_MAPS`."""
    fold: int | None = None
    """Which part of the fine-tuning patients is tested, from 0; None outside arms."""
    seed: int = 0
    """Of all that is random in it."""
    start: Start = "random"
    needs: str | None = None
    """The job whose weights it starts from."""
    learns: Learns = "nothing"
    trains_on: TrainsOn = "fine-tuning"
    network: NetworkPlan | None = None
    """None for references."""
    input: InputPlan | None = None
    """With the channels that this network is shown, in order."""
    optimisation: Optimisation | None = None
    """None when nothing learns."""
    training: tuple[str, ...] = ()
    """Patients that are learned from."""
    validation: tuple[str, ...] = ()
    """Patients that choose the best step."""
    test: tuple[str, ...] = ()
    """Patients that are predicted and scored; never among the other two."""
    cases_sha256: str = ""
    """Digest of all that the cases of the study were prepared from."""

    @property
    def digest(self) -> str:
        """Of everything above: a result of another digest is of another job."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    @property
    def steps(self) -> int:
        """Optimiser steps from start to end."""
        return self.optimisation.steps if self.optimisation is not None else 0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is; the content of `progress.json`."""

    phase: Literal["loading", "training", "predicting", "scoring", "done"]
    step: int
    steps: int


@dataclass(frozen=True, slots=True)
class Result:
    """What a job found; the content of `result.json`."""

    job: str
    digest: str
    """Of the job."""
    best_step: int | None
    """Whose weights were kept; None when nothing learned."""
    parameters: int
    """Numbers in the network; 0 for references."""
    weights_sha256: str
    """Of `weights.safetensors`, or of those of the pre-training when nothing learned; empty for references."""
    device: str
    """Name of the processor or GPU."""
    seconds: Mapping[str, float]
    """By the clock: `loading`, `training`, `predicting`, `scoring`; training over all starts after a kill."""
    peak_memory_mb: float
    """Of the process, or of the GPU where there is one."""
    versions: Mapping[str, str]
    """Of Python and of the libraries that numbers depend on."""
    running: Mapping[str, Any] = field(default_factory=dict)
    """How the machine was used (`training.history.Trained`); empty when nothing was trained."""
    samples_per_second: float = 0.0
    """Patients per second while steps were taken."""
    scores: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """For each test patient, `training.scores.CaseScores` as a dictionary, or `Agreement` with the SPECT where nobody
    knows the truth. Empty after pre-training."""


class JobState(StrEnum):
    """Where a job stands."""

    WAITING = "waiting"
    BEGUN = "begun"
    """Was stopped or killed; goes on from its checkpoint."""
    FAILED = "failed"
    DONE = "done"


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a small file whole, in a form that people can read.

    Raises:
        OSError: the file system refuses.
    """
    write_whole(path, (json.dumps(content, indent=1, sort_keys=True) + "\n").encode())


def write_record(path: Path, record: Job | Result) -> None:
    """Write a job or its result.

    Raises:
        OSError: the file system refuses.
    """
    write_json(path, {"format": FORMAT, **asdict(record)})


def write_progress(path: Path, progress: Progress) -> None:
    """Write how far a job is: whole, but not waiting for the disk, as nothing is lost with it.

    Raises:
        OSError: the file system refuses.
    """
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps({"format": FORMAT, **asdict(progress)}), encoding="utf-8")
    part.replace(path)


def read_record(path: Path, kind: type[T]) -> T:
    """Read a job, its progress or its result.

    Raises:
        JobUnreadable: the file is missing, damaged or of another version.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
            raise ValueError(f"it is not of format {FORMAT}")
        return TypeAdapter(kind).validate_python(content)
    except OSError as fault:
        raise JobUnreadable(str(path), fault.strerror or "it cannot be read") from fault
    except ValidationError as fault:  # before ValueError, of which it is one
        first = fault.errors()[0]
        raise JobUnreadable(str(path), f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from fault
    except ValueError as fault:
        raise JobUnreadable(str(path), str(fault)) from fault
