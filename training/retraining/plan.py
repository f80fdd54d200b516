"""What one run would train on: which pairs of which patients, dealt to folds, as jobs of the study's runner.

    jobs/start/DIGEST-0/            member 0 of the model that training starts from, done already
    jobs/retraining/fold0/seed1/    one network; goes on from the member above

Only accepted pairs are looked at, and none of a held-out patient: not for training, not for the choice of a step, not
for intervals or the fingerprint.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from pydicom import dcmread

from training.jobs import Job
from training.pairs.review import standing, verdicts
from training.recipe import InputPlan, NetworkPlan
from training.retraining.errors import HeldOutTooSmall, PairsMixed, PairsUnreviewed, PartEmpty, TooFewPairs
from training.retraining.recipe import RetrainingRecipe
from training.retraining.split import chooses_step
from training.retraining.start_model import StartModel
from training.store.stored_pair import StoredPair
from training.store.study_store import StudyStore

Data = Literal["clinical", "in-silico"]
INSILICO_MAKER = "PERFUSION-NODE"
"""Manufacturer of a perfusion image that this program made; the store keeps that word (`kept_attributes`)."""
START, RETRAINING = "start", "retraining"


@dataclass(frozen=True, slots=True)
class PairsAtHand:
    """What a store offers."""

    accepted: tuple[StoredPair, ...]
    """By name."""
    unreviewed: int
    rejected: int
    data: Data

    @property
    def patients(self) -> tuple[str, ...]:
        """With an accepted pair, sorted."""
        return tuple(sorted({pair.patient for pair in self.accepted}))


@dataclass(frozen=True, slots=True)
class FoldPairs:
    """Names of pairs by what they are for in one fold."""

    number: int
    training: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    """One of each patient of the fold, the first by name: a patient counts once in an interval."""


@dataclass(frozen=True, slots=True)
class RetrainingPlan:
    """Who takes part in what."""

    data: Data
    patients: int
    """That are trained on, choose steps or calibrate."""
    held_out: tuple[str, ...]
    """Patients."""
    pairs: tuple[StoredPair, ...]
    """All but those of the held-out."""
    folds: tuple[FoldPairs, ...]


def pairs_at_hand(store: StudyStore) -> PairsAtHand:
    """The pairs of a store and what was said of them.

    Raises:
        PairsMixed: some are in-silico and some are not.
        StoreUnusable: the audit trail was changed, or a pair is damaged.
    """
    words = verdicts(store)
    found = [(pair, standing(pair, words)) for pair in store.pairs()]
    accepted = tuple(pair for pair, verdict in found if verdict is not None and verdict.is_accepted)
    insilico = sum(_is_insilico(pair) for pair in accepted)
    if 0 < insilico < len(accepted):
        raise PairsMixed(insilico, len(accepted) - insilico)
    return PairsAtHand(
        accepted,
        unreviewed=sum(verdict is None for _, verdict in found),
        rejected=sum(verdict is not None and not verdict.is_accepted for _, verdict in found),
        data="in-silico" if insilico else "clinical",
    )


def plan_retraining(at_hand: PairsAtHand, recipe: RetrainingRecipe) -> RetrainingPlan:
    """Deal the accepted pairs.

    Raises:
        PairsUnreviewed: too few patients, and pairs that nobody has decided on.
        TooFewPairs: too few patients.
        HeldOutTooSmall: too few of them are held out.
        PartEmpty: nobody is left for a purpose.
    """
    wanted, patients = recipe.patients, at_hand.patients
    if len(patients) < wanted.fewest:
        if at_hand.unreviewed:
            raise PairsUnreviewed(len(patients), wanted.fewest, at_hand.unreviewed)
        raise TooFewPairs(len(patients), wanted.fewest)
    held_out = recipe.split.held_out(patients)
    if len(held_out) < wanted.fewest_held_out:
        raise HeldOutTooSmall(len(held_out), wanted.fewest_held_out)
    used = tuple(pair for pair in at_hand.accepted if pair.patient not in held_out)
    turns = tuple(_fold(number, used, recipe) for number in range(wanted.folds))
    return RetrainingPlan(at_hand.data, len(patients) - len(held_out), held_out, used, turns)


def _fold(number: int, pairs: Iterable[StoredPair], recipe: RetrainingRecipe) -> FoldPairs:
    folds = recipe.patients.folds
    training, validation = list[str](), list[str]()
    tested = dict[str, str]()
    for pair in pairs:
        if folds > 1 and recipe.split.fold_of(pair.patient, folds) == number:
            tested.setdefault(pair.patient, pair.name)
        elif chooses_step(pair.patient, recipe.patients.validation_parts):
            validation.append(pair.name)
        else:
            training.append(pair.name)
    for purpose, names in (
        ("to train on", training),
        ("to choose the step by", validation),
        ("to test", [*tested.values()] if folds > 1 else ["nobody is tested without folds"]),
    ):
        if not names:
            raise PartEmpty(number, purpose)
    return FoldPairs(number, tuple(training), tuple(validation), tuple(tested.values()))


def retraining_jobs(
    plan: RetrainingPlan, recipe: RetrainingRecipe, start: StartModel, digests: Mapping[str, str]
) -> tuple[Job, ...]:
    """The jobs of a run, those of the start first.

    Args:
        plan: who takes part.
        recipe: of the run.
        start: what is gone on from.
        digests: of the case of each pair (`pair_cases.Preparation.digests`).
    """
    cases = hashlib.sha256("".join(f"{name} {digests[name]}\n" for name in sorted(digests)).encode()).hexdigest()
    card = start.card
    network = NetworkPlan(
        START, f"That of {start.identity.label()}.", card.network, dict(card.network_arguments), card.channels
    )
    shown = InputPlan(card.input_spacing_mm, card.hu_window, card.window_size, card.channels, card.lungwise)
    starts = [
        Job(f"{START}/{start.sha256[:12]}-{k}", "pretraining", START, network=network, input=shown)
        for k in range(len(start.weights))
    ]
    turns = [
        Job(
            f"{RETRAINING}/fold{fold.number}/seed{recipe.seed}",
            "retraining",
            RETRAINING,
            fold=fold.number,
            seed=recipe.seed,
            start="pretrained",
            needs=starts[fold.number % len(starts)].name,
            learns=recipe.learns,
            network=network,
            input=shown,
            optimisation=recipe.optimisation,
            training=fold.training,
            validation=fold.validation,
            test=fold.test,
            cases_sha256=cases,
        )
        for fold in plan.folds
    ]
    return (*starts, *turns)


def _is_insilico(pair: StoredPair) -> bool:
    header = dcmread(pair.nuclear[0], stop_before_pixels=True, specific_tags=["Manufacturer"])
    return str(header.get("Manufacturer") or "") == INSILICO_MAKER
