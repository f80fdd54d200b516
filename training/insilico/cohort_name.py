"""The two cohorts of the study, as in the paper."""

from enum import StrEnum


class CohortName(StrEnum):
    """Which patients; Ren et al. 2022 pre-trained on the first cohort and fine-tuned on the second."""

    NON_CANCER = "non-cancer"
    """Lung diseases other than cancer; 137 patients in the paper."""
    LUNG_CANCER = "lung-cancer"
    """33 patients in the paper."""
