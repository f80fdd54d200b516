"""Who in-silico objects claim to show."""

import pytest

from training.insilico.cohort_name import CohortName
from training.insilico.dicom_patient import dicom_patient
from training.insilico.patient_id import PatientId


@pytest.mark.parametrize("age_years", [18, 60, 95])
def test_the_patient_has_the_age_on_the_day_of_the_study(age_years: int) -> None:
    patient = dicom_patient(PatientId(CohortName.NON_CANCER, 3), sex="M", age_years=age_years, series_description="CT")
    born, studied = int(patient.birth_date), int(patient.date)
    assert (studied - born) // 10_000 == age_years


def test_names_and_descriptions_say_that_nobody_is_behind_them() -> None:
    patient = dicom_patient(PatientId(CohortName.NON_CANCER, 3), sex="M", age_years=50, series_description="CT")
    assert (patient.name, patient.patient_id) == ("Insilico^NC-003", "INSILICO-NC-003")
    assert patient.study_description == "In-silico, no patient"
    assert patient.series_description == "CT, in-silico, no patient"
