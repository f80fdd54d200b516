"""The page that says how realistic an in-silico cohort is: every figure with the published one beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from training.baselines import Predictor
from training.insilico.cohort_name import CohortName
from training.insilico.realism.agreement_figures import SEEN_TRUTH, TRUTH, Agreement
from training.insilico.realism.cohort_figures import DEEP, Spread, agreement_spread, in_group, lobe_correlation, spread
from training.insilico.realism.comparison import Row, shown
from training.insilico.realism.figure import Figure
from training.insilico.realism.published import Group
from training.insilico.realism.realism import PatientFigures

CLEARLY_BELOW = 0.1
"""How far the best trivial predictor must stay below the ceiling on the eroded mask, in Spearman R; ours."""

SECTIONS: Mapping[str, tuple[Figure, ...]] = {
    "Lungs and lobes": (
        Figure.VOLUME,
        Figure.VOLUME_DEEP,
        Figure.RUL,
        Figure.RML,
        Figure.RLL,
        Figure.LUL,
        Figure.LLL,
        Figure.RIGHT_VOLUME,
    ),
    "CT numbers": (
        Figure.MEAN_HU,
        Figure.MEAN_HU_DEEP,
        Figure.DEPENDENT_HU,
        Figure.LAA950,
        Figure.LAA950_CANCER,
        Figure.CLASS_OVER,
        Figure.CLASS_NORMAL,
        Figure.CLASS_POOR,
        Figure.CLASS_NOT,
    ),
    "Perfusion": (
        Figure.RIGHT_PERFUSION,
        Figure.LOWER_LOBES,
        Figure.GRAVITY,
        Figure.GRAVITY_PER_TISSUE,
        Figure.HEIGHT_SHARE,
        Figure.VARIATION,
    ),
    "Disease": (Figure.DEFECT_PERCENT, Figure.TUMOUR_DEFECT, Figure.EMPHYSEMA_R2),
    "SPECT": (Figure.FWHM, Figure.POINT_FWHM, Figure.NOISE, Figure.COUNTS),
}
PICTURES: Mapping[str, tuple[str, ...]] = {
    "Lungs and lobes": ("lobes.png",),
    "CT numbers": ("hu-histogram.png",),
    "Perfusion": ("perfusion.png",),
    "Disease": ("defects.png", "emphysema.png"),
}


@dataclass(frozen=True, slots=True)
class Making:
    """How the figures came about."""

    name: str
    """Of the cohort's plan."""
    seed: int
    generator: str
    """Name and version."""
    settings: str
    """Body spacing, matrix and SPECT method in one line."""
    command: str


@dataclass(frozen=True, slots=True)
class Findings:
    """All that the page tells."""

    patients: Sequence[PatientFigures]
    controls: Sequence[PatientFigures]
    rows: Sequence[Row]
    fitted: Mapping[str, Mapping[Predictor, Spread]]
    """Spearman R of predictors fitted to the non-cancer cohort, of the lung-cancer cohort, by mask."""
    making: Making


def page(findings: Findings, *, pictures: str) -> str:
    """The whole page.

    Args:
        findings: what it tells.
        pictures: folder of the pictures, from where the page lies.
    """
    parts = [_head(findings), *_sections(findings, pictures), _agreement(findings, pictures), _by_group(findings)]
    return "\n".join([*parts, _departures(findings), _made(findings)])


def _head(findings: Findings) -> str:
    counts = {c: sum(p.cohort == c for p in findings.patients) for c in CohortName}
    held = sum(row.holds is True for row in findings.rows)
    judged = sum(row.holds is not None for row in findings.rows)
    return f"""# How realistic the in-silico cohort is

Nobody in this cohort is real. {counts[CohortName.NON_CANCER]} patients without and {counts[CohortName.LUNG_CANCER]}
with lung cancer were made by a computer, and {len(findings.controls)} healthy controls by the same generator without
any disease. **A figure on them is never comparable with a clinical one**: they show that software keeps geometry and
arithmetic, and what a method can do where the truth is known, never that a prediction is right for a human being.

Here every figure stands beside the published one, as far as there is one. {held} of {judged} lie within the published
spread; the others are named under [Where it does not agree](#where-it-does-not-agree). "Published" is often an
abstract or a table and not the whole paper; each row says how well the number is known: *read*, *inferred* (our
arithmetic on what was read), *recalled* (no page at hand), or *assumption, ours*.
Where only a mean was published, the range is ours, and the note says so.
"""


def _sections(findings: Findings, pictures: str) -> list[str]:
    by_figure = {row.published.figure: row for row in findings.rows}
    parts = []
    for title, figures in SECTIONS.items():
        lines = [f"\n## {title}\n"]
        lines += [f"![{title}]({pictures}/{name})\n" for name in PICTURES.get(title, ())]
        lines += [
            "| figure | ours | published | range | within | whose | known from |",
            "|---|---|---|---|---|---|---|",
        ]
        lines += [_line(by_figure[figure]) for figure in figures if figure in by_figure]
        notes = [by_figure[f] for f in figures if f in by_figure and by_figure[f].published.note]
        if notes:
            lines.append("")
            lines += [f"- {row.published.figure}: {row.published.note}" for row in notes]
        parts.append("\n".join(lines) + "\n")
    return parts


def _line(row: Row) -> str:
    published = row.published
    within = {True: "yes", False: "**no**", None: "–"}[row.holds]
    return (
        f"| {published.figure}, {published.figure.unit} | {_ours(row)} | {shown(published.value)} "
        f"| {shown(published.low)} to {shown(published.high)} | {within} | ours: {published.group}; "
        f"published: {published.population} | {published.source} ({published.mark}) |"
    )


def _ours(row: Row) -> str:
    ours = row.ours
    if ours is None:
        return "–"
    if row.published.is_median:
        return f"median {shown(ours.median)} (n = {ours.number}, {shown(ours.low)} to {shown(ours.high)})"
    if ours.low == ours.high:
        return f"{shown(ours.mean)} (n = {ours.number})"
    return f"{shown(ours.mean)} ± {shown(ours.sd)} (n = {ours.number}, {shown(ours.low)} to {shown(ours.high)})"


def _agreement(findings: Findings, pictures: str) -> str:
    lines = [_AGREEMENT_WORDS, f"![agreement]({pictures}/agreement.png)\n"]
    lines += [
        "| Spearman R with the SPECT | whole mask | eroded mask | Dice 50/50 | Dice high / low 66/34 | lobes, r |",
        "|---|---|---|---|---|---|",
    ]
    for name in (SEEN_TRUTH, TRUTH, *map(str, Predictor)):
        scores = [_two_digits(agreement_spread(name, findings.patients, score)) for score in _SCORES]
        lobes = [lobe_correlation(name, findings.patients, lobe) for lobe in ("RUL", "RML", "RLL", "LUL", "LLL")]
        told = " ".join(f"{r:.2f}" for r in lobes)
        lines.append(f"| {name} | {scores[0]} | {scores[1]} | {scores[2]} | {scores[3]} / {scores[4]} | {told} |")
    for predictor in Predictor:
        whole, inner = (findings.fitted.get(mask, {}).get(predictor) for mask in ("whole", "eroded"))
        if whole is not None and inner is not None:
            lines.append(f"| {predictor}, fitted | {_two_digits(whole)} | {_two_digits(inner)} | | | |")
    lines += ["", *_verdicts(findings)]
    return "\n".join(lines) + "\n"


_AGREEMENT_WORDS = """
## The noise ceiling, and what nearly nothing scores

How well could any predictor agree with these SPECTs? As well as the truth does. Blurred as the SPECT blurs, the truth
is what a perfect predictor of SPECT images would draw: the **noise ceiling**. The truth as it is (not blurred) ranks
voxels at the lungs' edge by their perfusion, where the SPECT shows spilled counts, so on the whole mask it scores less
than a blurred outline of the lungs; only on the eroded mask (one resolution inside the surface) is it a fair limit.

Below stand predictors that know nearly nothing: the outline of the lungs, with gravity (−2.6 % per cm), with the
perfused tissue that the CT number means. In a toy simulation (4.1 l, 4 mm voxels, 15 mm resolution) **shape alone
scored about 0.58 to 0.76, and shape with gravity 0.67 to 0.97**, because the blurred edge drives R. So a headline R
of 0.8 proves little. A network has to be judged by how far it comes from the best of these towards the ceiling,
on the eroded mask, with its error in lobes and defects. "Fitted" are weights of the same terms by least squares on the
non-cancer cohort, scored on the lung-cancer cohort. Scores are means over patients, ± 1 SD; the Dice columns are for
high-functional lung, the last column is Pearson's r over patients of the means of RUL, RML, RLL, LUL and LLL.
"""

_SCORES = (
    lambda a: a.whole,
    lambda a: a.eroded,
    lambda a: a.dice_high["50/50"],
    lambda a: a.dice_high["66/34"],
    lambda a: a.dice_low["66/34"],
)


def _two_digits(ours: Spread | None) -> str:
    return "–" if ours is None else f"{ours.mean:.2f} ± {ours.sd:.2f}"


def _verdicts(findings: Findings) -> list[str]:
    """How far the best trivial predictor stays below the ceiling, by mask."""
    said = []
    for mask in ("whole", "eroded"):

        def score(agreement: Agreement, mask: str = mask) -> float:
            return float(getattr(agreement, mask))

        ceiling = agreement_spread(SEEN_TRUTH, findings.patients, score)
        trivial = {p: agreement_spread(p, findings.patients, score) for p in map(str, Predictor)}
        trivial |= {f"{p}, fitted": s for p, s in findings.fitted.get(mask, {}).items()}
        scored = {name: found.mean for name, found in trivial.items() if found is not None}
        if ceiling is None or not scored:
            continue
        best = max(scored, key=lambda name: scored[name])
        gap = ceiling.mean - scored[best]
        clear = f"clearly below ({CLEARLY_BELOW} or more)" if gap >= CLEARLY_BELOW else "**not clearly below**"
        said.append(
            f"- {mask.capitalize()} mask: ceiling {ceiling.mean:.2f}, best trivial predictor {scored[best]:.2f} "
            f"({best}); {gap:.2f} apart, {clear}."
        )
    return said


def _by_group(findings: Findings) -> str:
    """Figures that show the difference between cohorts and hospitals."""
    groups: dict[str, Sequence[PatientFigures]] = {
        str(group): in_group(group, (), findings.controls) for group in (Group.FREE, Group.DEEP)
    }
    groups |= {c.value: [p for p in findings.patients if p.cohort == c] for c in CohortName}
    for hospital in sorted({p.hospital for p in findings.patients}):
        groups[f"hospital {hospital}"] = [p for p in findings.patients if p.hospital == hospital]
    groups["CT at deep inspiration"] = [p for p in findings.patients if p.breath == DEEP]
    figures = (
        Figure.VOLUME,
        Figure.MEAN_HU,
        Figure.LAA950,
        Figure.RIGHT_PERFUSION,
        Figure.GRAVITY,
        Figure.VARIATION,
        Figure.DEFECT_PERCENT,
        Figure.FWHM,
        Figure.COUNTS,
    )
    lines = ["\n## By cohort and hospital\n", "Mean ± SD. Each hospital has its own scanners and protocols.\n"]
    lines += ["| | " + " | ".join(f"{figure}, {figure.unit}" for figure in figures) + " | ceiling R, eroded |"]
    lines += ["|---" * (len(figures) + 2) + "|"]
    for name, patients in groups.items():
        cells = [_short(spread(figure, patients)) for figure in figures]
        ceiling = _two_digits(agreement_spread(SEEN_TRUTH, patients, lambda a: a.eroded))
        lines.append(f"| {name}, {len(patients)} | " + " | ".join(cells) + f" | {ceiling} |")
    grades = _grades(in_group(Group.CANCER, findings.patients))
    return "\n".join(lines) + f"\n\n{grades}\n"


def _short(ours: Spread | None) -> str:
    return "–" if ours is None else f"{shown(ours.mean)} ± {shown(ours.sd)}"


def _grades(patients: Sequence[PatientFigures]) -> str:
    """Drawn grades of the tumours' defects, and how much of the tumour's lung is a defect in each."""
    told = []
    for grade in range(4):
        those = [p for p in patients if p.tumour_grade == grade and p.tumour_side]
        share = Spread.of(p.side_defects[p.tumour_side].percent for p in those)
        told.append(f"grade {grade}: {len(those)}" + ("" if share is None else f" ({share.mean:.0f} %)"))
    return (
        "Tumours by grade of their perfusion defect (0 none, 1 as large as the lesion, 2 up to a lobe, 3 more than a "
        "lobe; Cancer Biol Med 2005), and the part of that lung which is a defect: " + ", ".join(told) + "."
    )


def _departures(findings: Findings) -> str:
    said = [
        f"- {row.sentence()} {REASONS.get(row.published.figure, '')}".rstrip()
        for row in findings.rows
        if row.holds is False
    ]
    missing = [str(row.published.figure) for row in findings.rows if row.holds is None]
    words = "\n".join(said) if said else "Every figure that could be measured lies within its range."
    if missing:
        words += f"\n\nNot measured on this cohort: {', '.join(missing)}."
    return f"\n## Where it does not agree\n\n{words}\n"


_NARROW = (
    "Our healthy parenchyma is too even: a histogram of real lungs is broader on both sides. Not tuned, as perfusion "
    "hardly depends on it."
)
REASONS: Mapping[Figure, str] = {
    Figure.VOLUME_DEEP: (
        "Few controls; at deep inspiration ours fill their lungs to near total capacity, volunteers in a scanner less."
    ),
    Figure.LAA950: (
        "The only protocol at deep inspiration has a sharp kernel in six of ten patients and little dose, and noise "
        "counts as emphysema; publications use a standard kernel."
    ),
    Figure.LAA950_CANCER: (
        "Published CTs were made at inspiration, ours mostly in free breathing and in slices of 3 mm and more, which "
        "hide small holes; half of our patients have emphysema at all."
    ),
    Figure.CLASS_OVER: _NARROW,
    Figure.CLASS_NORMAL: _NARROW,
    Figure.CLASS_POOR: _NARROW,
    Figure.FWHM: (
        "One of the two protocols corrects for no scatter, whose wide tails make the fitted Gaussian wider than the "
        "peak; the resolution of a point is in the table."
    ),
}
"""Why a figure is off, where that is known."""


def _made(findings: Findings) -> str:
    making = findings.making
    return f"""
## How these figures were made

`{making.command}` measured the DICOM files of each patient with the true lobes as mask and wrote this page. Cohort
`{making.name}`, seed {making.seed}, {making.generator}; {making.settings}. {len(findings.patients)} patients and
{len(findings.controls)} controls. Perfusion defects are lung below half the lungs' mean at SPECT resolution, from 5 ml
(ours). Noise and the resolution of a point are those of a uniform digital chest that does not breathe. The effective
resolution is the Gaussian that makes the true activity most like the SPECT, with breathing and misalignment in it.
"""
