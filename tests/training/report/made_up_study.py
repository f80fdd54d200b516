"""Made-up results of a study, for tests of what is written about results: no network was trained, nothing was found.

Maps are the truth with smooth noise of a chosen strength, so that the order of arms is known.
"""

import io
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
from scipy import ndimage

from inference.geometry import Grid
from training.baselines import Predictor
from training.case_files import case_file, write_case
from training.history import Look, write_history
from training.jobs import (
    CASES,
    JOB_FILE,
    JOBS,
    PREDICTIONS,
    RECIPE,
    RESULT_FILE,
    Job,
    Result,
    write_record,
)
from training.perfusion_defects import edge_corrected, find_defects
from training.recipe import Recipe, read_recipe
from training.scores import case_scores, reference_map
from training.study import Patients, plan_study
from training.study_case import CaseFacts, StudyCase

FWHM_MM = 15.0


def made_up_case(patient: str, channels: tuple[str, ...], *, spacing_mm: float = 13.0) -> StudyCase:
    """Two ellipsoids with five parts, a smooth perfusion with a defect, and its noisy SPECT."""
    draws = np.random.default_rng(int(patient[-3:]))
    shape = tuple(int(side / spacing_mm) for side in (260.0, 170.0, 300.0))
    z, y, x = np.meshgrid(*((np.arange(n) + 0.5) / n * 2.0 - 1.0 for n in shape), indexing="ij")
    sides = [(x - side * 0.47) ** 2 / 0.15 + y**2 / 0.75 + z**2 / 0.85 < 1.0 for side in (-1.0, 1.0)]
    lungs = sides[0] | sides[1]
    oblique = z + 0.9 * y
    lobes = np.select(
        [
            sides[0] & (oblique > 0.1),
            sides[0] & (oblique > -0.25) & (y < 0),
            sides[0],
            sides[1] & (oblique > 0.0),
            sides[1],
        ],
        [1, 2, 3, 4, 5],
        0,
    ).astype(np.uint8)
    sigma = FWHM_MM / 2.355 / spacing_mm

    def soft(values: np.ndarray) -> np.ndarray:
        return ndimage.gaussian_filter(values, sigma, mode="constant")

    def smooth(scale_mm: float) -> np.ndarray:
        field = ndimage.gaussian_filter(draws.standard_normal(shape), scale_mm / spacing_mm)
        return field / field.std()

    def relative(values: np.ndarray) -> np.ndarray:
        inside = np.where(lungs, np.maximum(values, 0.0), 0.0)
        return (inside / inside[lungs].mean()).astype(np.float32)

    perfusion = np.exp(0.25 * smooth(24.0)) * (1.0 + 0.25 * y)
    centre = draws.choice(np.argwhere(lungs & (np.abs(z) < 0.6)))
    away = sum(((np.indices(shape)[axis] - centre[axis]) * spacing_mm) ** 2 for axis in range(3))
    perfusion = np.where(lungs, perfusion * np.where(away < draws.uniform(25.0, 50.0) ** 2, 0.15, 1.0), 0.0)
    truth = relative(soft(perfusion))
    spect = relative(truth * (1.0 + 0.12 * smooth(6.0)))
    outline = relative(soft(lungs.astype(float)))
    flat = {
        Predictor.SHAPE: outline,
        Predictor.SHAPE_GRAVITY: relative(outline * (1.0 + 0.2 * y)),
        Predictor.DENSITY: relative(outline * (1.0 + 0.25 * y + 0.15 * smooth(20.0))),
        Predictor.DENSITY_GRAVITY: relative(outline * (1.0 + 0.4 * y + 0.15 * smooth(20.0))),
    }
    distance = ndimage.distance_transform_edt(lungs) * spacing_mm
    hu = np.where(lungs, 0.25 + 0.06 * y + 0.02 * smooth(5.0), 0.95).astype(np.float32)
    told = {name: np.where(lungs, 0.5, 0.0) for name in channels} | {"hu": hu, "lungs": lungs.astype(float)}
    grid = Grid.axial(shape, (spacing_mm,) * 3, (0.0, 0.0, 0.0), frame_of_reference_uid="1.2.3")
    corrected = edge_corrected(truth, outline, lungs)
    return StudyCase(
        patient=patient,
        cohort="lung-cancer" if patient.startswith("LC") else "non-cancer",
        channel_names=channels,
        channels=np.stack([told[name] for name in channels]).astype(np.float32),
        lungs=lungs,
        eroded=lungs & (distance > FWHM_MM),
        lobes=lobes,
        defects=find_defects(corrected, lungs, grid).astype(np.uint8),
        target=spect,
        truth=truth,
        baselines=np.stack([flat[name] for name in Predictor]),
        grid=grid,
        facts=facts_of(patient, int(np.count_nonzero(lungs)) * grid.voxel_volume_ml),
    )


def write_made_up_study(
    out: Path, recipe: Path, *, noise: Mapping[str, float], spacing_mm: float = 13.0, predictions: bool = True
) -> Recipe:
    """A finished study of a recipe: cases, jobs, histories, predictions and results.

    Args:
        out: its folder, new.
        recipe: folder of the recipe's files.
        noise: of each arm's maps, in multiples of the lungs' mean; 0 is the truth itself.
        spacing_mm: of the voxels.
        predictions: whether maps are kept.
    """
    (out / RECIPE).mkdir(parents=True)
    for file in recipe.glob("*.toml"):
        (out / RECIPE / file.name).write_bytes(file.read_bytes())
    plan = read_recipe(out / RECIPE)
    cohort = plan.study.cohort
    tested = tuple(f"LC-{number:03d}" for number in range(1, cohort.fine_tuning_cases + 1))
    others = tuple(f"NC-{number:03d}" for number in range(1, cohort.pretraining_cases + 1))
    (out / CASES).mkdir()
    cases = {name: made_up_case(name, plan.study.input.channels, spacing_mm=spacing_mm) for name in tested}
    for name, case in cases.items():
        write_case(case_file(out / CASES, name), case)
    for job in plan_study(plan, Patients(others, tested, "0" * 64)):
        _write_job(out / JOBS / job.name, job, cases, noise.get(job.arm, 0.5), predictions)
    return plan


def made_up_map(case: StudyCase, job: Job, noise: float) -> np.ndarray:
    """The truth with smooth noise."""
    draws = np.random.default_rng([job.seed, len(job.arm), int(case.patient[-3:])])
    field = ndimage.gaussian_filter(draws.standard_normal(case.lungs.shape), 20.0 / case.grid.spacing_mm[0])
    values = np.where(case.lungs, np.maximum(case.truth + noise * field / field.std(), 0.0), 0.0)
    return (values / values[case.lungs].mean()).astype(np.float32)


def _write_job(folder: Path, job: Job, cases: Mapping[str, StudyCase], noise: float, predictions: bool) -> None:
    folder.mkdir(parents=True)
    write_record(folder / JOB_FILE, job)
    scores = {}
    for patient in job.test:
        case = cases[patient]
        values = reference_map(case, job.arm) if job.kind == "reference" else made_up_map(case, job, noise)
        scores[patient] = asdict(case_scores(values, case))
        if predictions and job.kind == "arm":
            (folder / PREDICTIONS).mkdir(exist_ok=True)
            file = io.BytesIO()
            np.savez_compressed(file, values=values[case.lungs].astype(np.float16))
            (folder / PREDICTIONS / f"{patient}.npz").write_bytes(file.getvalue())
    if job.optimisation is not None:
        write_history(folder, _looks(job, noise))
    is_trained = job.optimisation is not None
    result = Result(
        job=job.name,
        digest=job.digest,
        best_step=job.steps if is_trained else None,
        parameters=0 if job.network is None else 1_380_000,
        weights_sha256="",
        device="no device, made up",
        seconds={"loading": 2.0, "training": 0.02 * job.steps} if is_trained else {"scoring": 1.0},
        peak_memory_mb=1234.0,
        versions={"python": "3", "torch": "none"},
        scores=scores,
    )
    write_record(folder / RESULT_FILE, result)


def _looks(job: Job, noise: float) -> tuple[Look, ...]:
    draws = np.random.default_rng([job.seed, job.fold or 0, len(job.name)])
    every = job.optimisation.validate_every_steps if job.optimisation else 1
    looks = []
    for step in range(0, job.steps + 1, every):
        part = np.exp(-3.0 * step / max(job.steps, 1))
        score = 0.9 - noise * 0.5 - 0.6 * part + 0.01 * draws.standard_normal()
        loss = 0.1 + noise * 0.2 + 0.5 * part + 0.005 * draws.standard_normal()
        looks.append(Look(step, None if step == 0 else 0.9 * loss, loss, score, 1e-3, 0.02 * step))
    return tuple(looks)


def facts_of(patient: str, volume_ml: float) -> CaseFacts:
    """Two hospitals in turn, every third with emphysema, every fifth with a CT at deep inspiration."""
    number = int(patient[-3:])
    diseases = ("tumour",) + (("centrilobular-emphysema",) if number % 3 == 0 else ())
    return CaseFacts(
        hospital="hospital-a" if number % 2 else "hospital-b",
        breath="deep inspiration" if number % 5 == 0 else "free breathing",
        diseases=tuple(sorted(diseases)),
        disease_percent=dict.fromkeys(diseases, 5.0),
        fwhm_mm=FWHM_MM,
        spect_counts=4_000_000,
        true_lobe_means={},
        ct_spacing_mm=(3.0, 1.0, 1.0),
        lung_volume_ml=volume_ml,
        mask="true lobes",
    )


def write_small_recipe(folder: Path) -> None:
    """Fine-tuned, pre-trained only, scratch and one peer, on six patients in two folds; all but the peer twice."""
    folder.mkdir(parents=True)
    shipped = Path(__file__).parents[3] / "configs" / "study"
    for name in (
        "network-attention-residual",
        "network-unet",
        "arm-full-fine-tuning",
        "arm-pretrained-only",
        "arm-scratch",
        "arm-peer-unet",
    ):
        text = (shipped / f"{name}.toml").read_text()
        seeds = "seeds = [1]\n" if name == "arm-peer-unet" else ""
        (folder / f"{name}.toml").write_text(seeds + text)
    (folder / "study.toml").write_text(_SMALL_STUDY)


_SMALL_STUDY = """
name = "small"
statement = "Is what is written what was found? Nothing <b>was</b> found here."
main_arm = "full-fine-tuning"
main_network = "attention-residual"
arms = ["full-fine-tuning", "scratch", "pretrained-only", "peer-unet"]

[cohort]
pretraining_cases = 4
fine_tuning_cases = 6
folds = 2
validation_fraction = 0.3
seeds = [1, 2]

[input]
spacing_mm = [12.0, 12.0, 12.0]
hu_window = [-1000.0, 100.0]
window_size = [32, 16, 32]
channels = ["hu", "lungs"]

[pretraining]
steps = 200
batch_size = 2
learning_rate = 1e-3
validate_every_steps = 50

[[comparisons]]
arm = "full-fine-tuning"
rival = "pretrained-only"

[[comparisons]]
arm = "full-fine-tuning"
rival = "shape"
score = "spearman-eroded"

[[aims]]
name = "above"
statement = "Above the pre-trained network."
arm = "full-fine-tuning"
measure = "difference"
at_least = 0.0
rivals = ["pretrained-only"]

[[aims]]
name = "perfect"
statement = "Nearly perfect."
arm = "full-fine-tuning"
measure = "value"
at_least = 0.999
"""
