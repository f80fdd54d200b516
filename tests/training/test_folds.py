"""Who is trained on, who chooses the step, who is tested."""

import hashlib

import pytest

from training.folds import fold_splits, folds, part_of, validation_split

PATIENTS = [f"LC-{number:03d}" for number in range(1, 34)]


def test_thirty_three_patients_in_three_folds_are_eleven_each_and_each_is_tested_once() -> None:
    parts = folds(PATIENTS, 3)
    assert [len(part) for part in parts] == [11, 11, 11]
    assert sorted(name for part in parts for name in part) == PATIENTS


def test_folds_are_the_patients_by_hash_dealt_in_turn() -> None:
    ordered = sorted(PATIENTS, key=lambda name: hashlib.sha256(f"fold/{name}".encode()).hexdigest())
    assert [set(part) for part in folds(PATIENTS, 3)] == [set(ordered[k::3]) for k in range(3)]


def test_folds_do_not_depend_on_the_order_of_the_names() -> None:
    assert folds(reversed(PATIENTS), 3) == folds(PATIENTS, 3)


def test_sizes_of_folds_differ_by_one_at_most() -> None:
    assert sorted(len(part) for part in folds(PATIENTS[:8], 3)) == [2, 3, 3]


def test_no_patient_of_a_fold_has_two_parts() -> None:
    for turn in fold_splits(PATIENTS, 3, validation_fraction=0.2):
        everyone = [*turn.training, *turn.validation, *turn.test]
        assert sorted(everyone) == PATIENTS
        assert (len(turn.training), len(turn.validation), len(turn.test)) == (18, 4, 11)


def test_validation_patients_are_picked_by_a_hash_of_their_own() -> None:
    ordered = sorted(PATIENTS, key=lambda name: hashlib.sha256(f"validation/{name}".encode()).hexdigest())
    split = validation_split(reversed(PATIENTS), 0.2)
    assert set(split.validation) == set(ordered[:7])
    assert set(split.training) == set(ordered[7:])


@pytest.mark.parametrize(("fraction", "aside"), [(0.01, 1), (0.5, 2), (0.99, 3)])
def test_at_least_one_patient_chooses_and_at_least_one_is_trained_on(fraction: float, aside: int) -> None:
    split = validation_split(PATIENTS[:4], fraction)
    assert (len(split.validation), len(split.training)) == (aside, 4 - aside)


def test_a_patient_that_occurs_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        folds([*PATIENTS, "LC-001"], 3)


@pytest.mark.parametrize("count", [1, 5])
def test_impossible_numbers_of_folds_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match="folds of 4 patients"):
        folds(PATIENTS[:4], count)


@pytest.mark.parametrize(("names", "fraction"), [(PATIENTS[:1], 0.5), (PATIENTS, 0.0), (PATIENTS, 1.0)])
def test_impossible_validation_splits_are_refused(names: list[str], fraction: float) -> None:
    with pytest.raises(ValueError, match="aside"):
        validation_split(names, fraction)


def test_the_part_of_a_patient_is_the_hash_of_its_name_alone() -> None:
    """Written out, since a site's held-out patients must be the same ones with every later version."""
    assert [part_of(f"P{number:012x}", 5) for number in range(12)] == [2, 1, 0, 1, 1, 1, 0, 2, 1, 0, 3, 4]
    digest = hashlib.sha256(b"part/P0123456789ab").hexdigest()
    assert part_of("P0123456789ab", 7) == int(digest, 16) % 7


@pytest.mark.parametrize("parts", [2, 5, 10])
def test_all_parts_are_used_and_about_equally(parts: int) -> None:
    counts = [0] * parts
    for number in range(1000):
        counts[part_of(f"P{number:012x}", parts)] += 1
    spread = (1000 / parts * (1 - 1 / parts)) ** 0.5
    assert all(abs(count - 1000 / parts) < 4 * spread for count in counts)


def test_parts_have_nothing_to_do_with_the_folds_of_a_study() -> None:
    """Else a site's held-out patients would all be of one fold."""
    tested = {name: number for number, names in enumerate(folds(PATIENTS, 3)) for name in names}
    assert {(part_of(name, 3), tested[name]) for name in PATIENTS} == {(k, n) for k in range(3) for n in range(3)}


@pytest.mark.parametrize(("patient", "parts"), [("P0123456789ab", 0), ("P0123456789ab", -2), ("", 5)])
def test_no_parts_and_nobody_are_refused(patient: str, parts: int) -> None:
    with pytest.raises(ValueError, match="has none of"):
        part_of(patient, parts)
