"""What a hospital's study store holds, whether it is as it was written, and how patients leave it."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from training.commands.errors_told import ErrorsTold
from training.commands.store_options import By, Key, StoreFolder

if TYPE_CHECKING:
    from training.pairs.review import Verdict
    from training.store.notes import Note
    from training.store.stored_pair import StoredPair
    from training.store.study_store import StudyStore

app = typer.Typer(
    cls=ErrorsTold,
    help="The study store: de-identified pairs for training, who is in it, who left it, and its audit.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
console = Console(highlight=False)

PSEUDONYM = "P[0-9a-f]{12}"
AFTERWARDS = (
    "Not touched: prepared cases in folders of training runs, models trained before, backups. See docs/retraining.md."
)


@app.command("create")
def create(
    folder: Annotated[Path, typer.Argument(help="Folder to make; may be there if it is empty.", file_okay=False)],
    key: Key = None,
) -> None:
    """Make an empty store and its key. `pairs import` makes one too where there is none."""
    from training.store.study_store import StudyStore, key_path

    StudyStore.create(folder, key)
    _say(f"{folder} is an empty study store")
    _say(f"{key_path(folder, key)} is its key: back it up, and never hand it over together with the store")


@app.command("list")
def list_patients(store: StoreFolder, key: Key = None) -> None:
    """List the patients of a store: pairs, what was decided on them, how large they are."""
    from training.pairs.review import verdicts

    opened = _opened(store, key)
    pairs, decided = opened.pairs(), verdicts(opened)
    for patient in sorted({pair.patient for pair in pairs}):
        own = [pair for pair in pairs if pair.patient == patient]
        _say(f"{patient}  {len(own)} pair(s): {_words(own, decided)}  {_size(own)}")
    _say(
        f"{len({pair.patient for pair in pairs})} patients, {len(pairs)} pairs"
        f"{': ' + _words(pairs, decided) if pairs else ''}, {_size(pairs)}; {len(opened.opted_out())} opted out"
    )


@app.command("show")
def show(
    who: Annotated[str, typer.Argument(metavar="PAIR|PATIENT", help="A pair, a pseudonym, or a real Patient ID.")],
    store: StoreFolder,
    key: Key = None,
) -> None:
    """Show a pair, or all pairs of a patient: link, figures, warnings, verdict and reason.

    Ends with status 1 if there is nothing of this name.
    """
    from training.pairs.review import standing, verdicts

    opened = _opened(store, key)
    patients = _patients(opened, who)
    pairs = [pair for pair in opened.pairs() if pair.name == who or pair.patient in patients]
    decided = verdicts(opened)
    for pair in pairs:
        _show_pair(pair, standing(pair, decided), opened.note(pair.name))
    known = {opened.pseudonym(who), *patients}
    for patient in sorted(known & set(opened.opted_out())):
        _say(f"{patient} opted out")
    for patient in sorted(known):
        if note := opened.note(patient):
            _say(f"{patient} was removed: {_shown(note.text)} ({note.by}, {note.at[:10]})")
    if not pairs:
        _say("the store holds nothing of this name")
        raise typer.Exit(1)


@app.command("verify")
def verify(store: StoreFolder, key: Key = None) -> None:
    """Look at every file, link and line of the audit, and at who may read them.

    Ends with status 1 if anything is not as it was written. Keep the last hash elsewhere: it shows a cut end.
    """
    opened = _opened(store, key)
    problems = opened.verify()
    for problem in problems:
        _say(_shown(problem))
    trail = opened.audit()
    if problems:
        _say(f"{len(problems)} PROBLEM(S)")
    else:
        _say(f"all is as it was written: {len(opened.pairs())} pairs, {len(trail.lines)} audit lines")
    _say(f"last hash {trail.last_hash}")
    raise typer.Exit(1 if problems else 0)


@app.command("remove")
def remove(
    patient: Annotated[str, typer.Argument(metavar="PATIENT", help="A pseudonym, or a real Patient ID.")],
    store: StoreFolder,
    by: By,
    reason: Annotated[str, typer.Option("--reason", help="Why; is kept beside the key, not in the store.")],
    key: Key = None,
) -> None:
    """Remove all pairs of a patient, who may come in again: for good, it is `opt-out`.

    Ends with status 1 if there is nothing of this patient.
    """
    if not reason.strip():
        raise typer.BadParameter("say why", param_hint="--reason")
    opened = _opened(store, key)
    gone = sum(opened.remove(one, by=by, reason=reason) for one in sorted(_patients(opened, patient)))
    _say(f"{gone} pair(s) removed")
    if gone:
        _say(AFTERWARDS)
    raise typer.Exit(0 if gone else 1)


@app.command("opt-out")
def opt_out(
    file: Annotated[
        Path, typer.Argument(help="Real Patient IDs, one a line, as for `pairs fetch`.", exists=True, dir_okay=False)
    ],
    store: StoreFolder,
    by: By,
    key: Key = None,
) -> None:
    """Let patients never come in again, and remove what is there of them. Only keyed hashes of their IDs are kept.

    Told by lines of the file, so that no Patient ID is left on a screen or in a log.
    """
    from training.pairs.patient_list import read_patient_list

    listed = read_patient_list(file)
    gone = _opened(store, key).opt_out([one.patient_id for one in listed], by=by)
    for one, each in zip(listed, gone, strict=True):
        what = f"{each.pairs} pair(s) removed" if each.pairs else "nothing was here; refused from now on"
        _say(f"line {one.line}: {each.patient}  {what}")
    _say(f"{len(gone)} patients opted out, pairs of {sum(each.pairs > 0 for each in gone)} removed")
    _say(AFTERWARDS)


@app.command("audit")
def audit(
    store: StoreFolder,
    who: Annotated[
        str, typer.Argument(metavar="[PAIR|PATIENT]", help="A pair, a pseudonym, or a real Patient ID; else all.")
    ] = "",
    key: Key = None,
) -> None:
    """Tell what came, what went and what was decided, and who did it.

    Ends with status 1 if the trail was changed; lines behind the change are not shown.
    """
    opened = _opened(store, key)
    trail = opened.audit()
    names = {who, opened.pseudonym(who), *_patients(opened, who)} if who else set()
    lines = [line for line in trail.lines if not names or names & {line.get("pair"), line.get("patient")}]
    for line in lines:
        _say(_shown(_sentence(line)))
    _say(f"{len(lines)} of {len(trail.lines)} lines, last hash {trail.last_hash}")
    if trail.fault:
        _say(f"THE TRAIL WAS CHANGED: {trail.fault}")
        raise typer.Exit(1)


def _opened(store: Path, key: Path | None) -> "StudyStore":
    from training.store.study_store import StudyStore

    return StudyStore.open(store, key)


def _patients(store: "StudyStore", who: str) -> frozenset[str]:
    """Pseudonyms that a word means: itself, or those of a real Patient ID that is in the store."""
    return frozenset({who}) if re.fullmatch(PSEUDONYM, who) else store.found(who)


def _words(pairs: Iterable["StoredPair"], decided: Mapping[str, "Verdict"]) -> str:
    from training.pairs.review import standing

    words = [_word(standing(pair, decided)) for pair in pairs]
    return ", ".join(f"{words.count(word)} {word}" for word in ("accepted", "rejected", "open") if word in words)


def _word(verdict: "Verdict | None") -> str:
    return "open" if verdict is None else "accepted" if verdict.is_accepted else "rejected"


def _size(pairs: Iterable["StoredPair"]) -> str:
    return f"{sum(file.size_bytes for pair in pairs for file in pair.manifest.files) / 1e6:.1f} MB"


def _show_pair(pair: "StoredPair", verdict: "Verdict | None", note: "Note | None") -> None:
    _say(f"pair {pair.name} of patient {pair.patient}")
    kind = "SPECT" if len(pair.nuclear) == 1 else f"PET of {len(pair.nuclear)} slices"
    _say(f"  CT of {len(pair.ct)} slices, {kind}, {_size([pair])} in {pair.folder}")
    x, y, z = pair.link.matrix[:3, 3]
    _say(f"  linked by {pair.link.kind}, moved by {x:.1f}, {y:.1f}, {z:.1f} mm (to left, posterior, superior)")
    for name, value in sorted(pair.link.quality.items()):
        _say(f"  {name} {value:.3f}")
    _say(f"  to look at: {' '.join(sorted({*pair.link.problems, *pair.warnings})) or 'nothing noted'}")
    said = f" by {verdict.by}, {verdict.at[:10]}" if verdict else ""
    _say(f"  {_word(verdict)}{said}{f': {_shown(note.text)}' if verdict and note else ''}")


def _sentence(line: Mapping[str, Any]) -> str:
    """One line of the audit, for people."""
    about = line.get("pair") or line.get("patient") or ""
    files = f" ({line['files']} files)" if "files" in line else ""
    return f"{line['line']:5}  {line['time']}  {line['event']:10}  {about}{files}  by {line['by']}"


def _shown(text: str) -> str:
    """Words of a person may hold what moves the cursor of a terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _say(text: str) -> None:
    console.print(text, soft_wrap=True, markup=False)
