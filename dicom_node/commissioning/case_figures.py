"""Figures of the patients of a node, one line each, kept for longer than their cases.

    constancy/figures.jsonl      {"case": …, "at_s": …, "made_by": …, "figures": {"lung_volume": …, …}}

Holds no patient data beyond these figures. A case that was processed anew has a line for each result.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self

from dicom_node.commissioning.expected import MadeBy
from dicom_node.commissioning.figures import figures_of
from dicom_node.constancy.own_series import is_own_case
from dicom_node.durable_files import make_directory, written_durably
from dicom_node.jobs.attempts import Case, CaseState, made_in_run
from dicom_node.jobs.cases import CaseFolder
from dicom_node.jobs.jobs import JobBook
from dicom_node.jobs.stages import Stage
from dicom_node.results.result_files import read_ct, read_result
from dicom_node.settings.config import NodeSettings

RUN_TIME: Final = "run_time"
"""From arrival to checked objects, waiting included (s)."""


@dataclass(frozen=True, slots=True)
class CaseFigures:
    """What is kept of one result."""

    key: str
    """Case and run: a result is kept once."""
    at_s: float
    """Unix time at which the case began."""
    made_by: MadeBy
    figures: Mapping[str, float]
    """See `figures`, and `RUN_TIME`."""


@dataclass(frozen=True, slots=True)
class FiguresFile:
    """Where they lie."""

    path: Path

    @classmethod
    def under(cls, shared_dir: Path) -> Self:
        """Those of the node with that shared directory."""
        return cls(shared_dir / "constancy" / "figures.jsonl")

    def read(self) -> tuple[CaseFigures, ...]:
        """All that are kept, in order of time.

        Raises:
            ValueError: a line is none of ours.
        """
        if not self.path.exists():
            return ()
        lines = self.path.read_text(encoding="utf-8").splitlines()
        return tuple(sorted((_parsed(line) for line in lines), key=lambda kept: (kept.at_s, kept.key)))

    def write(self, kept: Sequence[CaseFigures]) -> None:
        """Put these in place of what was kept; a killed process leaves the old ones or the new ones."""
        make_directory(self.path.parent)
        lines = "".join(f"{json.dumps(asdict(figures), sort_keys=True)}\n" for figures in kept)
        with written_durably(self.path) as part:
            part.write_text(lines, encoding="utf-8")


def collect(settings: NodeSettings) -> tuple[CaseFigures, ...]:
    """Read the figures of all results that are not kept yet, and keep them; all that are kept now.

    Raises:
        NeverStarted: no node has worked with this database yet.
    """
    file = FiguresFile.under(settings.shared_dir)
    known = file.read()
    with JobBook(settings.database, settings.cases()) as book:
        new = tuple(_new(settings, book.cases(), {kept.key for kept in known}))
    if not new:
        return known
    together = tuple(sorted((*known, *new), key=lambda kept: (kept.at_s, kept.key)))
    file.write(together)
    return together


def _new(settings: NodeSettings, cases: Sequence[Case], known: set[str]) -> Iterator[CaseFigures]:
    for case in cases:
        folder, run = settings.cases().folder(case.case_id), made_in_run(case.attempts)
        key = f"{case.case_id}:{run}"
        if key in known or case.state is not CaseState.DELIVERED or is_own_case(folder) or not folder.result.exists():
            continue
        yield _figures(settings, folder, case, run, key)


def _figures(settings: NodeSettings, folder: CaseFolder, case: Case, run: int, key: str) -> CaseFigures:
    ct, result = read_ct(folder.ct), read_result(folder.result)
    own = [a for a in case.attempts if a.id.run == run and not a.id.destination]
    began_s = min(a.created_at_s for a in own)
    checked_s = max(a.updated_at_s for a in own if a.id.stage in (Stage.CHECK, Stage.ENCODE))
    figures = {**figures_of(ct, result), RUN_TIME: checked_s - began_s}
    return CaseFigures(key, began_s, MadeBy.of(result, settings.settings_digest()), figures)


def _parsed(line: str) -> CaseFigures:
    try:
        fields = json.loads(line)
        return CaseFigures(**{**fields, "made_by": MadeBy(**fields["made_by"])})
    except (KeyError, TypeError) as fault:
        raise ValueError("a line of figures is none of ours") from fault
