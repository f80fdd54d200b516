"""What publications say about lungs, CT and perfusion SPECT, to be held beside the figures of an in-silico cohort.

Every row says how well its number is known (`Mark`). Few could be read in the paper itself; most were read in an
abstract or a table. Where only a mean was published, the spread that our figure may have is ours, and the note says
so. Nothing here is a target for a network: figures of the in-silico cohort are never comparable with clinical ones.
"""

from dataclasses import dataclass
from enum import StrEnum

from training.insilico.realism.figure import Figure


class Mark(StrEnum):
    """How well a published number is known."""

    READ = "read"
    """The text was seen, mostly an abstract or a table."""
    INFERRED = "inferred"
    """Our own arithmetic on numbers that were read."""
    RECALLED = "recalled"
    """Common knowledge of the field without a page at hand."""
    ASSUMPTION = "assumption, ours"
    """Invented, for want of a number."""


class Group(StrEnum):
    """Whose figure of ours is held beside a published one."""

    FREE = "healthy controls, free breathing"
    """Patients of the generator with no disease at all; they belong to neither cohort."""
    DEEP = "healthy controls, deep inspiration"
    ALL = "all patients"
    CANCER = "lung-cancer patients"
    EMPHYSEMA = "patients with emphysema"
    PROTOCOLS = "SPECT protocols"


@dataclass(frozen=True, slots=True)
class Published:
    """One figure as published, and the range in which ours should lie, mean for mean and median for median."""

    figure: Figure
    value: float
    """Mean or median; in the unit of the figure."""
    low: float
    high: float
    """Mean ± 1 SD, the published range, or as the note says."""
    group: Group
    population: str
    source: str
    mark: Mark
    note: str = ""
    is_median: bool = False

    def holds(self, ours: float) -> bool:
        """Whether a figure of ours lies in the range."""
        return self.low <= ours <= self.high


def _spread(
    figure: Figure, mean: float, sd: float, group: Group, population: str, source: str, mark: Mark = Mark.READ
) -> Published:
    return Published(figure, mean, mean - sd, mean + sd, group, population, source, mark)


_LOBES = "32 adults, supine, inspiration", "PMC7490509, table 3"
_CRESSONI = "100 adults with normal CT, supine; share of weight", "Cressoni 2013"
_MIDTIDAL = "adults, mid-tidal breathing: air 1,035 and 864 ml, air fraction 0.68 and 0.66 (right, left)", "BMC"

PUBLISHED: tuple[Published, ...] = (
    Published(
        Figure.VOLUME,
        2831.0,
        1951.0,
        3711.0,
        Group.FREE,
        _MIDTIDAL[0],
        _MIDTIDAL[1],
        Mark.INFERRED,
        "Air by air fraction; for the spread the SDs of both lungs are added.",
    ),
    _spread(Figure.VOLUME_DEEP, 4066.0, 1190.0, Group.DEEP, "100 adults with normal CT, supine", "Cressoni 2013"),
    Published(
        Figure.MEAN_HU,
        -670.0,
        -720.0,
        -620.0,
        Group.FREE,
        _MIDTIDAL[0],
        _MIDTIDAL[1],
        Mark.INFERRED,
        "± 50 is ours.",
    ),
    Published(
        Figure.MEAN_HU_DEEP,
        -850.0,
        -900.0,
        -780.0,
        Group.DEEP,
        "full inspiration",
        "no source read",
        Mark.RECALLED,
        "The range is ours; wider upwards, as not all patients breathe in fully.",
    ),
    Published(
        Figure.LAA950,
        0.19,
        0.0,
        0.43,
        Group.DEEP,
        "564 adults with normal lungs, inspiration; median, quartiles 0.03 to 0.43",
        "COPD 2019",
        Mark.READ,
        "Median of ours; up to the upper quartile.",
        is_median=True,
    ),
    Published(
        Figure.LAA950_CANCER,
        5.0,
        1.0,
        15.0,
        Group.CANCER,
        "342 lung cancers before lobectomy, inspiration; median, range 0 to 40",
        "COPD 2021;16:2523",
        Mark.READ,
        "Ours: a free-breathing CT shows less than one in inspiration; the range for the mean is ours.",
    ),
    _spread(Figure.CLASS_OVER, 11.0, 7.0, Group.DEEP, *_CRESSONI),
    _spread(Figure.CLASS_NORMAL, 65.0, 8.0, Group.DEEP, *_CRESSONI),
    _spread(Figure.CLASS_POOR, 18.0, 3.0, Group.DEEP, *_CRESSONI),
    _spread(Figure.CLASS_NOT, 7.0, 4.0, Group.DEEP, *_CRESSONI),
    Published(
        Figure.DEPENDENT_HU,
        100.0,
        20.0,
        200.0,
        Group.FREE,
        "bases, dependent against anterior third; up to 200 HU at neutral breathing, less on inspiration",
        "pubmed 512106",
        Mark.READ,
        "Only the upper limit was read; middle and lower limit are ours.",
    ),
    _spread(Figure.RUL, 17.9, 2.4, Group.DEEP, *_LOBES),
    _spread(Figure.RML, 9.3, 1.6, Group.DEEP, *_LOBES),
    _spread(Figure.RLL, 26.5, 2.6, Group.DEEP, *_LOBES),
    _spread(Figure.LUL, 23.1, 2.1, Group.DEEP, *_LOBES),
    _spread(Figure.LLL, 23.2, 2.4, Group.DEEP, *_LOBES),
    _spread(Figure.RIGHT_VOLUME, 53.6, 1.5, Group.DEEP, *_LOBES),
    _spread(Figure.RIGHT_PERFUSION, 52.5, 2.1, Group.FREE, "206 adults with normal scan", "Stanford"),
    Published(
        Figure.GRAVITY,
        -2.6,
        -4.0,
        -1.2,
        Group.FREE,
        "4 adults, supine, dynamic CT",
        "PMC4294417",
        Mark.READ,
        "No spread was read; ± 1.4 is ours.",
    ),
    Published(
        Figure.GRAVITY_PER_TISSUE,
        0.0,
        -1.0,
        1.0,
        Group.FREE,
        "4 adults, supine: per tissue nearly flat, mid-height 9 % (1 to 22) above front and back",
        "PMC4294417",
        Mark.READ,
        "That no straight line remains is read; ± 1 is ours.",
    ),
    Published(
        Figure.HEIGHT_SHARE,
        24.0,
        10.0,
        40.0,
        Group.FREE,
        "6 adults, supine and prone, PET of 6 mm slices, corrected for noise",
        "Musch, J Appl Physiol 2002",
        Mark.READ,
        "No spread was read; the range is ours. Ours is taken on the truth at SPECT resolution.",
    ),
    Published(
        Figure.VARIATION,
        0.24,
        0.15,
        0.40,
        Group.FREE,
        "from −2.6 %/cm over lungs of 15 to 18 cm, if height explains 24 % of the variance",
        "PMC4294417 and Musch 2002",
        Mark.INFERRED,
        "No coefficient of variation was read; the range is ours. Taken on the truth at SPECT resolution.",
    ),
    Published(
        Figure.LOWER_LOBES,
        1.10,
        1.00,
        1.20,
        Group.FREE,
        "lower lobes against the lungs' mean, supine: +5 to 15 %",
        "no source read",
        Mark.ASSUMPTION,
    ),
    Published(
        Figure.EMPHYSEMA_R2,
        0.13,
        0.0,
        0.35,
        Group.EMPHYSEMA,
        "14 patients with severe emphysema, five lobes each, 68Ga PET",
        "Bonney 2020, EJNMMI Res",
        Mark.READ,
        "The upper limit is that of Fisher's z for 70 lobes, rounded up.",
    ),
    Published(
        Figure.TUMOUR_DEFECT,
        73.0,
        55.0,
        100.0,
        Group.CANCER,
        "51 patients with NSCLC: the tumour is the leading cause of defects of its lung",
        "PMC3351273",
        Mark.READ,
        "Another question, near to ours: patients with a defect of 5 ml or more in the lung of the tumour.",
    ),
    Published(
        Figure.DEFECT_PERCENT,
        20.0,
        5.0,
        48.0,
        Group.ALL,
        "lesions of software patients with COPD fill 10 to 48 % of the lungs",
        "2191-219X-3-28, table 1",
        Mark.READ,
        "The middle and the lower limit are ours: not all of our patients have COPD.",
    ),
    Published(
        Figure.FWHM,
        15.0,
        12.0,
        18.0,
        Group.ALL,
        "LEHR, reconstructed, filtered, free breathing",
        "no source read",
        Mark.RECALLED,
    ),
    Published(
        Figure.POINT_FWHM,
        11.0,
        7.0,
        15.0,
        Group.PROTOCOLS,
        "LEHR without breathing: 7 to 8 mm at 10 cm, 10 to 13 mm at 20 cm, then filtered",
        "no source read",
        Mark.RECALLED,
        "Of a resting point in tissue; the range is ours.",
    ),
    Published(
        Figure.NOISE,
        10.0,
        4.0,
        20.0,
        Group.PROTOCOLS,
        "local perfusion, intrinsic accuracy limited by counts, about 10 %",
        "Quantifying local lung perfusion and ventilation using correlated SPECT and CT data",
        Mark.READ,
        "No spread was read; the range is ours.",
    ),
    Published(
        Figure.COUNTS,
        7.0,
        2.0,
        12.0,
        Group.ALL,
        "100 to 370 MBq, 5 to 15 s per view",
        "arithmetic",
        Mark.INFERRED,
    ),
)
