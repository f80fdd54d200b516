"""What a finished study knows of the errors and the domain of its ensemble, for the model that is made from it.

Every network of the ensemble predicts every fine-tuning patient. For those of its own fold, which it has never seen,
its error counts (`conformal`); over all patients the spread of the whole ensemble is taken. The fingerprint is that of
all patients that the networks were trained on, in pre-training and after (`fingerprint`).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from inference.fingerprint import Fingerprint
from inference.networks import PerfusionNetwork
from inference.uncertainty import ConformalInterval, uncertainty_of
from training.case_files import case_file, prepared_patients, read_case
from training.conformal import HeldOutErrors, calibrated, held_out_errors
from training.fingerprint import fingerprint_of
from training.jobs import CASES
from training.prediction import predicted


def calibration_of(
    study: Path,
    members: Sequence[PerfusionNetwork],
    tests: Sequence[Sequence[str]],
    *,
    trained_on: str,
    device: str = "cpu",
) -> tuple[Fingerprint, ConformalInterval]:
    """Fingerprint and conformal intervals of an ensemble.

    Args:
        study: folder of the study, with its prepared cases.
        members: the networks as they will be used, weights rounded and all, in the order of the folds.
        tests: for each member the patients that it has never seen.
        trained_on: the cohort in one ASCII sentence, saying in-silico or clinical.
        device: where the networks predict.

    Raises:
        CaseUnusable: a case is missing or damaged.
        ValueError: as many members as folds are wanted, each with patients, and three patients in all.
    """
    if len(members) != len(tests):
        raise ValueError(f"{len(members)} members, {len(tests)} folds")
    cases = study / CASES
    everyone = [read_case(case_file(cases, patient)).facts.input_statistics for patient in prepared_patients(cases)]
    networks = [member.eval().to(device) for member in members]
    errors: list[list[HeldOutErrors]] = [[] for _ in tests]
    spreads = []
    for fold, patients in enumerate(tests):
        for patient in patients:
            case = read_case(case_file(cases, patient))
            maps = np.stack([predicted(network, case, torch.device(device)) for network in networks])
            errors[fold].append(held_out_errors(patient, maps[fold], case.target, case.lungs, case.lobes))
            spreads.append(uncertainty_of(maps, case.lungs, case.lobes, case.grid).mean_spread)
    interval = calibrated(errors, mean_spreads=spreads, calibrated_on=trained_on)
    return fingerprint_of(everyone, trained_on=trained_on), interval
