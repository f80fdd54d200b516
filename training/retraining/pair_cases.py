"""From a pair of a study store to a study case: what the node would show a network of this CT, and what the SPECT says.

    CT ── lungs and lobes by the node's own engine ── the node's preprocessing ──▶ channels
    SPECT or PET ── moved by the link of the pair ── means over the network's voxels ──▶ target

The steps are those of `case_preparation` for in-silico patients, but for two things. Nobody knows the true perfusion of
a patient, so `truth` and `defects` are 0 and say nothing. And the margin of the eroded lungs is a number of the recipe,
as the resolution cannot be measured against a truth.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from inference.domain import input_statistics
from inference.engine import EngineSettings, build_segmenter, segment
from inference.errors import InferenceError
from inference.geometry import Grid
from inference.lobes import LobeSegmenter
from inference.model_card import ModelCard
from inference.preprocessing import network_input, seen_lobes
from inference.volumes import CtVolume, LobeMap
from training.baselines import lungs_on_spect
from training.case_files import FORMAT, case_file, kept_digest, prepared_patients, write_case
from training.case_preparation import VERSION as STEPS_VERSION
from training.case_preparation import relative_to_mask, trivial_maps
from training.errors import NuclearImageUnusable, TrainingError
from training.insilico.files.workers import Ended, Started, work_through
from training.metrics import eroded
from training.nuclear_image import NuclearImage
from training.pairs.perfusion_image import read_perfusion
from training.pairs.rigid import Rigid
from training.pairs.rigid_registration import moved_onto
from training.store.stored_pair import MANIFEST, PairManifest, StoredPair, file_sha256
from training.study_case import CaseFacts, StudyCase
from training.voxel_means import voxel_means

VERSION = "1"
"""Raise it with every change that changes a case."""
COHORT = "site"
_PARTS = 3
"""A turned SPECT is interpolated at so many points along each side of a voxel, then averaged."""
_PARALLEL = 1e-6
"""Largest part of a rotation matrix off its diagonal that counts as none: 0.0005 mm over 500 mm."""

Map = Float32[np.ndarray, "slices rows columns"]


@dataclass(frozen=True, slots=True)
class Preparation:
    """How cases are made; picklable, as each is made in a process of its own."""

    card: ModelCard
    """Spacing, HU window and channels of the network."""
    lobes: EngineSettings
    """Names the engine of lungs and lobes; the rest of it is not looked at."""
    spect_fwhm_mm: float

    def digests(self, pairs: Iterable[StoredPair]) -> dict[str, str]:
        """Of all that a case of each pair would be made from, by its name."""
        numbers = (*map(float, self.card.input_spacing_mm), *map(float, self.card.hu_window))
        channels, drawn = tuple(map(str, self.card.channels)), build_segmenter(self.lobes).identity.label()
        way = (VERSION, STEPS_VERSION, FORMAT, numbers, channels, drawn, float(self.spect_fwhm_mm))
        # A manifest holds the digests of all files of its pair.
        contents = {pair.name: json.dumps([way, file_sha256(pair.folder / MANIFEST)]) for pair in pairs}
        return {name: hashlib.sha256(content.encode()).hexdigest() for name, content in contents.items()}


@dataclass(frozen=True, slots=True)
class PreparedPairs:
    """What a run did."""

    made: tuple[str, ...]
    kept: tuple[str, ...]
    failed: dict[str, str]
    """Why there is no case, by pair."""


def prepare_pairs(
    pairs: Sequence[StoredPair],
    way: Preparation,
    out: Path,
    *,
    workers: int,
    found: Callable[[int, int], None] = lambda kept, all_pairs: None,
    tell: Callable[[Started[str] | Ended[str]], None] = lambda event: None,
) -> PreparedPairs:
    """Prepare all pairs that are not prepared in this way yet, and remove cases of any other. May be stopped.

    Args:
        pairs: of the store.
        way: how.
        out: folder of the cases, made if absent.
        workers: processes, each with one thread and up to 2 GB.
        found: is called once, with the number of pairs that are kept and that of all.
        tell: is called at each start and end.

    Raises:
        OSError: the folder cannot be written.
    """
    out.mkdir(parents=True, exist_ok=True)
    wanted = way.digests(pairs)
    for stale in set(prepared_patients(out)) - set(wanted):  # rejected since, or the patient opted out
        case_file(out, stale).unlink()
    kept = tuple(name for name, digest in wanted.items() if kept_digest(case_file(out, name)) == digest)
    found(len(kept), len(wanted))
    folders = {pair.name: pair.folder for pair in pairs if pair.name not in kept}
    made, failed = [], {}
    for event in work_through(list(folders), partial(_prepare_one, way, out, folders, wanted), workers=workers):
        tell(event)
        if isinstance(event, Ended) and event.failure is None:
            made.append(event.task)
        elif isinstance(event, Ended):
            failed[event.task] = str(event.failure).removeprefix(f"{_Unusable.__name__}: ")
    return PreparedPairs(tuple(made), kept, failed)


def pair_case(pair: StoredPair, way: Preparation) -> StudyCase:
    """The case of a pair.

    Raises:
        InferenceError: the CT cannot be used, has no lungs, or fails a check that would keep the node from answering.
        NuclearImageUnusable: nor the perfusion image.
        OSError: a file is missing.
    """
    ct, lobes = segmented(pair, build_segmenter(way.lobes))
    return case_of_images(pair, ct, lobes, way)


def segmented(pair: StoredPair, segmenter: LobeSegmenter) -> tuple[CtVolume, LobeMap]:
    """The CT of a pair with lungs and lobes as the node draws them.

    Raises:
        InferenceError: the CT cannot be used, has no lungs, or fails a check that would keep the node from answering.
    """
    from inference.ct.series import read_ct_files

    ct = read_ct_files(pair.ct)
    return ct, segment(ct, segmenter).lobes


def case_of_images(pair: StoredPair, ct: CtVolume, lobes: LobeMap, way: Preparation) -> StudyCase:
    """The case of a pair whose CT and lobes are at hand.

    Raises:
        NuclearImageUnusable: the perfusion image cannot be read, or shows nothing in the lungs.
        OSError: a file is missing.
    """
    seen = network_input(ct, lobes, way.card)
    grid, mask = seen.grid, seen.mask
    spect = on_grid(read_perfusion(pair.nuclear), Rigid(pair.link.matrix), grid)
    if not mask.any() or not float(spect[mask].mean(dtype=np.float64)) > 0.0:
        raise NuclearImageUnusable("it shows no counts where the CT has lungs")
    baselines = trivial_maps(lungs_on_spect(ct, lobes.lungs, grid), way.spect_fwhm_mm)
    return StudyCase(
        patient=pair.name,
        cohort=COHORT,
        channel_names=tuple(way.card.channels),
        channels=seen.channels,
        lungs=mask,
        eroded=eroded(mask, grid, margin_mm=way.spect_fwhm_mm),
        lobes=np.where(mask, seen_lobes(lobes, seen), np.uint8(0)),
        defects=np.zeros(grid.shape, np.uint8),
        target=relative_to_mask(spect, mask),
        truth=np.zeros(grid.shape, np.float32),
        baselines=np.stack([relative_to_mask(values, mask) for values in baselines]),
        grid=grid,
        facts=_facts(ct, lobes, way),
    )


def on_grid(image: NuclearImage, link: Rigid, grid: Grid) -> Map:
    """Means of a perfusion image over the voxels of a grid of the CT; 0 where the camera saw nothing.

    Args:
        image: as it was read.
        link: from its frame of reference to that of the CT.
        grid: patient axes.
    """
    turn = np.abs(link.matrix[:3, :3] - np.eye(3)).max()
    if turn < _PARALLEL:
        affine = image.grid.affine.copy()
        affine[:3, 3] += link.matrix[:3, 3]
        there = Grid(image.grid.shape, affine, grid.frame_of_reference_uid)
        exact: Map = voxel_means(image.values, there, grid).astype(np.float32)
        return exact
    a, b, c = grid.spacing_mm
    parts = grid.with_spacing((a / _PARTS, b / _PARTS, c / _PARTS))
    means: Map = voxel_means(moved_onto(image, link, parts), parts, grid).astype(np.float32)
    return means


class _Unusable(Exception):
    """Code and sentence of why no case can be made, as they come back from a process."""


def _prepare_one(
    way: Preparation, out: Path, folders: Mapping[str, Path], digests: Mapping[str, str], name: str
) -> None:
    try:
        case = pair_case(StoredPair(folders[name], PairManifest.read(folders[name])), way)
    except (InferenceError, TrainingError) as fault:
        raise _Unusable(f"{fault.code}: {fault}") from fault
    except OSError as fault:
        raise _Unusable(f"FILE: {fault}") from fault
    write_case(case_file(out, name), case, digest=digests[name])


def _facts(ct: CtVolume, lobes: LobeMap, way: Preparation) -> CaseFacts:
    return CaseFacts(
        hospital=COHORT,
        breath="unknown",
        diseases=(),
        disease_percent={},
        fwhm_mm=way.spect_fwhm_mm,
        spect_counts=0,
        true_lobe_means={},
        ct_spacing_mm=ct.grid.spacing_mm,
        lung_volume_ml=float(np.count_nonzero(lobes.labels)) * lobes.grid.voxel_volume_ml,
        mask=lobes.segmenter.name,
        input_statistics=input_statistics(ct, lobes),
        has_truth=False,
    )
