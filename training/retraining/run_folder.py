"""What the folder of a run says of itself: `run.json`, and the model in it.

RUN/recipe/retraining.toml   the recipe, as it was when the run began
RUN/run.json                 what it trains on, and who is held out (`RunRecord`)
RUN/cases/, RUN/jobs/        as in the folder of a study (`training.jobs`)
RUN/tensorboard/             learning curves, where TensorBoard is installed
RUN/model/                   the signed bundle; written last
RUN/model-key.pem.pub        public part of the key that signed it
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from training.errors import JobUnreadable
from training.jobs import FORMAT, RECIPE, read_record, write_json
from training.retraining.errors import RunUnfinished
from training.retraining.recipe import RECIPE_FILE

RUN_FILE = "run.json"
MODEL = "model"
KEY_FILE = "model-key.pem"
PUBLIC_KEY_FILE = "model-key.pem.pub"
TENSORBOARD = "tensorboard"


@dataclass(frozen=True, slots=True)
class RunRecord:
    """The content of `run.json`."""

    data: Literal["clinical", "in-silico"]
    store_key: str
    """Number of the key of the store's pseudonyms; says which store, and nothing of the key."""
    held_out: str
    """As `SplitRule.words`."""
    folds: int
    patients: int
    pairs: int
    start: str
    """Name, version and first digits of the model that it goes on from."""
    start_sha256: str
    """Of its weights."""
    recipe_sha256: str

    def write(self, run: Path) -> None:
        """Write it.

        Raises:
            OSError: the file system refuses.
        """
        write_json(run / RUN_FILE, {"format": FORMAT, **asdict(self)})


def is_run(folder: Path) -> bool:
    """Whether a folder is one of `perfnode train`."""
    return (folder / RUN_FILE).is_file()


def read_run(folder: Path) -> RunRecord:
    """What a run says of itself.

    Raises:
        RunUnfinished: the folder is none.
    """
    try:
        return read_record(folder / RUN_FILE, RunRecord)
    except JobUnreadable as fault:
        raise RunUnfinished(str(folder), f"it is no folder of `perfnode train`: {fault.reason}") from fault


def model_of(folder: Path) -> tuple[Path, Path]:
    """The bundle of a run, and the public key that it was signed with.

    Raises:
        RunUnfinished: there is none yet.
    """
    bundle, key = folder / MODEL, folder / PUBLIC_KEY_FILE
    if not bundle.is_dir() or not key.is_file():
        raise RunUnfinished(str(folder), "it has no model yet: `perfnode train` goes on with it")
    return bundle, key


def recipe_of(folder: Path) -> Path:
    """The file of its recipe."""
    return folder / RECIPE / RECIPE_FILE
