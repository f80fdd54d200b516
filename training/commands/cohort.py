"""Make an in-silico cohort, list it, and look at its patients. No one in it is real."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from training.commands.errors_told import ErrorsTold

app = typer.Typer(
    cls=ErrorsTold,
    help="Make, list and look at in-silico patients: invented, with known perfusion.",
    no_args_is_help=True,
)
console = Console(highlight=False)

Config = Annotated[str, typer.Option("--config", "-c", help="`full`, `tiny`, or a .toml file of your own.")]
CohortFolder = Annotated[Path, typer.Argument(help="Folder of a cohort.", exists=True, file_okay=False)]
PatientPath = Annotated[
    Path, typer.Argument(metavar="PATIENT", help="Folder of a patient.", exists=True, file_okay=False)
]


@app.command("make")
def make(
    config: Config,
    out: Annotated[Path, typer.Option(help="Folder for the patients; what is there already is kept.")],
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; without it, as many as processors and memory allow.")
    ] = None,
    remake: Annotated[
        bool, typer.Option("--remake", help="Make patients of other settings or another version anew.")
    ] = False,
) -> None:
    """Make all patients of a cohort that the folder does not hold yet. May be stopped and gone on with at any time.

    Equal seeds give equal bytes. Ends with status 1 if a patient failed.
    """
    from training.commands.making_progress import MakingProgress, print_result
    from training.errors import PyTomographyMissing
    from training.insilico.cohort_plan import read_plan
    from training.insilico.files.cohort import make_cohort
    from training.insilico.files.workers import affordable_workers
    from training.insilico.spect.spect_protocol import SpectMethod

    plan = read_plan(config)
    if plan.spect.method is SpectMethod.PYTOMOGRAPHY and find_spec("pytomography") is None:
        raise PyTomographyMissing("it is not installed")  # at once, not at the end of every patient
    count = min(workers or affordable_workers(), max(len(plan.patients), 1))
    stderr = Console(stderr=True, highlight=False)
    with MakingProgress(stderr, len(plan.patients)) as progress:
        result = make_cohort(plan, out, workers=count, remake=remake, tell=progress.tell, found=progress.found)
    print_result(console, stderr, out, result)
    raise typer.Exit(1 if result.failed else 0)


@app.command("list")
def list_cohort(
    folder: CohortFolder,
    verify: Annotated[bool, typer.Option("--verify", help="Read all files again and compare their digests.")] = False,
) -> None:
    """List the patients of a cohort: hospital, diseases, size, and what is missing.

    Ends with status 1 if a patient is missing or has changed.
    """
    from training.commands.cohort_table import print_cohort

    raise typer.Exit(0 if print_cohort(console, folder, verify=verify) else 1)


@app.command("show")
def show(
    patient: PatientPath,
    out: Annotated[Path | None, typer.Option(help="The picture; without it, PATIENT.png in this folder.")] = None,
) -> None:
    """Draw a page of pictures of a patient: CT, lobes, true perfusion, SPECT, vessels, diseases and the record."""
    from training.insilico.files.patient_files import PatientFolder
    from training.insilico.pages.pictures import draw_page

    opened = PatientFolder.open(patient)
    page = out or Path(f"{opened.patient}.png")
    draw_page(opened, page)
    console.print(str(page), soft_wrap=True, markup=False)


@app.command("report")
def report(
    folder: CohortFolder,
    out: Annotated[Path, typer.Option(help="Folder of the page cohort-realism.md; pictures go into cohort/ there.")],
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; without it, as many as processors and memory allow.")
    ] = None,
    controls: Annotated[int, typer.Option(min=0, help="Healthy controls to make and measure beside the cohort.")] = 16,
) -> None:
    """Measure a cohort and write a page with its figures beside published ones. What was measured is kept."""
    from training.commands.report_progress import ReportProgress
    from training.insilico.files.workers import affordable_workers
    from training.insilico.realism.cohort_report import report_cohort

    progress = ReportProgress(Console(stderr=True, highlight=False))
    written = report_cohort(folder, out, workers=workers or affordable_workers(), controls=controls, tell=progress.tell)
    console.print(str(written), soft_wrap=True, markup=False)
