"""How often each disease is drawn, and how severe: the table that makes the two cohorts.

Where a published figure stands behind a number its source is named; "recalled" is from memory, unverified; all else
says "ours": it is an assumption. None of these mixes is that of the paper, which did not say what its patients had.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from inference.anatomy import Lobe
from training.insilico.cohort_name import CohortName
from training.insilico.draws import Draws


class Finding(StrEnum):
    """What may be wrong with a patient."""

    NEARLY_NORMAL = "nearly normal"
    EMPHYSEMA = "emphysema"
    FIBROSIS = "fibrosis"
    CONSOLIDATION = "consolidation"
    ATELECTASIS = "atelectasis"
    EFFUSION = "effusion"
    TUMOUR = "tumour"
    RADIATION = "radiation change"
    EMBOLISM = "embolism"
    VASOCONSTRICTION = "vasoconstriction"


class EmphysemaKind(StrEnum):
    """Which parts of the lobule are gone."""

    CENTRILOBULAR = "centrilobular"
    PANLOBULAR = "panlobular"
    PARASEPTAL = "paraseptal"


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of patients, and where it is from."""

    share: float
    source: str


LEADING: Mapping[CohortName, Mapping[Finding, Rate]] = {
    CohortName.NON_CANCER: {
        Finding.EMPHYSEMA: Rate(0.32, "COPD is the commonest disease referred for perfusion SPECT/CT; ours"),
        Finding.EMBOLISM: Rate(0.18, "about a fifth of those suspected of embolism have one (recalled)"),
        Finding.FIBROSIS: Rate(0.12, "interstitial lung disease; ours"),
        Finding.VASOCONSTRICTION: Rate(0.10, "asthma, disease of airways and small vessels; ours"),
        Finding.CONSOLIDATION: Rate(0.06, "pneumonia; ours"),
        Finding.EFFUSION: Rate(0.05, "ours"),
        Finding.ATELECTASIS: Rate(0.05, "ours"),
        Finding.NEARLY_NORMAL: Rate(0.12, "suspected embolism without one; ours"),
    },
    CohortName.LUNG_CANCER: {Finding.TUMOUR: Rate(1.0, "by definition of the cohort")},
}
"""One of these leads in each patient; the shares of a cohort sum to 1."""

BESIDES: Mapping[CohortName, Mapping[Finding, Rate]] = {
    CohortName.NON_CANCER: {
        Finding.EMPHYSEMA: Rate(0.17, "17 % of smokers without COPD have emphysema on CT (MESA COPD, PMC3882898)"),
        Finding.FIBROSIS: Rate(0.04, "ours"),
        Finding.CONSOLIDATION: Rate(0.04, "ours"),
        Finding.ATELECTASIS: Rate(0.20, "dependent rim of lying patients; ours"),
        Finding.EFFUSION: Rate(0.06, "ours"),
        Finding.EMBOLISM: Rate(0.05, "ours; 32 % of 94 COPD patients had one on SPECT (Bajc 2017)"),
        Finding.VASOCONSTRICTION: Rate(0.15, "ours"),
    },
    CohortName.LUNG_CANCER: {
        Finding.EMPHYSEMA: Rate(0.50, "about half of patients with lung cancer have COPD (recalled)"),
        Finding.FIBROSIS: Rate(0.07, "interstitial lung disease in 5 to 10 % of lung cancers (recalled)"),
        Finding.CONSOLIDATION: Rate(0.08, "ours"),
        Finding.ATELECTASIS: Rate(0.20, "dependent rim; collapse behind central tumours comes with these; ours"),
        Finding.EFFUSION: Rate(0.12, "small effusions in patients planned for radiotherapy; ours"),
        Finding.RADIATION: Rate(0.15, "treated before; ours"),
        Finding.EMBOLISM: Rate(0.04, "a few per cent (recalled)"),
        Finding.VASOCONSTRICTION: Rate(0.15, "ours"),
    },
}
"""Each of these may come on top, by itself, unless it leads already."""

WITH_EMPHYSEMA: Mapping[Finding, Rate] = {
    Finding.EMBOLISM: Rate(0.16, "half of the 32 % of 94 COPD patients in Bajc 2017 (COPD.S131847); half is ours"),
    Finding.VASOCONSTRICTION: Rate(0.35, "hypoxic vasoconstriction behind narrow airways; ours"),
}
"""In the non-cancer cohort, in place of the rates of `BESIDES` for patients whose emphysema leads."""

EMPHYSEMA_KINDS: Mapping[EmphysemaKind, float] = {
    EmphysemaKind.CENTRILOBULAR: 0.65,
    EmphysemaKind.PANLOBULAR: 0.15,
    EmphysemaKind.PARASEPTAL: 0.20,
}
"""Centrilobular is the commonest kind (recalled); the shares are ours."""
PARASEPTAL_TOO = Rate(0.25, "paraseptal besides centrilobular emphysema; ours")

CENTRAL = Rate(0.40, "squamous and small cell cancers, which grow at the hilum (recalled)")
GRADES: Mapping[bool, Mapping[int, float]] = {
    True: {1: 0.10, 2: 0.30, 3: 0.60},
    False: {0: 0.20, 1: 0.35, 2: 0.45},
}
"""Of central and of other tumours, which are too far from the hilum to reach an artery of more than a lobe. Ours, so
that 63 % of all tumours take out more than themselves and 88 % at least themselves; the tumour is the leading cause of
defects of its side in 73 % (PMC3351273)."""
LOBAR = Rate(0.60, "of leading atelectases are the collapse of a lobe; ours")
COLLAPSE = Rate(0.30, "of central tumours of grade 2 or 3 a lobe has collapsed; ours")
TUMOUR_LOBES: Mapping[Lobe, float] = {
    Lobe.RUL: 0.31,
    Lobe.RML: 0.05,
    Lobe.RLL: 0.20,
    Lobe.LUL: 0.26,
    Lobe.LLL: 0.18,
}
"""Right more than left, upper more than lower (recalled)."""
PNEUMONIA_LOBES: Mapping[Lobe, float] = {
    Lobe.RUL: 0.18,
    Lobe.RML: 0.12,
    Lobe.RLL: 0.30,
    Lobe.LUL: 0.15,
    Lobe.LLL: 0.25,
}
"""Lower lobes most; ours."""


@dataclass(frozen=True, slots=True)
class Severity:
    """A number that is spread log-normally between limits."""

    median: float
    spread: float
    """Standard deviation of the logarithm."""
    low: float
    high: float
    source: str

    def draw(self, draws: Draws, what: str) -> float:
        """One patient's value, to four digits."""
        value = min(max(draws.lognormal(what, self.median, self.spread), self.low), self.high)
        return round(value, 3 - math.floor(math.log10(value)))


SEVERITY: Mapping[str, Severity] = {
    "leading emphysema": Severity(0.16, 0.65, 0.04, 0.50, "share of holes; 5 % below -950 HU is a usual limit; ours"),
    "emphysema besides": Severity(0.06, 0.70, 0.01, 0.35, "ours"),
    "bulla": Severity(22.0, 0.30, 12.0, 45.0, "mm; a bulla is wider than 10 mm by definition"),
    "leading fibrosis": Severity(0.16, 0.45, 0.06, 0.40, "share of the lungs; ours"),
    "fibrosis besides": Severity(0.06, 0.40, 0.02, 0.15, "ours"),
    "leading consolidation": Severity(0.40, 0.70, 0.10, 1.0, "share of a lobe; ours"),
    "consolidation besides": Severity(0.12, 0.60, 0.03, 0.50, "ours"),
    "dependent rim": Severity(9.0, 0.40, 4.0, 22.0, "mm; ours"),
    "collapsed volume": Severity(0.26, 0.25, 0.15, 0.45, "share of the lobe's volume; ours"),
    "leading effusion": Severity(0.16, 0.45, 0.06, 0.38, "share of the side; ours"),
    "effusion besides": Severity(0.06, 0.50, 0.02, 0.20, "ours"),
    "peripheral tumour": Severity(34.0, 0.40, 12.0, 60.0, "mm across; of stages I to III; ours"),
    "tumour without defect": Severity(17.0, 0.25, 10.0, 25.0, "mm across; ours"),
    "central tumour": Severity(42.0, 0.28, 22.0, 62.0, "mm across; ours"),
    "dose": Severity(60.0, 0.08, 50.0, 70.0, "Gy; usual prescriptions"),
    "loss per gray": Severity(0.010, 0.30, 0.005, 0.018, "of the order of 1 %/Gy (recalled)"),
    "vasoconstriction": Severity(0.22, 0.40, 0.08, 0.45, "share of the lungs; ours"),
}
