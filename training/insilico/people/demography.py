"""Whom the people of a cohort are drawn from: sex, age and size."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from training.insilico.cohort_name import CohortName


@dataclass(frozen=True, slots=True)
class Demography:
    """Whom a cohort is drawn from. Assumptions, ours, for adults with lung disease in East Asia."""

    share_of_men: float = 0.58
    age_years: float = 62.0
    age_sd_years: float = 11.0
    man_m: float = 1.665
    """Mean height of a man."""
    woman_m: float = 1.55
    height_sd_m: float = 0.062
    bmi: float = 23.5
    bmi_sd: float = 3.2


LUNG_PATIENTS = Demography()
PEOPLE_OF: Mapping[CohortName, Demography] = MappingProxyType(
    {
        CohortName.NON_CANCER: LUNG_PATIENTS,
        CohortName.LUNG_CANCER: Demography(share_of_men=0.68, age_years=66.0, age_sd_years=9.0),
    }
)
"""Lung cancer comes later in life and more often to men; by how much is an assumption, ours."""
