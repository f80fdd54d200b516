"""A scripted archive that keeps names of what it gets and answers queries and commitments as told."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, MRImageStorage, ParametricMapStorage
from pynetdicom import build_context, build_role, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind

from dicom_node.network.addresses import AeAddress
from dicom_node.network.commitment_messages import (
    NO_SUCH_INSTANCE,
    PUSH_MODEL,
    PUSH_MODEL_INSTANCE,
    SYNTAXES,
    CommitmentReport,
    event_information,
    read_action,
)
from dicom_node.network.requestor import Peer, association
from tests.peers import scripted_archive

STORAGE = (MRImageStorage, ParametricMapStorage)


@dataclass
class KeepingPacs:
    """What it has, and how it behaves."""

    stored: dict[str, Dataset] = field(default_factory=dict)
    """By SOP Instance UID; a test may take something out."""
    received: list[str] = field(default_factory=list)
    """Every SOP Instance UID that arrived, in order, with repetitions."""
    statuses: list[int | Callable[[Any], int]] = field(default_factory=list)
    """For the next C-STOREs; Success after that. A status that says "stored" keeps the instance."""
    forgets: set[str] = field(default_factory=set)
    """Answers Success for these once, and keeps nothing."""
    loses_first: bool = False
    """Keeps nothing of the first instance that arrives."""
    reports: bool = True
    commits_to: Callable[[str], bool] = lambda uid: True
    """Which stored instances it commits to; of the others it says nothing."""
    report_to: AeAddress | None = None
    """Reports on an association of its own to there; None: on the same."""
    asked: list[str] = field(default_factory=list)
    """Which services were used for verification."""

    def on_store(self, event: Any) -> int:
        uid = str(event.request.AffectedSOPInstanceUID)
        self.received.append(uid)
        answer = self.statuses.pop(0) if self.statuses else 0x0000
        status = answer(event) if callable(answer) else answer
        is_lost = uid in self.forgets or (self.loses_first and len(self.received) == 1)
        if status >> 12 in (0x0, 0xB) and not is_lost:
            self.stored[uid] = event.dataset
        self.forgets.discard(uid)
        return status

    def on_find(self, event: Any) -> Iterator[tuple[int, Dataset | None]]:
        self.asked.append("find")
        for uid, dataset in self.stored.items():
            if dataset.SeriesInstanceUID == event.identifier.SeriesInstanceUID:
                answer = Dataset()
                answer.QueryRetrieveLevel = "IMAGE"
                answer.StudyInstanceUID = dataset.StudyInstanceUID
                answer.SeriesInstanceUID = dataset.SeriesInstanceUID
                answer.SOPInstanceUID = uid
                yield 0xFF00, answer

    def on_action(self, event: Any) -> tuple[int, None]:
        self.asked.append("commitment")
        transaction, instances = read_action(event.action_information)
        known = [i for i in instances if i.sop_instance_uid in self.stored]
        report = CommitmentReport(
            transaction,
            tuple(i for i in known if self.commits_to(i.sop_instance_uid)),
            {i: NO_SUCH_INSTANCE for i in instances if i not in known},
        )
        if self.reports:
            threading.Thread(target=self._report, args=(event.assoc, report), daemon=True).start()
        return 0x0000, None

    def _report(self, on: Any, report: CommitmentReport) -> None:
        time.sleep(0.1)
        event_type, information = event_information(report)
        if self.report_to is None:
            on.send_n_event_report(information, event_type, PUSH_MODEL, PUSH_MODEL_INSTANCE)
            return
        roles = [build_role(PUSH_MODEL, scp_role=True)]
        peer = Peer("node", self.report_to, "ARCHIVE")
        with association(peer, [build_context(PUSH_MODEL)], roles=roles) as opened:
            opened.send_n_event_report(information, event_type, PUSH_MODEL, PUSH_MODEL_INSTANCE)


@contextmanager
def keeping_pacs(
    pacs: KeepingPacs, *, commits: bool = True, finds: bool = True, storage: Sequence[str] = STORAGE, port: int = 0
) -> Iterator[AeAddress]:
    """Let it listen, with the services that it is to offer."""
    native = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
    contexts = [(sop_class, native) for sop_class in storage]
    contexts += [(PUSH_MODEL, list(SYNTAXES))] if commits else []
    contexts += [(StudyRootQueryRetrieveInformationModelFind, native)] if finds else []
    handlers = [
        (evt.EVT_C_STORE, pacs.on_store),
        (evt.EVT_C_FIND, pacs.on_find),
        (evt.EVT_N_ACTION, pacs.on_action),
    ]
    with scripted_archive(contexts, handlers, port=port) as address:
        yield address
