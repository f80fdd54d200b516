"""A case: one received series on its way, and where each of its files lies.

    cases/<case id>/
        case.json            what the case is (no patient data)
        received/            the instances as they came, moved here from the spool
        structures/          structure sets drawn on them, as far as they were here in time
        ct.npz, .json        the CT as a volume                          after stage read
        lobes.npz, .json     lungs and lobes, findings                   after stage segment
        result.npz, .json    lobes, perfusion, regions, table, findings  after stage perfuse
        objects/*.dcm        what is sent, by role                       after stage encode
        objects.json         what was ordered, made, and is superseded   after stage encode
        summary.png          one picture for people                      after stage encode
        outcome-<stage>.json why a stage rejected or gave up the case, or goes back to an earlier one
        ladder-<stage>.json  how the network of a stage runs, and how else it could (`ladder_files`)
        <stage>.stderr       what the process of a stage said; it may hold patient data
        candidate/           objects of the model in shadow, and objects.json      after stage candidate
        refusal.json         the same once more, for the notice
        notice/*.dcm         what is sent instead of a result            after stage notice
        choice.json          what a person chose for this case in place of what is in force (`case_choice`)
        review.jsonl         decisions and ratings of people (`review`); free text in it may name a patient
        edited/              how structure sets that were made from ours and came back differ from them (`review`)
        view/                volumes for the page (`web.viewer`); can be made again
        progress             what is being done right now, for the screen only
        cancelled            present while a person has stopped the case

Every file appears complete or not at all: written under another name, flushed to disk, then renamed. That holds for
folders too: what is new is renamed into its place first and what is old is removed afterwards, because another process
may be sending it.
"""

import hashlib
import json
import time
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

from dicom_node.durable_files import (
    make_directory,
    remove_abandoned_parts,
    sync_directory,
    write_json,
    written_durably,
)
from dicom_node.errors import UnknownCase
from dicom_node.jobs.priorities import Priority, queue_number

PIPELINE_VERSION = "2"
"""Part of every case id: a new version of the stages makes new cases of series that come again."""
_ID_LENGTH: Final = 16


@dataclass(frozen=True, slots=True)
class CaseRecord:
    """What `case.json` holds."""

    case_id: str
    series_instance_uid: str
    content_digest: str
    """SHA-256 over the received instances."""
    instances: int
    calling_ae_title: str
    rule: str = ""
    """Name of the rule that took the series."""
    released: str = ""
    """Code of the hold that a person overrode when the series became a case; empty if nobody had to."""
    priority: str = Priority.NORMAL.value
    """How much it hurries, see `priorities`."""
    arrived_at_s: float = 0.0
    """Unix time at which it became a case; no two cases of a node share one. 0 in cases of earlier versions."""

    @property
    def queue_number(self) -> int:
        """By which the engine orders its queues."""
        return queue_number(Priority(self.priority), self.arrived_at_s)


def case_id_of(series_instance_uid: str, content_digest: str) -> str:
    """The id of a case: the same series with the same instances always gives the same id."""
    text = "\n".join((PIPELINE_VERSION, series_instance_uid, content_digest))
    return hashlib.sha256(text.encode()).hexdigest()[:_ID_LENGTH]


@dataclass(frozen=True, slots=True)
class CaseFolder:
    """The files of one case."""

    path: Path
    tell: Callable[[str], None] | None = None
    """Told what is being done, instead of the file `progress`."""

    @property
    def case_id(self) -> str:
        """The id of the case is the name of its folder."""
        return self.path.name

    @property
    def received(self) -> Path:
        """Folder of the received instances."""
        return self.path / "received"

    @property
    def structures(self) -> Path:
        """Folder of the structure sets that were drawn on the received images."""
        return self.path / "structures"

    @property
    def ct(self) -> Path:
        """The CT volume."""
        return self.path / "ct.npz"

    @property
    def lobes(self) -> Path:
        """The arrays of lungs and lobes; their facts lie in the `.json` beside it."""
        return self.path / "lobes.npz"

    @property
    def result(self) -> Path:
        """The arrays of the result; its facts lie in the `.json` beside it."""
        return self.path / "result.npz"

    @property
    def objects(self) -> Path:
        """Folder of the DICOM objects to be sent."""
        return self.path / "objects"

    @property
    def summary(self) -> Path:
        """The picture for people."""
        return self.path / "summary.png"

    def instances(self) -> list[Path]:
        """The received instances in a fixed order."""
        return sorted(self.received.glob("*.dcm"))

    def structure_sets(self) -> list[Path]:
        """The structure sets that were drawn on the received images, in a fixed order."""
        return sorted(self.structures.glob("*.dcm"))

    @property
    def contents(self) -> Path:
        """What was ordered, made, and is superseded."""
        return self.path / "objects.json"

    @property
    def notice(self) -> Path:
        """Folder of the notice of refusal."""
        return self.path / "notice"

    def beside(self) -> "CaseFolder":
        """Where objects of the model in shadow lie, by the same names: apart, so that none is taken for a result."""
        return CaseFolder(self.path / "candidate")

    @property
    def ledger(self) -> Path:
        """Folder where results of earlier cases of the same series are remembered."""
        return self.path.parent.parent / "results"

    def object(self, role: str, index: int | None = None) -> Path:
        """The encoded object of that role; one of many by its number from 1."""
        return self.objects / (f"{role}.dcm" if index is None else f"{role}-{index:04d}.dcm")

    def objects_of(self, role: str) -> list[Path]:
        """Every encoded object of that role, in order of number; empty if none was made."""
        only = self.object(role)
        return [only] if only.exists() else sorted(self.objects.glob(f"{role}-[0-9][0-9][0-9][0-9].dcm"))

    def objects_of_kind(self, kind: str) -> list[Path]:
        """Every encoded object of that kind, in whatever role; the default role is first."""
        return sorted(path for path in self.objects.glob(f"{kind}*.dcm") if path.name[len(kind)] in ".-")

    def object_paths(self) -> list[Path]:
        """The encoded objects in the order of their names."""
        return sorted(self.objects.glob("*.dcm"))

    def record(self) -> CaseRecord:
        """What the case is.

        Raises:
            UnknownCase: there is no such case.
        """
        try:
            return CaseRecord(**json.loads((self.path / "case.json").read_text()))
        except FileNotFoundError as fault:
            raise UnknownCase(self.case_id) from fault

    def write_record(self, record: CaseRecord) -> None:
        """Keep what the case is; from here on it exists."""
        write_json(self.path / "case.json", asdict(record))

    def outcome(self, stage: str) -> dict[str, Any] | None:
        """Why `stage` rejected or gave up the case, or `None` if it did not."""
        path = self.path / f"outcome-{stage}.json"
        return json.loads(path.read_text()) if path.exists() else None

    def object_facts(self) -> dict[str, Any]:
        """`ordered`: the roles that objects were to be made for; `result`: what was made and what it supersedes."""
        facts: dict[str, Any] = json.loads(self.contents.read_text())
        return facts

    def keep_objects(self, made: Iterable[Path]) -> None:
        """Remove the objects of an earlier run that were not made again, so that none is taken for a new one."""
        _keep(self.objects, made)

    def clear_notice(self) -> None:
        """No notice any more: one that still waits for its destination must not arrive beside a result."""
        make_directory(self.notice)
        _keep(self.notice, ())

    def clear_candidate(self) -> None:
        """No objects of a model in shadow any more."""
        beside = self.beside()
        make_directory(beside.objects)
        beside.contents.unlink(missing_ok=True)
        _keep(beside.objects, ())

    def refusal(self) -> dict[str, str]:
        """Code, message and stage of why the case gave no result."""
        refusal: dict[str, str] = json.loads((self.path / "refusal.json").read_text())
        return refusal

    def write_refusal(self, code: str, message: str, stage: str) -> None:
        """Keep why the case gave no result, for the notice."""
        write_json(self.path / "refusal.json", {"code": code, "message": message, "stage": stage})

    def write_outcome(self, stage: str, outcome: dict[str, Any] | None) -> None:
        """Keep why `stage` rejected or gave up the case; `None` removes an earlier reason."""
        path = self.path / f"outcome-{stage}.json"
        if outcome is None:
            path.unlink(missing_ok=True)
        else:
            write_json(path, outcome)

    @property
    def progress(self) -> str:
        """What is being done right now, or an empty string."""
        try:
            return (self.path / "progress").read_text()
        except FileNotFoundError:
            return ""

    def show_progress(self, doing: str) -> None:
        """Say what is being done right now; not durable on purpose."""
        if self.tell is not None:
            self.tell(doing)
            return
        part = self.path / f"progress.{uuid.uuid4().hex[:12]}.part"
        with suppress(FileNotFoundError):  # taken for what a dead process left
            part.write_text(doing)
            part.replace(self.path / "progress")

    def is_cancelled(self) -> bool:
        """Whether a person has stopped this case."""
        return (self.path / "cancelled").exists()

    def set_cancelled(self, cancelled: bool) -> None:
        """Stop the case, or let it go on."""
        if cancelled:
            with written_durably(self.path / "cancelled") as part:
                part.write_text("")
        else:
            (self.path / "cancelled").unlink(missing_ok=True)


def _keep(folder: Path, wanted: Iterable[Path]) -> None:
    for path in set(folder.iterdir()) - set(wanted):
        path.unlink(missing_ok=True)
    sync_directory(folder)


@dataclass(frozen=True, slots=True)
class CaseStore:
    """All cases of a node."""

    root: Path

    @classmethod
    def under(cls, data_dir: Path) -> Self:
        """The cases of the node with that data directory."""
        return cls(data_dir / "cases")

    def folder(self, case_id: str) -> CaseFolder:
        """The files of a case; the folder need not exist yet."""
        return CaseFolder(self.root / case_id)

    def find(self, start_of_id: str) -> CaseFolder:
        """The one case whose id begins so.

        Raises:
            UnknownCase: none does, or several do.
        """
        is_whole = len(start_of_id) == _ID_LENGTH and start_of_id.isalnum()
        if is_whole and (self.root / start_of_id / "case.json").exists():
            return self.folder(start_of_id)
        found = [case for case in self.all() if case.case_id.startswith(start_of_id)]
        if len(found) != 1 or not start_of_id:
            raise UnknownCase(start_of_id)
        return found[0]

    def next_arrival_s(self) -> float:
        """A time for a case that begins now: later than that of every case before it, whatever the clock does."""
        path = self.root / "last-arrival.json"
        last_s = float(json.loads(path.read_text())) if path.exists() else 0.0
        arrived_at_s = float(max(int(time.time()), int(last_s) + 1))
        with written_durably(path) as part:
            part.write_text(f"{arrived_at_s:.0f}\n")
        return arrived_at_s

    def sweep(self) -> None:
        """Remove what a killed process left of a time of arrival; what belongs to a case is left to its stages."""
        remove_abandoned_parts(self.root, "*.part")

    def all(self) -> list[CaseFolder]:
        """Every case that exists, in order of id."""
        return [CaseFolder(path.parent) for path in sorted(self.root.glob("*/case.json"))]
