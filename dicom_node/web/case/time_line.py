"""The time line of a case: everything that is known to have happened, from the first association to now.

A pure function of what others have read. An attempt stands where its turn could come, which is after the pause that the
one before it asked for; from there to its end is what it took, waiting for a free worker included.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from dicom_node.jobs.attempts import Attempt, Case
from dicom_node.jobs.cases import CaseRecord
from dicom_node.jobs.stages import Stage
from dicom_node.web.case.associations import Association
from dicom_node.web.case.said import Moment, moment

_TITLES: Final = {
    Stage.READ: "Reading of the CT",
    Stage.SEGMENT: "Lungs and lobes",
    Stage.PERFUSE: "Perfusion and function regions",
    Stage.ENCODE: "DICOM objects",
    Stage.CHECK: "Check of the objects",
    Stage.DELIVER: "Delivery to",
    Stage.VERIFY: "Confirmation by",
    Stage.NOTICE: "Notice of refusal",
    Stage.TELL: "Notice of refusal to",
    Stage.SHADOW: "Shadow delivery to",
    Stage.CANDIDATE: "Model in shadow",
    Stage.RESEARCH: "Objects of the model in shadow to",
    Stage.DISCARD: "A person discarded what was for",
}
_KINDS: Final = {Stage.DELIVER: "delivery", Stage.VERIFY: "verification", Stage.DISCARD: "decision"}
_ACTIVE: Final = {"PENDING": "running", "ENQUEUED": "waiting", "DELAYED": "waiting"}


def time_line(
    case: Case,
    record: CaseRecord,
    associations: Iterable[Association],
    written_s: Sequence[float],
    decisions: Iterable[Moment] = (),
) -> list[Moment]:
    """Every moment in order of time.

    Args:
        case: with all its attempts.
        record: what it was made of.
        associations: over which its images came.
        written_s: when each image was written, sorted; empty if they are gone.
        decisions: what people decided about it.
    """
    moments = [
        *(_association(each) for each in associations),
        *_received(case, record, written_s),
        *(_attempt(attempt, case.attempts) for attempt in case.attempts),
        *decisions,
    ]
    return sorted(moments, key=lambda each: each.at)


def _association(each: Association) -> Moment:
    came = [f"from {each.address}"] if each.address else []
    came += [f"{each.instances} instances in all"] if each.instances else []
    if each.ended_at_s is None:
        came += ["its end is in the audit trail of the host that received it"]
    return Moment(
        at=moment(each.began_at_s),
        kind="association",
        title=f"Association of {each.calling_ae_title or 'a peer without a name'}",
        outcome="done" if each.ended_well else "failed",
        detail=", ".join(came if each.ended_well else [*came, "it was cut off"]),
        took_s=None if each.ended_at_s is None else max(each.ended_at_s - each.began_at_s, 0.0),
    )


def _received(case: Case, record: CaseRecord, written_s: Sequence[float]) -> Iterator[Moment]:
    if written_s:
        detail = f"{len(written_s)} images are on disk"
        yield Moment(at=moment(written_s[-1]), kind="received", title="Last image received", outcome="", detail=detail)
    why = f"rule {record.rule or 'of an earlier version'} took {record.instances} images"
    hurry = f", {record.priority}" if record.priority != "normal" else ""
    released = f"; a person released it in spite of {record.released}" if record.released else ""
    yield Moment(
        # Arrival is in whole seconds, and moved on where two cases would share one.
        at=moment(min(record.arrived_at_s or case.created_at_s, case.created_at_s)),
        kind="opened",
        title="Became a case",
        outcome="",
        detail=f"{why}{hurry}{released}",
        code=record.released,
    )


def _attempt(attempt: Attempt, attempts: Sequence[Attempt]) -> Moment:
    stage, names = attempt.id.stage, attempt.id.before()
    before = next((a for a in attempts if a.id in names), None)
    wait_s = float(before.output.get("wait_s", 0.0)) if before is not None else 0.0
    began_s = attempt.created_at_s + wait_s if attempt.begun_at_s is None else attempt.begun_at_s
    if not attempt.is_active:
        began_s = min(began_s, attempt.updated_at_s)  # it was woken before its time
    result = attempt.result
    return Moment(
        at=moment(began_s),
        kind="aside" if attempt.id.is_aside else _KINDS.get(stage, "stage"),
        title=f"{_TITLES[stage]} {attempt.id.destination}".rstrip(),
        outcome=_ACTIVE.get(attempt.status, "waiting") if result is None else result.value,
        detail=str(attempt.output.get("message") or _counts(attempt)),
        code=str(attempt.output.get("code", "")),
        took_s=None if result is None else attempt.updated_at_s - began_s,
        run=attempt.id.run,
        attempt=attempt.id.attempt,
    )


def _counts(attempt: Attempt) -> str:
    """How many instances it was about."""
    instances, confirmed = attempt.output.get("instances", ()), attempt.output.get("confirmed", {})
    if confirmed:
        by = ", ".join(sorted(set(map(str, confirmed.values()))))
        return f"{len(confirmed)} instances confirmed by {by}"
    stored = sum(bool(i.get("stored", True)) for i in instances)
    return f"{stored} of {len(instances)} instances stored" if instances else ""
