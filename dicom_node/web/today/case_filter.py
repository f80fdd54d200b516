"""What is looked for, as it comes from outside: parameters of the JSON API and fields of the search form."""

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from dicom_node.jobs.attempts import CaseState
from dicom_node.web.access.rights import Person, Right
from dicom_node.web.today.case_search import MOST, CaseQuery

_SHOWN: Final = 50
Words = Annotated[str, Field(max_length=200)]
Day = Annotated[date, Field(ge=date(1971, 1, 1), le=date(2999, 12, 31))]


class CaseFilter(BaseModel):
    """Everything that is given must fit. Texts are compared with the beginning of what is kept, without case."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    q: Words = Field("", description="Case id, or, if your role shows patients, patient id, name or accession number.")
    patient_id: Words = Field("", description="Needs a role that shows patients.")
    patient_name: Words = Field("", description="Each word begins one of the name. Needs a role that shows patients.")
    accession_number: Words = Field("", description="Needs a role that shows patients.")
    case_id: Words = ""
    state: list[CaseState] = Field([], description="Any of these; all if none is given.", max_length=len(CaseState))
    received_from: Day | None = Field(None, description="Arrived on this day of the node's clock or later.")
    received_to: Day | None = Field(None, description="Arrived on this day of the node's clock or earlier.")
    limit: int = Field(_SHOWN, ge=1, le=MOST)
    cursor: str = Field("", max_length=100, description="`next_cursor` of the page before.")

    def query(self, person: Person) -> CaseQuery:
        """The same for the index, as far as somebody may see who patients are."""
        until = None if self.received_to is None else self.received_to + timedelta(days=1)
        return CaseQuery(
            text=self.q,
            patient_id=self.patient_id,
            patient_name=self.patient_name,
            accession_number=self.accession_number,
            case_id=self.case_id,
            states=tuple(self.state),
            since_s=_begin_s(self.received_from),
            until_s=_begin_s(until),
            sees_patients=person.may(Right.SEE_PATIENTS),
        )

    def is_refused_to(self, person: Person) -> bool:
        """Whether the answer would tell somebody of a patient whom they may not see."""
        return bool(self.patient_id or self.patient_name or self.accession_number) and not person.may(
            Right.SEE_PATIENTS
        )

    @property
    def is_set(self) -> bool:
        """Whether anything is looked for."""
        return bool(self.model_dump(exclude={"limit", "cursor"}, exclude_defaults=True))


NO_FILTER: Final = CaseFilter.model_validate({})
"""Asks for everything."""


def filter_of(fields: Iterable[tuple[str, str]]) -> CaseFilter:
    """What a form asks for; fields that were left empty ask for nothing.

    Raises:
        ValidationError: a field is not what it should be.
    """
    given: dict[str, str | list[str]] = {}
    for name, value in fields:
        if not value.strip():
            continue
        if name == "state":
            states = given.setdefault(name, [])
            if isinstance(states, list):
                states.append(value)
        else:
            given[name] = value
    return CaseFilter.model_validate(given)


def _begin_s(day: date | None) -> float | None:
    return None if day is None else datetime(day.year, day.month, day.day).astimezone().timestamp()
