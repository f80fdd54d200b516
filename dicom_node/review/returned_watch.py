"""Looks for structure sets that were made from ours and came back, as a chore of the node.

Reception keeps every structure set beside the series it was drawn on. This looks at those that are new, once for each,
and keeps what it finds with the case whose structures it may have been made from: the newest of the series that has
any. A node that is killed meanwhile looks again.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

from dicom_node.jobs.cases import CaseFolder, CaseStore
from dicom_node.objects.kinds import ObjectKind
from dicom_node.reception.spool import key_of
from dicom_node.review.returned_set import is_known, keep_returned, look_at
from dicom_node.settings.config import NodeSettings
from dicom_node.structures.structure_sets import StructureStore
from dicom_node.watching.chores import Chore

_LOOK_S: Final = 30.0

log = structlog.get_logger()


@dataclass(slots=True)
class ReturnedWatch:
    """The structure sets of one node that may be ours, edited."""

    cases: CaseStore
    store: StructureStore
    _seen: dict[str, int] = field(default_factory=dict)
    """Time of change of each folder of structure sets when all in it had been looked at."""
    _series: dict[str, tuple[str, float]] = field(default_factory=dict)
    """Case to the key of its series, and when it arrived."""

    def look(self) -> int:
        """Look at every structure set that is new; how many were looked at.

        Raises:
            OSError: the disk; the rest is looked at next time.
        """
        changed = [folder for folder in self._folders() if self._seen.get(folder.name) != folder.stat().st_mtime_ns]
        if not changed:
            return 0
        self._learn_cases()
        return sum(self._look_into(folder) for folder in changed)

    def _folders(self) -> list[Path]:
        return sorted(path for path in self.store.root.glob("*") if path.is_dir())

    def _learn_cases(self) -> None:
        """Read the records of cases that were not there before; those of a series stay what they are."""
        here = {entry.name for entry in os.scandir(self.cases.root)} if self.cases.root.is_dir() else set()
        self._series = {case_id: facts for case_id, facts in self._series.items() if case_id in here}
        for case in (self.cases.folder(name) for name in here - self._series.keys()):
            if (case.path / "case.json").exists():
                record = case.record()
                self._series[case.case_id] = key_of(record.series_instance_uid), record.arrived_at_s

    def _look_into(self, folder: Path) -> int:
        changed_at = folder.stat().st_mtime_ns
        case = self._newest_with_structures(folder.name)
        if case is None:  # it may have some later
            return 0
        looked = 0
        for path in sorted(folder.glob("*.dcm")):
            if not is_known(case, path):
                returned = look_at(case, path)
                keep_returned(case, returned)
                log.info("structure_set_looked_at", case=case.case_id, kinship=returned.kinship.value)
                looked += 1
        self._seen[folder.name] = changed_at
        return looked

    def _newest_with_structures(self, key: str) -> CaseFolder | None:
        known = [(at, case_id) for case_id, (series, at) in self._series.items() if series == key]
        found = (self.cases.folder(case_id) for _, case_id in sorted(known, reverse=True))
        return next((case for case in found if case.objects_of_kind(ObjectKind.STRUCTURE_SET)), None)


def chore(settings: NodeSettings) -> Chore:
    """The look as the node does it by itself."""
    watch = ReturnedWatch(settings.cases(), StructureStore.under(settings.shared_dir))

    def look() -> None:
        watch.look()

    return Chore("returned-structures", _LOOK_S, look, once_for_all_hosts=True)
