"""From the folder of a cohort to study cases: DICOM is read here, once, and nowhere after.

CT and SPECT are read as the node and any hospital's software would read them; what the network is shown comes from the
node's own preprocessing. **The mask is the true one**: lungs and lobes of the in-silico body, so that the study
measures perfusion and not a segmentation. A node draws its lobes itself and will score a little less; `segmenter`
prepares cases with its lobes instead.

The truth at SPECT resolution and the trivial predictors are made by the functions that docs/cohort-realism.md is made
with, on the grid of the network instead of that of the SPECT. A voxel there is a mean over parts of several, so noise
is a little lower: scores of all maps come out some 0.01 to 0.02 higher than in that report.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from inference.domain import input_statistics
from inference.geometry import Grid
from inference.lobes import LobeSegmenter
from inference.model_card import ModelCard, ModelIdentity
from inference.preprocessing import network_input, seen_lobes
from inference.subvoxel_channels import SUBVOXELS
from inference.volumes import LobeMap
from training.baselines import PUBLISHED_WEIGHTS, LungsOnSpect, blurred, lungs_on_spect, sharp_terms, weighted
from training.case_files import FORMAT, case_file, kept_digest, write_case
from training.insilico.files.cohort import patient_folders
from training.insilico.files.patient_files import RECORD, PatientFolder
from training.insilico.files.workers import Ended, Started, work_through
from training.insilico.realism.agreement_figures import effective_fwhm_mm
from training.insilico.realism.realism import Views, lobes_on, read_views
from training.metrics import eroded
from training.perfusion_defects import edge_corrected, find_defects
from training.study_case import BASELINES, CaseFacts, StudyCase
from training.voxel_means import voxel_means

VERSION = "3"
"""Raise it with every change that changes a case: those of another version are prepared again."""
TRUE_LOBES = ModelIdentity("true lobes", "1", caveat="Lungs and lobes of the in-silico body, drawn by nobody.")

Map = Float32[np.ndarray, "slices rows columns"]
Mask = Bool[np.ndarray, "slices rows columns"]


@dataclass(frozen=True, slots=True)
class PreparedCases:
    """What a run did."""

    made: tuple[Ended[str], ...]
    failed: tuple[Ended[str], ...]
    kept: tuple[str, ...]
    """Prepared in the same way before."""


def prepare_cases(
    cohort_folder: Path,
    card: ModelCard,
    out: Path,
    *,
    workers: int,
    segmenter: LobeSegmenter | None = None,
    found: Callable[[int, int], None] = lambda kept, all_patients: None,
    tell: Callable[[Started[str] | Ended[str]], None] = lambda event: None,
) -> PreparedCases:
    """Prepare all patients of a cohort that are not prepared in this way yet. May be stopped and gone on with.

    Args:
        cohort_folder: with whole patients, as `perfnode cohort make` leaves it; is only read.
        card: spacing, HU window and channels; the rest of it is not looked at.
        out: folder of the cases; is made.
        workers: processes, each with one thread and up to 2 GB.
        segmenter: draws lungs and lobes; the true ones if None. Must be picklable.
        found: is called once, with the number of patients that are kept and that of all.
        tell: is called at each start and end of a patient.

    Raises:
        NoPatient: a folder in the cohort is not one of a patient.
        OSError: `out` cannot be made.
    """
    out.mkdir(parents=True, exist_ok=True)
    wanted = {str(each.patient): preparation_digest(each, card, segmenter) for each in patient_folders(cohort_folder)}
    kept = tuple(name for name, digest in wanted.items() if kept_digest(case_file(out, name)) == digest)
    found(len(kept), len(wanted))
    tasks = [name for name in wanted if name not in kept]
    ends = []
    for event in work_through(tasks, partial(_prepare_one, cohort_folder, card, out, segmenter), workers=workers):
        tell(event)
        if isinstance(event, Ended):
            ends.append(event)
    made = tuple(end for end in ends if end.failure is None)
    return PreparedCases(made, tuple(end for end in ends if end.failure is not None), kept)


def preparation_digest(folder: PatientFolder, card: ModelCard, segmenter: LobeSegmenter | None = None) -> str:
    """What a case is made from: the patient with all its files, how it is prepared, and by which version."""
    drawn = segmenter.identity if segmenter is not None else TRUE_LOBES
    numbers = (*map(float, card.input_spacing_mm), *map(float, card.hu_window))
    way = (VERSION, FORMAT, SUBVOXELS, numbers, tuple(map(str, card.channels)), drawn.label())
    digest = hashlib.sha256(repr(way).encode())
    digest.update((folder.path / RECORD).read_bytes())  # holds the digests of all other files
    return digest.hexdigest()


def prepared_case(folder: PatientFolder, card: ModelCard, *, segmenter: LobeSegmenter | None = None) -> StudyCase:
    """The case of a patient on disk.

    Args:
        folder: of the patient.
        card: spacing, HU window and channels.
        segmenter: draws lungs and lobes; the true ones if None.

    Raises:
        InferenceError: the CT cannot be used, or the segmenter found no lungs.
        NuclearImageUnusable: nor the SPECT.
        OSError: a file is missing or damaged.
    """
    return case_of(read_views(folder), folder.record, card, segmenter=segmenter)


def case_of(
    views: Views, record: Mapping[str, Any], card: ModelCard, *, segmenter: LobeSegmenter | None = None
) -> StudyCase:
    """The case of a patient whose images are at hand; `record` is that of the patient's folder."""
    ct = views.ct
    lobes = segmenter.segment(ct) if segmenter is not None else true_lobes(views)
    seen = network_input(ct, lobes, card)
    grid = seen.grid
    lungs = lungs_on_spect(ct, lobes.lungs, grid)
    mask = seen.mask
    spect = voxel_means(views.spect, views.spect_grid, grid)
    activity = voxel_means(np.where(views.truth.lobes > 0, views.truth.perfusion, 0.0), views.truth.grid, grid)
    fwhm_mm = round(effective_fwhm_mm(activity, spect, grid, mask), 3)  # further digits depend on threads
    truth = blurred(activity, grid, fwhm_mm=fwhm_mm)
    baselines = trivial_maps(lungs, fwhm_mm)
    return StudyCase(
        patient=str(record["patient"]),
        cohort=str(record["cohort"]),
        channel_names=tuple(card.channels),
        channels=seen.channels,
        lungs=mask,
        eroded=eroded(mask, grid, margin_mm=fwhm_mm),
        lobes=np.where(mask, seen_lobes(lobes, seen), np.uint8(0)),
        defects=find_defects(edge_corrected(truth, baselines[0], mask), mask, grid),
        target=relative_to_mask(spect, mask),
        truth=relative_to_mask(truth, mask),
        baselines=np.stack([relative_to_mask(values, mask) for values in baselines]),
        grid=grid,
        facts=_facts(views, record, lobes, fwhm_mm),
    )


def _prepare_one(
    cohort_folder: Path, card: ModelCard, out: Path, segmenter: LobeSegmenter | None, patient: str
) -> None:
    folder = PatientFolder.open(cohort_folder / patient)
    case = prepared_case(folder, card, segmenter=segmenter)
    write_case(case_file(out, patient), case, digest=preparation_digest(folder, card, segmenter))


def true_lobes(views: Views) -> LobeMap:
    """The lobes of the in-silico body on the grid of its CT, by the nearest voxel."""
    labels: UInt8[np.ndarray, "slices rows columns"] = lobes_on(views.truth, views.ct.grid)
    return LobeMap(labels, views.ct.grid, TRUE_LOBES)


def trivial_maps(lungs: LungsOnSpect, fwhm_mm: float) -> list[Map]:
    """The trivial predictors as SPECT would blur them; blurring first gives the same, as all are sums of four terms."""
    terms = np.stack([blurred(term, lungs.grid, fwhm_mm=fwhm_mm) for term in sharp_terms(lungs)])
    return [weighted(terms, PUBLISHED_WEIGHTS[predictor]) for predictor in BASELINES]


def relative_to_mask(values: Map, mask: Mask) -> Map:
    """In multiples of the mean over the mask; 0 outside."""
    relative: Map = np.where(mask, values / np.float32(values[mask].mean(dtype=np.float64)), np.float32(0.0))
    return relative


def _facts(views: Views, record: Mapping[str, Any], lobes: LobeMap, fwhm_mm: float) -> CaseFacts:
    truth = record["truth"]
    volumes = {name: float(ml) for name, ml in truth["disease_volume_ml"].items()}
    means = {name: lobe["mean_perfusion"] for name, lobe in truth["lobes"].items()}
    grid: Grid = views.ct.grid
    return CaseFacts(
        hospital=str(record["hospital"]),
        breath=str(record["person"]["state"]),
        diseases=tuple(sorted({str(disease["name"]) for disease in record["diseases"]})),
        disease_percent={name: 100.0 * ml / float(truth["lung_volume_ml"]) for name, ml in volumes.items()},
        fwhm_mm=fwhm_mm,
        spect_counts=int(record["spect"]["counts"]),
        true_lobe_means={name: float(mean) for name, mean in means.items() if mean is not None},
        ct_spacing_mm=grid.spacing_mm,
        lung_volume_ml=float(np.count_nonzero(lobes.labels)) * grid.voxel_volume_ml,
        mask=lobes.segmenter.name,
        input_statistics=input_statistics(views.ct, lobes),
    )
