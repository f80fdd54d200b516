"""Tested patients by what they have in common: hospital, breath of the CT, disease."""

from collections.abc import Mapping

from training.study_case import CaseFacts

DEEP = "deep inspiration"
"""Breath of a CT that shows the lungs larger than the SPECT does."""
_EVERYBODY_HAS = 0.9
"""A disease of more than this share of the patients divides them from nobody."""
SMALLEST_GROUP = 3
"""Of fewer patients with a disease nothing is said; ours. Hospitals and breaths are always told."""


def patient_groups(facts: Mapping[str, CaseFacts]) -> dict[str, tuple[str, ...]]:
    """Names of groups with their patients, each sorted; a patient is in several. None that holds everybody.

    Args:
        facts: of each tested patient.
    """
    hospitals = sorted({each.hospital for each in facts.values()})
    breaths = sorted({each.breath for each in facts.values()})
    groups = {name.replace("hospital-", "hospital "): _those(facts, hospital=name) for name in hospitals}
    groups |= {f"CT in {name}": _those(facts, breath=name) for name in breaths}
    for disease in sorted({name for each in facts.values() for name in each.diseases}):
        struck = tuple(sorted(patient for patient, each in facts.items() if disease in each.diseases))
        if SMALLEST_GROUP <= len(struck) <= _EVERYBODY_HAS * len(facts):
            groups[f"with {disease.replace('-', ' ')}"] = struck
    return {name: patients for name, patients in groups.items() if len(patients) < len(facts)}


def _those(facts: Mapping[str, CaseFacts], **wanted: str) -> tuple[str, ...]:
    return tuple(
        sorted(patient for patient, each in facts.items() if all(getattr(each, k) == v for k, v in wanted.items()))
    )
