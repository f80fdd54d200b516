"""Rules as they are written in TOML, for the site file and for the rules the node ships with → `Rule`.

One key is one condition. `configs/rules/default.toml` shows them in use; `docs/receiving.md` lists them.
"""

import re
import tomllib
from importlib.resources import files
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydicom._uid_dict import UID_dictionary

from dicom_node.jobs.priorities import Priority
from dicom_node.network.addresses import check_ae_title
from dicom_node.reception.rules import UNMATCHED, Action, Condition, Is, Matches, OneOf, Rule, Within
from dicom_node.reception.series_phase import Phase


def _check_pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as fault:
        raise ValueError(f"not a regular expression: {fault}") from fault
    return text


def _sop_class_uid(text: str) -> str:
    """A SOP class by UID, keyword (`CTImageStorage`) or name (`CT Image Storage`) → its UID."""
    if re.fullmatch(r"[0-9.]+", text):
        return text
    for uid, (name, kind, _, _, keyword) in UID_dictionary.items():
        if kind == "SOP Class" and text in (name, keyword):
            return uid
    raise ValueError(f"{text!r} is no SOP class, neither a UID nor a name of the standard")


Pattern = Annotated[str, AfterValidator(_check_pattern)]
SopClass = Annotated[str, AfterValidator(_sop_class_uid)]
Texts = Annotated[list[str], Field(min_length=1)]


class RangeSection(BaseModel):
    """A number between limits, both included; one may be left out."""

    model_config = ConfigDict(extra="forbid")

    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _is_a_range(self) -> "RangeSection":
        if self.min is None and self.max is None:
            raise ValueError("give min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("min lies above max")
        return self


class RuleSection(BaseModel):
    """Table `[[rules]]`: `name`, `action`, `priority`, and any conditions."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,30}$")]
    action: Action
    priority: Priority = Priority.NORMAL
    words: Pattern | None = None
    patient_id: Pattern | None = None
    patient_name: Pattern | None = None
    study_description: Pattern | None = None
    series_description: Pattern | None = None
    protocol_name: Pattern | None = None
    image_type: Pattern | None = None
    kernel: Pattern | None = None
    manufacturer: Pattern | None = None
    station_name: Pattern | None = None
    body_part: Pattern | None = None
    modality: Texts | None = None
    sop_class: Annotated[list[SopClass], Field(min_length=1)] | None = None
    calling_ae_title: Annotated[list[Annotated[str, AfterValidator(check_ae_title)]], Field(min_length=1)] | None = None
    orientation: Annotated[list[Literal["axial", "coronal", "sagittal", "oblique"]], Field(min_length=1)] | None = None
    phase: Annotated[list[Phase], Field(min_length=1)] | None = None
    slice_thickness_mm: RangeSection | None = None
    spacing_between_slices_mm: RangeSection | None = None
    kvp: RangeSection | None = None
    rows: RangeSection | None = None
    instances: RangeSection | None = None
    contrast: bool | None = None

    def rule(self) -> Rule:
        """The rule that it describes."""
        conditions = []
        for key in _CONDITIONS:
            value = getattr(self, key)
            if value is not None:
                conditions.append(_condition(key, value))
        return Rule(self.name, self.action, tuple(conditions), self.priority)


_CONDITIONS: Final = tuple(key for key in RuleSection.model_fields if key not in ("name", "action", "priority"))


def _condition(key: str, value: Any) -> Condition:
    if isinstance(value, bool):
        return Is(key, value)
    if isinstance(value, str):
        return Matches(key, value)
    if isinstance(value, RangeSection):
        return Within(key, value.min, value.max)
    return OneOf(key, tuple(map(str, value)))


class _RuleFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    rules: list[RuleSection]


def default_rules_text() -> str:
    """The file of the rules that come with the node, as it is."""
    return files("configs").joinpath("rules", "default.toml").read_text(encoding="utf-8")


def default_rules() -> tuple[Rule, ...]:
    """The rules in force when the site has none."""
    return tuple(section.rule() for section in _RuleFile.model_validate(tomllib.loads(default_rules_text())).rules)


def rule_mistakes(sections: list[RuleSection]) -> list[str]:
    """What no single key shows: names that occur twice, and rules after one that takes everything."""
    names = [section.name for section in sections]
    mistakes = [f"rules: the name {name} occurs twice" for name in sorted({n for n in names if names.count(n) > 1})]
    mistakes += [f"rules: the name {UNMATCHED} has a meaning of its own"] if UNMATCHED in names else []
    open_at = next((k for k, section in enumerate(sections) if not section.rule().conditions), len(sections))
    if open_at < len(sections) - 1:
        mistakes.append(f"rules: {names[open_at]} has no condition and takes everything; no rule after it is asked")
    return mistakes
