"""What a job of the study does, from cases to scores.

    job.json ─▶ cases ─▶ network ─▶ training ─▶ predictions of the test patients ─▶ scores ─▶ result.json

It needs prepared cases, numpy, scipy, torch, MONAI and accelerate, and nothing that reads DICOM. torch is loaded by
jobs with a network only.
"""

import hashlib
import os
import platform
import resource
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from training.case_files import read_cases
from training.jobs import (
    CASES,
    JOB_FILE,
    JOBS,
    PREDICTIONS,
    PROGRESS_FILE,
    RESULT_FILE,
    Job,
    Progress,
    Result,
    read_record,
    write_progress,
    write_record,
)
from training.running import Running
from training.scores import case_scores, reference_map, spect_agreement
from training.study_case import Map, StudyCase

if TYPE_CHECKING:
    from inference.model_card import ModelCard
    from inference.networks import PerfusionNetwork
    from training.history import Trained

LIBRARIES = ("torch", "monai", "accelerate", "numpy", "scipy")
"""Whose versions numbers depend on."""
_PROGRESS_EVERY_S = 1.0


def do_job(folder: Path, running: Running) -> None:
    """Do a job, unless it is done.

    Args:
        folder: with `job.json`, two or more levels below the folder of the study, which holds the cases.
        running: how.

    Raises:
        JobUnreadable: there is no job in the folder.
        TrainingStopped: the process was asked to end; its state is saved.
    """
    job = read_record(folder / JOB_FILE, Job)
    if (folder / RESULT_FILE).exists():
        return
    result = _reference(job, folder) if job.kind == "reference" else _Network(job, folder, running).result()
    if result is None:
        return
    write_record(folder / RESULT_FILE, result)
    write_progress(folder / PROGRESS_FILE, Progress("done", job.steps, job.steps))


def _reference(job: Job, folder: Path) -> Result:
    """Scores of a map that cases bring along."""
    clock = Clock(job, folder)
    with clock.phase("loading"):
        cases = read_cases(_study(job, folder) / CASES, job.test)
    with clock.phase("scoring"):
        scores = {case.patient: asdict(case_scores(reference_map(case, job.arm), case)) for case in cases}
    return Result(
        job=job.name,
        digest=job.digest,
        best_step=None,
        parameters=0,
        weights_sha256="",
        device=_processor(),
        seconds=clock.seconds,
        peak_memory_mb=_peak_mb(),
        versions=_versions(),
        scores=scores,
    )


@dataclass(slots=True)
class Clock:
    """Writes how far a job is, and counts seconds by phase."""

    job: Job
    folder: Path
    seconds: dict[str, float] = field(default_factory=dict)
    told: float = 0.0

    @contextmanager
    def phase(self, name: Literal["loading", "training", "predicting", "scoring"]) -> Iterator[None]:
        """A part of the job, from entering to leaving."""
        since = time.monotonic()
        step = self.job.steps if name in ("predicting", "scoring") else None
        self._write(Progress(name, step if step is not None else self._step_before(), self.job.steps))
        yield
        self.seconds[name] = round(time.monotonic() - since, 3)

    def step(self, step: int) -> None:
        """So many steps are taken; written about once a second."""
        if time.monotonic() - self.told >= _PROGRESS_EVERY_S:
            self._write(Progress("training", step, self.job.steps))

    def _write(self, progress: Progress) -> None:
        write_progress(self.folder / PROGRESS_FILE, progress)
        self.told = time.monotonic()

    def _step_before(self) -> int:
        path = self.folder / PROGRESS_FILE
        return read_record(path, Progress).step if path.exists() else 0


class _Network:
    """A job with a network, in the order in which it is done."""

    def __init__(self, job: Job, folder: Path, running: Running) -> None:
        self.job, self.folder, self.running = job, folder, running
        self.study = _study(job, folder)
        self.clock = Clock(job, folder)
        self.is_asked_to_end = False
        signal.signal(signal.SIGTERM, self._ask_to_end)

    def result(self) -> Result | None:
        """None in all processes but the first, where `torchrun` started several."""
        from training.loop import device_for, is_main_process

        device = device_for(self.running)
        network = self._network()
        trained = self._trained(network) if self.job.optimisation is not None else None
        if not is_main_process():
            return None
        network.to(device).eval()
        scores = self._scores(network)
        return Result(
            job=self.job.name,
            digest=self.job.digest,
            best_step=trained.best_step if trained else None,
            parameters=sum(parameter.numel() for parameter in network.parameters()),
            weights_sha256=self._weights_sha256(),
            device=_device_name(device.type),
            seconds=self.clock.seconds | ({"training": round(trained.seconds, 3)} if trained else {}),
            peak_memory_mb=_peak_mb(),
            versions=_versions(),
            running=trained.running if trained else {},
            samples_per_second=trained.samples_per_second if trained else 0.0,
            scores=scores,
        )

    def _network(self) -> "PerfusionNetwork":
        """As the job begins: random or pre-trained weights, with what is frozen marked so."""
        from inference.model_card import WEIGHTS_FILE
        from training.transfer import fresh_network, start

        network = fresh_network(self._card(), self.job.seed)
        pretrained = self.study / JOBS / self.job.needs / WEIGHTS_FILE if self.job.needs else None
        start(network, pretrained=pretrained, learns=self.job.learns)
        return network

    def _trained(self, network: "PerfusionNetwork") -> "Trained":
        """Train, or go on training, and leave a model folder."""
        from training.augmentation import AugmentationPlan
        from training.case_batches import CaseBatches
        from training.loop import device_for, is_main_process, train
        from training.validation import CaseValidation

        plan, card, device = self.job.optimisation, network.card, device_for(self.running)
        processes = int(os.environ.get("WORLD_SIZE", "1"))  # of torchrun
        if plan is None:
            raise ValueError(f"{self.job.name} learns nothing")
        with self.clock.phase("loading"):
            names = card.channels
            batches = CaseBatches(
                self._cases(self.job.training),
                device,
                card.window_size,
                batch_size=max(plan.batch_size // processes, 1),
                channel_names=names,
                augmentation=AugmentationPlan(),
            )
            validation = CaseValidation(self._cases(self.job.validation), device, card.window_size, channel_names=names)
        with self.clock.phase("training"):
            trained = train(
                network,
                batches,
                validation,
                plan,
                folder=self.folder,
                seed=self.job.seed,
                running=self.running,
                tell=self.clock.step,
                should_stop=lambda: self.is_asked_to_end,
            )
        if is_main_process():
            identity = replace(card.identity, weights_sha256=self._weights_sha256())
            replace(card, identity=identity).write(self.folder)
        return trained

    def _scores(self, network: "PerfusionNetwork") -> dict[str, dict[str, object]]:
        """Of the test patients, whose predictions are written."""
        from training.loop import device_for
        from training.prediction import predicted, write_prediction

        if not self.job.test:
            return {}
        cases = self._cases(self.job.test)
        folder = self.folder / PREDICTIONS
        folder.mkdir(exist_ok=True)
        with self.clock.phase("predicting"):
            maps = [predicted(network, case, device_for(self.running)) for case in cases]
            for case, values in zip(cases, maps, strict=True):
                write_prediction(folder / f"{case.patient}.npz", values, case)
        with self.clock.phase("scoring"):
            return {case.patient: _scored(values, case) for case, values in zip(cases, maps, strict=True)}

    def _weights_sha256(self) -> str:
        """Of the weights that predicted: those in this folder, or in that of the pre-training when nothing learned."""
        from inference.model_card import WEIGHTS_FILE

        folder = self.folder if self.job.optimisation is not None else self.study / JOBS / str(self.job.needs)
        return hashlib.sha256((folder / WEIGHTS_FILE).read_bytes()).hexdigest()

    def _cases(self, patients: Sequence[str]) -> tuple[StudyCase, ...]:
        return read_cases(self.study / CASES, patients)

    def _card(self) -> "ModelCard":
        from training.job_card import job_card

        return job_card(self.job)

    def _ask_to_end(self, *_: object) -> None:
        self.is_asked_to_end = True


def _scored(values: Map, case: StudyCase) -> dict[str, object]:
    return asdict(case_scores(values, case) if case.facts.has_truth else spect_agreement(values, case))


def _study(job: Job, folder: Path) -> Path:
    """The folder of the study, from the place of the job in it."""
    return folder.resolve().parents[len(Path(job.name).parts)]


def _device_name(kind: str) -> str:
    if kind != "cuda":
        return _processor()
    import torch

    return str(torch.cuda.get_device_name())


def _processor() -> str:
    return f"{platform.machine()} processor, {os.environ.get('OMP_NUM_THREADS') or os.cpu_count()} thread(s)"


def _peak_mb() -> float:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.max_memory_reserved():
        return round(float(torch.cuda.max_memory_reserved()) / 1e6, 1)
    unit = 1.0 if sys.platform == "darwin" else 1024.0  # getrusage counts bytes there, kibibytes on Linux
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: _version(name) for name in LIBRARIES}}


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:  # copied to the machine without being installed
        return "unknown"
