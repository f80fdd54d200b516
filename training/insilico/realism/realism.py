"""Measures one in-silico patient in the figures that publications give, and keeps the result.

Everything is measured on what a hospital would have (CT and NM files) with the true lobes as mask, so that no
segmentation stands between the cohort and its figures. Measures are kept as one JSON and one NPZ per patient, under a
digest of the patient's record: what did not change is not measured again.
"""

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from pydantic import TypeAdapter
from pydicom import dcmread

from inference.geometry import Box, Grid
from inference.images import Interpolation, resample
from inference.lung_box import lung_box
from inference.volumes import CtVolume
from training.baselines import blurred, lungs_on_spect
from training.insilico.files.patient_files import RECORD, PatientFolder
from training.insilico.files.whole_folder import write_whole
from training.insilico.patient import Truth
from training.insilico.realism.agreement_figures import AgreementFigures, LungVoxels, measure_agreement
from training.insilico.realism.ct_figures import CtFigures, measure_ct
from training.insilico.realism.perfusion_figures import (
    DefectFigures,
    PerfusionFigures,
    gravity_per_tissue,
    measure_defects,
    measure_perfusion,
)
from training.voxel_means import voxel_means

VERSION = "1"
"""Raise it with every change that changes a figure: kept measures of another version are taken again."""
TUMOUR = "tumour"
_MARGIN_MM = 40.0

Picture = Float32[np.ndarray, "slices rows columns"]


@dataclass(frozen=True, slots=True)
class PatientFigures:
    """All figures of one patient."""

    patient: str
    cohort: str
    hospital: str
    breath: str
    """In which the CT was made: `person.BreathingState`."""
    counts: int
    """Registered by the SPECT in all views."""
    disease_percent: dict[str, float]
    """Volume of each disease, of the lungs' volume."""
    tumour_side: str
    """`R` or `L` as in `Side`, where most of the tumour is; empty without one."""
    tumour_grade: int
    """Of its perfusion defect, 0 to 3, as drawn; -1 without one."""
    ct: CtFigures
    truth: PerfusionFigures
    """Per voxel of the body grid."""
    seen: PerfusionFigures
    """The truth at SPECT resolution, without its loss at the lungs' edge."""
    spect: PerfusionFigures
    defects: DefectFigures
    """In `seen`."""
    side_defects: dict[str, DefectFigures]
    """Of each lung, by `Side`."""
    gravity_per_tissue: float
    agreement: AgreementFigures


@dataclass(frozen=True, slots=True, eq=False)
class Views:
    """One patient as seen by both machines, with the truth: all that is measured."""

    truth: Truth
    ct: CtVolume
    spect: Picture
    spect_grid: Grid


def measure(views: Views, facts: Mapping[str, Any]) -> tuple[PatientFigures, LungVoxels]:
    """All figures of one patient.

    Args:
        views: the images.
        facts: `patient`, `cohort`, `hospital`, `breath`, `counts` and `tumour_grade` (see `record_facts`).
    """
    truth, on_ct = views.truth, lobes_on(views.truth, views.ct.grid)
    box = _spect_box(views)
    grid, spect = views.spect_grid.cropped(box), np.ascontiguousarray(views.spect[box], dtype=np.float32)
    lungs = lungs_on_spect(views.ct, on_ct > 0, grid)
    inside = truth.lobes > 0
    activity = voxel_means(np.where(inside, truth.perfusion, np.float32(0.0)), truth.grid, grid)
    share = voxel_means(inside, truth.grid, grid)
    perfusion = np.divide(activity, share, out=np.zeros_like(activity), where=share > 0.05)
    lobes = np.where(lungs.mask, lobes_on(truth, grid), 0).astype(np.uint8)
    agreement, voxels = measure_agreement(activity, perfusion, spect, lungs, lobes)
    seen = _seen(activity, share, grid, agreement.fwhm_mm)
    mass = _mass(views.ct, on_ct > 0, grid)
    volume = float(np.count_nonzero(inside))
    return (
        PatientFigures(
            patient=str(facts["patient"]),
            cohort=str(facts["cohort"]),
            hospital=str(facts["hospital"]),
            breath=str(facts["breath"]),
            counts=int(facts["counts"]),
            disease_percent={
                name: 100.0 * float(np.count_nonzero(mask & inside)) / volume for name, mask in truth.diseases.items()
            },
            tumour_side=_tumour_side(truth),
            tumour_grade=int(facts["tumour_grade"]),
            ct=measure_ct(views.ct, on_ct),
            truth=measure_perfusion(truth.perfusion, truth.lobes, truth.grid),
            seen=measure_perfusion(seen, lobes, grid),
            spect=measure_perfusion(spect, lobes, grid),
            defects=measure_defects(seen, lobes > 0, grid),
            side_defects={
                name: measure_defects(seen, part, grid, mean_of=lobes > 0) for name, part in sides(lobes).items()
            },
            gravity_per_tissue=gravity_per_tissue(activity, mass, lungs.mask, grid),
            agreement=agreement,
        ),
        voxels,
    )


def lobes_on(truth: Truth, grid: Grid) -> UInt8[np.ndarray, "slices rows columns"]:
    """The true lobes at the voxels of another grid of the patient, by the nearest voxel."""
    labels: UInt8[np.ndarray, "slices rows columns"] = resample(
        truth.lobes, truth.grid, grid, interpolation=Interpolation.NEAREST, outside=0.0
    )
    return labels


def sides(lobes: UInt8[np.ndarray, "slices rows columns"]) -> dict[str, Bool[np.ndarray, "slices rows columns"]]:
    """Voxels of the right and of the left lung, by the letter of `Side`."""
    return {"R": (lobes >= 1) & (lobes <= 3), "L": lobes >= 4}


def read_views(folder: PatientFolder) -> Views:
    """The images of a patient on disk.

    Raises:
        InferenceError: the CT cannot be used.
        NuclearImageUnusable: nor the SPECT.
        OSError: a file is missing or damaged.
    """
    from inference.ct.series import read_ct_files
    from training.nuclear_image import read_nuclear_image

    nuclear = read_nuclear_image(dcmread(folder.nuclear_file))
    return Views(folder.truth(), read_ct_files(list(folder.ct_files)), nuclear.values, nuclear.grid)


def kept_measures(folder: Path, kept: Path) -> PatientFigures:
    """The figures of a patient on disk, measured anew if they are not kept or the patient has changed.

    Args:
        folder: of the patient.
        kept: folder of the measures of a cohort; is made.

    Raises:
        NoPatient: the folder is no patient.
        OSError: a file is missing or damaged.
    """
    patient = PatientFolder.open(folder)
    file = figures_file(folder, kept)
    if file.is_file() and voxels_file(file).is_file():
        return read_figures(file)
    figures, voxels = measure(read_views(patient), record_facts(patient))
    kept.mkdir(parents=True, exist_ok=True)
    for old in kept.glob(f"{patient.patient}.*"):
        old.unlink()
    write_whole(voxels_file(file), _packed(voxels))
    write_whole(file, TypeAdapter(PatientFigures).dump_json(figures, indent=1))
    return figures


def figures_file(folder: Path, kept: Path) -> Path:
    """Where the figures of a patient on disk are kept, by the digest of the record."""
    digest = hashlib.sha256((folder / RECORD).read_bytes() + VERSION.encode()).hexdigest()[:16]
    return kept / f"{folder.name}.{digest}.json"


def record_facts(folder: PatientFolder) -> dict[str, Any]:
    """What `measure` wants to know from the record."""
    record = folder.record
    return {
        "patient": str(folder.patient),
        "cohort": folder.patient.cohort.value,
        "hospital": record["hospital"],
        "breath": record["person"]["state"],
        "counts": record["spect"]["counts"],
        "tumour_grade": max((d["grade"] for d in record["diseases"] if d["name"] == TUMOUR), default=-1),
    }


def read_figures(path: Path) -> PatientFigures:
    """Figures that were kept."""
    return TypeAdapter(PatientFigures).validate_json(path.read_bytes())


def voxels_file(figures_file: Path) -> Path:
    """Where the voxels lie that belong to kept figures."""
    return figures_file.with_suffix(".npz")


def read_voxels(path: Path) -> LungVoxels:
    """Voxels that were kept; they were rounded to 11 bits, which changes no score visibly."""
    with np.load(path) as arrays:
        return LungVoxels(arrays["terms"].astype(np.float32), arrays["spect"].astype(np.float32), arrays["eroded"])


def _packed(voxels: LungVoxels) -> bytes:
    scale = float(voxels.spect.mean(dtype=np.float64)) or 1.0
    file = io.BytesIO()
    np.savez_compressed(
        file,
        terms=voxels.terms.astype(np.float16),
        spect=(voxels.spect / scale).astype(np.float16),
        eroded=voxels.eroded,
    )
    return file.getvalue()


def _spect_box(views: Views) -> Box:
    """The part of the SPECT that holds the lungs and as much around them as a blur reaches."""
    near = voxel_means(views.truth.lobes > 0, views.truth.grid, views.spect_grid) > 0
    return lung_box(near, views.spect_grid, margin_mm=_MARGIN_MM)


def _seen(activity: Picture, share: Picture, grid: Grid, fwhm_mm: float) -> Picture:
    soft, whole = (blurred(part, grid, fwhm_mm=fwhm_mm) for part in (activity, share))
    seen: Picture = np.divide(soft, whole, out=np.zeros_like(soft), where=whole > 0.05)
    return seen


def _mass(ct: CtVolume, lungs: Bool[np.ndarray, "slices rows columns"], onto: Grid) -> Picture:
    """Mass of lung per voxel of a coarser grid, by CT number, relative to water."""
    box = lung_box(lungs, ct.grid)
    density = np.maximum(ct.hu[box] + np.float32(1000.0), np.float32(0.0)) / np.float32(1000.0)
    mass: Picture = voxel_means(np.where(lungs[box], density, np.float32(0.0)), ct.grid.cropped(box), onto)
    return mass


def _tumour_side(truth: Truth) -> str:
    mask = truth.diseases.get(TUMOUR)
    if mask is None or not (mask & (truth.lobes > 0)).any():
        return ""
    return max(sides(truth.lobes).items(), key=lambda side: int(np.count_nonzero(mask & side[1])))[0]
