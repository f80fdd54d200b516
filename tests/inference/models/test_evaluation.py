"""An evaluation is believed as far as it agrees with itself, and counts for exactly two models."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from inference.errors import EvaluationNotPassed, EvaluationOfAnotherModel, EvaluationUnusable
from inference.model_card import ModelIdentity
from inference.models.evaluation import Evaluation, Figure
from tests.stand_in_models import passing_evaluation

MODEL = ModelIdentity("ours", "2", "a" * 64)
SERVING = ModelIdentity("densitometric-baseline", "1")
PASSING = passing_evaluation(MODEL, SERVING)


def figure(**changes: Any) -> Figure:
    return replace(PASSING.figures[0], **changes)


def test_a_document_is_read_as_it_was_written() -> None:
    content = PASSING.encoded()
    assert Evaluation.parse(content) == PASSING
    assert Evaluation.parse(content).encoded() == content
    PASSING.require_pass(MODEL, SERVING)


@pytest.mark.parametrize(
    ("changes", "passes"),
    [
        ({"low": 0.01, "needed": "better"}, True),
        ({"low": 0.0, "needed": "better"}, False),
        ({"low": -0.1, "needed": "not worse", "margin": 0.1}, True),
        ({"low": -0.11, "needed": "not worse", "margin": 0.1}, False),
        ({"low": -9.0, "needed": "reported"}, True),
        ({"better": "lower", "needed": "better", "low": 0.1, "high": 0.2}, False),
        ({"better": "lower", "needed": "better", "low": -0.2, "high": -0.1}, True),
        ({"better": "lower", "needed": "not worse", "low": -9.0, "high": 0.1, "margin": 0.1}, True),
        ({"better": "lower", "needed": "not worse", "low": -9.0, "high": 0.11, "margin": 0.1}, False),
    ],
)
def test_what_passes(changes: dict[str, Any], passes: bool) -> None:
    assert figure(**changes).passes() is passes


def test_another_model_another_comparison_and_a_failure_are_told_apart() -> None:
    for other in (replace(MODEL, version="3"), replace(MODEL, weights_sha256="b" * 64)):
        with pytest.raises(EvaluationOfAnotherModel, match="is of"):
            PASSING.require_pass(other, SERVING)
    with pytest.raises(EvaluationOfAnotherModel, match="compares with"):
        PASSING.require_pass(MODEL, replace(SERVING, version="2"))
    failed = replace(PASSING, figures=(figure(low=-0.1),), verdict="fail")
    assert Evaluation.parse(failed.encoded()) == failed
    with pytest.raises(EvaluationNotPassed, match="Spearman"):
        failed.require_pass(MODEL, SERVING)


def _set(*path: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        *way, last = path
        place: Any = document
        for part in way:
            place = place[part]
        place[last] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        _set("verdict", value="fail"),
        _set("figures", 0, "low", value=-0.1),  # then the verdict is denied
        _set("figures", 0, "difference", value=0.16),
        _set("figures", 0, "model", 0, value=0.9),
        _set("figures", 0, "model", value=[0.75]),
        _set("figures", 0, "high", value=0.14),
        _set("figures", 0, "margin", value=-1.0),
        _set("figures", 0, "low", value=float("nan")),
        _set("figures", 0, "needed", value="reported"),
        _set("figures", value=[]),
        _set("patients", value=["p1", "p1"]),
        _set("patients", value=["p1"]),
        _set("patients", value=["Doe^John", "p2"]),
        _set("format", value="perfusion-node model evaluation 2"),
        _set("confidence", value=0.5),
        _set("model", "content_sha256", value="abc"),
        _set("extra", value=1),
        lambda document: document.pop("format"),
        lambda document: document["figures"].append(document["figures"][0]),
    ],
)
def test_a_document_that_was_edited_or_is_none_is_refused(change: Callable[[dict[str, Any]], None]) -> None:
    document = json.loads(PASSING.encoded())
    change(document)
    with pytest.raises(EvaluationUnusable):
        Evaluation.parse(json.dumps(document).encode())


@pytest.mark.parametrize("content", [b"", b"no JSON", b"[]", b"{}", b"\x80\x04K\x01.", b" " * (17 << 20)])
def test_other_bytes_are_no_evaluation(content: bytes) -> None:
    with pytest.raises(EvaluationUnusable):
        Evaluation.parse(content)
