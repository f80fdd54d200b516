"""Which result of a series came after which: the ledger behind references to superseded objects.

A CT may give more than one result: late slices arrive, a model or a rule is changed. Each new result has UIDs of its
own and names the one before, so that nobody takes an old map for the current one. The ledger has one file per series;
a result is entered when its objects have passed the checks, just before they are sent.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from dicom_node.durable_files import make_directory, write_json
from dicom_node.objects.provenance import EarlierInstance


@dataclass(frozen=True, slots=True)
class PublishedResult:
    """A result whose objects were cleared for sending."""

    result_id: str
    predecessor: str
    """Result id of the one before; empty for the first."""
    objects: Mapping[str, EarlierInstance]
    """By role; the first instance where there are many."""

    @classmethod
    def of(cls, entry: dict[str, Any]) -> Self:
        """From plain values, as `dataclasses.asdict` gives them."""
        objects = {role: EarlierInstance(**instance) for role, instance in entry["objects"].items()}
        return cls(entry["result_id"], entry["predecessor"], objects)


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
        """Enter a result as the newest of its series; doing so twice changes nothing."""
        results = self._read(series_instance_uid)
        if results and results[-1].result_id == result.result_id:
            result = PublishedResult(result.result_id, result.predecessor, {**results.pop().objects, **result.objects})
        make_directory(self.folder)
        write_json(self._path(series_instance_uid), [asdict(entry) for entry in (*results, result)])

    def _read(self, series_instance_uid: str) -> list[PublishedResult]:
        path = self._path(series_instance_uid)
        return [PublishedResult.of(entry) for entry in json.loads(path.read_text())] if path.exists() else []

    def _path(self, series_instance_uid: str) -> Path:
        return self.folder / f"{hashlib.sha256(series_instance_uid.encode()).hexdigest()[:32]}.json"
