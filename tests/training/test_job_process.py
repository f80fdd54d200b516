"""Jobs of a small study on drawn patients, done in this process."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from inference.checkpoint import load_network
from tests.training.small_study import write_patients, write_recipe
from training.case_files import read_cases
from training.job_folders import job_folder, lay_out
from training.job_process import STOPPED, main
from training.jobs import Job, Result, read_record
from training.prediction import read_prediction
from training.recipe import read_recipe
from training.scores import case_scores, read_scores
from training.study import Patients, plan_study


@pytest.fixture(autouse=True)
def _own_signals() -> Iterator[None]:
    """A job asks for SIGTERM; here it is run in the process of the tests."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    write_patients(folder)
    return folder


@pytest.fixture(scope="module")
def jobs(study: Path) -> dict[str, Job]:
    recipe = read_recipe(write_recipe(study / "recipe"))
    planned = plan_study(recipe, Patients.of(study))
    lay_out(study, planned)
    before = signal.getsignal(signal.SIGTERM)
    for name in ("pretraining/small/seed5", "pretraining/plain/seed5"):
        assert main([str(job_folder(study, name)), "--device", "cpu"]) == 0
    signal.signal(signal.SIGTERM, before)
    return {job.name: job for job in planned}


def done(study: Path, name: str) -> Result:
    assert main([str(job_folder(study, name)), "--device", "cpu"]) == 0
    return read_record(job_folder(study, name) / "result.json", Result)


def test_a_job_is_scored_by_the_maps_it_keeps(study: Path, jobs: dict[str, Job]) -> None:
    name = "full-fine-tuning/fold0/seed5"
    result = done(study, name)
    scores = read_scores(result.scores)
    assert tuple(scores) == jobs[name].test
    for case in read_cases(study / "cases", jobs[name].test):
        kept = read_prediction(job_folder(study, name) / "predictions" / f"{case.patient}.npz", case)
        again = case_scores(kept, case)
        for against, agreement in again.against.items():
            assert agreement.scores == pytest.approx(scores[case.patient].against[against].scores, abs=1e-2)


def test_a_job_leaves_the_folder_of_a_model_whose_weights_it_names(study: Path, jobs: dict[str, Job]) -> None:
    result = done(study, "full-fine-tuning/fold1/seed5")
    network = load_network(job_folder(study, "full-fine-tuning/fold1/seed5"))
    assert network.card.identity.weights_sha256 == result.weights_sha256
    assert "in-silico" in network.card.trained_on
    assert sum(parameter.numel() for parameter in network.parameters()) == result.parameters


def test_what_learns_nothing_predicts_as_the_network_it_starts_from(study: Path, jobs: dict[str, Job]) -> None:
    result = done(study, "pretrained-only/fold0/seed5")
    before = read_record(job_folder(study, "pretraining/small/seed5") / "result.json", Result)
    assert result.best_step is None
    assert result.weights_sha256 == before.weights_sha256
    assert not before.scores


def test_a_peer_is_shown_its_own_channels(study: Path, jobs: dict[str, Job]) -> None:
    result = done(study, "peer/fold0/seed5")
    card = load_network(job_folder(study, "peer/fold0/seed5")).card
    assert (card.network, card.channels) == ("UNet", ("hu", "lungs"))
    assert set(result.scores) == set(jobs["peer/fold0/seed5"].test)


def test_a_job_of_both_cohorts_runs(study: Path, jobs: dict[str, Job]) -> None:
    result = done(study, "joint/fold0/seed5")
    assert set(result.seconds) == {"loading", "training", "predicting", "scoring"}
    assert result.versions.keys() >= {"python", "torch", "monai", "accelerate"}


def test_asked_to_end_it_saves_and_goes_on_to_the_same_weights(
    study: Path, jobs: dict[str, Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    from training.job_work import Clock

    folder = job_folder(study, "joint/fold1/seed5")
    steps = []
    step = Clock.step

    def end_at_three(clock: Clock, number: int) -> None:
        step(clock, number)
        steps.append(number)
        if number == 3 and len(steps) == 3:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(Clock, "step", end_at_three)
    assert main([str(folder), "--device", "cpu"]) == STOPPED
    assert not (folder / "result.json").exists()
    assert steps == [1, 2, 3]
    assert main([str(folder), "--device", "cpu"]) == 0
    assert steps == [1, 2, 3, 4, 5, 6]
    interrupted = read_record(folder / "result.json", Result)

    for path in folder.iterdir():
        if path.is_file() and path.name not in ("job.json", "job.lock"):
            path.unlink()
    steps.clear()
    steps.extend([0] * 9)
    assert main([str(folder), "--device", "cpu"]) == 0
    assert read_record(folder / "result.json", Result).weights_sha256 == interrupted.weights_sha256


def test_a_job_that_is_done_is_left_alone(study: Path, jobs: dict[str, Job]) -> None:
    folder = job_folder(study, "pretraining/small/seed5")
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir() if path.name != "job.lock"}
    assert main([str(folder), "--device", "cpu"]) == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_job_whose_start_is_missing_says_so(study: Path, jobs: dict[str, Job], tmp_path: Path) -> None:
    write_patients(tmp_path)
    lay_out(tmp_path, [jobs["full-fine-tuning/fold0/seed5"]])
    folder = job_folder(tmp_path, "full-fine-tuning/fold0/seed5")
    assert main([str(folder), "--device", "cpu"]) == 1
    assert (folder / "failure.txt").read_text().startswith("WEIGHTS_UNUSABLE: ")
