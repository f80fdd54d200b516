"""How often patients like those of the training are flagged, and patients that differ."""

import numpy as np
import pytest

from inference.domain import STATISTICS
from inference.fingerprint import Fingerprint
from training.fingerprint import fingerprint_of

TRAINED_ON = "Patients from a generator of random numbers."


def patients(random: np.random.Generator, count: int, *, spread: float = 3.0) -> list[dict[str, float]]:
    """Each statistic around 100, well beyond its tolerance."""
    return [
        {
            name: float(100.0 * np.exp(0.5 * random.normal()))
            if row.is_ratio
            else float(100.0 + spread * row.tolerance * random.normal())
            for name, row in STATISTICS.items()
        }
        for _ in range(count)
    ]


def test_about_one_in_twenty_patients_like_those_of_the_training_is_flagged() -> None:
    random = np.random.default_rng(3)
    flagged = []
    for _ in range(3):
        fingerprint = fingerprint_of(patients(random, 80), trained_on=TRAINED_ON)
        flagged += [fingerprint.distance(patient).score > 1.0 for patient in patients(random, 300)]
        assert fingerprint.flagged_share <= 0.05
    assert 0.02 < np.mean(flagged) < 0.09


@pytest.fixture(scope="module")
def fingerprint() -> Fingerprint:
    return fingerprint_of(patients(np.random.default_rng(4), 20), trained_on=TRAINED_ON)


@pytest.mark.parametrize("name", list(STATISTICS))
def test_one_statistic_far_away_is_enough(fingerprint: Fingerprint, name: str) -> None:
    row = STATISTICS[name]
    patient = {other: usual.median for other, usual in fingerprint.statistics.items()}
    assert fingerprint.distance(patient).score == pytest.approx(0.0)
    patient[name] = patient[name] * 20.0 if row.is_ratio else patient[name] - 20.0 * row.tolerance
    found = fingerprint.distance(patient)
    assert found.score > 1.0
    assert found.deviations[0].name == name


def test_patients_that_are_all_alike_leave_room_for_what_does_not_matter() -> None:
    alike = [dict.fromkeys(STATISTICS, 100.0)] * 10
    found = fingerprint_of(alike, trained_on=TRAINED_ON).statistics
    assert (found["slice_spacing"].low, found["slice_spacing"].high) == pytest.approx((100.0 / 1.3, 130.0))
    assert (found["blood"].low, found["blood"].high) == pytest.approx((60.0, 140.0))


def test_what_was_not_measured_in_a_patient_is_taken_from_the_others() -> None:
    some = patients(np.random.default_rng(5), 10)
    some[0]["blood"] = float("nan")
    rest = [patient["blood"] for patient in some[1:]]
    assert fingerprint_of(some, trained_on=TRAINED_ON).statistics["blood"].median == pytest.approx(np.median(rest))


def test_a_patient_in_whom_a_statistic_could_not_be_measured_does_not_widen_the_limit() -> None:
    some = patients(np.random.default_rng(7), 10)
    limit = fingerprint_of(some, trained_on=TRAINED_ON).limit
    some[0]["right_share"] = float("nan")
    assert fingerprint_of(some, trained_on=TRAINED_ON).limit < 2.0 * limit


def test_a_statistic_that_some_patients_were_never_asked_for_is_left_out() -> None:
    some = patients(np.random.default_rng(6), 5)
    del some[2]["texture"]
    assert set(fingerprint_of(some, trained_on=TRAINED_ON).statistics) == set(STATISTICS) - {"texture"}


def test_too_few_patients_and_patients_without_a_statistic_are_mistakes() -> None:
    some = patients(np.random.default_rng(6), 3)
    with pytest.raises(ValueError, match="3 patients"):
        fingerprint_of(some[:2], trained_on=TRAINED_ON)
    with pytest.raises(ValueError, match="no statistic"):
        fingerprint_of([{}, *some], trained_on=TRAINED_ON)
    for patient in some[1:]:
        patient["texture"] = float("nan")
    with pytest.raises(ValueError, match="texture"):
        fingerprint_of(some, trained_on=TRAINED_ON)
