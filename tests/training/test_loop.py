"""The training loop: it learns, keeps the best, survives a kill bit by bit, and runs on two processes."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from scipy import stats
from torch import nn

from tests.training.drawn_cases import SHAPE, drawn_case
from tests.training.training_run import PLAN, small_network, small_run
from training.case_batches import CaseBatches
from training.checkpointing import CHECKPOINT_FILE, tensors_of
from training.errors import ForeignCheckpoint, TrainingDiverged, TrainingStopped
from training.history import TRAINED_FILE, WEIGHTS_FILE, Trained, read_history
from training.loop import decay_at, rate_at, train
from training.losses import LungLoss
from training.running import Running
from training.validation import CaseValidation, ValidationScore

ROOT = Path(__file__).parents[2]
CPU = Running("cpu")


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return small_run(tmp_path_factory.mktemp("run"))


def _process(*command: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    return subprocess.run(
        [sys.executable, *map(str, command)], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )


def _same(one: Path, other: Path) -> bool:
    return one.read_bytes() == other.read_bytes()


def test_a_network_learns_a_relation_it_is_shown(tmp_path: Path) -> None:
    cases = [drawn_case(f"LC-00{number}", seed=number) for number in range(1, 5)]
    plan = replace(PLAN, steps=60, learning_rate=0.02, validate_every_steps=20, average_decay=0.8)
    trained = train(
        small_network(),
        CaseBatches(cases[:3], "cpu", SHAPE, batch_size=2),
        CaseValidation(cases[3:], "cpu", SHAPE),
        plan,
        folder=tmp_path,
        seed=1,
        running=CPU,
    )
    assert trained.best_spearman > 0.9
    assert [look.step for look in trained.history] == [0, 20, 40, 60]
    assert trained.history[-1].validation_loss < 0.5 * trained.history[0].validation_loss
    assert trained.steps == 60
    assert trained.samples_per_second > 0


def test_the_same_seed_gives_the_same_bytes_and_another_one_others(undisturbed: Trained, tmp_path: Path) -> None:
    again = small_run(tmp_path / "again")
    other = small_run(tmp_path / "other", seed=4)
    assert _same(undisturbed.weights, again.weights)
    assert not _same(undisturbed.weights, other.weights)
    assert [look.validation_spearman for look in again.history] == [
        look.validation_spearman for look in undisturbed.history
    ]


@pytest.mark.parametrize("step", [2, 7])  # before the first checkpoint; between a look and a checkpoint
def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(undisturbed: Trained, tmp_path: Path, step: int) -> None:
    killed = _process("-m", "tests.training.training_run", tmp_path, "--die-at", step)
    assert killed.returncode == -9, killed.stderr
    assert (tmp_path / CHECKPOINT_FILE).exists() == (step > PLAN.checkpoint_every_steps)
    assert not (tmp_path / WEIGHTS_FILE).exists()
    steps: list[int] = []
    small_run(tmp_path, tell=steps.append)
    assert steps[0] == step // PLAN.checkpoint_every_steps * PLAN.checkpoint_every_steps + 1
    assert _same(tmp_path / WEIGHTS_FILE, undisturbed.weights)
    looks = [(look.step, look.training_loss, look.validation_spearman) for look in read_history(tmp_path)]
    assert looks == [(look.step, look.training_loss, look.validation_spearman) for look in undisturbed.history]


def test_a_run_that_is_asked_to_stop_saves_and_goes_on(undisturbed: Trained, tmp_path: Path) -> None:
    taken: list[int] = []
    with pytest.raises(TrainingStopped):
        small_run(tmp_path, tell=taken.append, should_stop=lambda: len(taken) == 5)
    assert taken == [1, 2, 3, 4, 5]
    small_run(tmp_path, tell=taken.append)
    assert taken == list(range(1, 11))
    assert _same(tmp_path / WEIGHTS_FILE, undisturbed.weights)


def test_a_finished_run_is_read_and_not_done_again(undisturbed: Trained) -> None:
    network = small_network()
    again = small_run(undisturbed.weights.parent, network, tell=lambda step: pytest.fail("a step was taken"))
    assert again == undisturbed
    kept = load_file(undisturbed.weights)
    assert not network.training
    assert all(torch.equal(tensor, kept[name]) for name, tensor in tensors_of(network).items())


def test_a_folder_of_another_run_is_refused(undisturbed: Trained, tmp_path: Path) -> None:
    with pytest.raises(ForeignCheckpoint):
        small_run(undisturbed.weights.parent, seed=8)
    with pytest.raises(TrainingStopped):
        small_run(tmp_path, should_stop=lambda: True)
    with pytest.raises(ForeignCheckpoint, match="another plan"):
        small_run(tmp_path, seed=8)
    (tmp_path / CHECKPOINT_FILE).write_bytes(b"no state")
    with pytest.raises(ForeignCheckpoint, match="not a state"):
        small_run(tmp_path)


def test_the_best_look_is_kept_not_the_last(tmp_path: Path) -> None:
    class FallsAfterTheSecondLook:
        looks = 0

        def score(self, network: nn.Module, loss: object, *, bfloat16: bool) -> ValidationScore:
            self.looks += 1
            self.best = self.best if self.looks > 2 else {k: v.clone() for k, v in tensors_of(network).items()}
            return ValidationScore(float(-abs(self.looks - 2)), 1.0)

    cases = [drawn_case("LC-001", seed=1)]
    validation = FallsAfterTheSecondLook()
    batches = CaseBatches(cases, "cpu", SHAPE, batch_size=1)
    trained = train(small_network(), batches, validation, PLAN, folder=tmp_path, seed=1, running=CPU)
    assert (trained.best_step, trained.best_spearman) == (4, 0.0)
    kept = load_file(trained.weights)
    assert all(torch.equal(tensor, kept[name]) for name, tensor in validation.best.items())


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path: Path) -> None:
    network = small_network()
    with torch.no_grad():
        network[0].weight.fill_(float("inf"))  # type: ignore[index]
    with pytest.raises(TrainingDiverged):
        small_run(tmp_path, network)


def test_what_is_frozen_stays_and_the_rest_learns(tmp_path: Path) -> None:
    torch.manual_seed(5)
    network = nn.Sequential(nn.Conv3d(2, 4, 1), nn.BatchNorm3d(4), nn.Conv3d(4, 1, 1), nn.Softplus())
    before = {name: tensor.clone() for name, tensor in tensors_of(network).items()}
    network[0].requires_grad_(False)
    network[1].requires_grad_(False)
    trained = small_run(tmp_path, network)
    changed = {name for name, tensor in load_file(trained.weights).items() if not torch.equal(tensor, before[name])}
    assert trained.best_step > 0
    assert changed == {"2.weight", "2.bias"}


def test_two_processes_end_as_one_does(tmp_path: Path) -> None:
    alone = small_run(tmp_path / "alone", small_network(dropout=0.0))
    start = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2]
    done = _process(*start, "-m", "tests.training.training_run", tmp_path / "both", "--no-dropout")
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads((tmp_path / "both" / TRAINED_FILE).read_text())["running"]["processes"] == 2
    one, two = load_file(alone.weights), load_file(tmp_path / "both" / WEIGHTS_FILE)
    before = tensors_of(small_network())
    for name, tensor in one.items():
        assert (tensor - two[name]).norm() < 0.1 * (tensor - before[name]).norm(), name


def test_the_rate_rises_and_falls() -> None:
    plan = replace(PLAN, steps=102, warmup_steps=2, learning_rate=3.0)
    assert [rate_at(step, plan) for step in (0, 1, 2)] == [1.0, 2.0, 3.0]
    assert rate_at(52, plan) == pytest.approx(1.5)
    assert 0 < rate_at(101, plan) < 0.01


def test_the_average_follows_the_weights_at_once_when_it_is_young() -> None:
    assert decay_at(0, 0.98) == pytest.approx(0.1)
    assert decay_at(10_000, 0.98) == 0.98
    assert decay_at(50, 0.0) == 0.0


def test_validation_is_scipys_rank_correlation_on_the_eroded_lungs() -> None:
    case = drawn_case("LC-001", seed=1)
    network = nn.Conv3d(2, 1, 3, padding=1)
    score = CaseValidation([case], "cpu", (32, 16, 32)).score(network, LungLoss(), bfloat16=False)
    with torch.inference_mode():
        predicted = network(torch.from_numpy(case.channels.copy())[None])[0, 0].numpy()
    wanted = stats.spearmanr(predicted[case.eroded], case.target[case.eroded]).statistic
    assert score.spearman == pytest.approx(wanted, abs=0.02)  # channels are held in 16 bits
