"""Which result of a series came after which: the ledger behind references to superseded objects.

A CT may give more than one result: late slices arrive, a model or a rule is changed. Each new result has UIDs of its
own and names the one before, so that nobody takes an old map for the current one. The ledger has one file per series;
a result is entered when its objects have passed the checks, just before they are sent.

Several hosts may work on results of one series at the same time. Who enters one holds a lock of its file, so storage
that hosts share must lock files over all of them (flock; NFS does from version 4 on), and two things are refused: a
result that names another one than the newest as the one before it, and a result of fewer images than the newest.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

from dicom_node.durable_files import make_directory, write_json
from dicom_node.errors import CaseOvertaken, ResultOvertaken
from dicom_node.held_files import locked
from dicom_node.objects.provenance import EarlierInstance

_LOCK_DIGITS: Final = 2
"""Of the name of a file: series whose names begin alike share a lock file, so there are few and none is removed."""


@dataclass(frozen=True, slots=True)
class PublishedResult:
    """A result whose objects were cleared for sending."""

    result_id: str
    predecessor: str
    """Result id of the one before; empty for the first."""
    objects: Mapping[str, EarlierInstance]
    """By role; the first instance where there are many."""
    instances: int = 0
    """How many images it was made of; 0 in entries of earlier versions."""

    @classmethod
    def of(cls, entry: dict[str, Any]) -> Self:
        """From plain values, as `dataclasses.asdict` gives them."""
        objects = {role: EarlierInstance(**instance) for role, instance in entry["objects"].items()}
        return cls(entry["result_id"], entry["predecessor"], objects, entry.get("instances", 0))


@dataclass(frozen=True, slots=True)
class ResultLedger:
    """The results of all series of a node."""

    folder: Path

    def predecessor_of(self, series_instance_uid: str, result_id: str) -> PublishedResult | None:
        """The result that one of this id supersedes, or `None`.

        A result that is computed again right after itself supersedes what it superseded the first time, so it gets
        the same bytes again.
        """
        results = self._read(series_instance_uid)
        if results and results[-1].result_id == result_id:
            results.pop()
        return results[-1] if results else None

    def publish(self, series_instance_uid: str, result: PublishedResult) -> None:
        """Enter a result as the newest of its series; doing so twice changes nothing.

        Raises:
            ResultOvertaken: it was made when another result was the newest; made again, it may be entered.
            CaseOvertaken: the newest result was made of more images of the series.
        """
        path = self.path_of(series_instance_uid)
        locks = self.folder / "locks"
        make_directory(locks)
        with locked(locks / path.name[:_LOCK_DIGITS]):
            for leftover in self.folder.glob(f"{path.name}.*.part"):  # whoever wrote it is dead, or we had no lock
                leftover.unlink()
            results = self._read(series_instance_uid)
            newest = results[-1] if results else None
            if newest is not None and result.instances < newest.instances:
                raise CaseOvertaken(result.instances, newest.instances)
            if newest is not None and newest.result_id == result.result_id:
                results.pop()
                result = replace(result, objects={**newest.objects, **result.objects})
            if result.predecessor != (results[-1].result_id if results else ""):
                raise ResultOvertaken
            write_json(path, [asdict(entry) for entry in (*results, result)])

    def results_of(self, series_instance_uid: str) -> tuple[PublishedResult, ...]:
        """Every result of a series, the oldest first."""
        return tuple(self._read(series_instance_uid))

    def _read(self, series_instance_uid: str) -> list[PublishedResult]:
        path = self.path_of(series_instance_uid)
        return [PublishedResult.of(entry) for entry in json.loads(path.read_text())] if path.exists() else []

    def path_of(self, series_instance_uid: str) -> Path:
        """The file of one series."""
        return self.folder / f"{hashlib.sha256(series_instance_uid.encode()).hexdigest()[:32]}.json"
