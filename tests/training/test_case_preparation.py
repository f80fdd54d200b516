"""From a small cohort, made by the command, to cases: what a network is shown is what the node makes of the same CT."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import spatial

from inference.model_card import ModelCard, ModelIdentity
from inference.preprocessing import network_input, seen_lobes
from inference.volumes import CtVolume, LobeMap
from training.baselines import Predictor, blurred
from training.case_files import case_file, kept_digest, prepared_patients, read_case
from training.case_preparation import PreparedCases, preparation_digest, prepare_cases, prepared_case, true_lobes
from training.insilico.files.patient_files import PatientFolder
from training.insilico.realism.agreement_figures import SEEN_TRUTH
from training.insilico.realism.realism import Views, measure, read_views, record_facts
from training.metrics import pearson, spearman
from training.study_case import StudyCase
from training.voxel_means import voxel_means

CARD = ModelCard(
    ModelIdentity("test", "1"),
    "UNet",
    {},
    (8.0, 8.0, 8.0),
    (-1000.0, 100.0),
    (32, 32, 32),
    "",
    "",
    channels=("hu", "lungs", "spread", "height"),
)


class RightLung:
    """A segmenter that draws the right lung only, as the truth has it."""

    identity = ModelIdentity("right lung", "1")

    def __init__(self, views: Views) -> None:
        self._truth = true_lobes(views)

    def segment(self, ct: CtVolume) -> LobeMap:
        labels = np.where(self._truth.labels <= 3, self._truth.labels, 0).astype(np.uint8)
        return LobeMap(labels, ct.grid, self.identity)


@pytest.fixture(scope="module")
def patient(tiny_cohort: Path) -> PatientFolder:
    return PatientFolder.open(tiny_cohort / "LC-001")


@pytest.fixture(scope="module")
def views(patient: PatientFolder) -> Views:
    return read_views(patient)


@pytest.fixture(scope="module")
def case(patient: PatientFolder) -> StudyCase:
    return prepared_case(patient, CARD)


@pytest.fixture(scope="module")
def prepared(tiny_cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PreparedCases]:
    out = tmp_path_factory.mktemp("study") / "cases"
    return out, prepare_cases(tiny_cohort, CARD, out, workers=1)


def test_what_training_shows_a_network_is_what_the_node_shows_it(
    prepared: tuple[Path, PreparedCases], views: Views
) -> None:
    lobes = true_lobes(views)
    seen = network_input(views.ct, lobes, CARD)
    kept = read_case(case_file(prepared[0], "LC-001"))
    assert kept.channel_names == CARD.channels
    assert np.array_equal(kept.channels, seen.channels)
    assert kept.grid.matches(seen.grid)
    assert np.array_equal(kept.lungs, seen.lungs >= 0.5)
    assert np.array_equal(kept.lobes, np.where(kept.lungs, seen_lobes(lobes, seen), 0))


def test_every_voxel_of_the_lungs_has_a_lobe_and_nothing_else_has(case: StudyCase) -> None:
    assert np.array_equal(case.lobes > 0, case.lungs)
    assert set(np.unique(case.lobes)) == {0, 1, 2, 3, 4, 5}


def test_all_maps_have_mean_one_in_the_lungs_and_are_nothing_outside(case: StudyCase) -> None:
    for values in (case.target, case.truth, *case.baselines):
        assert values[case.lungs].mean() == pytest.approx(1.0, abs=1e-5)
        assert not values[~case.lungs].any()


def test_the_target_is_the_spect_of_the_same_place(case: StudyCase, views: Views) -> None:
    spect = voxel_means(views.spect, views.spect_grid, case.grid)
    inside = spect[case.lungs]
    assert case.target[case.lungs] == pytest.approx(inside / inside.mean(), rel=1e-4)


def test_the_truth_agrees_with_the_spect_far_better_than_shape_does(case: StudyCase) -> None:
    shape = case.baseline_maps[Predictor.SHAPE]
    assert pearson(case.truth, case.target, case.lungs) > pearson(shape, case.target, case.lungs) + 0.1


def test_the_truth_is_blurred_as_the_spect_blurs(case: StudyCase, views: Views) -> None:
    inside = np.where(views.truth.lobes > 0, views.truth.perfusion, np.float32(0.0))
    sharp = voxel_means(inside, views.truth.grid, case.grid)
    assert pearson(case.truth, case.target, case.lungs) > pearson(sharp, case.target, case.lungs) + 0.01
    wide = blurred(sharp, case.grid, fwhm_mm=case.facts.fwhm_mm + 4.0)
    assert pearson(case.truth, case.target, case.lungs) > pearson(wide, case.target, case.lungs)


def test_ceiling_and_baselines_are_those_of_the_cohort_report_within_the_change_of_voxels(
    case: StudyCase, patient: PatientFolder, views: Views
) -> None:
    report = measure(views, record_facts(patient))[0].agreement
    assert case.facts.fwhm_mm == pytest.approx(report.fwhm_mm, abs=1.5)
    for name, values in {SEEN_TRUTH: case.truth, **case.baseline_maps}.items():
        ours = spearman(values, case.target, case.lungs)
        assert ours == pytest.approx(report.with_spect[name].whole, abs=0.06), name


def test_eroded_lungs_lie_one_resolution_inside(case: StudyCase) -> None:
    assert not case.eroded[~case.lungs].any()
    assert case.eroded.any()
    nearest_mm, _ = spatial.KDTree(8.0 * np.argwhere(~case.lungs)).query(8.0 * np.argwhere(case.lungs))
    inside = case.eroded[case.lungs]
    assert nearest_mm[inside].min() >= case.facts.fwhm_mm
    assert nearest_mm[~inside].max() < case.facts.fwhm_mm + 8.0


def test_lobes_drawn_by_a_segmenter_take_the_place_of_the_true_ones(
    case: StudyCase, patient: PatientFolder, views: Views
) -> None:
    segmenter = RightLung(views)
    drawn = prepared_case(patient, CARD, segmenter=segmenter)
    assert set(np.unique(drawn.lobes)) == {0, 1, 2, 3}
    assert drawn.facts.mask == "right lung"
    assert drawn.facts.lung_volume_ml < 0.7 * case.facts.lung_volume_ml
    assert drawn.target[drawn.lungs].mean() == pytest.approx(1.0, abs=1e-5)
    assert preparation_digest(patient, CARD, segmenter) != preparation_digest(patient, CARD)


def test_facts_are_those_of_the_record(case: StudyCase, patient: PatientFolder, views: Views) -> None:
    facts, record = case.facts, patient.record
    assert (case.patient, case.cohort, facts.hospital) == ("LC-001", "lung-cancer", record["hospital"])
    assert facts.breath == record["person"]["state"]
    assert "tumour" in facts.diseases
    tumour = views.truth.diseases["tumour"]
    share = 100.0 * np.count_nonzero(tumour) / np.count_nonzero(views.truth.lobes)
    assert facts.disease_percent["tumour"] == pytest.approx(share, rel=1e-3)
    assert facts.true_lobe_means["RUL"] == pytest.approx(
        float(views.truth.perfusion[views.truth.lobes == 1].mean()), rel=1e-3
    )
    assert facts.mask == "true lobes"
    assert facts.input_statistics["lung_volume"] == pytest.approx(facts.lung_volume_ml, rel=1e-3)


def test_all_patients_are_prepared_and_a_second_run_keeps_them(
    prepared: tuple[Path, PreparedCases], tiny_cohort: Path
) -> None:
    out, first = prepared
    assert [end.failure for end in first.made] == [None, None]
    assert prepared_patients(out) == ("LC-001", "NC-001")
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    again = prepare_cases(tiny_cohort, CARD, out, workers=1)
    assert (again.made, again.kept) == ((), ("NC-001", "LC-001"))
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before


def test_what_is_damaged_is_prepared_again_to_the_same_bytes_and_what_cannot_be_is_told(
    prepared: tuple[Path, PreparedCases], tiny_cohort: Path, tmp_path: Path
) -> None:
    cohort, out = tmp_path / "cohort", tmp_path / "cases"
    for folder in (cohort, out):
        folder.mkdir()
    for name in ("NC-001", "LC-001"):
        (cohort / name).mkdir()
        for path in (tiny_cohort / name).iterdir():
            if (name, path.name) != ("LC-001", "nm"):
                (cohort / name / path.name).symlink_to(path)
    good = case_file(prepared[0], "NC-001").read_bytes()
    case_file(out, "NC-001").write_bytes(good[: len(good) // 2])
    result = prepare_cases(cohort, CARD, out, workers=1)
    assert case_file(out, "NC-001").read_bytes() == good
    assert [end.task for end in result.failed] == ["LC-001"]
    assert "spect.dcm" in str(result.failed[0].failure)
    assert not case_file(out, "LC-001").exists()


@pytest.mark.parametrize("change", [{"channels": ("hu", "lungs")}, {"hu_window": (-1000.0, 200.0)}])
def test_cases_prepared_in_another_way_are_not_kept(
    change: dict[str, object], prepared: tuple[Path, PreparedCases], patient: PatientFolder
) -> None:

    kept = kept_digest(case_file(prepared[0], "LC-001"))
    assert kept == preparation_digest(patient, CARD)
    assert kept != preparation_digest(patient, replace(CARD, **change))
