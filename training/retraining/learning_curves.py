"""The learning curves of a run for TensorBoard, written while it goes on.

TensorBoard and not MLflow: it is one package without a server or a database, torch writes its files, and they can be
copied to a machine that shows them. It is an extra (`pip install perfusion-node[tensorboard]`); without it the same
figures lie in `history.json` of each job, from which they are read here.

Files are written anew at each start, from the whole history: a run that was killed leaves no curve twice.
"""

import json
import shutil
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from training.history import HISTORY_FILE, Look, read_history
from training.job_folders import job_folder
from training.jobs import Job
from training.retraining.run_folder import TENSORBOARD


def has_tensorboard() -> bool:
    """Whether TensorBoard is installed."""
    return find_spec("tensorboard") is not None


class LearningCurves:
    """Follows the histories of jobs; a context manager. Needs TensorBoard."""

    def __init__(self, run: Path, jobs: Iterable[Job]) -> None:
        """Begin anew in the folder `tensorboard` of a run."""
        self._folder = run / TENSORBOARD
        shutil.rmtree(self._folder, ignore_errors=True)
        self._histories = {job.name: job_folder(run, job) / HISTORY_FILE for job in jobs}
        self._read_at: dict[str, float] = {}
        self._written: dict[str, int] = {}
        self._writers: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self.follow()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.follow()
        for writer in self._writers.values():
            writer.close()

    def follow(self) -> None:
        """Write what the histories have got since."""
        for name, path in self._histories.items():
            try:
                changed_at = path.stat().st_mtime
                if changed_at == self._read_at.get(name):
                    continue
                looks = read_history(path.parent)
            except (OSError, json.JSONDecodeError):  # not begun yet
                continue
            self._read_at[name] = changed_at
            self._write(name, looks)

    def _write(self, name: str, looks: tuple[Look, ...]) -> None:
        writer = self._writers.get(name)
        if writer is None:
            from torch.utils.tensorboard import SummaryWriter

            writer = self._writers[name] = SummaryWriter(str(self._folder / name))
        last = self._written.get(name, -1)
        for look in looks:
            if look.step > last:
                for tag, value in _curves(look).items():
                    writer.add_scalar(tag, value, look.step)
                self._written[name] = look.step
        writer.flush()


def _curves(look: Look) -> dict[str, float]:
    curves = {
        "validation/spearman": look.validation_spearman,
        "validation/loss": look.validation_loss,
        "training/rate": look.learning_rate,
    }
    return curves if look.training_loss is None else {**curves, "training/loss": look.training_loss}
