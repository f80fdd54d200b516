"""The work of the stages behind `check`: one attempt, for one case and one destination.

    deliver   sends what the destination does not have yet; every object is tried, each keeps its own status
    verify    asks the destination what it has kept; what is missing goes back to `deliver`, with the same UIDs
    tell      delivers the notice of refusal, which is not verified
    shadow    sends like `deliver`, and is not verified
    research  sends the objects of a model in shadow, while it is in shadow, and is not verified
    discard   sends nothing, because a person said so

Each gives an output, a small dictionary that the engine keeps: the result, in `wait_s` how long to wait before the next
attempt, and what became of each instance. What earlier attempts brought is read from their outputs.
"""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import structlog

from dicom_node.errors import ArchiveError, DeliveryError, PeerUnreachable
from dicom_node.jobs.attempts import Attempt, AttemptId, Result
from dicom_node.jobs.cases import CaseFolder
from dicom_node.jobs.delivery_history import NOT_CONFIRMED, NOT_STORED, UNREACHABLE, UNVERIFIED, DeliveryHistory
from dicom_node.jobs.delivery_line import DeliveryLine
from dicom_node.jobs.route_gate import stopped
from dicom_node.jobs.route_mode import RouteMode
from dicom_node.jobs.stages import Stage
from dicom_node.network.commitment import CommitmentBook
from dicom_node.network.delivery import DeliveryReport, Destination, InstanceDelivery, send
from dicom_node.network.verification import SentInstance, Verification, verify
from dicom_node.network.verification_mode import Verify
from dicom_node.network.web_peer import DicomwebPeer
from dicom_node.sending.delivery_audit import tell_delivery
from dicom_node.sending.planned_delivery import planned_delivery
from dicom_node.settings.config import NodeSettings
from dicom_node.shadow.wanted import is_meant_for

_QUERIES_BEFORE_MISSING = 3
"""An archive may list an instance a minute after it has stored it."""
Output = dict[str, Any]

log = structlog.get_logger()


class Transmission:
    """Sends, asks, and says what comes next.

    Args:
        settings: of the site.
        attempts_of: every attempt of a case, in any order.
        line: who waits for a destination that was away; without one, everybody knocks.
        commitment_wait_s: how long an association is held for a commitment on it; other cases wait behind it.
    """

    def __init__(
        self,
        settings: NodeSettings,
        attempts_of: Callable[[str], list[Attempt]],
        *,
        line: DeliveryLine | None = None,
        commitment_wait_s: float = 5.0,
    ) -> None:
        self._line = line
        self._commitment_wait_s = commitment_wait_s
        self._settings = settings
        self._attempts_of = attempts_of
        self._audit = settings.audit_trail()
        self._book = CommitmentBook.under(settings.shared_dir)

    def perform(self, folder: CaseFolder, attempt: AttemptId) -> Output:
        """One attempt of `deliver`, `verify`, `tell`, `shadow`, `research` or `discard`."""
        known = self._attempts_of(attempt.case_id)
        mode = self._settings.modes.get(attempt.destination, RouteMode.LIVE)
        if (answer := stopped(folder, attempt, known, mode)) is not None:
            return answer
        try:
            destination = self._settings.destination(attempt.destination)
        except KeyError:
            return _failed("UNKNOWN_DESTINATION", "The site has no destination of this name any more.")
        paths, absent = self._ordered(folder, attempt)
        if absent:
            why = f"The site orders objects that were not made ({', '.join(absent)}); `perfnode rerun` makes them."
            return _failed("OBJECTS_NOT_MADE", why)
        if not paths:  # a notice that a result has overtaken, or regions that are all empty
            return {"result": Result.DONE.value, "instances": []}
        if mode is RouteMode.DRY_RUN:
            return planned_delivery(paths, destination)
        history = DeliveryHistory.before(attempt, known)
        if (stepped_back := self._stepped_back(attempt, history)) is not None:
            return stepped_back
        try:
            return self._performed(folder, attempt, history, paths, destination)
        except _Cancelled:
            return {"result": Result.CANCELLED.value}

    def _stepped_back(self, attempt: AttemptId, history: DeliveryHistory) -> Output | None:
        """What to say if a case before this one waits for the destination to come back; `None` to go and knock.

        It waits long: the one before it does the asking, and wakes it.
        """
        if self._line is None or not self._line.is_behind(attempt):
            return None
        wait_s = history.wait_s(attempt, UNREACHABLE, self._settings.retry)
        if wait_s is None:  # before it is given up it is tried itself
            return None
        why = f"{attempt.destination} is away; a case before this one waits for it, too."
        wait_s = max(wait_s, *self._settings.retry.delays_s)
        return {**_ended(UNREACHABLE, why, again=True), "wait_s": wait_s, "instances": []}

    def _performed(
        self,
        folder: CaseFolder,
        attempt: AttemptId,
        history: DeliveryHistory,
        paths: list[Path],
        destination: Destination | DicomwebPeer,
    ) -> Output:
        try:
            if attempt.stage is Stage.VERIFY:
                output = self._verify(attempt, history, paths, destination)
            else:
                output = self._deliver(folder, attempt, history, paths, destination)
            if self._line is not None and (woken := self._line.came_back(attempt.destination)):
                self._log(attempt).info("destination_came_back", waiting=woken)
            return output
        except (DeliveryError, ArchiveError) as fault:
            said = getattr(fault, "instances", ())
            if attempt.stage is not Stage.VERIFY and not isinstance(fault, PeerUnreachable):  # then nothing was sent
                due = {uid: path for path in paths if (uid := SentInstance.of(path).uid) not in history.stored}
                tell_delivery(self._audit, destination, due, said, fault.code)
            return self._not_done(attempt, history, fault, said, paths)

    def _ordered(self, folder: CaseFolder, attempt: AttemptId) -> tuple[list[Path], list[str]]:
        """The files a destination is to get, and the roles that objects were not made for."""
        if attempt.stage is Stage.TELL:
            return sorted(folder.notice.glob("*.dcm")), []
        if attempt.stage is Stage.RESEARCH:
            if not is_meant_for(self._settings, folder, attempt.destination):
                return [], []
            folder = folder.beside()
        ordered = [str(role) for role in self._settings.orders[attempt.destination].roles()]
        made_for = folder.object_facts()["ordered"] if folder.contents.exists() else []
        return [path for role in ordered for path in folder.objects_of(role)], [r for r in ordered if r not in made_for]

    # -- deliver, tell, shadow and research ----------------------------------------------------------------------------

    def _deliver(
        self,
        folder: CaseFolder,
        attempt: AttemptId,
        history: DeliveryHistory,
        paths: list[Path],
        destination: Destination | DicomwebPeer,
    ) -> Output:
        stored = history.stored
        due = {SentInstance.of(path).uid: path for path in paths}
        due = {uid: path for uid, path in due.items() if uid not in stored}
        instances: list[InstanceDelivery] = []

        def progress(instance: InstanceDelivery) -> None:
            instances.append(instance)
            if folder.is_cancelled():
                tell_delivery(self._audit, destination, due, instances, "CANCELLED")
                raise _Cancelled

        if due:
            _send(list(due.values()), destination, progress)
        tell_delivery(self._audit, destination, due, instances)
        warnings = sorted({f"0x{i.status:04X}" for i in instances if i.is_warning})
        self._log(attempt).info("delivered", objects=len(instances), before=len(stored), warnings=warnings)
        verifies = attempt.stage is Stage.DELIVER and destination.verify is not Verify.NONE
        return {"result": Result.DONE.value, "instances": _instances(instances, due), "verify": verifies}

    # -- verify ------------------------------------------------------------------------------------------------------

    def _verify(
        self, attempt: AttemptId, history: DeliveryHistory, paths: list[Path], destination: Destination | DicomwebPeer
    ) -> Output:
        instances = [SentInstance.of(path) for path in paths]
        transaction = _transaction_uid(attempt, (i.uid for i in instances))
        said = verify(
            instances,
            destination,
            self._book,
            transaction_uid=transaction,
            earlier=history.transactions,
            wait_s=self._commitment_wait_s,
        )
        output = {
            "confirmed": {uid: service.value for uid, service in said.confirmed.items()},
            "transaction": transaction,
            **self._verdict(attempt, history, said, destination),
        }
        missing, code = len(output.get("missing", ())), output.get("code", "")
        self._log(attempt).info("verified", confirmed=len(said.confirmed), missing=missing, code=code)
        return output

    def _verdict(
        self, attempt: AttemptId, history: DeliveryHistory, said: Verification, destination: Destination | DicomwebPeer
    ) -> Output:
        """What follows from what a destination said."""
        missing = dict(said.missing)
        if history.asked_in_a_row() + 1 >= _QUERIES_BEFORE_MISSING:
            missing |= dict.fromkeys(said.absent, "not found by query")
        if missing:
            why = f"{destination.name} does not have {len(missing)} object(s) that it took before."
            again = history.rounds < self._settings.retry.rounds
            return {**_ended(NOT_STORED, why, again=again), "missing": missing, "wait_s": 0.0}
        if not said.is_offered:
            why = f"{destination.name} offers neither Storage Commitment nor queries; it was not asked."
            return {"result": Result.DONE.value, "code": UNVERIFIED, "message": why}
        if not said.absent and not said.waiting:
            return {"result": Result.DONE.value}
        why = f"{destination.name} has not confirmed {len(said.absent) + len(said.waiting)} object(s) yet."
        wait_s = history.wait_s(attempt, NOT_CONFIRMED, self._settings.retry)
        patience = len(self._settings.retry.delays_s)
        if destination.verify is Verify.AUTO and not said.absent and history.asked_in_a_row() >= patience:
            return {"result": Result.DONE.value, "code": UNVERIFIED, "message": f"{why} It was asked often enough."}
        return {**_ended(NOT_CONFIRMED, why, again=wait_s is not None), "wait_s": wait_s or 0.0}

    # -- both --------------------------------------------------------------------------------------------------------

    def _not_done(
        self,
        attempt: AttemptId,
        history: DeliveryHistory,
        fault: DeliveryError | ArchiveError,
        instances: Iterable[Any],
        paths: list[Path],
    ) -> Output:
        told = list(instances)
        doubtful = any(i.is_doubtful for i in told)
        policy = self._settings.retry
        wait_s = history.wait_s(attempt, fault.code, policy, permanent=fault.permanent, doubtful=doubtful)
        self._log(attempt).warning("delivery_failed", code=fault.code, again=wait_s is not None)
        by_uid = {SentInstance.of(path).uid: path for path in paths}
        return {
            **_ended(fault.code, str(fault), again=wait_s is not None),
            "wait_s": wait_s or 0.0,
            "permanent": fault.permanent,
            "instances": _instances(told, by_uid),
        }

    def _log(self, attempt: AttemptId) -> Any:
        return log.bind(
            case=attempt.case_id, stage=attempt.stage.value, destination=attempt.destination, attempt=attempt.attempt
        )


class _Cancelled(Exception):
    """A person has stopped the case while it was being sent."""


def _send(
    paths: list[Path], destination: Destination | DicomwebPeer, progress: Callable[[InstanceDelivery], None]
) -> DeliveryReport:
    if isinstance(destination, DicomwebPeer):
        from dicom_node.network.dicomweb import store  # loads an HTTP library that most sites do not need

        return store(paths, destination, progress)
    return send(paths, destination, progress)


def _transaction_uid(attempt: AttemptId, uids: Iterable[str]) -> str:
    """A UID for one question, the same if it is asked again after a crash (PS3.5 B.2: `2.25.` and a number)."""
    text = "\n".join(["perfusion-node commitment", str(attempt), *sorted(uids)])
    return f"2.25.{int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], 'big')}"


def _instances(instances: Iterable[InstanceDelivery], by_uid: dict[str, Path]) -> list[Output]:
    return [
        {
            "object": by_uid[i.sop_instance_uid].stem,
            "sop_instance_uid": i.sop_instance_uid,
            "status": i.status,
            "stored": i.is_stored,
        }
        for i in instances
    ]


def _ended(code: str, message: str, *, again: bool) -> Output:
    result = Result.AGAIN if again else Result.FAILED
    return {"result": result.value, "code": code, "message": message}


def _failed(code: str, message: str) -> Output:
    return _ended(code, message, again=False)
