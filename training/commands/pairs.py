"""Bring the hospital's own pairs of CT and perfusion image into a study store, and decide which are trained on."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from training.commands.errors_told import ErrorsTold
from training.commands.store_options import By, Key, StoreFolder

if TYPE_CHECKING:
    from training.pairs.importing import ImportedPatient
    from training.store.study_store import StudyStore

app = typer.Typer(
    cls=ErrorsTold,
    help="Pairs of CT and perfusion SPECT or PET of the hospital's own patients, for training.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
console = Console(highlight=False)

PairNames = Annotated[
    list[str], typer.Argument(metavar="PAIR", help="Names of one pair or more, as `pairs list` shows them.")
]
Reason = Annotated[str, typer.Option("--reason", help="Why; is kept beside the key, not in the store.")]


@app.command("import")
def import_(
    folder: Annotated[Path, typer.Argument(help="Folder of DICOM files.", exists=True, file_okay=False)],
    store: StoreFolder,
    by: By,
    key: Key = None,
) -> None:
    """Find CT and perfusion image of every patient in a folder, lay them on each other, and keep them de-identified.

    Tells for every patient what was taken and what is wrong. What is there already is kept, so it may be stopped and
    gone on with. Ends with status 1 if a patient has no pair, or one was refused.
    """
    from training.pairs.importing import import_folder
    from training.store.study_store import StudyStore

    opened = StudyStore.open(store, key) if (store / "store.json").exists() else StudyStore.create(store, key)
    patients = []
    for patient in import_folder(folder, opened, by=by):
        _print_patient(patient)
        patients.append(patient)
    known = [patient for patient in patients if patient.patient_id]
    inside = sum(patient.is_in for patient in known)
    console.print(f"{inside} of {len(known)} patients are in {store}", soft_wrap=True, markup=False)
    raise typer.Exit(0 if known and inside == len(known) else 1)


@app.command("fetch")
def fetch(
    peer: Annotated[str, typer.Argument(help="Name of a peer of the node's site file, as for `perfnode fetch`.")],
    patients: Annotated[
        Path, typer.Option(help="File of Patient IDs, one on each line; lines with # are comments.", dir_okay=False)
    ],
    store: StoreFolder,
    by: By,
    key: Key = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", envvar="PERFNODE_CONFIG", help="The site file; without it, ./site.toml."),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Also ask for patients who came in before.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per patient and line.")] = False,
) -> None:
    """Fetch CT, SPECT, PET and registration objects of a list of patients from an archive, and import their pairs.

    One patient at a time: nothing that names one stays on the disk. Tells for every line of the list what became of
    it. The same command goes on after an interruption. Ends with status 1 if a patient is not in the store as a whole.
    """
    from contextlib import closing

    from training.commands.fetched_rows import print_patient, print_sum
    from training.pairs.archive_command import ArchiveCommand
    from training.pairs.fetching import fetch_pairs
    from training.pairs.patient_list import read_patient_list
    from training.store.study_store import StudyStore

    listed = read_patient_list(patients)
    opened = StudyStore.open(store, key) if (store / "store.json").exists() else StudyStore.create(store, key)
    told = []
    with closing(fetch_pairs(listed, ArchiveCommand(peer, config), opened, by=by, again=again)) as fetched:
        for patient in fetched:
            print_patient(console, patient, as_json=as_json)
            told.append(patient)
    if not as_json:
        print_sum(console, told, store)
    raise typer.Exit(0 if all(patient.is_in for patient in told) else 1)


@app.command("list")
def list_pairs(store: StoreFolder, key: Key = None) -> None:
    """List the pairs of a store: how they are linked, what was noted, and whether a person accepted them."""
    from training.pairs.review import standing, verdicts

    opened = _opened(store, key)
    pairs, decided = opened.pairs(), verdicts(opened)
    for pair in pairs:
        verdict = standing(pair, decided)
        word = "open" if verdict is None else "accepted" if verdict.is_accepted else "rejected"
        codes = " ".join(sorted({*pair.link.problems, *pair.warnings}))
        console.print(
            f"{pair.name}  {pair.patient}  {word:8}  {pair.link.kind}  {codes}".rstrip(), soft_wrap=True, markup=False
        )
    console.print(f"{len(pairs)} pairs of {len(opened.patients())} patients", markup=False)


@app.command("review")
def review(
    store: StoreFolder,
    out: Annotated[Path, typer.Option(help="Folder of the pages, and of index.html, which shows them all.")],
    key: Key = None,
    only_open: Annotated[bool, typer.Option("--open", help="Only pairs that nobody has decided on.")] = False,
) -> None:
    """Draw a page of pictures of every pair, for a person who says yes or no to each.

    Ends with status 1 if a pair cannot be drawn.
    """
    from training.pairs.review_list import write_review

    stderr = Console(stderr=True, highlight=False)
    page, failed = write_review(
        _opened(store, key), out, only_open=only_open, tell=lambda name: stderr.print(f"drawing {name}", markup=False)
    )
    console.print(str(page), soft_wrap=True, markup=False)
    raise typer.Exit(1 if failed else 0)


@app.command("accept")
def accept(pairs: PairNames, store: StoreFolder, by: By, reason: Reason, key: Key = None) -> None:
    """Let pairs be trained on: CT and SPECT of each belong together and lie on each other."""
    _decide(pairs, store, key, is_accepted=True, by=by, reason=reason)


@app.command("reject")
def reject(pairs: PairNames, store: StoreFolder, by: By, reason: Reason, key: Key = None) -> None:
    """Keep pairs out of training; they stay in the store, and may be accepted later."""
    _decide(pairs, store, key, is_accepted=False, by=by, reason=reason)


def _decide(pairs: list[str], store: Path, key: Path | None, *, is_accepted: bool, by: str, reason: str) -> None:
    from training.pairs.review import decide

    opened = _opened(store, key)
    for pair in pairs:
        decide(opened, pair, is_accepted=is_accepted, by=by, reason=reason)
        console.print(f"{pair} is {'accepted' if is_accepted else 'rejected'}", markup=False)


def _opened(store: Path, key: Path | None) -> "StudyStore":
    from training.store.study_store import StudyStore

    return StudyStore.open(store, key)


def _print_patient(patient: "ImportedPatient") -> None:
    """One line for the patient, one for each pair, refusal and problem."""
    name = patient.patient_id or "files of no patient"
    lines = [f"{name}: {len(patient.stored)} pair(s)"]
    lines += [f"  pair {pair.name}, linked by {pair.link.kind}, patient {pair.patient}" for pair in patient.stored]
    lines += [f"  REFUSED {refusal.sentence}" for refusal in patient.refusals]
    lines += [f"  {problem.code}: {problem.sentence}" for problem in patient.problems]
    for line in lines:  # a header may hold what it likes, also what moves the cursor of a terminal
        shown = "".join(c if c.isprintable() else "?" for c in line)
        console.print(shown, soft_wrap=True, markup=False)
