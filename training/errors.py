"""Everything that can be wrong with a study before it runs.

TrainingError                          code
├─ RecipeError                         configuration files of a study; all mistakes at once
├─ CohortPlanError                     file of an in-silico cohort; all mistakes at once
├─ OtherCohort                         a folder holds patients that were made in another way
├─ CohortBusy                          another process makes patients in the folder
├─ CohortUnwritable                    patients cannot be written where they should go
├─ NoPatient                           a folder that is not one of a whole patient
├─ PyTomographyMissing                 a SPECT is wanted that needs PyTomography
└─ NuclearImageUnusable                a DICOM object is no SPECT that can be placed in the patient
"""

from typing import ClassVar


class TrainingError(Exception):
    """Root of all errors of this package."""

    code: ClassVar[str] = "TRAINING_ERROR"


class RecipeError(TrainingError):
    """The files of a study cannot be used; carries every mistake found."""

    code = "RECIPE"

    def __init__(self, source: str, problems: tuple[str, ...]) -> None:
        self.source = source
        self.problems = problems
        lines = "".join(f"\n  - {problem}" for problem in problems)
        super().__init__(f"{len(problems)} mistake(s) in {source}:{lines}")


class CohortPlanError(TrainingError):
    """The file of an in-silico cohort cannot be used; carries every mistake found."""

    code = "COHORT_PLAN"

    def __init__(self, source: str, problems: tuple[str, ...]) -> None:
        self.source = source
        self.problems = problems
        lines = "".join(f"\n  - {problem}" for problem in problems)
        super().__init__(f"{len(problems)} mistake(s) in {source}:{lines}")


class OtherCohort(TrainingError):
    """A folder holds patients that were made from another plan or by another version."""

    code = "OTHER_COHORT"

    def __init__(self, folder: str, patients: tuple[str, ...]) -> None:
        self.folder = folder
        self.patients = patients
        some = ", ".join(patients[:5]) + (f" and {len(patients) - 5} more" if len(patients) > 5 else "")
        super().__init__(
            f"{folder} holds {len(patients)} patient(s) made from other settings or by another version: {some}. "
            f"Name another folder, or give --remake to make them anew."
        )


class CohortBusy(TrainingError):
    """Another process makes patients in the folder."""

    code = "COHORT_BUSY"

    def __init__(self, folder: str) -> None:
        self.folder = folder
        super().__init__(f"another process is making patients in {folder}")


class CohortUnwritable(TrainingError):
    """Patients cannot be written where they should go."""

    code = "COHORT_UNWRITABLE"

    def __init__(self, folder: str, reason: str) -> None:
        self.folder = folder
        self.reason = reason
        super().__init__(f"cannot write patients into {folder}: {reason}")


class NoPatient(TrainingError):
    """A folder is not one of a whole in-silico patient."""

    code = "NO_PATIENT"

    def __init__(self, folder: str, reason: str) -> None:
        self.folder = folder
        self.reason = reason
        super().__init__(f"{folder} is not the folder of an in-silico patient: {reason}")


class PyTomographyMissing(TrainingError):
    """A SPECT is to be projected and reconstructed by PyTomography, and that is not installed."""

    code = "PYTOMOGRAPHY_MISSING"

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(
            f"PyTomography cannot be used ({reason}): run `make pytomography`, or take the shortcut (method fast)."
        )


class NuclearImageUnusable(TrainingError):
    """A DICOM object is not a reconstructed SPECT whose voxels can be placed in the patient."""

    code = "NUCLEAR_IMAGE_UNUSABLE"

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"the nuclear medicine image cannot be used: {reason}")
