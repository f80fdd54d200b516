"""Rules tried on files, as the node would apply them, with nothing received, kept or sent."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydicom import dcmread
from pydicom.misc import is_dicom

from dicom_node.reception.completeness import Doubt, gap_in
from dicom_node.reception.rules import Action, Decision, Rule, decide
from dicom_node.reception.series_facts import SeriesFacts, is_structure_set, read_series_facts

STRUCTURE_SET: Final = "structure-set"


@dataclass(frozen=True, slots=True)
class Trial:
    """What the rules make of one series among the files."""

    files: tuple[Path, ...]
    facts: SeriesFacts
    is_structure_set: bool
    decision: Decision
    doubt: Doubt | None
    """What would hold the series, if it is to be processed and these were all its slices."""

    @property
    def outcome(self) -> str:
        """What would become of the series: an action, `unmatched`, or `structure-set`, which is kept with its CT."""
        if self.is_structure_set:
            return STRUCTURE_SET
        return self.decision.rule.action.value if self.decision.rule else self.decision.name


def try_rules(rules: Sequence[Rule], paths: Sequence[Path], calling_ae_titles: Sequence[str] = ()) -> list[Trial]:
    """Ask the rules about every series in some files.

    Args:
        rules: in order.
        paths: DICOM files, and folders of them; anything else is passed over.
        calling_ae_titles: who is taken to have sent the files.
    """
    by_series: dict[str, list[Path]] = {}
    for path in _files(paths):
        dataset = dcmread(path, stop_before_pixels=True, specific_tags=["SeriesInstanceUID"])
        by_series.setdefault(str(dataset.get("SeriesInstanceUID", "")), []).append(path)
    return [try_on_series(rules, files, calling_ae_titles) for files in by_series.values()]


def try_on_series(rules: Sequence[Rule], files: Sequence[Path], calling_ae_titles: Sequence[str] = ()) -> Trial:
    """Ask the rules about one series.

    Args:
        rules: in order.
        files: its instances, at least one.
        calling_ae_titles: who is taken to have sent them.
    """
    facts = read_series_facts(files, calling_ae_titles)
    structures = is_structure_set(files)
    decision = decide(() if structures else rules, facts)
    is_wanted = decision.rule is not None and decision.rule.action is not Action.IGNORE
    return Trial(tuple(files), facts, structures, decision, gap_in(facts) if is_wanted else None)


def _files(paths: Sequence[Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        found += sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    return [path for path in dict.fromkeys(found) if is_dicom(path)]
