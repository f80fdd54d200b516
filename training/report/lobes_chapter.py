"""Mean perfusion of lobes, what a predicted value is worth, and defects."""

import numpy as np

from inference.anatomy import Lobe
from training.arm_statistics import ArmScores, DefectStatistics, LobeStatistics
from training.report.chapter import Chapter
from training.report.document import Heading, Picture, Row, Table, Text, Weight
from training.report.families import COLOURS, Family, family, in_order, label
from training.report.figures.calibration import CalibrationCurve, DefectPoints, draw_calibration
from training.report.figures.lobes import LobePoints, draw_bland_altman, draw_lobes
from training.report.first_screen import best_trivial
from training.report.numbers import interval, number, percent
from training.report.paper_chapter import PRETRAINED
from training.report.results import StudyResults
from training.score_names import CEILING, SPECT_MAP, Against

LOBES, BLAND_ALTMAN, CALIBRATION = "lobes.png", "bland-altman.png", "calibration.png"


def lobes_chapter(results: StudyResults) -> Chapter:
    """Lobes of the main arm as pictures, of all arms as a table."""
    points = _lobe_points(results)
    main = label(results.main.name, results.recipe)
    parts = (
        Heading("Lobes"),
        Picture(
            LOBES,
            f"Mean perfusion of each lobe in multiples of the mean of both lungs: {main} over SPECT, one point for "
            "each patient. r: Pearson's, over patients, of the arm and, in brackets, of the noise ceiling.",
            "Five scatter plots, one for each lobe, of predicted over measured mean perfusion.",
        ),
        Picture(
            BLAND_ALTMAN,
            f"Bland–Altman: {main} less reference over the mean of both, all lobes of all patients. Solid: mean "
            "difference. Dotted: 95 % limits of agreement of the points shown.",
            "Bland-Altman plots of lobe means against the SPECT and against the truth.",
        ),
        Text("Correlation over patients of a lobe's mean perfusion with the SPECT, with its 95 % interval."),
        _lobe_table(results),
    )
    return Chapter(parts, {LOBES: draw_lobes(points), BLAND_ALTMAN: draw_bland_altman(points)})


def values_chapter(results: StudyResults) -> Chapter:
    """Calibration and defects."""
    main = label(results.main.name, results.recipe)
    parts = (
        Heading("Values and defects"),
        Picture(
            CALIBRATION,
            "Left: SPECT over predicted perfusion in bins of the predicted value, points as large as their share of "
            "the voxels; on the dashed line a value means what it says. Right: every perfusion defect of the truth as "
            f"{main} shows it, first seed: 1 is its whole contrast, 0 none. Found: at least half of its volume is also "
            "below half the lungs' mean in the map.",
            "Calibration curves, and contrast of defects over their volume.",
        ),
        Text(
            "A defect is connected lung of at least 5 ml below half the lungs' mean, in the truth at SPECT resolution, "
            "corrected for the lungs' edge. These rules are ours; no published one fits relative maps."
        ),
        _defect_table(results),
    )
    picture = draw_calibration(_curves(results), _defect_points(results.main, main))
    return Chapter(parts, {CALIBRATION: picture})


def _lobe_points(results: StudyResults) -> dict[Lobe, LobePoints]:
    points = {}
    for lobe in Lobe:
        patients = [
            [case.lobes[lobe.name] for case in results.main.of(patient) if lobe.name in case.lobes]
            for patient in results.main.patients
        ]
        told = [
            (float(np.mean([seed.predicted for seed in seeds])), seeds[0].spect, seeds[0].truth)
            for seeds in patients
            if seeds
        ]
        if told:
            predicted, spect, truth = np.array(told).T
            points[lobe] = LobePoints(predicted, spect, truth, _note(lobe, results))
    return points


def _note(lobe: Lobe, results: StudyResults) -> str:
    ours, most = (results.statistics.arms[n].lobes[Against.SPECT].get(lobe.name) for n in (results.main.name, CEILING))
    return f"r {_r(ours)} [{_r(most)}]"


def _r(found: LobeStatistics | None) -> str:
    return number(found.r.value if found is not None and found.r is not None else None, 2)


def _lobe_table(results: StudyResults) -> Table:
    rows = []
    for name in in_order(results.arms, results.recipe):
        if name == SPECT_MAP:
            continue
        lobes = results.statistics.arms[name].lobes[Against.SPECT]
        rows.append(
            Row(
                (label(name, results.recipe), *(_lobe_cell(lobes.get(lobe.name)) for lobe in Lobe)),
                _weight(name, results),
            )
        )
    return Table(("arm", *(lobe.name for lobe in Lobe)), tuple(rows))


def _lobe_cell(found: LobeStatistics | None) -> str:
    return number(None) if found is None or found.r is None else interval(found.r.value, found.r.low, found.r.high, 2)


def _weight(name: str, results: StudyResults) -> Weight:
    if name == results.main.name:
        return Weight.STRONG
    return Weight.FAINT if family(name, results.recipe) in (Family.CEILING, Family.BASELINE) else Weight.PLAIN


def _curves(results: StudyResults) -> list[CalibrationCurve]:
    trivial = best_trivial(results)
    chosen = {results.main.name: COLOURS[Family.TRANSFER], PRETRAINED: "#e69f00", CEILING: COLOURS[Family.CEILING]}
    if trivial is not None:
        chosen[trivial] = COLOURS[Family.BASELINE]
    curves = []
    for name, colour in chosen.items():
        rows = results.statistics.arms[name].calibration[Against.SPECT] if name in results.arms else ()
        rows = tuple(row for row in rows if row.share > 0.002)  # a mean of a few voxels is no point of a curve
        if rows:
            predicted, measured, share = zip(*((r.predicted, r.measured, r.share) for r in rows), strict=True)
            called = "noise ceiling" if name == CEILING else label(name, results.recipe)
            curves.append(CalibrationCurve(called, colour, predicted, measured, share))
    return curves


def _defect_points(arm: ArmScores, called: str) -> DefectPoints:
    every = [defect for patient in arm.patients for defect in arm.of(patient)[0].defects.defects]
    return DefectPoints(
        called,
        COLOURS[Family.TRANSFER],
        tuple(defect.volume_ml for defect in every),
        tuple(defect.contrast_shown for defect in every),
        tuple(defect.found for defect in every),
    )


def _defect_table(results: StudyResults) -> Table:
    every = results.statistics.arms[results.main.name].defects
    sizes = [(size.from_ml, f"{_size(size.from_ml, size.below_ml)} ({size.defects})") for size in every.sizes]
    rows = [
        Row(
            (label(name, results.recipe), *_defect_cells(results.statistics.arms[name].defects, sizes)),
            _weight(name, results),
        )
        for name in in_order(results.arms, results.recipe)
    ]
    columns = (
        "arm",
        f"found, of {every.defects}",
        *(f"found, {name}" for _, name in sizes),
        "contrast shown",
        "false, per patient",
    )
    return Table(
        columns,
        tuple(rows),
        f"{every.defects} defects in {every.patients} patients. Contrast shown: part of the perfusion that the defects "
        "lack which the map lacks too, large defects counting more. False: defects of the map that touch none of the "
        "truth; a noisy SPECT has some too.",
    )


def _defect_cells(found: DefectStatistics, sizes: list[tuple[float, str]]) -> tuple[str, ...]:
    of_size = {size.from_ml: size.found for size in found.sizes}
    share, contrast, false = found.found, found.contrast_shown, found.false_per_patient
    return (
        number(None) if share is None else interval(share.value, share.low, share.high, 2),
        *(percent(of_size.get(start), 0) for start, _ in sizes),
        number(None) if contrast is None else interval(contrast.value, contrast.low, contrast.high, 2),
        number(None if false is None else false.value, 2),
    )


def _size(start: float, end: float | None) -> str:
    return f"{start:.0f}–{end:.0f} ml" if end is not None else f"from {start:.0f} ml"
