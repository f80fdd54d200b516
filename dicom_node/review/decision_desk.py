"""Where decisions about cases are made: one at a time for each case, written down before and after, told to the audit.

Whoever decides holds the lock of the series, as everybody does who starts something on an existing case. Under it the
case is compared with what the person saw, the decision is written, carried out, told, and its answer written. So of two
people who decide at once one decides, and the other is told that the case has changed.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from pydicom import dcmread

from dicom_node.audit.trail import AuditTrail
from dicom_node.errors import CaseChanged, NodeError
from dicom_node.jobs.attempts import AttemptId, Case, held_since_s
from dicom_node.jobs.cases import CaseFolder
from dicom_node.keeping.retention import lock_of
from dicom_node.named_locks import NamedLocks
from dicom_node.review.case_version import case_version
from dicom_node.review.decision import Action, Deciding, Decision, Wish
from dicom_node.review.rating import Changes, Rating
from dicom_node.review.review_log import ReviewLog
from dicom_node.settings.config import NodeSettings
from dicom_node.settings.orders import Order


@dataclass(frozen=True, slots=True)
class Done:
    """What the engine did."""

    queued: tuple[AttemptId, ...] = ()
    has_effect: bool = True
    """False if there was nothing to do."""

    @property
    def answer(self) -> str:
        """In one word, for the record."""
        return "QUEUED" if self.queued else "DONE" if self.has_effect else "NOTHING_TO_DO"


@dataclass(frozen=True, slots=True)
class DecisionDesk:
    """Lets people decide about the cases of a node."""

    settings: NodeSettings
    audit: AuditTrail
    case_of: Callable[[str], Case]
    """The case of that id as it is now."""

    def version(self, case_id: str) -> str:
        """What a form carries that shows this case as it is now."""
        folder = self.settings.cases().folder(case_id)
        return case_version(self.case_of(case_id), folder.record().priority, len(ReviewLog.of(folder).decisions()))

    def decide(self, case_id: str, deciding: Deciding, wish: Wish, act: Callable[[], Done]) -> Done:
        """Let somebody decide.

        Args:
            case_id: about which case.
            deciding: who, why, and upon what they saw.
            wish: what they want.
            act: carries it out.

        Raises:
            CaseChanged: it is not any more as they saw it; nothing was done.
            NodeError: what `act` raises; it stands in the record.
        """
        folder = self.settings.cases().folder(case_id)
        with self._kept(folder):
            if deciding.version and deciding.version != self.version(case_id):
                raise CaseChanged(case_id)
            if wish.action is Action.RELEASE:
                wish = replace(wish, objects=self._held_objects(folder, wish.destination))
            log = ReviewLog.of(folder)
            decision = log.ask(deciding, wish)
            try:
                done = act()
            except NodeError as fault:
                log.answer(decision, fault.code)
                raise
            self.audit.operator_action(
                decision.action, f"case:{case_id}", decision.by, {**_told(decision), "Answer": done.answer}
            )
            log.answer(decision, done.answer, tuple(str(attempt) for attempt in done.queued))
            return done

    def rate(self, case_id: str, deciding: Deciding, changes: Changes, minutes: float | None) -> Rating:
        """Keep what a planner says of the result that is there now."""
        folder = self.settings.cases().folder(case_id)
        with self._kept(folder):
            result = folder.object_facts()["result"] if folder.contents.exists() else {}
            result_id = str(result.get("result_id", "")) if isinstance(result, dict) else ""
            rating = ReviewLog.of(folder).rate(deciding, changes, minutes, result_id)
            told = {"Role": rating.role, "Rating": rating.id, "Changes": rating.changes.value}
            self.audit.operator_action("rate", f"case:{case_id}", rating.by, told)
            return rating

    def _held_objects(self, folder: CaseFolder, destination: str) -> dict[str, tuple[str, ...]]:
        """SOP Instance UIDs of what a release sends, by destination."""
        held = held_since_s(self.case_of(folder.case_id))
        wanted = {name: self.settings.orders.get(name) for name in held if name == (destination or name)}
        return {name: tuple(_uids(folder, order)) for name, order in wanted.items() if order is not None}

    def _kept(self, folder: CaseFolder) -> AbstractContextManager[None]:
        """While this is held nobody removes the case (`retention`), and nobody else decides about it."""
        return NamedLocks(self.settings.database, self.settings.data_dir).hold(lock_of(folder))


def _uids(folder: CaseFolder, order: Order) -> Iterator[str]:
    for role in order.roles():
        for path in folder.objects_of(str(role)):
            yield str(dcmread(path, stop_before_pixels=True, specific_tags=["SOPInstanceUID"]).SOPInstanceUID)


def _told(decision: Decision) -> dict[str, str]:
    """What the audit trail is told besides: nothing that a person wrote, which might name a patient."""
    told = {"Decision": decision.id, "Role": decision.role, **decision.details}
    if decision.destination:
        told["Destination"] = decision.destination
    for name, uids in decision.objects.items():
        digest = hashlib.sha256("\n".join(sorted(uids)).encode()).hexdigest()
        told[f"Released to {name}"] = f"{len(uids)} objects, SHA-256 of their UIDs {digest}"
    return told
