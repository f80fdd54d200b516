"""What a training run tells about itself: its learning curve and which step was kept.

Written into the job's folder as `history.json` at every look at the validation patients, so that a run can be watched
and a report drawn without loading torch.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from training.errors import ForeignCheckpoint
from training.insilico.files.whole_folder import write_whole

HISTORY_FILE = "history.json"
TRAINED_FILE = "trained.json"
WEIGHTS_FILE = "weights.safetensors"


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the validation patients."""

    step: int
    """Optimiser steps taken before it; 0 is the network as it was given."""
    training_loss: float | None
    """Mean over the steps since the look before, with augmentation; None at step 0."""
    validation_loss: float
    """Of the averaged weights, without augmentation."""
    validation_spearman: float
    """Mean over the validation patients of R on the eroded lungs, of the averaged weights: what chooses the best."""
    learning_rate: float
    """Of the decoder, at this step."""
    seconds: float
    """Since the first step, over all sittings, looks included."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished run."""

    best_step: int
    """Step whose averaged weights were kept; 0 if training never beat the start."""
    best_spearman: float
    """Its mean R on the eroded lungs of the validation patients: it chose them, so it is no result."""
    steps: int
    """Taken in all."""
    history: tuple[Look, ...]
    weights: Path
    """The kept weights, as `training.checkpointing.load_weights` reads them."""
    seconds: float
    """Of all steps and looks, over all sittings."""
    samples_per_second: float
    """Patients per second while steps were taken, looks left out."""
    running: dict[str, Any]
    """Device, precision and the like, as it was done (see `training.running`)."""


def write_history(folder: Path, history: tuple[Look, ...]) -> None:
    """Write `history.json`, whole."""
    _write(folder / HISTORY_FILE, {"looks": [asdict(look) for look in history]})


def read_history(folder: Path) -> tuple[Look, ...]:
    """The looks of a job's folder, in order."""
    document = json.loads((folder / HISTORY_FILE).read_text(encoding="utf-8"))
    return tuple(Look(**look) for look in document["looks"])


def write_trained(folder: Path, trained: Trained, job: str) -> None:
    """Write `trained.json`, which says that a run is finished, and of which job."""
    content = asdict(trained) | {"job": job}
    del content["history"], content["weights"]  # in files of their own
    _write(folder / TRAINED_FILE, content)


def read_trained(folder: Path, job: str) -> Trained | None:
    """The finished run of a folder, or None if it is not finished.

    Raises:
        ForeignCheckpoint: it is the run of another job.
    """
    path = folder / TRAINED_FILE
    if not path.is_file():
        return None
    content = json.loads(path.read_text(encoding="utf-8"))
    if content.pop("job") != job:
        raise ForeignCheckpoint(str(path), "another plan, seed, network or start")
    return Trained(history=read_history(folder), weights=folder / WEIGHTS_FILE, **content)


def _write(path: Path, content: dict[str, Any]) -> None:
    write_whole(path, (json.dumps(content, indent=1) + "\n").encode())
