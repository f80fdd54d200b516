"""What the page and the JSON API say of one case, as models: the same words in both.

Times are UTC. What was not measured, or is no number, is null. Who the patient is stands in `patient` and in nothing
else; it is null for whoever may not see it.
"""

from datetime import UTC, datetime
from math import isfinite

from pydantic import BaseModel, ConfigDict


def moment(unix_s: float) -> datetime:
    """A Unix time as the models hold it."""
    return datetime.fromtimestamp(unix_s, UTC)


def finite(number: float | None) -> float | None:
    """The number, or None where it is none."""
    return number if number is not None and isfinite(number) else None


class _Said(BaseModel):
    model_config = ConfigDict(frozen=True)


class CaseStanding(_Said):
    """Where the case stands now."""

    case_id: str
    state: str
    stage: str
    code: str
    """Why it was rejected, failed or waits; else empty."""
    message: str
    meaning: str
    """What the state means, and what happens next."""
    progress: str
    """What is being done right now; empty if nothing is."""
    is_finished: bool
    began_at: datetime
    changed_at: datetime


class Moment(_Said):
    """One thing that happened."""

    at: datetime
    kind: str
    """`association`, `received`, `opened`, `stage`, `delivery`, `verification`, `decision`, `aside` or `now`."""
    title: str
    outcome: str
    """How it ended, in a word; empty where nothing can go wrong."""
    detail: str = ""
    code: str = ""
    took_s: float | None = None
    """From when its turn could come to its end; None while it lasts."""
    run: int = 0
    attempt: int = 0


class Patient(_Said):
    """Who the patient is, as the CT says."""

    name: str
    patient_id: str
    birth_date: str
    sex: str
    accession_number: str
    study_date: str
    study_description: str
    series_description: str


class Fact(_Said):
    """A name and a value, both to be shown."""

    name: str
    value: str


class StructureSetReceived(_Said):
    """A structure set that was drawn on the CT and came with it."""

    label: str
    date: str
    maker: str
    rois: int


class Received(_Said):
    """What came."""

    instances: int
    senders: list[str]
    first_at: datetime | None
    last_at: datetime | None
    series: list[Fact]
    structure_sets: list[StructureSetReceived]


class CaseRuleAnswer(_Said):
    """What one condition of a rule said."""

    attribute: str
    wanted: str
    found: str
    holds: bool


class CaseRuleAsked(_Said):
    """One rule of the site."""

    name: str
    action: str
    takes: bool
    answers: list[CaseRuleAnswer]


class Ruling(_Said):
    """Which rule took the series and why."""

    name: str
    priority: str
    released: str
    """Code of the hold that a person overrode; empty if nobody had to."""
    is_same_today: bool
    """Whether the rules in force now would let the same rule take it; `asked` is what they say."""
    asked: list[CaseRuleAsked]


class FindingSaid(_Said):
    """One finding of the quality checks."""

    code: str
    severity: str
    meaning: str
    """What the severity means for the reader."""
    sentence: str
    measures: str
    """What the check measures; empty for findings that are not of the table."""
    measured: float | None
    limit: float | None
    unit: str


class LobeRow(_Said):
    """One row of the lobar table. Means and shares of a region without a voxel are null."""

    title: str
    tg263: str
    is_sum: bool
    volume_ml: float
    mean_percent: float | None
    """Of the mean over both lungs."""
    below_percent: float | None
    """How far the calibrated range of the mean reaches down; null without one."""
    above_percent: float | None
    share_percent: float
    """Of the perfusion of both lungs."""
    high_percent: float | None
    """Of the volume of the region."""
    low_percent: float | None


class Densities(_Said):
    """Mean HU of lungs and lobes, by TG-263 name; of those that have a voxel."""

    mean_hu: dict[str, float]


class CaseMaker(_Said):
    """An engine or a model."""

    part: str
    name: str
    version: str
    weights_sha256: str
    caveat: str
    ran: list[str]
    """How its network ran: device, precision, step of the ladder."""


class Deviation(_Said):
    """One statistic of the CT against the training of the model."""

    name: str
    measured: float | None
    low: float | None
    high: float | None
    unit: str
    distance: float | None


class Uncertainty(_Said):
    """What an ensemble knows of its own map."""

    mean_spread_percent: float
    level_percent: float | None
    calibrated_on: str


class Domain(_Said):
    """How far the CT is from the training; up to 1 it is within."""

    score: float
    trained_on: str
    deviations: list[Deviation]


class ResultSaid(_Said):
    """What the models found."""

    findings: list[FindingSaid]
    lobes: list[LobeRow]
    rule: str
    """How high- and low-functional lung were cut, in a sentence."""
    makers: list[CaseMaker]
    software: str
    """Version of the node that made the objects; empty if there are none."""
    settings_sha256: str
    settings_in_force: bool | None
    """Whether these settings are still in force; null if it is not known which they were."""
    subtracted: list[FindingSaid]
    """Structures taken out of the function regions, or not and why not."""
    uncertainty: Uncertainty | None
    domain: Domain | None


class FaultSaid(_Said):
    """A rule that an object breaks."""

    code: str
    object: str
    sentence: str
    where: str


class MadeObject(_Said):
    """One object, or a series of many of one kind."""

    role: str
    sop_class: str
    sop_class_uid: str
    series_instance_uid: str
    sop_instance_uids: list[str]
    bytes: int
    holds: str
    rules: int
    """Rules of the check that apply to it."""
    faults: list[FaultSaid]


class Checked(_Said):
    """What the node's own check of the objects came to."""

    verdict: str
    """`passed`, `failed`, `running`, `not yet`, or `not made` where there is nothing to check."""
    sentence: str
    at: datetime | None
    again_at: datetime | None
    """When somebody let the objects be checked once more from this page."""


class InstanceThere(_Said):
    """One instance at a destination."""

    object: str
    sop_instance_uid: str
    status: str
    stored: bool
    confirmed_by: str
    reason: str


class Delivery(_Said):
    """One destination."""

    name: str
    address: str
    mode: str
    kind: str
    """`result`, `notice`, `shadow` or `research`."""
    state: str
    outcome: str
    code: str
    message: str
    tries: int
    waited_s: float
    """Pauses between the tries so far."""
    next_try_at: datetime | None
    held_since: datetime | None
    stored: int
    confirmed: int
    instances: list[InstanceThere]
    would_send: int | None
    """Objects that a dry run would have sent."""


class Difference(_Said):
    """What the model in shadow made of the same CT; differences are candidate minus the model in use."""

    at: datetime
    candidate: str
    in_use: str
    code: str
    message: str
    figures: list[Fact]


class CaseSaid(_Said):
    """One case from its first image to now."""

    standing: CaseStanding
    moments: list[Moment]
    patient: Patient | None
    received: Received
    ruling: Ruling
    result: ResultSaid | None
    checked: Checked
    objects: list[MadeObject]
    deliveries: list[Delivery]
    differences: list[Difference]
    has_ct: bool
    has_map: bool
    has_summary: bool
