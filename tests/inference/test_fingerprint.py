import json
from math import nan

import pytest

from inference.errors import InvalidModelCard
from inference.fingerprint import FURTHEST, Fingerprint, UsualRange

NOISE = UsualRange(20.0, 10.0, 80.0, "[hnsf'U]", is_ratio=True)
DENSITY = UsualRange(-700.0, -800.0, -650.0, "[hnsf'U]")


def fingerprint(limit: float = 1.25) -> Fingerprint:
    return Fingerprint({"noise": NOISE, "density": DENSITY}, limit, 0.02, 40, "Forty in-silico patients.")


def test_a_distance_is_0_at_the_median_and_1_at_either_end() -> None:
    assert [DENSITY.distance(hu) for hu in (-700.0, -800.0, -650.0, -600.0)] == pytest.approx([0.0, 1.0, 1.0, 2.0])


def test_distances_of_ratios_are_in_their_logarithm() -> None:
    assert [NOISE.distance(hu) for hu in (20.0, 10.0, 80.0, 5.0, 40.0)] == pytest.approx([0.0, 1.0, 1.0, 2.0, 0.5])


@pytest.mark.parametrize("measured", [nan, 0.0, -3.0, 1e300])
def test_what_is_no_number_is_as_far_as_can_be_told(measured: float) -> None:
    assert NOISE.distance(measured) == FURTHEST


def test_the_score_is_the_largest_distance_by_the_limit_and_names_its_statistic() -> None:
    found = fingerprint().distance({"noise": 40.0, "density": -500.0})
    assert found.score == pytest.approx(4.0 / 1.25)
    assert [deviation.name for deviation in found.deviations] == ["density", "noise"]
    assert [deviation.name for deviation in found.beyond] == ["density"]


def test_the_limit_is_still_inside() -> None:
    found = fingerprint(limit=1.0).distance({"noise": 80.0, "density": -700.0})
    assert found.score == pytest.approx(1.0)
    assert found.beyond == ()


def test_a_statistic_that_nobody_measured_is_not_inside() -> None:
    assert fingerprint().distance({"noise": 20.0}).score > 1.0


def test_a_fingerprint_survives_json() -> None:
    document = json.loads(json.dumps(fingerprint().document()))
    assert Fingerprint.of(document).document() == fingerprint().document()


@pytest.mark.parametrize(
    "change",
    [
        {"format": 0},
        {"statistics": {}},
        {"limit": 0.0},
        {"limit": nan},
        {"patients": 0},
        {"statistics": {"noise": {"median": 2.0, "low": 3.0, "high": 4.0, "unit": "1"}}},
        {"statistics": {"noise": {"median": 2.0, "low": 0.0, "high": 4.0, "unit": "1", "is_ratio": True}}},
        {"statistics": {"noise": {"median": 2.0, "low": 1.0, "high": nan, "unit": "1"}}},
        {"statistics": {"noise": {"median": 2.0}}},
        {"more": 1},
    ],
)
def test_an_unusable_fingerprint_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(InvalidModelCard, match="fingerprint"):
        Fingerprint.of({**fingerprint().document(), **change})


def test_the_statement_is_ascii_and_does_not_promise_a_right_map() -> None:
    said = fingerprint().distance({"noise": 20.0, "density": -700.0}).statement()
    assert said.isascii()
    assert "0.00" in said
    assert "does not say that the map is right" in said


def test_the_digest_knows_the_figures() -> None:
    one, other = (fingerprint().distance({"noise": each, "density": -700.0}).sha256() for each in (20.0, 21.0))
    assert one != other
