"""How the node is, in one look: what waits, who is away, what fills the disk, which model serves, what ails it."""

import shutil
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from dicom_node.jobs.attempts import Attempt
from dicom_node.jobs.job_rows import QueueState
from dicom_node.jobs.queues import queue_of
from dicom_node.reception.arrivals import Arrival, Arrivals, ArrivalState
from dicom_node.reception.spool import Spool
from dicom_node.settings.config import NodeSettings
from dicom_node.watching.job_metrics import ServingModel, gpu_memory
from dicom_node.watching.job_watch import JobsSeen
from dicom_node.watching.node_checks import Check
from dicom_node.web.today.alarms import checks
from dicom_node.web.today.case_index import CaseIndex
from dicom_node.web.today.contacts import Contacts, DestinationState
from dicom_node.web.today.engine_view import EngineView

_SHOWN: Final = (ArrivalState.RECEIVING, ArrivalState.INTERRUPTED, ArrivalState.HELD, ArrivalState.RELEASED)
"""States of series that somebody may wait for; what was put aside is counted only."""
_MOST_ARRIVALS: Final = 100
_SOME_BYTES: Final = 100_000_000


@dataclass(frozen=True, slots=True)
class Disk:
    """One disk."""

    name: str
    """`data` or `shared`."""
    free_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU of this host."""

    number: int
    used_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class OldestCase:
    """The case that has waited longest."""

    case_id: str
    state: str
    created_ms: int


@dataclass(frozen=True, slots=True)
class NodeState:
    """How the node is. Holds no patient data."""

    at_s: float
    """Unix time of the look."""
    cases: Mapping[str, int]
    """How many cases are in each state."""
    oldest: OldestCase | None
    """Of those that are being processed or delivered."""
    queues: tuple[QueueState, ...]
    destinations: tuple[DestinationState, ...]
    disks: tuple[Disk, ...]
    gpus: tuple[Gpu, ...]
    model: str
    """Name and version of what makes the maps, or the code of what is wrong with it."""
    checks: tuple[Check, ...]
    arrivals: tuple[Arrival, ...]
    """Series that arrive, were cut off or are held."""
    aside: int
    """Series that were put aside."""

    def worth_telling(self) -> "NodeState":
        """The same without what changes at every look: ages, and a disk or a GPU by less than a tenth of a gigabyte."""
        return replace(
            self,
            at_s=0.0,
            disks=tuple(replace(disk, free_bytes=disk.free_bytes // _SOME_BYTES) for disk in self.disks),
            gpus=tuple(replace(gpu, used_bytes=gpu.used_bytes // _SOME_BYTES) for gpu in self.gpus),
            checks=tuple(replace(check, detail="", since="") for check in self.checks),
        )


class NodeLook:
    """Looks at the node; for one thread.

    Args:
        settings: of the node.
        index: of its cases.
        contacts: what deliveries met.
    """

    def __init__(self, settings: NodeSettings, index: CaseIndex, contacts: Contacts) -> None:
        self._settings = settings
        self._index = index
        self._contacts = contacts
        self._model = ServingModel(settings)

    def state(self, view: EngineView | None, *, is_away: bool) -> NodeState:
        """How things stand.

        Args:
            view: what is known of the engine, if anything.
            is_away: whether it could not be asked at the last look.
        """
        queues = () if view is None else _queues(view.active)
        seen = None if is_away else JobsSeen(queues, self._index.counts())
        arrivals = self._arrivals()
        waiting = [arrival for arrival in arrivals if arrival.state in _SHOWN]
        return NodeState(
            at_s=time.time(),
            cases=self._index.counts(),
            oldest=self._oldest(),
            queues=queues,
            destinations=self._contacts.states(self._settings, view),
            disks=self._disks(),
            gpus=_gpus(),
            model=self._model.label(),
            checks=checks(self._settings, seen),
            arrivals=tuple(waiting[:_MOST_ARRIVALS]),
            aside=len(arrivals) - len(waiting),
        )

    def _oldest(self) -> OldestCase | None:
        found = self._index.lines("state in ('PROCESSING', 'DELIVERING') order by created_ms, case_id limit 1")
        return next((OldestCase(line.case_id, line.state, line.created_ms) for line in found), None)

    def _arrivals(self) -> list[Arrival]:
        root = self._settings.data_dir / "spool"
        if not root.is_dir():  # of another host
            return []
        with suppress(OSError):  # taken by the intake while we look
            return Arrivals.under(self._settings.data_dir, Spool(root)).all()
        return []

    def _disks(self) -> tuple[Disk, ...]:
        folders = {"data": self._settings.data_dir, "shared": self._settings.shared_dir}
        if folders["data"] == folders["shared"]:
            del folders["shared"]
        usages = {name: shutil.disk_usage(folder) for name, folder in folders.items() if folder.is_dir()}
        return tuple(Disk(name, usage.free, usage.total) for name, usage in usages.items())


def _gpus() -> tuple[Gpu, ...]:
    found: dict[str, dict[str, int]] = {}
    with suppress(Exception):  # NVML's errors; a GPU that cannot be asked is told by the stages
        for (number, what), value in gpu_memory():
            found.setdefault(number, {})[what] = int(value)
    return tuple(Gpu(int(number), of["used"], of["total"]) for number, of in found.items())


def _queues(active: list[Attempt]) -> tuple[QueueState, ...]:
    """The state of every queue that is not empty, by name."""
    by_name: dict[str, list[Attempt]] = {}
    for attempt in active:
        by_name.setdefault(queue_of(attempt.id)[0], []).append(attempt)
    return tuple(_queue_state(name, attempts) for name, attempts in sorted(by_name.items()))


def _queue_state(name: str, attempts: list[Attempt]) -> QueueState:
    count = Counter(attempt.status for attempt in attempts)
    oldest_s = min(attempt.created_at_s for attempt in attempts)
    return QueueState(name, count["ENQUEUED"], count["PENDING"], count["DELAYED"], oldest_s)
