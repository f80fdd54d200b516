"""What `pairs fetch` says: a row for each line of the list, what there is to know of it below, and the sum.

No Patient ID is printed: the number of the line stands for it, so that what is on the screen may go into a log.
"""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from training.pairs.fetching import FetchedPatient, Outcome


def print_patient(console: Console, patient: FetchedPatient, *, as_json: bool) -> None:
    """One patient.

    Args:
        console: where to.
        patient: a line of the list and what became of it.
        as_json: one object in one line instead of words.
    """
    if as_json:
        fields = {
            "line": patient.line,
            "outcome": patient.outcome.value,
            "pairs": [pair.name for pair in patient.pairs],
            "details": [{"code": each.code, "sentence": each.sentence} for each in patient.details],
        }
        print(json.dumps(fields), flush=True)
        return
    lines = [f"line {patient.line:<4} {patient.outcome.value:12} {len(patient.pairs)} pair(s)"]
    lines += [f"          pair {pair.name}, linked by {pair.link.kind}" for pair in patient.pairs]
    lines += [f"          {each.code}: {each.sentence}" for each in patient.details]
    for line in lines:  # a header may hold what it likes, also what moves the cursor of a terminal
        shown = "".join(c if c.isprintable() else "?" for c in line)
        console.print(shown, soft_wrap=True, markup=False)


def print_sum(console: Console, patients: Sequence[FetchedPatient], store: Path) -> None:
    """How many came in, and what became of the others."""
    counts = Counter(patient.outcome for patient in patients)
    words = ", ".join(f"{counts[outcome]} {outcome.value}" for outcome in Outcome if counts[outcome])
    inside = sum(patient.is_in for patient in patients)
    console.print(f"{inside} of {len(patients)} patients are in {store}: {words}", soft_wrap=True, markup=False)
