"""How an in-silico patient is named in DICOM objects: never so that anyone could take it for a person."""

from inference.ct.instances import PhantomPatient
from training.insilico.patient_id import PatientId

STUDY_YEAR = 2026
"""All studies lie on the same day, as equal patients give equal bytes."""


def dicom_patient(patient: PatientId, *, sex: str, age_years: int, series_description: str) -> PhantomPatient:
    """What stands in the patient and study modules.

    Args:
        patient: of which cohort.
        sex: `M`, `F` or `O` (0010,0040).
        age_years: on the day of the study.
        series_description: what the series is; a note that it is in-silico is added.
    """
    return PhantomPatient(
        name=f"Insilico^{patient}",
        patient_id=f"INSILICO-{patient}",
        birth_date=f"{STUDY_YEAR - 1 - age_years:04d}0701",
        sex=sex,
        study_description="In-silico, no patient",
        series_description=f"{series_description}, in-silico, no patient",
        date=f"{STUDY_YEAR:04d}0101",
    )
