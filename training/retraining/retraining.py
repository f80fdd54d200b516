"""One run from the pairs of a store to trained networks: plan, prepare, train, each by what lies on disk.

Networks are trained by the study's runner, so all of it can be stopped or killed at any moment and the same command
goes on. What is there of other pairs, another recipe or another start is an error, unless it is to be thrown away.
The bundle is made by `site_bundle`.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from inference.checkpoint import network_of
from inference.engine import EngineSettings
from inference.model_card import WEIGHTS_FILE
from training.errors import StudyBusy
from training.file_lock import alone
from training.insilico.files.whole_folder import write_whole
from training.insilico.files.workers import Ended, Started
from training.job_folders import job_folder, lay_out
from training.job_runner import Order, Outcome, Standing, run_jobs
from training.jobs import CASES, RESULT_FILE, Job, Result, write_record
from training.retraining.errors import PairsUnusable
from training.retraining.pair_cases import Preparation, PreparedPairs, prepare_pairs
from training.retraining.plan import START, PairsAtHand, RetrainingPlan, pairs_at_hand, plan_retraining, retraining_jobs
from training.retraining.recipe import SHIPPED_RECIPE, ReadRecipe, keep_retraining_recipe, read_retraining_recipe
from training.retraining.run_folder import RunRecord, recipe_of
from training.retraining.start_model import StartModel, read_start, require_start
from training.store.header import read_key_id
from training.store.study_store import StudyStore

LOCK_FILE = "train.lock"


@dataclass(frozen=True, slots=True, eq=False)
class Retraining:
    """A run whose plan holds; nothing of it need be on disk."""

    folder: Path
    read: ReadRecipe
    at_hand: PairsAtHand
    plan: RetrainingPlan
    start: StartModel
    way: Preparation
    record: RunRecord
    jobs: tuple[Job, ...]

    @classmethod
    def planned(
        cls,
        store: StudyStore,
        folder: Path,
        *,
        recipe: Path | None = None,
        start: Path | None = None,
        trusted: Iterable[Path] = (),
        model_store: Path | None = None,
    ) -> "Retraining":
        """Plan a run; writes nothing.

        Args:
            store: of the pairs.
            folder: of the run, which need not exist.
            recipe: file or folder; None for the one kept in the run, else the shipped one.
            start: see `read_start`.
            trusted: files with public keys whose signature counts.
            model_store: weights of a learned lobe engine.

        Raises:
            TrainingError: pairs, recipe or start do not do; each leaf says why.
            ModelError: the start must not be used.
        """
        kept = recipe_of(folder)
        read = read_retraining_recipe(recipe or (kept if kept.is_file() else SHIPPED_RECIPE))
        at_hand = pairs_at_hand(store)
        plan = plan_retraining(at_hand, read.recipe)
        begun, key = read_start(start, trusted), read_key_id(store.folder)
        require_start(begun, read.recipe, key)
        way = Preparation(
            begun.card, lobe_engine(read, model_store=model_store), spect_fwhm_mm=read.recipe.input.spect_fwhm_mm
        )
        record = RunRecord(
            data=plan.data,
            store_key=key,
            held_out=read.recipe.split.words,
            folds=read.recipe.patients.folds,
            patients=plan.patients,
            pairs=len(plan.pairs),
            start=begun.identity.label(),
            start_sha256=begun.sha256,
            recipe_sha256=read.sha256,
        )
        jobs = retraining_jobs(plan, read.recipe, begun, way.digests(plan.pairs))
        return cls(folder, read, at_hand, plan, begun, way, record, jobs)

    @property
    def fold_jobs(self) -> tuple[Job, ...]:
        """Those that train, by fold."""
        return tuple(job for job in self.jobs if job.kind == "retraining")

    def prepare(
        self,
        *,
        workers: int,
        redo: bool = False,
        found: Callable[[int, int], None] = lambda kept, all_pairs: None,
        tell: Callable[[Started[str] | Ended[str]], None] = lambda event: None,
    ) -> PreparedPairs:
        """Lay out the run, and make a case of every pair that has none.

        Raises:
            OtherStudy: results there are of another run, and not to be thrown away.
            PairsUnusable: no case can be made of some pairs; the others are kept.
            StudyBusy: another process is at it.
            OSError: the file system refuses.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with alone(self.folder / LOCK_FILE, lambda: StudyBusy(str(self.folder))):
            lay_out(self.folder, self.jobs, redo=redo)
            keep_retraining_recipe(self.folder, self.read)
            self.record.write(self.folder)
            for place, content in enumerate(self.start.weights):
                self._lay_start(place, content)
            prepared = prepare_pairs(
                self.plan.pairs, self.way, self.folder / CASES, workers=workers, found=found, tell=tell
            )
        if prepared.failed:
            raise PairsUnusable(prepared.failed)
        return prepared

    def train(self, order: Order, tell: Callable[[Standing], None]) -> Outcome:
        """Run all jobs that are not done.

        Raises:
            StudyBusy: another process is at it.
            OSError: the file system refuses.
        """
        return run_jobs(self.folder, self.jobs, order, tell)

    def _lay_start(self, place: int, content: bytes) -> None:
        """A member of the start as a job that is done, so that the runner hands its weights on."""
        job = next(job for job in self.jobs if job.arm == START and job.name.endswith(f"-{place}"))
        folder = job_folder(self.folder, job)
        if (folder / RESULT_FILE).exists():
            return
        network = network_of(self.start.cards[place], content)
        write_whole(folder / WEIGHTS_FILE, content)
        write_whole(folder / "start_card.json", (json.dumps(asdict(self.start.cards[place]), indent=1) + "\n").encode())
        write_record(
            folder / RESULT_FILE,
            Result(
                job=job.name,
                digest=job.digest,
                best_step=None,
                parameters=sum(parameter.numel() for parameter in network.parameters()),
                weights_sha256=hashlib.sha256(content).hexdigest(),
                device="not trained here",
                seconds={},
                peak_memory_mb=0.0,
                versions={},
            ),
        )


def lobe_engine(read: ReadRecipe, *, model_store: Path | None) -> EngineSettings:
    """The engine of lungs and lobes that a recipe names."""
    return EngineSettings(lobes=read.recipe.input.lobes, model_store=model_store)
