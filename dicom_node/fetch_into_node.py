"""Series from an archive into the node, beside it while it runs or while it does not.

What comes is treated as if a scanner had sent it. Here already is what a case has, or the spool, or a shelf of what was
put aside. The node comes first: fetching waits while it has much to do or little disk.
"""

import json
import shutil
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dicom_node.audit.trail import AuditTrail
from dicom_node.errors import NeverStarted, NodeBusy, PeerUnreachable, RetrievalIncomplete
from dicom_node.fetch import STRUCTURE_SET
from dicom_node.jobs.attempts import CaseState
from dicom_node.jobs.jobs import JobBook
from dicom_node.network import archive
from dicom_node.network.archive import AnyPeer
from dicom_node.network.query import FoundSeries
from dicom_node.reception.arrivals import Arrivals
from dicom_node.reception.spool import Spool, key_of
from dicom_node.settings.config import NodeSettings

_ROOM: Final = 1.25
"""Fetching stops at this many times the free space at which the receiver stops: senders come first."""
_ARRIVAL_S: Final = 15.0


@dataclass(slots=True)
class NodeLanding:
    """The spool of a node.

    Args:
        settings: Of the node.
        peer: The archive.
        audit: Told what came over our own associations.
        maximum_waiting: With this many cases in processing nothing more is fetched.
        patience_s: How long to wait for the node to catch up before giving up.
    """

    settings: NodeSettings
    peer: AnyPeer
    audit: AuditTrail
    maximum_waiting: int = 5
    patience_s: float = 3600.0
    spool: Spool = field(init=False)
    _cases: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self.spool = Spool(self.settings.data_dir / "spool", minimum_free_mb=self.settings.minimum_free_mb)
        self._cases = {}
        for case in self.settings.cases().all():
            record = case.record()
            uid = record.series_instance_uid
            self._cases[uid] = max(record.instances, self._cases.get(uid, 0))

    def holds(self, series: FoundSeries) -> bool:
        """Whether all of a series is in a case, in the spool, or put aside."""
        if series.modality == STRUCTURE_SET:
            return self._has_structures(series)
        return series.instances is not None and 0 < series.instances <= self._held(series)

    def bring(self, series: FoundSeries) -> None:
        """Fetch a series.

        Raises:
            NodeBusy: The node has not caught up in time.
            PeerUnreachable, QueryRefused, RetrievalIncomplete: It did not come, or not as a whole.
        """
        self._wait_for_node()
        through_receiver = archive.comes_through_receiver(self.peer)
        if through_receiver:
            self._require_running()
        archive.fetch_series(self.peer, series, self.spool, self.audit)
        if through_receiver and series.modality != STRUCTURE_SET:
            self._require_arrival(series)

    def _held(self, series: FoundSeries) -> int:
        """How many instances of a series are here: in a case, in the spool, or put aside."""
        key = key_of(series.series_instance_uid)
        arrivals = Arrivals.under(self.settings.data_dir, self.spool)
        shelved = [s for shelf in (arrivals.unmatched, arrivals.discarded) for s in shelf.of_key(key)]
        spooled = sum(1 for _ in (self.spool.incoming / key).glob("*.dcm"))
        counts = [len(s.instances()) for s in shelved]
        return max([self._cases.get(series.series_instance_uid, 0), spooled, *counts])

    def _has_structures(self, series: FoundSeries) -> bool:
        """Structure sets lie with the images they refer to, each under the key of its own UID."""
        folder = self.settings.shared_dir / "structures"
        if not folder.is_dir():
            return False
        uids = archive.find_instances(self.peer, series.study_instance_uid, series.series_instance_uid)
        return bool(uids) and all(any(folder.glob(f"*/{key_of(uid)}.dcm")) for uid in uids)

    def _wait_for_node(self) -> None:
        """Wait until the node has time and room.

        Raises:
            NodeBusy: It has not, for as long as we wait.
        """
        deadline = time.monotonic() + self.patience_s
        while reason := self._busy():
            if time.monotonic() > deadline:
                raise NodeBusy(reason)
            time.sleep(min(2.0, max(0.05, self.patience_s)))

    def _busy(self) -> str:
        free_mb = _free_mb(self.spool.incoming)
        if free_mb < _ROOM * self.settings.minimum_free_mb:
            return f"only {free_mb:.0f} MB of disk are free"
        try:
            with JobBook(self.settings.database, self.settings.cases()) as book:
                waiting = sum(case.state is CaseState.PROCESSING for case in book.cases())
        except NeverStarted:
            return ""
        return f"{waiting} cases are being processed" if waiting >= self.maximum_waiting else ""

    def _require_running(self) -> None:
        receiver = self.settings.receiver
        host = "127.0.0.1" if receiver.host in ("0.0.0.0", "") else receiver.host  # noqa: S104  # compared, not bound
        try:
            socket.create_connection((host, receiver.port), timeout=5.0).close()
        except OSError as fault:
            address = f"{receiver.ae_title}@{host}:{receiver.port}"
            raise PeerUnreachable(address, "C-MOVE sends to this node, and it does not run") from fault

    def _require_arrival(self, series: FoundSeries) -> None:
        """An archive that sends to another host under our AE title reports success all the same.

        Raises:
            RetrievalIncomplete: Not everything is here after a while.
        """
        deadline = time.monotonic() + _ARRIVAL_S
        while (held := max(self._held(series), self._new_cases().get(series.series_instance_uid, 0))) < (
            series.instances or 1
        ):
            if time.monotonic() > deadline:
                reason = f"it says it sent them, but {held} of {series.instances} instances are here; does it know"
                raise RetrievalIncomplete(str(self.peer.address), f"{reason} this host and port for our AE title?")
            time.sleep(0.1)

    def _new_cases(self) -> dict[str, int]:
        """Cases of the last minutes; older ones were read at the start."""
        found = {}
        for path in self.settings.cases().root.glob("*/case.json"):
            try:
                if time.time() - path.stat().st_mtime < 10 * _ARRIVAL_S:
                    facts = json.loads(path.read_text())
                    found[str(facts["series_instance_uid"])] = int(facts["instances"])
            except (OSError, ValueError, KeyError):  # being written, or removed meanwhile
                continue
        return found


def _free_mb(folder: Path) -> float:
    return shutil.disk_usage(folder).free / 1e6
