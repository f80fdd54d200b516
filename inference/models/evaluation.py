"""The document that a promotion rests on: how a model did against the one in use, patient by patient.

It is JSON that a person can read. Its verdict follows from its figures and is computed again here, so that a document
whose figures were edited, or whose verdict was, contradicts itself. That does not stop somebody who writes a whole one:
the two people who put a model into force answer for where the document came from.

    format         "perfusion-node model evaluation 1"
    model          name, version and content_sha256 of the model
    compared_with  the same of the model that it would replace; the densitometric baseline has no digest
    data           "clinical" or "in-silico"
    data_sha256    of the manifest of the study store that the patients came from
    made_by        program and version; made_at: UTC
    method         one sentence: which patients, which statistics
    confidence     of the intervals, such as 0.95
    patients       pseudonyms, none twice; patients that the model never learned from
    figures        one for each measure, see `Figure`
    verdict        "pass" or "fail"
"""

import json
import math
from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from inference.errors import EvaluationNotPassed, EvaluationOfAnotherModel, EvaluationUnusable
from inference.model_card import ModelIdentity
from inference.models.manifest import Digest, Sentence

LARGEST_BYTES = 16 << 20
"""Far more than ten thousand patients with ten figures need; our own limit."""
_SUM_TOLERANCE = 1e-6
"""Of a mean that was computed elsewhere in another order; our own."""
_STRICT = ConfigDict(extra="forbid")
Number = Annotated[float, Field(allow_inf_nan=False)]
Pseudonym = Annotated[str, Field(pattern=r"^[0-9A-Za-z._-]{1,64}$")]


@dataclass(frozen=True, slots=True, config=_STRICT)
class EvaluatedModel:
    """Which model a figure is of."""

    name: Annotated[str, Field(min_length=1, max_length=64)]
    version: Annotated[str, Field(min_length=1, max_length=16)]
    content_sha256: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]

    @classmethod
    def of(cls, identity: ModelIdentity) -> "EvaluatedModel":
        """As objects name the model."""
        return cls(identity.name, identity.version, identity.weights_sha256)

    def label(self) -> str:
        """For messages."""
        return ModelIdentity(self.name, self.version, self.content_sha256).label()


@dataclass(frozen=True, slots=True, config=_STRICT)
class Figure:
    """One measure of both models in every patient, and the interval of the mean difference."""

    name: Sentence
    unit: Annotated[str, Field(max_length=20, pattern=r"^[ -~]*$")]
    better: Literal["higher", "lower"]
    needed: Literal["better", "not worse", "reported"]
    """`better`: the whole interval lies on the good side of zero. `not worse`: no end of it lies further than `margin`
    on the bad side. `reported`: for readers."""
    margin: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    model: tuple[Number, ...]
    """In the order of `patients`."""
    compared: tuple[Number, ...]
    low: Number
    """Lower end of the interval of the mean of model minus compared."""
    high: Number
    difference: Number
    """Mean of model minus compared."""

    def passes(self) -> bool:
        """Whether the model is as good in this as it must be."""
        worst = self.low if self.better == "higher" else -self.high
        return self.needed == "reported" or (worst > 0 if self.needed == "better" else worst >= -self.margin)

    def problem(self, patients: int) -> str:
        """What contradicts itself, a sentence without its end; empty for nothing."""
        if not len(self.model) == len(self.compared) == patients:
            return f"{self.name} does not have one value for each patient"
        mean = math.fsum(a - b for a, b in zip(self.model, self.compared, strict=True)) / patients
        if not math.isclose(mean, self.difference, rel_tol=_SUM_TOLERANCE, abs_tol=_SUM_TOLERANCE):
            return f"the difference of {self.name} is not that of its values"
        if not self.low <= self.difference <= self.high:
            return f"the difference of {self.name} is outside its interval"
        return ""


@dataclass(frozen=True, slots=True, config=_STRICT)
class Evaluation:
    """The whole document."""

    model: EvaluatedModel
    compared_with: EvaluatedModel
    data: Literal["clinical", "in-silico"]
    data_sha256: Digest
    made_by: Sentence
    made_at: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\+00:00|Z)$")]
    method: Sentence
    confidence: Annotated[float, Field(ge=0.9, lt=1)]
    patients: Annotated[tuple[Pseudonym, ...], Field(min_length=2)]
    figures: Annotated[tuple[Figure, ...], Field(min_length=1)]
    verdict: Literal["pass", "fail"]
    format: Literal["perfusion-node model evaluation 1"] = "perfusion-node model evaluation 1"

    @classmethod
    def parse(cls, content: bytes) -> "Evaluation":
        """Read a document and compute again what can be.

        Raises:
            EvaluationUnusable: it is none, or contradicts itself.
        """
        if len(content) > LARGEST_BYTES:
            raise EvaluationUnusable(f"it is larger than {LARGEST_BYTES >> 20} MiB")
        try:
            found = TypeAdapter(cls).validate_json(content)
        except ValidationError as fault:
            told = (f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in fault.errors()[:5])
            raise EvaluationUnusable("; ".join(told)) from fault
        if b'"format"' not in content:
            raise EvaluationUnusable("it does not say its format")
        if problem := found.problem():
            raise EvaluationUnusable(problem)
        return found

    def problem(self) -> str:
        """What contradicts itself, a sentence without its end; empty for nothing."""
        if len(set(self.patients)) < len(self.patients):
            return "a patient is named twice"
        if len({figure.name for figure in self.figures}) < len(self.figures):
            return "a figure is named twice"
        if all(figure.needed == "reported" for figure in self.figures):
            return "no figure decides anything"
        problems = (figure.problem(len(self.patients)) for figure in self.figures)
        if problem := next(filter(None, problems), ""):
            return problem
        if (self.verdict == "pass") == bool(self.failed()):
            return f"its verdict is {self.verdict}, which its figures deny"
        return ""

    def failed(self) -> tuple[str, ...]:
        """Names of the figures in which the model is not as good as it must be."""
        return tuple(figure.name for figure in self.figures if not figure.passes())

    def require_pass(self, model: ModelIdentity, serving: ModelIdentity) -> None:
        """Go on only if this is a passing evaluation of `model` against `serving`.

        Raises:
            EvaluationOfAnotherModel: it is of another model, or compares with one that is not in use.
            EvaluationNotPassed: the model was not good enough.
        """
        for what, told, wanted in (
            ("is of", self.model, EvaluatedModel.of(model)),
            ("compares with", self.compared_with, EvaluatedModel.of(serving)),
        ):
            if told != wanted:
                raise EvaluationOfAnotherModel(what, wanted.label(), told.label())
        if failed := self.failed():
            raise EvaluationNotPassed(failed)

    def encoded(self) -> bytes:
        """The bytes of the document; the same content gives the same bytes."""
        fields: dict[str, Any] = asdict(self)
        return (json.dumps({"format": fields.pop("format"), **fields}, indent=1) + "\n").encode()
