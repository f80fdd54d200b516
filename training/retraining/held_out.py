"""How two models do on the held-out patients of a store: one number per figure, model and patient.

Each model draws its map on the CT as the node would, with the lungs and lobes of the node's engine. Both maps and the
SPECT are then averaged over the same coarse voxels (`recipe.evaluation.spacing_mm`) and compared there. A patient with
several pairs counts once, with the mean of them.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from inference.channels import DEFAULT_CHANNELS
from inference.engine import FROM_THE_TOP, build_segmenter
from inference.errors import InferenceError
from inference.execution import climb_down
from inference.model_card import ModelCard, ModelIdentity
from inference.perfusion import PerfusionModel
from inference.volumes import CtVolume, LobeMap
from training.errors import TrainingError
from training.retraining.errors import HeldOutTooSmall, ModelsUnscored, PairsUnusable
from training.retraining.match import Match
from training.retraining.pair_cases import Preparation, case_of_images, segmented
from training.retraining.plan import Data, pairs_at_hand
from training.retraining.recipe import RetrainingRecipe
from training.score_names import Score
from training.scores import spect_agreement
from training.store.header import read_key_id
from training.store.stored_pair import MANIFEST, StoredPair, file_sha256
from training.store.study_store import StudyStore
from training.study_case import StudyCase
from training.voxel_means import voxel_means

HU_WINDOW = (-1000.0, 100.0)
"""Of the channels of a case, which scores do not look at."""
BothScores = tuple[Mapping[Score, float], Mapping[Score, float]]
Map = Float32[np.ndarray, "slices rows columns"]


@dataclass(frozen=True, slots=True)
class HeldOutScores:
    """Both models on the same patients."""

    patients: tuple[str, ...]
    model: Mapping[Score, tuple[float, ...]]
    """In the order of `patients`."""
    compared: Mapping[Score, tuple[float, ...]]
    data: Data
    data_sha256: str
    """Of the names and manifests of the pairs that were looked at."""
    held_out: str
    """By which rule, as `SplitRule.words`."""


def score_held_out(
    match: Match, store: StudyStore, *, tell: Callable[[int, int], None] = lambda done, all_pairs: None
) -> HeldOutScores:
    """Score both models on every accepted pair of a held-out patient.

    Args:
        match: the models and the rules.
        store: of the pairs.
        tell: is called with the number of pairs done, and of all, before each and at the end.

    Raises:
        HeldOutTooSmall: fewer patients than the recipe wants.
        SplitsDiffer: it is not clear who is held out.
        PairsUnusable: a pair cannot be read, or a model gives no map of it.
        ModelsUnscored: a figure has no value.
        PairsMixed: in-silico and clinical pairs lie in one store.
    """
    at_hand, rule = pairs_at_hand(store), match.split(read_key_id(store.folder))
    patients = rule.held_out(at_hand.patients)
    if len(patients) < match.recipe.patients.fewest_held_out:
        raise HeldOutTooSmall(len(patients), match.recipe.patients.fewest_held_out)
    pairs = [pair for pair in at_hand.accepted if pair.patient in patients]
    found = _scored(match, pairs, tell)
    scores = [rule.score for rule in match.recipe.evaluation.figures]
    one, other = ({s: by_patient(patients, pairs, found, k, s) for s in scores} for k in (0, 1))
    return HeldOutScores(patients, one, other, at_hand.data, _digest(pairs), rule.words)


def map_on_grid(model: PerfusionModel, ct: CtVolume, lobes: LobeMap, case: StudyCase) -> Map:
    """The map of a model on the voxels of a case: means over the lung in each.

    Raises:
        InferenceError: the model gives no map.
    """
    found, _ = climb_down(model, lambda engine: engine.predict(ct, lobes), FROM_THE_TOP)
    inside = np.where(found.lungs, found.values, np.float32(0.0))
    share = voxel_means(found.lungs, ct.grid, case.grid)
    means = voxel_means(inside, ct.grid, case.grid)
    values: Map = np.where(case.lungs, means / np.maximum(share, np.float32(1e-6)), np.float32(0.0))
    return values


def scoring_card(recipe: RetrainingRecipe) -> ModelCard:
    """The grid on which maps are compared; no network has it."""
    return ModelCard(
        identity=ModelIdentity("held-out comparison", "1"),
        network="none",
        network_arguments={},
        input_spacing_mm=recipe.evaluation.spacing_mm,
        hu_window=HU_WINDOW,
        window_size=(1, 1, 1),
        trained_on="Nothing.",
        intended_use="Comparison of maps.",
        channels=DEFAULT_CHANNELS,
    )


def _scored(match: Match, pairs: Sequence[StoredPair], tell: Callable[[int, int], None]) -> dict[str, BothScores]:
    way = Preparation(scoring_card(match.recipe), match.lobes, match.recipe.input.spect_fwhm_mm)
    segmenter = build_segmenter(match.lobes)
    found: dict[str, BothScores] = {}
    failed = dict[str, str]()
    for done, pair in enumerate(pairs):
        tell(done, len(pairs))
        try:
            ct, lobes = segmented(pair, segmenter)
            case = case_of_images(pair, ct, lobes, way)
            maps = [map_on_grid(each.model, ct, lobes, case) for each in (match.model, match.compared)]
            found[pair.name] = (spect_agreement(maps[0], case).scores, spect_agreement(maps[1], case).scores)
        except (InferenceError, TrainingError) as fault:
            failed[pair.name] = f"{fault.code}: {fault}"
    tell(len(pairs), len(pairs))
    if failed:
        raise PairsUnusable(failed)
    return found


def by_patient(
    patients: Sequence[str],
    pairs: Sequence[StoredPair],
    found: Mapping[str, BothScores],
    side: int,
    score: Score,
) -> tuple[float, ...]:
    """One score of each patient: the mean over the pairs of that patient.

    Args:
        patients: in the order of the result.
        pairs: of these patients.
        found: scores of both models, by pair.
        side: 0 for the model, 1 for the one it is compared with.
        score: which.

    Raises:
        ModelsUnscored: a pair has no value of it.
    """
    values = {patient: [found[p.name][side].get(score) for p in pairs if p.patient == patient] for patient in patients}
    if unscored := {patient: str(score) for patient, several in values.items() if None in several}:
        raise ModelsUnscored(unscored)
    return tuple(float(np.mean([value for value in several if value is not None])) for several in values.values())


def _digest(pairs: Sequence[StoredPair]) -> str:
    lines = sorted(f"{pair.name} {file_sha256(pair.folder / MANIFEST)}\n" for pair in pairs)
    return hashlib.sha256("".join(lines).encode()).hexdigest()
