"""Figures of the patients of a node, one line each, kept for longer than their cases; likewise those of its self-tests.

    constancy/figures.jsonl      {"key": …, "at_s": …, "made_by": …, "figures": {"lung_volume": …, …}}

Holds no patient data beyond these figures. A case that was processed anew has a line for each result. They are read
from what lies in the case folder, so they must be collected before retention removes it: the self-test by the clock
does so each time, and `perfnode drift`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self
from zipfile import BadZipFile

from dicom_node.commissioning.expected import MadeBy
from dicom_node.commissioning.figures import figures_of
from dicom_node.constancy.own_series import is_own_case
from dicom_node.durable_files import make_directory, written_durably
from dicom_node.jobs.attempts import Case, Result, made_in_run
from dicom_node.jobs.cases import CaseFolder
from dicom_node.jobs.jobs import JobBook
from dicom_node.jobs.stages import Stage
from dicom_node.named_locks import NamedLocks
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

    @classmethod
    def of_self_tests(cls, shared_dir: Path) -> Self:
        """Those of the self-tests of that node."""
        return cls(shared_dir / "constancy" / "self-tests.jsonl")

    def add(self, figures: CaseFigures) -> None:
        """Add one line; a file that cannot be read makes way, since it must not keep a self-test from its verdict."""
        try:
            known = self.read()
        except ValueError:
            self.path.replace(self.path.with_suffix(".unreadable"))
            known = ()
        self.write((*known, figures))

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


@dataclass(frozen=True, slots=True)
class Collected:
    """What is kept now, and what could not be."""

    kept: tuple[CaseFigures, ...]
    """In order of time."""
    unreadable: tuple[str, ...]
    """Cases whose files cannot be read; they are tried again each time."""


def collect(settings: NodeSettings) -> Collected:
    """Read the figures of all results that are not kept yet, and keep them.

    Raises:
        NeverStarted: no node has worked with this database yet.
        ValueError: a kept line is none of ours.
    """
    file, unreadable = FiguresFile.under(settings.shared_dir), list[str]()
    # Two at once would each put its own lines in place of the other's.
    with NamedLocks(settings.database, settings.data_dir).hold("constancy-figures"):
        known = file.read()
        keys = {kept.key for kept in known}
        with JobBook(settings.database, settings.cases()) as book:
            new = tuple(_new(settings, book.cases(), keys, unreadable))
        together = tuple(sorted((*known, *new), key=lambda kept: (kept.at_s, kept.key)))
        if new:
            file.write(together)
    return Collected(together, tuple(unreadable))


def _new(
    settings: NodeSettings, cases: Sequence[Case], known: set[str], unreadable: list[str]
) -> Iterator[CaseFigures]:
    for case in cases:
        folder, run = settings.cases().folder(case.case_id), made_in_run(case.attempts)
        if f"{case.case_id}:{run}" in known or not _is_made(case, run) or not folder.result.exists():
            continue
        if is_own_case(folder):
            continue
        try:
            yield _figures(settings, folder, case, run)
        except (OSError, ValueError, KeyError, TypeError, BadZipFile):  # spoilt, or removed by retention meanwhile
            unreadable.append(case.case_id)


def _is_made(case: Case, run: int) -> bool:
    """Whether objects were made and checked in that run, whatever became of them on their way."""
    checks = (a for a in case.attempts if a.id.run == run and a.id.stage is Stage.CHECK)
    return any(attempt.result is Result.DONE for attempt in checks)


def _figures(settings: NodeSettings, folder: CaseFolder, case: Case, run: int) -> CaseFigures:
    ct, result = read_ct(folder.ct), read_result(folder.result)
    own = [a for a in case.attempts if a.id.run == run and not a.id.destination]
    began_s = min(a.created_at_s for a in own)
    checked_s = max(a.updated_at_s for a in own if a.id.stage in (Stage.CHECK, Stage.ENCODE))
    figures = {**figures_of(ct, result), RUN_TIME: checked_s - began_s}
    # The settings of then: those of now may be others, and would put the case on another chart.
    digest = str(folder.object_facts().get("settings_digest") or settings.settings_digest())
    return CaseFigures(f"{case.case_id}:{run}", began_s, MadeBy.of(result, digest), figures)


def _parsed(line: str) -> CaseFigures:
    try:
        fields = json.loads(line)
        return CaseFigures(**{**fields, "made_by": MadeBy(**fields["made_by"])})
    except (KeyError, TypeError) as fault:
        raise ValueError("a line of figures is none of ours") from fault
