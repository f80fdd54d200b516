"""The structure sets of a node as the intake needs them: a place to keep them, and those that matter to a case."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dicom_node.structures.structure_sets import StructureStore
from dicom_node.structures.subtraction import SubtractionRule, sets_meant


@dataclass(frozen=True, slots=True)
class ReceivedStructures:
    """Keeps structure sets that arrive, and knows which of them change the result of a CT."""

    store: StructureStore
    rule: SubtractionRule

    def add(self, path: Path) -> str | None:
        """Keep a structure set durably; the series it refers to, or `None` if it refers to none."""
        return self.store.add(path)

    def used_for(self, series_instance_uid: str) -> Sequence[Path]:
        """Structure sets of a series with an ROI that the site wants to be subtracted; none if it wants none."""
        if not self.rule.is_set:
            return ()
        return sets_meant(self.store.of_series(series_instance_uid), series_instance_uid, self.rule)
