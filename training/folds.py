"""Who is trained on, who chooses the step, who is tested: always whole patients, never voxels of one.

Patients are put in the order of a hash of their name and dealt out in turn. So a split depends on the names alone: not
on the order of files, not on a random state, not on the machine; and 33 patients in three folds are 11, 11 and 11.
The hash knows nothing of disease or hospital, so folds are not balanced for them: with 33 patients chance shows.

A hospital's store grows, and there equal sizes matter less than that nobody moves: `part_of` asks one patient's name
alone, so who was ever held out stays held out when new patients come and when others leave.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

_TEST, _VALIDATION, _PART = "fold", "validation", "part"


@dataclass(frozen=True, slots=True)
class Split:
    """Patients that are trained on, and those that choose the best step and are never trained on."""

    training: tuple[str, ...]
    validation: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Fold:
    """One turn of the cross-validation."""

    number: int
    """From 0."""
    training: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    """Seen by nothing before the scores; each patient is in the test set of exactly one fold."""


def part_of(patient: str, parts: int) -> int:
    """The part of one patient, whoever else there is: SHA-256 of the name, big-endian, modulo the number of parts.

    The hash has no key: a pseudonym of a store has one in it already, and anybody can find the parts of a report again.
    Sizes of parts vary as in throwing dice: of 30 patients in five parts, four to eight each are usual, and none in one
    of them happens once in 160 times. With another number of parts all patients are dealt anew.

    Args:
        patient: pseudonym.
        parts: how many there are, 1 or more.

    Returns:
        From 0 to `parts` - 1.

    Raises:
        ValueError: no part, or nobody's name.
    """
    if parts < 1 or not patient:
        raise ValueError(f"patient {patient!r} has none of {parts} parts")
    return int.from_bytes(hashlib.sha256(f"{_PART}/{patient}".encode()).digest()) % parts


def folds(patients: Iterable[str], count: int) -> tuple[tuple[str, ...], ...]:
    """The test patients of each fold: parts of all patients whose sizes differ by one at most.

    Args:
        patients: names, each once, in any order.
        count: 2 or more, and not more than patients.

    Raises:
        ValueError: too many or too few folds, or a name that occurs twice.
    """
    ordered = _by_hash(patients, _TEST)
    if not 2 <= count <= len(ordered):
        raise ValueError(f"{count} folds of {len(ordered)} patients: between 2 and that many are possible")
    return tuple(tuple(sorted(ordered[k::count])) for k in range(count))


def validation_split(patients: Iterable[str], fraction: float) -> Split:
    """Set a share of patients aside for validation, at least one, and leave at least one to train on.

    Args:
        patients: names, each once, in any order; two or more.
        fraction: share of validation patients, above 0 and below 1.

    Raises:
        ValueError: fewer than two patients, a fraction outside its range, or a name that occurs twice.
    """
    ordered = _by_hash(patients, _VALIDATION)
    if len(ordered) < 2 or not 0.0 < fraction < 1.0:
        raise ValueError(f"cannot set {fraction} of {len(ordered)} patients aside")
    aside = min(max(round(fraction * len(ordered)), 1), len(ordered) - 1)
    return Split(training=tuple(sorted(ordered[aside:])), validation=tuple(sorted(ordered[:aside])))


def fold_splits(patients: Iterable[str], count: int, *, validation_fraction: float) -> tuple[Fold, ...]:
    """All folds with their training and validation patients.

    Args:
        patients: names, each once, in any order.
        count: of folds.
        validation_fraction: share of the patients of a fold that are not tested.

    Raises:
        ValueError: as `folds` and `validation_split`.
    """
    everyone = tuple(patients)
    turns = []
    for number, test in enumerate(folds(everyone, count)):
        rest = validation_split(sorted(set(everyone) - set(test)), validation_fraction)
        turns.append(Fold(number, rest.training, rest.validation, test))
    return tuple(turns)


def _by_hash(patients: Iterable[str], purpose: str) -> list[str]:
    """Names in the order of a hash; another one for each purpose, so that validation does not repeat the folds."""
    names = list(patients)
    if len(set(names)) < len(names):
        raise ValueError("a patient occurs twice")
    return sorted(names, key=lambda name: hashlib.sha256(f"{purpose}/{name}".encode()).digest())
