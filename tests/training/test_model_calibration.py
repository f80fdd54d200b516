"""Calibration of an ensemble whose members are right, or wrong by a known amount, about drawn cases."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from inference.model_card import ModelCard, ModelIdentity
from inference.networks import PerfusionNetwork
from tests.training.drawn_cases import drawn_case
from training.case_files import case_file, write_case
from training.errors import CaseUnusable
from training.jobs import CASES
from training.model_calibration import calibration_of
from training.prediction import predicted

TESTS = (("LC-1", "LC-2", "LC-3"), ("LC-4", "LC-5", "LC-6"))
TRAINED_ON = "Drawn cases, in silico."


class Follows(nn.Module):
    """Says a - slope * hu, loud enough that softplus changes nothing; perfusion in drawn cases is 1.5 - hu."""

    def __init__(self, offset: float, slope: float) -> None:
        super().__init__()
        self.offset, self.slope = offset, slope

    def forward(self, channels: torch.Tensor) -> torch.Tensor:
        return 30.0 * (self.offset - self.slope * channels[:, :1])


def network(body: nn.Module) -> PerfusionNetwork:
    card = ModelCard(
        identity=ModelIdentity("drawn", "0"),
        network="UNet",
        network_arguments={},
        input_spacing_mm=(4.8, 4.8, 4.8),
        hu_window=(-1000.0, 0.0),
        window_size=(16, 16, 16),
        trained_on=TRAINED_ON,
        intended_use="Tests.",
    )
    return PerfusionNetwork(card, body)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    (folder / CASES).mkdir()
    for seed, patient in enumerate(("NC-1", *TESTS[0], *TESTS[1])):
        write_case(case_file(folder / CASES, patient), drawn_case(patient, seed=seed, noise=0.0))
    return folder


def test_members_that_are_right_leave_nothing_but_rounding(study: Path) -> None:
    right = Follows(1.5, 1.0)
    fingerprint, interval = calibration_of(study, [network(right), network(right)], TESTS, trained_on=TRAINED_ON)
    assert interval.level == pytest.approx(0.75)
    assert max(interval.voxels) < 0.01
    assert max(max(widths) for widths in interval.regions.values()) < 0.01
    assert interval.usual_spread == pytest.approx(0.0, abs=1e-6)
    assert fingerprint.patients == 7
    assert (fingerprint.trained_on, interval.calibrated_on) == (TRAINED_ON, TRAINED_ON)


def test_only_the_error_of_the_network_that_has_not_seen_a_patient_counts(study: Path) -> None:
    right, wrong = Follows(1.5, 1.0), Follows(1.5, 0.0)
    _, interval = calibration_of(study, [network(right), network(wrong)], TESTS, trained_on=TRAINED_ON)
    assert interval.voxels[0] < 0.01 < 0.1 < interval.voxels[1]
    _, exchanged = calibration_of(study, [network(wrong), network(right)], TESTS, trained_on=TRAINED_ON)
    assert exchanged.voxels[1] < 0.01 < 0.1 < exchanged.voxels[0]


def test_the_usual_spread_is_that_of_the_whole_ensemble(study: Path) -> None:
    members = [network(Follows(1.5, 1.0)), network(Follows(1.5, 0.0))]
    _, interval = calibration_of(study, members, TESTS, trained_on=TRAINED_ON)
    spreads = []
    for seed, patient in enumerate((*TESTS[0], *TESTS[1]), start=1):
        case = drawn_case(patient, seed=seed, noise=0.0)
        maps = [predicted(member, case, torch.device("cpu"))[case.lungs] for member in members]
        spreads.append(np.std(maps, axis=0, ddof=1).mean())
    assert interval.usual_spread == pytest.approx(np.percentile(spreads, 95.0), rel=0.02)


def test_folds_and_members_must_belong_together_and_cases_exist(study: Path) -> None:
    member = network(Follows(1.5, 1.0))
    with pytest.raises(ValueError, match="1 members, 2 folds"):
        calibration_of(study, [member], TESTS, trained_on=TRAINED_ON)
    with pytest.raises(CaseUnusable):
        calibration_of(study, [member], [["LC-99"]], trained_on=TRAINED_ON)
