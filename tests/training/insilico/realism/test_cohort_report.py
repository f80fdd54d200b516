"""A report on two coarse patients, from their files to the page."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from training.baselines import Predictor, Term
from training.errors import NoPatient
from training.insilico.cohort_plan import BodyPlan, Counts, CtPlan, InsilicoPlan, SpectPlan
from training.insilico.files.cohort import make_cohort
from training.insilico.files.patient_files import write_patient
from training.insilico.generation import make_patient
from training.insilico.realism.agreement_figures import SEEN_TRUTH, LungVoxels
from training.insilico.realism.cohort_figures import Spread, lobar_r2, spread, tumour_defect_percent
from training.insilico.realism.cohort_report import KEPT, PAGE, Kind, Task, fitted_scores, measure_task, report_cohort
from training.insilico.realism.comparison import Row, shown
from training.insilico.realism.figure import Figure
from training.insilico.realism.published import PUBLISHED
from training.insilico.realism.realism import PatientFigures, kept_measures, read_figures
from training.insilico.realism.report_page import Findings, Making, page
from training.insilico.spect.spect_protocol import SpectMethod

PLAN = InsilicoPlan(
    name="report-test",
    statement="Two coarse patients.",
    seed=3,
    counts=Counts(1, 1),
    body=BodyPlan(spacing_mm=7.0, territories=60),
    ct=CtPlan(matrix=64),
    spect=SpectPlan(SpectMethod.FAST),
)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two patients with a manifest and all measures kept."""
    folder = tmp_path_factory.mktemp("cohort")
    for patient in PLAN.patients:
        write_patient(make_patient(PLAN, patient), PLAN, folder)
    make_cohort(PLAN, folder, workers=1)
    for patient in PLAN.patients:
        measure_task(PLAN, folder / KEPT, Task(Kind.PATIENT, folder / str(patient), patient.number))
    for kind, number in ((Kind.CONTROL, 1), (Kind.PROTOCOL, 0), (Kind.PROTOCOL, 1)):
        measure_task(PLAN, folder / KEPT, Task(kind, None, number))
    return folder


@pytest.fixture(scope="module")
def patients(cohort: Path) -> tuple[PatientFigures, PatientFigures]:
    one, other = (kept_measures(cohort / name, cohort / KEPT) for name in ("NC-001", "LC-001"))
    return one, other


def test_the_report_is_a_page_with_small_pictures(cohort: Path, tmp_path: Path) -> None:
    written = report_cohort(cohort, tmp_path, workers=1, controls=1, tell=never)
    words = written.read_text()
    assert written == tmp_path / PAGE
    assert "never comparable with a clinical one" in words
    assert "1 patients without and 1\nwith lung cancer" in words
    for row in PUBLISHED:
        assert f"| {row.figure}, {row.figure.unit} |" in words
    pictures = sorted((tmp_path / "cohort").iterdir())
    assert len(pictures) == 6
    assert all(f"(cohort/{picture.name})" in words for picture in pictures)
    assert max(picture.stat().st_size for picture in pictures) < 60_000


def never(event: object) -> None:
    raise AssertionError(f"measured again: {event}")


def test_equal_cohorts_give_equal_pages(cohort: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        report_cohort(cohort, tmp_path / name, workers=1, controls=1)
    one, two = (
        {path.name: path.read_bytes() for path in (tmp_path / name).rglob("*") if path.is_file()}
        for name in ("one", "two")
    )
    assert one == two


def test_a_patient_that_has_changed_is_measured_again(cohort: Path, tmp_path: Path) -> None:
    folder, kept = tmp_path / "NC-001", tmp_path / "kept"
    shutil.copytree(cohort / "NC-001", folder)
    before = kept_measures(folder, kept)
    (file,) = kept.glob("*.json")
    told = json.loads(file.read_text()) | {"counts": 1}
    file.write_text(json.dumps(told))
    assert kept_measures(folder, kept).counts == 1  # kept, not measured
    record = json.loads((folder / "record.json").read_text())
    (folder / "record.json").write_text(json.dumps(record | {"hospital": "hospital-z"}))
    after = kept_measures(folder, kept)
    assert (after.counts, after.hospital) == (before.counts, "hospital-z")
    assert len(list(kept.iterdir())) == 2  # nothing is left of the old one


def test_kept_figures_read_as_they_were_written(cohort: Path, patients: tuple[PatientFigures, PatientFigures]) -> None:
    (file,) = (cohort / KEPT).glob("NC-001.*.json")
    assert read_figures(file) == patients[0]


def test_a_folder_without_a_cohort_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NoPatient):
        report_cohort(tmp_path, tmp_path / "out", workers=1)


def test_a_figure_out_of_range_is_named_with_its_limit(patients: tuple[PatientFigures, PatientFigures]) -> None:
    (published,) = [row for row in PUBLISHED if row.figure is Figure.RIGHT_PERFUSION]
    off = Row(published, Spread.of([60.0, 62.0]))
    assert off.holds is False
    assert (
        off.sentence()
        == "right lung perfusion (healthy controls, free breathing): ours 61.0 lies above 54.6 % of perfusion."
    )
    held = Row(published, Spread.of([52.0, 53.0]))
    assert held.holds is True
    words = page(findings(patients, rows=(off,)), pictures="cohort")
    assert off.sentence() in words
    assert "0 of 1 lie within" in words


def findings(patients: tuple[PatientFigures, ...], rows: tuple[Row, ...] = ()) -> Findings:
    making = Making("test", 1, "generator 1", "coarse", "perfnode cohort report")
    return Findings(patients=patients, controls=(), rows=rows, fitted={}, making=making)


@pytest.mark.parametrize(("trivial", "said"), [(0.79, "clearly below (0.1 or more)"), (0.81, "**not clearly below**")])
def test_the_page_says_whether_trivial_predictors_stay_below_the_ceiling(
    patients: tuple[PatientFigures, PatientFigures], trivial: float, said: str
) -> None:
    scores = {str(predictor): trivial for predictor in Predictor} | {SEEN_TRUTH: 0.9}
    both = tuple(scored(patient, scores) for patient in patients)
    (line,) = [line for line in page(findings(both), pictures="x").splitlines() if line.startswith("- Eroded mask")]
    assert said in line
    assert f"{0.9 - trivial:.2f} apart" in line


def scored(patient: PatientFigures, eroded: Mapping[str, float]) -> PatientFigures:
    of_maps = patient.agreement.with_spect
    changed = of_maps | {name: replace(of_maps[name], eroded=value) for name, value in eroded.items()}
    return replace(patient, agreement=replace(patient.agreement, with_spect=changed))


def test_lobar_density_explains_what_it_is_made_to_explain(patients: tuple[PatientFigures, PatientFigures]) -> None:
    density, flow = {"RUL": 10.0, "RLL": 20.0, "LUL": 30.0, "LLL": 40.0}, [1.2, 1.0, 1.1, 0.7]
    patient = replace(
        patients[0],
        ct=replace(patients[0].ct, lobe_laa950_percent=density),
        spect=replace(patients[0].spect, lobe_relative=dict(zip(density, flow, strict=True))),
    )
    assert lobar_r2([patient]) == pytest.approx(np.corrcoef(list(density.values()), flow)[0, 1] ** 2)
    assert np.isnan(lobar_r2([]))


def test_defects_on_the_tumours_side_count_patients(patients: tuple[PatientFigures, PatientFigures]) -> None:
    none, some = (replace(patients[0].defects, number=number) for number in (0, 2))
    right = replace(patients[0], tumour_side="R", side_defects={"R": some, "L": none})
    left = replace(right, tumour_side="L")
    without = replace(right, tumour_side="")
    assert tumour_defect_percent([right, left, without, right]) == pytest.approx(200.0 / 3.0)


def test_the_resolution_is_that_of_free_breathing_only(patients: tuple[PatientFigures, PatientFigures]) -> None:
    agreement = patients[0].agreement
    free = replace(patients[0], breath="free breathing", agreement=replace(agreement, fwhm_mm=15.0))
    deep = replace(free, breath="deep inspiration", agreement=replace(agreement, fwhm_mm=24.0))
    found = spread(Figure.FWHM, [free, deep])
    assert found is not None
    assert (found.number, found.mean) == (1, 15.0)


def test_a_spread_is_mean_deviation_median_and_range() -> None:
    found = Spread.of([1.0, 2.0, 6.0, float("nan")])
    assert found == Spread(3, 3.0, pytest.approx(7.0**0.5), 2.0, 1.0, 6.0)
    assert Spread.of([]) is None


def test_fitted_predictors_are_scored_on_others() -> None:
    """Training patients follow tissue alone. Who is scored follows it inside, and against it at the edge, by more."""
    terms = np.zeros((len(Term), 200), np.float32)
    terms[Term.LUNG], terms[Term.TISSUE] = 1.0, np.linspace(0.5, 1.5, 200)
    inner = np.arange(200) < 100
    same = LungVoxels(terms, terms[Term.TISSUE].copy(), inner)
    against = np.where(inner, terms[Term.TISSUE], 0.4 - 0.2 * terms[Term.TISSUE]).astype(np.float32)
    reverse = LungVoxels(terms, against, inner)
    found = fitted_scores({"a": same}, {"b": reverse})
    assert found["whole"][Predictor.DENSITY].mean < 0.0
    assert found["eroded"][Predictor.DENSITY].mean == pytest.approx(1.0, abs=1e-3)
    assert fitted_scores({"a": same}, {}) == {}


@pytest.mark.parametrize(
    ("value", "words"), [(0.0, "0"), (0.125, "0.12"), (-2.64, "-2.6"), (99.94, "99.9"), (4066.4, "4,066")]
)
def test_numbers_are_shown_to_a_sensible_digit(value: float, words: str) -> None:
    assert shown(value) == words
