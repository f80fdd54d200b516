"""Cases of a study, drawn from numbers: two lungs whose perfusion follows a channel, with noise."""

import numpy as np

from inference.domain import STATISTICS
from inference.geometry import Grid
from inference.phantom.thorax import FRAME_OF_REFERENCE_UID
from training.study_case import BASELINES, CaseFacts, StudyCase

SHAPE = (16, 12, 16)
SPACING_MM = 4.8


def drawn_case(patient: str, *, seed: int, cohort: str = "lung-cancer", noise: float = 0.1) -> StudyCase:
    """A case in which perfusion is 1.5 - `hu`, smooth and random, plus noise in the target."""
    random = np.random.default_rng(seed)
    s, r, k = np.indices(SHAPE, dtype=np.float32)
    lungs = np.zeros(SHAPE, dtype=bool)
    lungs[1:-1, 1:-1, 1:7] = lungs[1:-1, 1:-1, 9:15] = True
    a, b, c = random.uniform(0.2, 0.6, 3)
    hu = (0.5 + 0.4 * np.sin(a * s + b * r + c * k)).astype(np.float32)
    truth = _relative(1.5 - hu, lungs)
    target = _relative(truth + noise * random.standard_normal(SHAPE).astype(np.float32), lungs)
    eroded = np.zeros(SHAPE, dtype=bool)
    eroded[3:-3, 3:-3, 3:5] = eroded[3:-3, 3:-3, 11:13] = True
    return StudyCase(
        patient=patient,
        cohort=cohort,
        channel_names=("hu", "lungs"),
        channels=np.stack([hu, lungs.astype(np.float32)]),
        lungs=lungs,
        eroded=eroded,
        lobes=np.where(lungs, np.where(k < 8, 1, 4), 0).astype(np.uint8),
        defects=np.zeros(SHAPE, dtype=np.uint8),
        target=target,
        truth=truth,
        baselines=np.stack([_relative(np.ones(SHAPE, dtype=np.float32), lungs)] * len(BASELINES)),
        grid=Grid.axial(SHAPE, (SPACING_MM,) * 3, (0.0, 0.0, 0.0), frame_of_reference_uid=FRAME_OF_REFERENCE_UID),
        facts=_FACTS,
    )


def _relative(values: np.ndarray, lungs: np.ndarray) -> np.ndarray:
    inside = np.where(lungs, values, 0.0)
    return (inside / inside[lungs].mean()).astype(np.float32)


_FACTS = CaseFacts(
    hospital="A",
    breath="free breathing",
    diseases=(),
    disease_percent={},
    fwhm_mm=15.0,
    spect_counts=1,
    true_lobe_means={},
    ct_spacing_mm=(2.0, 1.0, 1.0),
    lung_volume_ml=1000.0,
    mask="true lobes",
    input_statistics=dict.fromkeys(STATISTICS, 10.0),
)
