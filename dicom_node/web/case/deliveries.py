"""Who has what of a case: each destination with every instance, its confirmations, its pauses and its next try."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from dicom_node.jobs.attempts import Attempt, Case, Result, held_since_s, standing_attempts
from dicom_node.jobs.delivery_history import UNVERIFIED, instance_states
from dicom_node.jobs.route_mode import DRY_RUN
from dicom_node.jobs.stages import Stage
from dicom_node.network.web_peer import DicomwebPeer
from dicom_node.settings.config import NodeSettings
from dicom_node.web.case.said import Delivery, InstanceThere, moment

KINDS: Final = {Stage.TELL: "notice", Stage.SHADOW: "shadow", Stage.RESEARCH: "research"}
"""What goes to a destination beside the result."""
_ENDS: Final = {
    Result.HELD: ("held", "waits for a person"),
    Result.DISCARDED: ("discarded", "nothing is sent"),
    Result.CANCELLED: ("cancelled", "stopped by a person"),
    Result.FAILED: ("failed", "given up; a person decides"),
    Result.REJECTED: ("failed", "refused for good"),
    Result.AGAIN: ("again", "tried again in a moment"),
}


def deliveries_said(case: Case, settings: NodeSettings) -> list[Delivery]:
    """Every destination that something is, or was to be, on its way to, those of the result first."""
    held = held_since_s(case)
    standing = [a for a in standing_attempts(case.attempts) if a.id.destination]
    own = [_delivery(case, attempt, settings, held.get(attempt.id.destination)) for attempt in standing]
    return [*own, *(_delivery(case, attempt, settings, None) for attempt in _aside(case.attempts))]


def _aside(attempts: Iterable[Attempt]) -> list[Attempt]:
    """The last attempt of every notice, shadow and research delivery."""
    newest: dict[tuple[str, str], Attempt] = {}
    for attempt in sorted(attempts, key=lambda a: (a.id.run, a.id.attempt)):
        if attempt.id.stage in KINDS:
            newest[attempt.id.stage, attempt.id.destination] = attempt
    return [newest[key] for key in sorted(newest)]


def way_of(standing: Attempt, attempts: Iterable[Attempt]) -> list[Attempt]:
    """What was tried with one destination in the run that counts, oldest first."""
    stages = [standing.id.stage] if standing.id.is_aside else [Stage.DELIVER, Stage.VERIFY, Stage.DISCARD]
    own = [
        a
        for a in attempts
        if (a.id.run, a.id.destination) == (standing.id.run, standing.id.destination) and a.id.stage in stages
    ]
    return sorted(own, key=lambda a: a.id.attempt)


def _delivery(case: Case, standing: Attempt, settings: NodeSettings, held_s: float | None) -> Delivery:
    name, way = standing.id.destination, way_of(standing, case.attempts)
    outcome, state = _state(standing)
    said = way[-2].output if standing.is_active and len(way) > 1 else standing.output
    # What an earlier run of this destination brought counts as long as no newer objects were made.
    instances = instance_states(_since_made(standing, case.attempts)).items()
    planned = standing.output.get("would_send")
    return Delivery(
        name=name,
        address=address_of(name, settings),
        mode=settings.modes[name].value if name in settings.modes else "",
        kind=KINDS.get(standing.id.stage, "result"),
        state=state,
        outcome=outcome,
        code=str(said.get("code", "")),
        message=str(said.get("message", "")),
        tries=len(way),
        waited_s=sum(float(a.output.get("wait_s", 0.0)) for a in way if a is not standing),
        next_try_at=_next_try(standing, way),
        held_since=None if held_s is None else moment(held_s),
        stored=sum(there["stored"] for _, there in instances),
        confirmed=sum(bool(there["verified"]) for _, there in instances),
        instances=[
            InstanceThere(
                object=there["object"],
                sop_instance_uid=uid,
                status=f"0x{there['status']:04X}",
                stored=there["stored"],
                confirmed_by=there["verified"],
                reason=there["reason"],
            )
            for uid, there in instances
        ],
        would_send=None if planned is None else len(planned["objects"]),
    )


def _since_made(standing: Attempt, attempts: Sequence[Attempt]) -> list[Attempt]:
    own = [a for a in attempts if a.id.destination == standing.id.destination]
    own = [a for a in own if (a.id.stage is standing.id.stage if standing.id.is_aside else not a.id.is_aside)]
    made = max((a.id.run for a in attempts if not a.id.destination and not a.id.is_aside), default=0)
    return sorted((a for a in own if a.id.run >= made), key=lambda a: (a.id.run, a.id.attempt))


def _state(standing: Attempt) -> tuple[str, str]:
    """The word for it, and what a person reads."""
    if standing.id.stage is Stage.DISCARD:
        return "discarded", "discarded by a person"
    if standing.is_active:
        doing = "being asked" if standing.id.stage is Stage.VERIFY else "being sent"
        return {
            "PENDING": ("running", f"{doing} now"),
            "DELAYED": ("waiting", f"waits for its next try ({standing.id.stage})"),
        }.get(standing.status, ("waiting", f"waits for its turn ({standing.id.stage})"))
    if standing.result is not None and standing.result in _ENDS:
        return _ENDS[standing.result]
    if standing.output.get("code") == DRY_RUN:
        return "done", "would be sent (dry run)"
    if not standing.is_settled:
        return "waiting", "stored; is asked next whether it kept it"
    if standing.id.stage is not Stage.VERIFY:
        return "done", "stored; it is not asked whether it kept it"
    unasked = standing.output.get("code") == UNVERIFIED
    return "done", "stored; it could not be asked whether it kept it" if unasked else "stored and confirmed"


def _next_try(standing: Attempt, way: Sequence[Attempt]) -> datetime | None:
    if standing.status != "DELAYED" or len(way) < 2:
        return None
    return moment(standing.created_at_s + float(way[-2].output.get("wait_s", 0.0)))


def address_of(name: str, settings: NodeSettings) -> str:
    """Where a destination is, as the site has it now; empty if it has none of this name any more."""
    try:
        destination = settings.destination(name)
    except KeyError:
        return ""
    return destination.url if isinstance(destination, DicomwebPeer) else str(destination.address)
