"""What Ren et al. 2022 and their neighbours report, to stand beside our figures, and never to be compared with them.

Ren L. et al., Front Oncol 2022;12:883516, pre-trained on 137 non-cancer and fine-tuned on 33 lung-cancer patients of
two hospitals. Only its abstract could be read; the correlations of lobes come from the project's brief and were not
read in the paper. The other rows were read in abstracts or tables.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from inference.anatomy import Lobe

CAUTION = (
    "**In-silico and clinical figures are not comparable.** Nobody in this cohort is real: anatomy, disease, CT and "
    "SPECT were made by a computer, from rules that the network can learn. A score here says what a method can do "
    "where the truth is known; it says nothing about a patient, and it cannot be held against a score on patients."
)
"""Stands wherever figures of both kinds could meet."""

SEED_PAPER = "Ren et al. 2022, Front Oncol 12:883516"


@dataclass(frozen=True, slots=True)
class Clinical:
    """A mean over patients as published; 0 where no spread or range was."""

    mean: float
    sd: float = 0.0
    low: float = 0.0
    high: float = 0.0


SPEARMAN = Clinical(0.8142, sd=0.0669)
DICE_HIGH = Clinical(0.8112, low=0.6460, high=0.8984)
DICE_LOW = Clinical(0.8137, low=0.6743, high=0.8902)
DICE_GOOD = 0.7
"""Patients above this Dice were counted."""
DICE_GOOD_HIGH, DICE_GOOD_LOW, PATIENTS = 32, 33, 33
"""So many patients above `DICE_GOOD` for high and for low function, of so many."""
GAIN_PERCENT = 8.0
"""Fine-tuned over pre-trained, about."""
LOBE_R: Mapping[Lobe, float] = MappingProxyType(
    {Lobe.RUL: 0.51, Lobe.RML: 0.48, Lobe.RLL: 0.76, Lobe.LUL: 0.73, Lobe.LLL: 0.71}
)
"""Correlation over patients of the mean perfusion of a lobe; from the project's brief."""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A publication on the same question or one close to it."""

    source: str
    task: str
    spearman: str
    dice: str


NEIGHBOURS: tuple[Neighbour, ...] = (
    Neighbour(SEED_PAPER, "CT → MAA SPECT, 33 lung cancer, three folds", "0.814 ± 0.067", "0.811 / 0.814"),
    Neighbour("DDRAN 2026, JACMP 10.1002/acm2.70498", "CT → MAA SPECT, 98 patients", "0.836", "0.857 / 0.795"),
    Neighbour(
        "Castillo group 2025, IJCARS 10.1007/s11548-025-03323-2",
        "inspiration and expiration CT → SPECT, 44",
        "0.742 ± 0.037",
        "",
    ),
    Neighbour("Porter 2021, Phys Med Biol 66 ac16ec", "4DCT → SPECT, 8 tested", "0.70", "0.803 (upper half)"),
    Neighbour("Ren 2021, IJROBP 110:1508", "CT → MAA SPECT, 62 lungs tested", "0.673 ± 0.173", "0.818 / 0.650"),
)
"""Clinical figures, each on its own patients, masks and thresholds; not comparable with one another either."""
