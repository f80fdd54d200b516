"""Retrain on the hospital's own pairs, prove that the result is better, and compare two models: three single commands.

`perfnode train` goes from the accepted pairs of a study store to a signed model bundle, `perfnode evaluate` to the
document that `perfnode models promote` wants, `perfnode compare` to a table.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from training.commands.crew import crew
from training.commands.errors_told import errors_told

if TYPE_CHECKING:
    from training.job_runner import Order, Standing
    from training.retraining.retraining import Retraining

console = Console(highlight=False)

StoreKey = Annotated[
    Path | None, typer.Option("--store-key", help="Key of the store; without it, beside the store as STORE.key.")
]
StoreOption = Annotated[Path, typer.Option("--store", help="Folder of the study store.", exists=True, file_okay=False)]
Trust = Annotated[
    list[Path] | None,
    typer.Option("--trust", help="Public key whose signature on a bundle counts; may be given often.", exists=True),
]
SiteFile = Annotated[
    Path | None, typer.Option("--config", "-c", help="Site file of the node, to know which model it uses.")
]
ModelStore = Annotated[
    Path | None, typer.Option("--model-store", help="Weights of the lobe engine, where the recipe names a learned one.")
]
Device = Annotated[str, typer.Option(help="`auto`, `cpu` or `cuda`.")]
Recipe = Annotated[
    Path | None,
    typer.Option("--recipe", "-r", exists=True, help="A retraining.toml, or its folder.", show_default=False),
]
MODEL_HELP = "A folder of `perfnode train`, a model bundle, a folder of a single network, `serving` or `baseline`."


@errors_told
def train(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="Study store.", exists=True, file_okay=False)],
    out: Annotated[Path, typer.Option(metavar="RUN", help="Folder of this run; the same command goes on with it.")],
    recipe: Recipe = None,
    start: Annotated[
        Path | None,
        typer.Option(help="Bundle or network to start from; without it, the one that comes with the program."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it would train on and cost, measured here; train nothing.")
    ] = False,
    key: Annotated[
        Path | None, typer.Option(help="Private key to sign with (`perfnode models keygen`); without it, one in RUN.")
    ] = None,
    version: Annotated[
        str, typer.Option("--version", help="Of the model; without it, digits of what it was trained from.")
    ] = "",
    signer: Annotated[str, typer.Option(help="Who signs, as others know you.")] = "",
    store_key: StoreKey = None,
    trust: Trust = None,
    model_store: ModelStore = None,
    device: Device = "auto",
    parallel: Annotated[
        int | None, typer.Option(min=1, help="Processes; without it, as many as processors and memory allow.")
    ] = None,
    stop_after: Annotated[
        float | None, typer.Option(min=1, metavar="SECONDS", help="Stop then; the same command goes on later.")
    ] = None,
    redo: Annotated[
        bool, typer.Option("--redo", help="Throw away results of other pairs, another recipe or another start.")
    ] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard/--no-tensorboard", help="Learning curves in RUN/tensorboard.")
    ] = True,
) -> None:
    """Fine-tune a model on the accepted pairs of a study store; RUN/model is then a signed bundle.

    May be stopped or killed at any moment: the same command goes on. Held-out patients are never trained on. Ends with
    status 1 if a job failed, with 75 if jobs are left because time was up.
    """
    from training.commands.making_progress import MakingProgress
    from training.commands.retraining_words import print_cost, print_plan, print_prepared
    from training.insilico.files.workers import affordable_workers
    from training.job_runner import Order
    from training.retraining.retraining import Retraining
    from training.store.study_store import StudyStore

    stderr = Console(stderr=True, highlight=False)
    at_once, threads = crew(parallel, device)
    workers = parallel or affordable_workers()
    run = Retraining.planned(
        StudyStore.open(store, store_key), out, recipe=recipe, start=start, trusted=trust or (), model_store=model_store
    )
    print_plan(console, run)
    if dry_run:
        from training.retraining.cost import measured_cost

        print_cost(console, measured_cost(run, device=device, at_once=at_once, threads=threads, workers=workers))
        return
    with MakingProgress(stderr, len(run.plan.pairs)) as making:
        prepared = run.prepare(workers=workers, redo=redo, found=lambda kept, _: making.found(kept), tell=making.tell)
    print_prepared(stderr, prepared)
    order = Order(at_once, ("--device", device), threads=threads, stop_after_s=stop_after)
    _run_jobs(run, order, out, curves=tensorboard)
    _export(run, out, key=key, version=version, signer=signer)


def _run_jobs(run: "Retraining", order: "Order", out: Path, *, curves: bool) -> None:
    """Train all networks and say how it ended; the command ends here unless all are done."""
    from training.commands.running_progress import RunningProgress, print_outcome

    stderr = Console(stderr=True, highlight=False)
    with RunningProgress(stderr) as shown, _curves(run, stderr, wanted=curves) as draw_curves:

        def tell(standing: "Standing") -> None:
            shown.tell(standing)
            draw_curves()

        outcome = run.train(order, tell)
    print_outcome(console, out, outcome)
    if outcome.failed or outcome.left:
        raise typer.Exit(1 if outcome.failed else 75)


def _export(run: "Retraining", out: Path, *, key: Path | None, version: str, signer: str) -> None:
    """Write the signed bundle and say what it is."""
    from training.retraining.site_bundle import export_site_bundle  # loads torch

    manifest = export_site_bundle(run, key=key, version=version, signer=signer)
    console.print(
        f"{manifest.name} {manifest.version} in {out / 'model'}: {len(manifest.members)} network(s), "
        f"{manifest.content_sha256()[:12]}, signed with key {manifest.key_id}",
        soft_wrap=True,
        markup=False,
    )


@errors_told
def evaluate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=MODEL_HELP)],
    store: StoreOption,
    out: Annotated[Path, typer.Option(dir_okay=False, help="The document, for `perfnode models promote`.")],
    against: Annotated[str, typer.Option(help="What it is compared with, likewise.")] = "serving",
    recipe: Recipe = None,
    config: SiteFile = None,
    store_key: StoreKey = None,
    trust: Trust = None,
    model_store: ModelStore = None,
    device: Device = "auto",
) -> None:
    """Compare a model with the one in use on the store's held-out patients, and write the evaluation.

    Which figures count, and how much worse they may be, stands in the recipe of the run. Ends with status 1 if the
    verdict is fail; the document is written all the same.
    """
    from training.commands.retraining_words import CasesShown, print_evaluation
    from training.insilico.files.whole_folder import write_whole
    from training.retraining.evaluation import evaluate as evaluated
    from training.retraining.match import Match
    from training.store.study_store import StudyStore

    match = Match.between(
        model, against, recipe=recipe, site=config, trusted=trust or (), model_store=model_store, device=device
    )
    with CasesShown(Console(stderr=True, highlight=False)) as shown:
        document = evaluated(match, StudyStore.open(store, store_key), tell=shown.tell)
    write_whole(out, document.encoded())
    print_evaluation(console, document)
    console.print(f"{document.verdict}: {out}", soft_wrap=True, markup=False)
    raise typer.Exit(0 if document.verdict == "pass" else 1)


@errors_told
def compare(
    one: Annotated[str, typer.Argument(metavar="A", help=MODEL_HELP)],
    other: Annotated[str, typer.Argument(metavar="B", help="Likewise.")],
    store: StoreOption,
    out: Annotated[Path | None, typer.Option(dir_okay=False, help="The same as JSON, with each patient.")] = None,
    recipe: Recipe = None,
    config: SiteFile = None,
    store_key: StoreKey = None,
    trust: Trust = None,
    model_store: ModelStore = None,
    device: Device = "auto",
) -> None:
    """Compare two models on the store's held-out patients: differences with intervals, and paired tests.

    Paired bootstrap over patients, Wilcoxon's signed-rank test, Holm's correction over the figures of the table.
    """
    import json

    from training.commands.retraining_words import CasesShown, print_comparison
    from training.insilico.files.whole_folder import write_whole
    from training.retraining.comparison import compare as compared
    from training.retraining.match import Match
    from training.store.study_store import StudyStore

    match = Match.between(
        one, other, recipe=recipe, site=config, trusted=trust or (), model_store=model_store, device=device
    )
    with CasesShown(Console(stderr=True, highlight=False)) as shown:
        comparison = compared(match, StudyStore.open(store, store_key), tell=shown.tell)
    print_comparison(console, comparison)
    if out is not None:
        write_whole(out, (json.dumps(comparison.document(), indent=1) + "\n").encode())
        console.print(str(out), soft_wrap=True, markup=False)


@contextmanager
def _curves(run: "Retraining", stderr: Console, *, wanted: bool) -> Iterator[Callable[[], None]]:
    """What writes learning curves when called now and then; nothing where they are not wanted or cannot be written."""
    from training.retraining.learning_curves import LearningCurves, has_tensorboard

    if wanted and not has_tensorboard():
        note = "no learning curves: pip install perfusion-node[tensorboard]; history.json of each job holds the same"
        stderr.print(note, soft_wrap=True, markup=False)
    if not wanted or not has_tensorboard():
        yield lambda: None
        return
    with LearningCurves(run.folder, run.fold_jobs) as curves:
        yield curves.follow
