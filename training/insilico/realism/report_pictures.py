"""The pictures of the report on realism: small, with few colours, the published value always in them."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure as Canvas

from training.baselines import Predictor
from training.drawing.palette import BAND
from training.drawing.png import plain, png
from training.insilico.cohort_name import CohortName
from training.insilico.realism.agreement_figures import SEEN_TRUTH, TRUTH
from training.insilico.realism.cohort_figures import PER_PATIENT, has_severe_emphysema
from training.insilico.realism.comparison import Row
from training.insilico.realism.ct_figures import HISTOGRAM_HU
from training.insilico.realism.figure import Figure
from training.insilico.realism.realism import PatientFigures

COLOURS = {"controls": "#2a9d5c", CohortName.NON_CANCER: "#2b6cb0", CohortName.LUNG_CANCER: "#c0392b"}

Groups = Mapping[str, Sequence[PatientFigures]]
"""Healthy controls and the two cohorts, by the keys of `COLOURS`."""


def draw_pictures(groups: Groups, rows: Sequence[Row]) -> dict[str, bytes]:
    """All pictures as PNG, by file name; equal figures give equal bytes."""
    return {
        "hu-histogram.png": _histogram(groups),
        "lobes.png": _panels(groups, rows, LOBE_PANELS),
        "perfusion.png": _panels(groups, rows, PERFUSION_PANELS),
        "agreement.png": _agreement(groups),
        "emphysema.png": _emphysema(groups, rows),
        "defects.png": _defects(groups),
    }


LOBE_PANELS = (Figure.RUL, Figure.RML, Figure.RLL, Figure.LUL, Figure.LLL, Figure.RIGHT_VOLUME)
PERFUSION_PANELS = (
    Figure.RIGHT_PERFUSION,
    Figure.GRAVITY,
    Figure.HEIGHT_SHARE,
    Figure.VARIATION,
    Figure.FWHM,
    Figure.LAA950,
)


def _histogram(groups: Groups) -> bytes:
    figure = Canvas(figsize=(6.4, 3.0))
    place = figure.subplots()
    centres = 0.5 * (np.array(HISTOGRAM_HU[:-1]) + np.array(HISTOGRAM_HU[1:]))
    for name, patients in groups.items():
        if patients:
            mean = np.mean([p.ct.histogram_percent for p in patients], axis=0)
            place.plot(centres, mean, color=COLOURS[name], label=f"{name} (n = {len(patients)})", linewidth=1.4)
    place.axvline(-950.0, color="black", linewidth=0.8, linestyle=":")
    place.text(-945.0, 0.92, "LAA", transform=place.get_xaxis_transform(), fontsize=7)
    place.axvspan(-690.0, -650.0, color=BAND, label="mean at mid-tidal breath, published: about −670", zorder=0)
    place.set_xlabel("CT number in HU", fontsize=8)
    place.set_ylabel("% of the lungs per 20 HU", fontsize=8)
    plain(place)
    place.legend(fontsize=7, frameon=False)
    return _png(figure)


def _panels(groups: Groups, rows: Sequence[Row], panels: Sequence[Figure]) -> bytes:
    """One strip of points per group; the published range is grey, its mean a line."""
    figure = Canvas(figsize=(7.6, 3.0))
    known = {row.published.figure: row.published for row in rows}
    for place, name in zip(figure.subplots(1, len(panels)), panels, strict=True):
        published = known[name]
        place.axhspan(published.low, published.high, color=BAND, zorder=0)
        place.axhline(published.value, color="black", linewidth=0.8)
        for column, (group, patients) in enumerate(groups.items()):
            values = [PER_PATIENT[name](patient) for patient in patients]
            aside = column + 0.28 * np.sin(2.4 * np.arange(len(values)))
            place.scatter(aside, values, s=5, color=COLOURS[group], linewidths=0)
        place.set_title(f"{name}\n{name.unit}", fontsize=6.5)
        place.set_xticks([])
        place.set_xlim(-0.6, len(groups) - 0.4)
        plain(place)
    _key(figure, groups, "grey: published range")
    return _png(figure)


def _agreement(groups: Groups) -> bytes:
    figure = Canvas(figsize=(7.6, 3.4))
    names = [SEEN_TRUTH, TRUTH, *map(str, Predictor)]
    for place, mask in zip(figure.subplots(1, 2, sharey=True), ("whole", "eroded"), strict=True):
        for column, (group, patients) in enumerate(groups.items()):
            for line, name in enumerate(names):
                scores = [getattr(patient.agreement.with_spect[name], mask) for patient in patients]
                aside = line + 0.25 * (column - 1) + 0.08 * np.sin(2.4 * np.arange(len(scores)))
                place.scatter(scores, aside, s=5, color=COLOURS[group], linewidths=0)
        place.axhline(1.5, color="black", linewidth=0.6)
        place.set_xlabel(f"Spearman R with the SPECT, {mask} mask", fontsize=8)
        place.set_yticks(range(len(names)), names, fontsize=7)
        place.set_xlim(-0.6, 1.0)
        place.set_ylim(len(names) - 0.5, -0.5)
        plain(place)
    note = "above the line: ceiling; below: predictors that know nearly nothing"
    _key(figure, groups, note, left=0.2, top=0.97, bottom=0.22, wspace=0.06)
    return _png(figure)


def _emphysema(groups: Groups, rows: Sequence[Row]) -> bytes:
    figure = Canvas(figsize=(5.0, 3.2))
    place = figure.subplots()
    for group, patients in groups.items():
        struck = [patient for patient in patients if has_severe_emphysema(patient)]
        pairs = [
            (patient.ct.lobe_laa950_percent[lobe], patient.spect.lobe_relative[lobe])
            for patient in struck
            for lobe in patient.spect.lobe_relative
            if lobe in patient.ct.lobe_laa950_percent
        ]
        if pairs:
            density, flow = np.array(pairs).T
            place.scatter(density, flow, s=8, color=COLOURS[group], linewidths=0, label=f"{group}, {len(struck)}")
    row = next(row for row in rows if row.published.figure is Figure.EMPHYSEMA_R2)
    ours = "none" if row.ours is None else f"{row.ours.mean:.2f}"
    place.set_title(f"Lobes of patients with severe emphysema: R² {ours}, published {row.published.value}", fontsize=8)
    place.set_xlabel("LAA-950 of the lobe in %", fontsize=8)
    place.set_ylabel("perfusion of the lobe, × lung mean", fontsize=8)
    plain(place)
    if row.ours is not None:
        place.legend(fontsize=7, frameon=False)
    return _png(figure)


def _defects(groups: Groups) -> bytes:
    figure = Canvas(figsize=(7.6, 2.8))
    shares = figure.subplots(1, 2)
    edges = np.arange(0.0, 61.0, 5.0)
    for place, what in zip(shares, ("percent", "largest_percent"), strict=True):
        for group, patients in groups.items():
            values = np.clip([getattr(patient.defects, what) for patient in patients], 0.0, 59.9)
            if len(values):
                place.hist(values, edges, weights=np.full(len(values), 100.0 / len(values)), histtype="step",
                           color=COLOURS[group], linewidth=1.4)  # fmt: skip
        place.set_ylabel("% of patients", fontsize=8)
        plain(place)
    shares[0].set_xlabel("all defects, % of the lungs", fontsize=8)
    shares[1].set_xlabel("largest defect, % of the lungs", fontsize=8)
    note = "perfusion below half the lungs' mean, from 5 ml"
    _key(figure, groups, note, left=0.08, top=0.95, bottom=0.28, wspace=0.25)
    return _png(figure)


def _key(figure: Canvas, groups: Groups, note: str, **margins: float) -> None:
    """Who has which colour and a note, below the panels, which are given their place."""
    for column, (group, patients) in enumerate(groups.items()):
        figure.text(0.01 + 0.16 * column, 0.02, f"{group} ({len(patients)})", color=COLOURS[group], fontsize=7.5)
    figure.text(0.99, 0.02, note, fontsize=7.5, ha="right")
    figure.subplots_adjust(**({"left": 0.06, "right": 0.985, "top": 0.85, "bottom": 0.11, "wspace": 0.5} | margins))


def _png(figure: Canvas) -> bytes:
    if not figure.texts:
        figure.subplots_adjust(left=0.11, right=0.98, top=0.92, bottom=0.17)
    return png(figure)
