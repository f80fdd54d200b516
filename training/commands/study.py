"""Run the transfer-learning study: prepare patients, run all jobs, look at them, report, make the model.

`run` and `status` need no DICOM and no entry point: `python -m training.commands.study run OUT` is the same command on
a machine that has only prepared cases and what trains.
"""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from training.commands.crew import crew
from training.commands.errors_told import ErrorsTold

app = typer.Typer(
    cls=ErrorsTold,
    help="The transfer-learning study on in-silico patients, and the model made by it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
console = Console(highlight=False)

StudyFolder = Annotated[Path, typer.Argument(metavar="OUT", help="Folder of the study.", file_okay=False, exists=True)]
ConfigFolder = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", file_okay=False, exists=True, help="Folder of a recipe; without it, the one kept in OUT."
    ),
]
SHIPPED_RECIPE = Path(__file__).parents[2] / "configs" / "study"


@app.command("prepare")
def prepare(
    cohort: Annotated[
        Path, typer.Argument(help="Folder of a cohort (`perfnode cohort make`).", exists=True, file_okay=False)
    ],
    out: Annotated[Path, typer.Option(help="Folder of the study; what is prepared already is kept.")],
    config: Annotated[
        Path, typer.Option("--config", "-c", file_okay=False, exists=True, help="Folder of a recipe.")
    ] = SHIPPED_RECIPE,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; without it, as many as processors and memory allow.")
    ] = None,
) -> None:
    """Make of every patient of a cohort what networks see, one small file each. May be stopped and gone on with.

    Ends with status 1 if a patient failed.
    """
    from training.case_preparation import prepare_cases
    from training.commands.making_progress import MakingProgress
    from training.insilico.files.cohort import patient_folders
    from training.insilico.files.workers import affordable_workers
    from training.job_card import case_card
    from training.jobs import CASES
    from training.recipe_copy import keep_recipe

    recipe = keep_recipe(config, out)
    with MakingProgress(Console(stderr=True, highlight=False), len(patient_folders(cohort))) as progress:
        cases = prepare_cases(
            cohort,
            case_card(recipe),
            out / CASES,
            workers=workers or affordable_workers(),
            found=lambda kept, _: progress.found(kept),
            tell=progress.tell,
        )
    console.print(f"{len(cases.kept) + len(cases.made)} cases in {out / CASES}", soft_wrap=True, markup=False)
    raise typer.Exit(1 if cases.failed else 0)


@app.command("run")
def run(
    out: StudyFolder,
    config: ConfigFolder = None,
    parallel: Annotated[
        int | None,
        typer.Option(min=1, help="Processes at a time: 8 on a GPU, which they share, else one per processor."),
    ] = None,
    device: Annotated[str, typer.Option(help="`auto`, `cpu` or `cuda`.")] = "auto",
    gpus: Annotated[int, typer.Option(min=1, help="GPUs of this machine that jobs are dealt to in turn.")] = 1,
    float32: Annotated[bool, typer.Option("--float32", help="Compute in float32 throughout, not in bfloat16.")] = False,
    graphs: Annotated[bool, typer.Option("--graphs", help="On a GPU, record each step as one CUDA graph.")] = False,
    stop_after: Annotated[
        float | None, typer.Option(min=1, metavar="SECONDS", help="Stop then; the same command goes on later.")
    ] = None,
    redo: Annotated[
        bool, typer.Option("--redo", help="Throw away results of another recipe or of other patients.")
    ] = False,
) -> None:
    """Run all jobs of the study that are not done. May be stopped or killed and gone on with at any time.

    Ends with status 1 if a job failed, and with 75 if jobs are left because time was up.
    """
    from training.commands.running_progress import RunningProgress, print_outcome
    from training.job_folders import lay_out
    from training.job_runner import Order, run_jobs
    from training.recipe_copy import keep_recipe, kept_recipe
    from training.study import Patients, plan_study

    recipe = keep_recipe(config, out) if config else kept_recipe(out)
    jobs = plan_study(recipe, Patients.of(out))
    lay_out(out, jobs, redo=redo)
    count, threads = crew(parallel, device)
    options = ("--device", device, *(["--float32"] if float32 else []), *(["--graphs"] if graphs else []))
    order = Order(parallel=count, options=options, threads=threads, gpus=gpus, stop_after_s=stop_after)
    with RunningProgress(Console(stderr=True, highlight=False)) as progress:
        outcome = run_jobs(out, jobs, order, progress.tell)
    print_outcome(console, out, outcome)
    raise typer.Exit(1 if outcome.failed else 75 if outcome.left else 0)


@app.command("status")
def status(out: StudyFolder) -> None:
    """Show where every arm of the study stands, also while it runs. Ends with status 1 if not all is done."""
    from training.commands.study_table import print_study
    from training.recipe_copy import kept_recipe
    from training.study import Patients, plan_study

    jobs = plan_study(kept_recipe(out), Patients.of(out))
    raise typer.Exit(0 if print_study(console, out, jobs) else 1)


@app.command("report")
def report(
    out: StudyFolder,
    to: Annotated[Path | None, typer.Option(help="Folder of the pages; without it, `report` in OUT.")] = None,
) -> None:
    """Write tables and figures of a study as HTML and Markdown."""
    from training.report.study_report import write_report

    console.print(str(write_report(out, to or out / "report")), soft_wrap=True, markup=False)


@app.command("export")
def export(
    out: StudyFolder,
    to: Annotated[Path, typer.Option(help="Folder of the model bundle; its name is that of the model.")],
    key: Annotated[
        Path | None, typer.Option(help="Private key to sign with (`perfnode models keygen`); without it, one in OUT.")
    ] = None,
    version: Annotated[str, typer.Option("--version", help="Of the model.")] = "1",
    signer: Annotated[str, typer.Option(help="Who signs, as others know you.")] = "the perfusion-node project",
) -> None:
    """Make the signed model bundle of a finished study: the main arm's networks of all folds, first seed."""
    from training.bundle_export import export_bundle

    manifest = export_bundle(out, to, key=key, version=version, signer=signer)
    size_mb = sum(file.size_bytes for file in manifest.files.values()) / 1e6
    console.print(
        f"{manifest.name} {manifest.version} in {to}: {len(manifest.members)} networks, {size_mb:.1f} MB, "
        f"{manifest.content_sha256()[:12]}, signed with key {manifest.key_id}",
        soft_wrap=True,
        markup=False,
    )


if __name__ == "__main__":
    app()
