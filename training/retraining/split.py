"""Which of a store's patients are never trained on, which make up a fold, and which choose the best step.

Each patient is dealt by a hash of that patient's own pseudonym. A new patient therefore moves nobody, and who was held
out once is held out in every later run with the same numbers of parts, however the store grows.

    part 0 ... held_out_parts - 1      held out: no training, no choice, no calibration ever sees them
    other parts, dealt in turn         folds: the network of a fold never sees them; they calibrate its interval
    one in validation_parts            of each training: chooses the step
"""

from collections.abc import Iterable
from dataclasses import dataclass

from training.folds import part_of

_VALIDATION = "validation/"


@dataclass(frozen=True, slots=True)
class SplitRule:
    """Who is held out."""

    parts: int
    held_out_parts: int

    def is_held_out(self, patient: str) -> bool:
        """Whether a patient must never be trained on."""
        return part_of(patient, self.parts) < self.held_out_parts

    def held_out(self, patients: Iterable[str]) -> tuple[str, ...]:
        """Those of some patients, sorted."""
        return tuple(sorted(patient for patient in set(patients) if self.is_held_out(patient)))

    def fold_of(self, patient: str, folds: int) -> int | None:
        """The fold that a patient belongs to; None for one who is held out."""
        part = part_of(patient, self.parts)
        return None if part < self.held_out_parts else (part - self.held_out_parts) % folds

    @property
    def words(self) -> str:
        """As a bundle says it, `2 of 10`."""
        return f"{self.held_out_parts} of {self.parts}"

    @classmethod
    def parse(cls, words: str) -> "SplitRule":
        """From `words`.

        Raises:
            ValueError: they are no split.
        """
        held_out, _, parts = words.partition(" of ")
        rule = cls(int(parts), int(held_out))
        if not 0 < rule.held_out_parts < rule.parts:
            raise ValueError(f"{words!r} is no split")
        return rule


def chooses_step(patient: str, validation_parts: int) -> bool:
    """Whether a patient chooses the step wherever not held out or tested; by another hash than that of the parts."""
    return part_of(f"{_VALIDATION}{patient}", validation_parts) == 0
