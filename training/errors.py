"""Everything that can be wrong with a study before it runs.

TrainingError                          code
├─ RecipeError                         configuration files of a study; all mistakes at once
├─ JobUnreadable                       a record in the folder of a job is missing or damaged
├─ PredictionUnusable                  a predicted map that a job kept is missing or damaged
├─ StudyIncomplete                     patients, or results, that a study needs are not there
├─ OtherStudy                          results in the folder are of another recipe or of other patients
├─ StudyBusy                           another process works on the study, or on one job of it
├─ CohortPlanError                     file of an in-silico cohort; all mistakes at once
├─ OtherCohort                         a folder holds patients that were made in another way
├─ CohortBusy                          another process makes patients in the folder
├─ CohortUnwritable                    patients cannot be written where they should go
├─ NoPatient                           a folder that is not one of a whole patient
├─ PyTomographyMissing                 a SPECT is wanted that needs PyTomography
├─ NuclearImageUnusable                a DICOM object is no SPECT that can be placed in the patient
├─ RegistrationUnusable                a Spatial Registration object says no rigid movement
├─ CaseUnusable                        a prepared case of a study is missing, damaged, or of another format
├─ StoreUnusable                       a study store, or its key, is missing, damaged or unsafe
├─ StoreBusy                           another process writes into the study store
├─ PairRefused                         a pair of CT and perfusion image does not come into the study store
├─ ReviewRefused                       a verdict on a pair says too little
├─ WordsRefused                        a name or a reason that a person gave cannot be kept
├─ PatientListUnusable                 a list of patients to fetch; all bad lines at once
├─ TrainingDiverged                    a loss became infinite or NaN
├─ TrainingStopped                     training was asked to stop; its state is saved
├─ ForeignCheckpoint                   a job's folder holds the state of another job
└─ WeightsUnusable                     weights to start from are missing or do not fit the network
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


class JobUnreadable(TrainingError):
    """A record in the folder of a job of the study is missing, damaged or of another version."""

    code = "JOB_UNREADABLE"

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{path}: {reason}")


class StudyIncomplete(TrainingError):
    """A study lacks patients, or results, for what is asked of it."""

    code = "STUDY_INCOMPLETE"

    def __init__(self, folder: str, lacks: str) -> None:
        self.folder = folder
        self.lacks = lacks
        super().__init__(f"{folder}: {lacks}")


class OtherStudy(TrainingError):
    """Results in a folder are of another recipe, or of patients that were prepared in another way."""

    code = "OTHER_STUDY"

    def __init__(self, folder: str, jobs: tuple[str, ...]) -> None:
        self.folder = folder
        self.jobs = jobs
        some = ", ".join(jobs[:5]) + (f" and {len(jobs) - 5} more" if len(jobs) > 5 else "")
        super().__init__(
            f"{folder} holds {len(jobs)} job(s) of another recipe or of other patients: {some}. "
            f"Name another folder, or give --redo to throw them away and do them anew."
        )


class StudyBusy(TrainingError):
    """Another process works on the study, or on one job of it."""

    code = "STUDY_BUSY"

    def __init__(self, folder: str) -> None:
        self.folder = folder
        super().__init__(f"another process is at work in {folder}")


class PredictionUnusable(TrainingError):
    """The predicted map of a patient, kept by a job, is missing, damaged or of another case."""

    code = "PREDICTION_UNUSABLE"

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{path}: {reason}")


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


class RegistrationUnusable(TrainingError):
    """A DICOM object is not a Spatial Registration whose movements are rigid and clear."""

    code = "REGISTRATION_UNUSABLE"

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"the registration object cannot be used: {reason}")


class CaseUnusable(TrainingError):
    """A prepared case of a study cannot be read."""

    code = "CASE_UNUSABLE"

    def __init__(self, file: str, reason: str) -> None:
        self.file = file
        self.reason = reason
        super().__init__(f"the prepared case {file} cannot be used: {reason}")


class TrainingDiverged(TrainingError):
    """A loss became infinite or NaN; what was saved before is still there."""

    code = "TRAINING_DIVERGED"

    def __init__(self, step: int) -> None:
        self.step = step
        super().__init__(f"the loss was not finite in the steps before {step}: a lower rate or another seed may help")


class TrainingStopped(TrainingError):
    """Training was asked to stop before its last step; its state is saved and the same call goes on from there."""

    code = "TRAINING_STOPPED"

    def __init__(self, step: int) -> None:
        self.step = step
        super().__init__(f"stopped after step {step}, which is saved")


class ForeignCheckpoint(TrainingError):
    """A job's folder holds the saved state of a job with another plan, and training cannot go on from that."""

    code = "FOREIGN_CHECKPOINT"

    def __init__(self, file: str, reason: str) -> None:
        self.file = file
        self.reason = reason
        super().__init__(f"{file} belongs to another job ({reason}): name another folder, or remove the file")


class WeightsUnusable(TrainingError):
    """Weights to start from cannot be read into a network."""

    code = "WEIGHTS_UNUSABLE"

    def __init__(self, file: str, reason: str) -> None:
        self.file = file
        self.reason = reason
        super().__init__(f"the weights {file} cannot be used: {reason}")


class StoreUnusable(TrainingError):
    """A study store, or the key of its pseudonyms, is missing, damaged or unsafe."""

    code = "STORE_UNUSABLE"

    def __init__(self, folder: str, reason: str) -> None:
        self.folder = folder
        self.reason = reason
        super().__init__(f"the study store {folder} cannot be used: {reason}")


class StoreBusy(TrainingError):
    """Another process writes into the study store."""

    code = "STORE_BUSY"

    def __init__(self, folder: str) -> None:
        self.folder = folder
        super().__init__(f"another process writes into the study store {folder}")


class PairRefused(TrainingError):
    """A pair of CT and perfusion image does not come into the study store; nothing of it was kept."""

    code = "PAIR_REFUSED"

    def __init__(self, reason_code: str, reason: str) -> None:
        self.reason_code = reason_code
        self.reason = reason
        super().__init__(f"{reason_code}: {reason}")


class ReviewRefused(TrainingError):
    """A verdict on a pair says too little."""

    code = "REVIEW_REFUSED"

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class WordsRefused(TrainingError):
    """A name or a reason that a person gave to a study store cannot be kept; nothing was changed."""

    code = "WORDS_REFUSED"

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class PatientListUnusable(TrainingError):
    """A list of patients to fetch cannot be used; carries every mistake found, by its line and without the patient."""

    code = "PATIENT_LIST"

    def __init__(self, source: str, problems: tuple[str, ...]) -> None:
        self.source = source
        self.problems = problems
        lines = "".join(f"\n  - {problem}" for problem in problems)
        super().__init__(f"{len(problems)} mistake(s) in {source}:{lines}")
