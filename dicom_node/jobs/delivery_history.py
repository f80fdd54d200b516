"""What one destination has of one case so far, read from its attempts, and how long to wait before the next one.

Deliveries and verifications of one destination within one run share one count, so they follow each other by number:

    deliver.pacs:1  interrupted    deliver.pacs:2  done    verify.pacs:3  one is missing    deliver.pacs:4  …

Nothing here looks at a clock: how long something has been tried is the sum of the waits that were set, so a node that
was switched off for a week does not give up at once, and a clock that jumps changes nothing.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from dicom_node.jobs.attempts import Attempt, AttemptId, Result
from dicom_node.jobs.retry_policy import RetryPolicy
from dicom_node.jobs.stages import Stage

UNREACHABLE: Final = "PEER_UNREACHABLE"
NOT_CONFIRMED: Final = "NOT_CONFIRMED"
NOT_STORED: Final = "NOT_STORED"
UNVERIFIED: Final = "UNVERIFIED"
_PATIENT: Final = (UNREACHABLE, NOT_CONFIRMED)
"""Nobody said no: these are tried for as long as the site allows, while refusals use up attempts."""
_JITTER: Final = 0.2


@dataclass(frozen=True, slots=True)
class DeliveryHistory:
    """The attempts of one destination within one run, before a certain one, oldest first."""

    attempts: tuple[Attempt, ...] = ()

    @classmethod
    def before(cls, attempt: AttemptId, attempts: Iterable[Attempt]) -> Self:
        """What came before `attempt`, out of the attempts of its case."""
        own = [
            a
            for a in attempts
            if a.id.run == attempt.run
            and a.id.destination == attempt.destination
            and (a.id.stage is attempt.stage if attempt.is_aside else not a.id.is_aside)
            and a.id.attempt < attempt.attempt
        ]
        return cls(tuple(sorted(own, key=lambda a: a.id.attempt)))

    @property
    def stored(self) -> dict[str, int]:
        """Status by SOP Instance UID of what the destination has, as far as it said."""
        return {uid: i["status"] for uid, i in instance_states(self.attempts).items() if i["stored"]}

    @property
    def rounds(self) -> int:
        """How often instances were found to be missing."""
        return sum(bool(a.output.get("missing")) for a in self.attempts)

    @property
    def transactions(self) -> tuple[str, ...]:
        """Commitments asked for since the last delivery, oldest first."""
        streak = reversed(self._streak(Stage.VERIFY))
        return tuple(a.output["transaction"] for a in streak if "transaction" in a.output)

    def asked_in_a_row(self) -> int:
        """How many verifications before this one have brought nothing."""
        return len(self._streak(Stage.VERIFY))

    def wait_s(
        self,
        attempt: AttemptId,
        code: str,
        policy: RetryPolicy,
        *,
        permanent: bool = False,
        doubtful: bool = False,
    ) -> float | None:
        """Seconds until the next attempt, or `None` to give up.

        A refusal for good is not tried again: it is a dead letter, for a person. Only where peers are known to give a
        status for passing troubles, too, it is tried once more.

        Args:
            attempt: the one that has just failed.
            code: how it failed.
            policy: what the site wants.
            permanent: whether it failed in a way that sending again should not change.
            doubtful: whether peers say so, too, when sending again does help (`InstanceDelivery.is_doubtful`).
        """
        streak = self._streak(attempt.stage)
        wait_s = policy.delays_s[min(len(streak), len(policy.delays_s) - 1)] * _jitter(attempt)
        if code in _PATIENT:
            waited_s = sum(float(a.output.get("wait_s", 0.0)) for a in streak)
            return wait_s if waited_s < policy.give_up_after_s else None
        if permanent:
            return wait_s if doubtful and not any(a.output.get("permanent") for a in streak) else None
        refused = sum(a.output.get("code") not in _PATIENT for a in streak)
        return wait_s if refused < len(policy.delays_s) else None

    def _streak(self, stage: Stage) -> list[Attempt]:
        """The last attempts that failed in a row, all of one stage, newest first."""
        streak: list[Attempt] = []
        for attempt in reversed(self.attempts):
            if attempt.id.stage is not stage or attempt.result is not Result.AGAIN or attempt.output.get("missing"):
                break
            streak.append(attempt)
        return streak


def instance_states(attempts: Iterable[Attempt]) -> dict[str, dict[str, Any]]:
    """What is known of each instance at one destination, by SOP Instance UID, from attempts in their order.

    `object`: its role; `status`: the last DIMSE status; `stored`: whether that means stored and nothing has been heard
    to the contrary; `verified`: by which service it was confirmed, or empty; `reason`: why it is missing, or empty.
    """
    states: dict[str, dict[str, Any]] = {}
    for attempt in attempts:
        for i in attempt.output.get("instances", ()):
            stored = i.get("stored", True)
            states[i["sop_instance_uid"]] = {
                "object": i.get("object", ""),
                "status": i["status"],
                "stored": stored,
                "verified": "",
                "reason": "",
            }
        confirmed: Mapping[str, str] = attempt.output.get("confirmed", {})
        missing: Mapping[str, str] = attempt.output.get("missing", {})
        for uid, state in states.items():
            if uid in confirmed:
                state["verified"] = confirmed[uid]
            elif uid in missing:
                state.update(stored=False, reason=missing[uid])
    return states


def _jitter(attempt: AttemptId) -> float:
    """1 to 1.2, always the same for the same attempt: cases that failed together do not all come back together."""
    digest = hashlib.sha256(str(attempt).encode()).digest()
    return 1.0 + _JITTER * int.from_bytes(digest[:4], "big") / 2**32
