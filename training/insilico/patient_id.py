"""Which patient of which cohort: `NC-001` is the first without lung cancer, `LC-001` the first with."""

import re
from dataclasses import dataclass

from training.insilico.cohort_name import CohortName

_LETTERS = {CohortName.NON_CANCER: "NC", CohortName.LUNG_CANCER: "LC"}


@dataclass(frozen=True, slots=True, order=True)
class PatientId:
    """A patient by cohort and number; names folders, draws and the DICOM Patient ID."""

    cohort: CohortName
    number: int
    """From 1."""

    def __post_init__(self) -> None:
        if self.number < 1:
            raise ValueError(f"patients are numbered from 1, got {self.number}")

    def __str__(self) -> str:
        return f"{_LETTERS[self.cohort]}-{self.number:03d}"

    @classmethod
    def parse(cls, text: str) -> "PatientId":
        """The patient of a name such as `NC-001`.

        Raises:
            ValueError: the text is no such name.
        """
        found = re.fullmatch(r"(NC|LC)-(\d{3,})", text)
        if found is None:
            raise ValueError(f"a patient is named like NC-001 or LC-001, got {text!r}")
        cohort = {letters: cohort for cohort, letters in _LETTERS.items()}[found[1]]
        patient = cls(cohort, int(found[2]))
        if str(patient) != text:
            raise ValueError(f"a patient is named like {patient}, got {text!r}")
        return patient
