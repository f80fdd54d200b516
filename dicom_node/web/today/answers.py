"""What the JSON API says of cases and of the node; every field is named as in the page."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from dicom_node.jobs.attempts import CaseState
from dicom_node.jobs.stages import Stage
from dicom_node.reception.arrivals import Arrival, ArrivalState
from dicom_node.web.patient_name import shown_name
from dicom_node.web.today.case_line import CaseLine
from dicom_node.web.today.contacts import DestinationState, Standing
from dicom_node.web.today.node_state import NodeState, OldestCase
from inference.quality.findings import Severity


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class PatientAnswer(_Answer):
    """Whose images a case holds, as the header of its first image says."""

    patient_id: str
    name: str = Field(description="For people: family name, given names, and in brackets how it is written.")
    dicom_name: str = Field(description="As DICOM writes it, with ^ and = (PS3.5 section 6.2.1).")
    accession_number: str
    study_date: str = Field(description="YYYY-MM-DD, or empty.")
    series_description: str


class CaseAnswer(_Answer):
    """One case of the list."""

    case_id: str
    state: CaseState
    stage: Stage = Field(description="The last one that was reached.")
    code: str = Field(description="Why it was rejected, failed or waits; empty otherwise.")
    message: str
    progress: str = Field(description="What is being done right now; empty unless a stage runs.")
    created_at: datetime
    updated_at: datetime
    calling_ae_title: str
    rule: str
    priority: str
    instances: int
    model: str = Field(description="Name and version of what made the map; empty before there is one.")
    findings: int
    severity: Severity | None = Field(description="The worst of the findings.")
    patient: PatientAnswer | None = Field(description="null for those whose role does not show who patients are.")

    @classmethod
    def of(cls, line: CaseLine, progress: str, *, sees_patients: bool) -> Self:
        """What somebody may know of a case."""
        return cls(
            case_id=line.case_id,
            state=CaseState(line.state),
            stage=Stage(line.stage),
            code=line.code,
            message=line.message,
            progress=progress,
            created_at=_time(line.created_ms / 1000),
            updated_at=_time(line.updated_ms / 1000),
            calling_ae_title=line.calling_ae_title,
            rule=line.rule,
            priority=line.priority,
            instances=line.instances,
            model=line.model,
            findings=line.findings,
            severity=Severity(line.severity) if line.severity else None,
            patient=_patient(line) if sees_patients else None,
        )


class CasesAnswer(_Answer):
    """Some of the cases that fit, the newest first."""

    cases: list[CaseAnswer]
    next_cursor: str = Field(description="`cursor` of the next page; empty if this is the last.")
    matching: int = Field(description="How many cases fit, on all pages.")


class DestinationAnswer(_Answer):
    """How a destination is, as the node's own deliveries found it."""

    name: str
    mode: str
    standing: Standing
    waiting: int = Field(description="Deliveries and verifications that are queued, running, or wait for their time.")
    last_good_at: datetime | None
    last_bad_at: datetime | None
    last_code: str = Field(description="What it failed with then.")

    @classmethod
    def of(cls, state: DestinationState) -> Self:
        """The same for a reader."""
        good_s, bad_s = state.last.good_s, state.last.bad_s
        return cls(
            name=state.name,
            mode=state.mode,
            standing=state.standing,
            waiting=state.waiting,
            last_good_at=_time(good_s) if good_s else None,
            last_bad_at=_time(bad_s) if bad_s else None,
            last_code=state.last.code,
        )


class ArrivalAnswer(_Answer):
    """A series that is here and no case."""

    series_key: str
    state: ArrivalState
    instances: int
    code: str
    sentence: str
    rule: str
    since: datetime | None

    @classmethod
    def of(cls, arrival: Arrival) -> Self:
        """The same for a reader."""
        return cls(
            series_key=arrival.series_key,
            state=arrival.state,
            instances=arrival.instances,
            code=arrival.code,
            sentence=arrival.sentence,
            rule=arrival.rule,
            since=_time(arrival.since_s) if arrival.since_s else None,
        )


class CheckAnswer(_Answer):
    """One check of the node."""

    name: str
    ok: bool
    weight: str = Field(description="`vital`, `ready` or `late`.")
    code: str
    detail: str


class DiskAnswer(_Answer):
    """One disk of this host."""

    name: str
    free_bytes: int
    total_bytes: int


class GpuAnswer(_Answer):
    """Memory of one GPU of this host."""

    number: int
    used_bytes: int
    total_bytes: int


class QueueAnswer(_Answer):
    """One queue of the engine that is not empty."""

    queue: str
    waiting: int
    running: int
    delayed: int


class OldestAnswer(_Answer):
    """The case that has waited longest."""

    case_id: str
    state: CaseState
    created_at: datetime

    @classmethod
    def of(cls, oldest: OldestCase) -> Self:
        """The same for a reader."""
        return cls(case_id=oldest.case_id, state=CaseState(oldest.state), created_at=_time(oldest.created_ms / 1000))


class NodeAnswer(_Answer):
    """How the node is; nothing of patients."""

    at: datetime = Field(description="When that was looked at.")
    is_filling: bool = Field(description="Whether cases are still being read after a start: lists are not whole yet.")
    cases: dict[CaseState, int]
    oldest: OldestAnswer | None
    queues: list[QueueAnswer]
    destinations: list[DestinationAnswer]
    disks: list[DiskAnswer]
    gpus: list[GpuAnswer]
    model: str
    checks: list[CheckAnswer]
    arrivals: list[ArrivalAnswer] = Field(description="Series that arrive, were cut off, or are held.")
    aside: int = Field(description="Series that a rule or a person put aside.")

    @property
    def alarms(self) -> Sequence[CheckAnswer]:
        """What is not well."""
        return [check for check in self.checks if not check.ok]

    @classmethod
    def of(cls, state: NodeState, *, is_filling: bool) -> Self:
        """The same for a reader."""
        return cls(
            at=_time(state.at_s),
            is_filling=is_filling,
            cases={CaseState(name): state.cases[name] for name in sorted(state.cases)},
            oldest=OldestAnswer.of(state.oldest) if state.oldest else None,
            queues=[
                QueueAnswer(queue=q.queue, waiting=q.waiting, running=q.running, delayed=q.delayed)
                for q in state.queues
            ],
            destinations=[DestinationAnswer.of(destination) for destination in state.destinations],
            disks=[DiskAnswer(name=d.name, free_bytes=d.free_bytes, total_bytes=d.total_bytes) for d in state.disks],
            gpus=[GpuAnswer(number=g.number, used_bytes=g.used_bytes, total_bytes=g.total_bytes) for g in state.gpus],
            model=state.model,
            checks=[
                CheckAnswer(name=c.name, ok=c.ok, weight=c.weight.value, code=c.code, detail=c.detail)
                for c in state.checks
            ],
            arrivals=[ArrivalAnswer.of(arrival) for arrival in state.arrivals],
            aside=state.aside,
        )


def _patient(line: CaseLine) -> PatientAnswer:
    subject = line.subject
    return PatientAnswer(
        patient_id=subject.patient_id,
        name=shown_name(subject.patient_name),
        dicom_name=subject.patient_name,
        accession_number=subject.accession_number,
        study_date=subject.study_date,
        series_description=subject.series_description,
    )


def _time(time_s: float) -> datetime:
    return datetime.fromtimestamp(time_s, UTC)
