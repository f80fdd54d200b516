"""Which objects were made, and what the node's own check came to.

A case is sent only when the stage `check` found nothing, so what it came to follows from its attempt. Which rule which
object broke is not kept; `Rechecks` finds it out once more when somebody asks, and remembers it until objects change.
"""

import re
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from pydicom import dcmread
from pydicom.uid import UID

from dicom_node.checks.faults import RULE_TABLE, Fault
from dicom_node.jobs.attempts import Attempt, Case, Result, made_in_run
from dicom_node.jobs.cases import CaseFolder
from dicom_node.jobs.stages import Stage
from dicom_node.objects.kinds import OBJECT_SERIES, ObjectKind
from dicom_node.web.case.said import Checked, FaultSaid, MadeObject, moment

_NUMBER: Final = re.compile(r"-[0-9]{4}$")
"""At the end of the name of an object of which there are many."""
_TAGS: Final = ["SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "SoftwareVersions"]
_KEPT: Final = 64


@dataclass(frozen=True, slots=True)
class _Header:
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    software: str


@dataclass(frozen=True, slots=True)
class Recheck:
    """What a check of all objects of a case came to, at a Unix time."""

    at_s: float
    faults: tuple[Fault, ...]


class Rechecks:
    """Checks on demand, one at a time; the last ones are kept, each for as long as the objects stay as they are."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, int], Recheck] = {}

    def known(self, folder: CaseFolder) -> Recheck | None:
        """What was found of the objects that are there now, if anybody asked."""
        return self._kept.get(_stamp(folder)) if folder.contents.exists() else None

    def run(self, folder: CaseFolder) -> Recheck:
        """Check every object of a case against its CT and its result; takes seconds.

        Raises:
            FileNotFoundError: there are no objects, or the case is being removed.
        """
        from dicom_node.checks.check import check_result
        from dicom_node.pipeline import case_headers
        from dicom_node.results.result_files import read_result

        with self._lock:
            if (known := self.known(folder)) is not None:
                return known
            stamp, result = _stamp(folder), read_result(folder.result)
            found = Recheck(time.time(), check_result(folder.object_paths(), case_headers(folder), result))
            while len(self._kept) >= _KEPT:
                self._kept.pop(next(iter(self._kept)))
            self._kept[stamp] = found
            return found


def _stamp(folder: CaseFolder) -> tuple[str, int]:
    files = (folder.contents, *folder.object_paths())
    return str(folder.path), hash(tuple((str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in files))


def objects_said(folder: CaseFolder, recheck: Recheck | None) -> list[MadeObject]:
    """Every object, those of one kind and series together."""
    groups: dict[str, list[Path]] = {}
    for path in folder.object_paths():
        groups.setdefault(_NUMBER.sub("", path.stem), []).append(path)
    faults = recheck.faults if recheck else ()
    return [_object(role, paths, faults) for role, paths in groups.items()]


def _object(role: str, paths: Sequence[Path], faults: Sequence[Fault]) -> MadeObject:
    kind = ObjectKind(role.partition(".")[0])
    headers, names = [_read(path) for path in paths], {path.name for path in paths}
    return MadeObject(
        role=role,
        sop_class=UID(headers[0].sop_class_uid).name,
        sop_class_uid=headers[0].sop_class_uid,
        series_instance_uid=headers[0].series_instance_uid,
        sop_instance_uids=[header.sop_instance_uid for header in headers],
        bytes=sum(path.stat().st_size for path in paths),
        holds=OBJECT_SERIES[kind].holds,
        rules=sum(1 for rule in RULE_TABLE if not rule.kinds or kind in rule.kinds),
        faults=[
            FaultSaid(code=f.code, object=f.object, sentence=f.sentence, where=f.where)
            for f in faults
            if f.object in names
        ],
    )


def software_of(folder: CaseFolder) -> str:
    """Version of the node that made the objects, as the first of them says it; empty if there is none."""
    return next((_read(path).software for path in folder.object_paths()), "")


def _read(path: Path) -> _Header:
    return _read_once(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=4096)
def _read_once(path: Path, written_ns: int) -> _Header:
    header = dcmread(path, stop_before_pixels=True, specific_tags=_TAGS)
    versions = header.get("SoftwareVersions") or ""
    first = versions if isinstance(versions, str) else next(iter(versions), "")
    sop_class, instance, series = (str(header.get(keyword, "")) for keyword in _TAGS[:3])
    return _Header(sop_class, instance, series, str(first).removeprefix("perfusion-node "))


def checked_said(case: Case, recheck: Recheck | None) -> Checked:
    """What the check came to: in the pipeline, and again if somebody asked."""
    attempt = _last_check(case)
    verdict, sentence = _verdict(attempt, is_finished=case.is_finished)
    if recheck is not None:
        count = len(recheck.faults)
        again = f"{count} fault(s) were found" if count else "no fault was found"
        sentence = f"{sentence} Checked once more from this page: {again}."
        verdict = "failed" if count else verdict
    ended_at = moment(attempt.updated_at_s) if attempt is not None and not attempt.is_active else None
    return Checked(
        verdict=verdict, sentence=sentence, at=ended_at, again_at=moment(recheck.at_s) if recheck is not None else None
    )


def _last_check(case: Case) -> Attempt | None:
    run = made_in_run(case.attempts)
    checks = [a for a in case.attempts if a.id.stage is Stage.CHECK and a.id.run == run]
    return max(checks, key=lambda a: a.id.attempt, default=None)


def _verdict(attempt: Attempt | None, *, is_finished: bool) -> tuple[str, str]:
    if attempt is None and is_finished:
        return "not made", "It ended before there were objects to check."
    if attempt is None:
        return "not yet", "The objects have not been checked yet; nothing is sent before."
    if attempt.is_active:
        return "running", "The objects are being checked; nothing is sent before."
    if attempt.result is Result.DONE:
        return "passed", "Every object was read back, compared with the CT and the result, and passed every rule."
    return "failed", str(attempt.output.get("message") or "The check did not come to its end; nothing is sent.")
