"""What can be wrong before, and after, a hospital retrains a model. Codes stay as they are; sentences may change.

TrainingError                    code
├─ TooFewPairs                   TOO_FEW_PAIRS         fewer patients with an accepted pair than the recipe wants
├─ PairsUnreviewed               PAIRS_UNREVIEWED      the same, and there are pairs that nobody has decided on
├─ PairsUnusable                 PAIRS_UNUSABLE        accepted pairs that no case can be made of
├─ PairsMixed                    PAIRS_MIXED           in-silico and clinical pairs in one store
├─ PartEmpty                     PART_EMPTY            chance left nobody for the training, or the choice, of a fold
├─ HeldOutTooSmall               HELD_OUT_TOO_SMALL    too few patients that no training has seen
├─ StartUnusable                 START_UNUSABLE        a model that cannot be trained on, or would spoil the proof
├─ RunUnfinished                 RUN_UNFINISHED        a folder in which `perfnode train` has not come to its end
├─ SplitsDiffer                  SPLITS_DIFFER         two models with other patients held out
├─ ModelsUnscored                MODELS_UNSCORED       a figure of a patient has no value
└─ ServingUnknown                SERVING_UNKNOWN       which model the node uses cannot be found out
"""

from collections.abc import Mapping

from training.errors import TrainingError


class TooFewPairs(TrainingError):
    """Fewer patients have an accepted pair than the recipe wants."""

    code = "TOO_FEW_PAIRS"

    def __init__(self, patients: int, wanted: int) -> None:
        self.patients, self.wanted = patients, wanted
        super().__init__(f"{patients} patients have an accepted pair, the recipe wants {wanted}")


class PairsUnreviewed(TrainingError):
    """Too few pairs are accepted, and there are some that nobody has decided on."""

    code = "PAIRS_UNREVIEWED"

    def __init__(self, patients: int, wanted: int, unreviewed: int) -> None:
        self.patients, self.wanted, self.unreviewed = patients, wanted, unreviewed
        super().__init__(
            f"{patients} patients have an accepted pair, the recipe wants {wanted}; {unreviewed} pair(s) are not "
            "reviewed: `perfnode pairs review`, then `pairs accept` or `pairs reject` each"
        )


class PairsUnusable(TrainingError):
    """No case can be made of accepted pairs; carries the reason for each."""

    code = "PAIRS_UNUSABLE"

    def __init__(self, reasons: Mapping[str, str]) -> None:
        self.reasons = dict(reasons)
        lines = "".join(f"\n  - {name}: {reason}" for name, reason in sorted(reasons.items()))
        super().__init__(
            f"{len(reasons)} accepted pair(s) cannot be used; correct them, or take them out by "
            f"`perfnode pairs reject`:{lines}"
        )


class PairsMixed(TrainingError):
    """In-silico and clinical pairs lie in one store, and figures of the two must not be mixed."""

    code = "PAIRS_MIXED"

    def __init__(self, insilico: int, clinical: int) -> None:
        self.insilico, self.clinical = insilico, clinical
        super().__init__(f"{insilico} accepted pairs are in-silico and {clinical} clinical: keep them in two stores")


class PartEmpty(TrainingError):
    """Each patient is dealt by a hash, and chance left nobody for a purpose."""

    code = "PART_EMPTY"

    def __init__(self, fold: int, purpose: str) -> None:
        self.fold, self.purpose = fold, purpose
        super().__init__(
            f"fold {fold} has nobody {purpose}: more patients, or a recipe with fewer folds and parts, are needed"
        )


class HeldOutTooSmall(TrainingError):
    """Too few patients that no training has ever seen have an accepted pair."""

    code = "HELD_OUT_TOO_SMALL"

    def __init__(self, patients: int, wanted: int) -> None:
        self.patients, self.wanted = patients, wanted
        super().__init__(
            f"{patients} held-out patient(s) have an accepted pair, the recipe wants {wanted}: without them nobody "
            "could tell whether the model is better. More patients are needed: nobody may be moved there from the "
            "training"
        )


class StartUnusable(TrainingError):
    """A model is none to start from or to compare, or doing so would spoil the proof."""

    code = "START_UNUSABLE"

    def __init__(self, model: str, reason: str) -> None:
        self.model, self.reason = model, reason
        super().__init__(f"the model {model} cannot be taken: {reason}")


class RunUnfinished(TrainingError):
    """A folder is no run of `perfnode train`, or one that has not come to its end."""

    code = "RUN_UNFINISHED"

    def __init__(self, folder: str, reason: str) -> None:
        self.folder, self.reason = folder, reason
        super().__init__(f"{folder}: {reason}")


class SplitsDiffer(TrainingError):
    """Two models were trained with other patients held out, so there is no fair set to compare them on."""

    code = "SPLITS_DIFFER"

    def __init__(self, one: str, other: str) -> None:
        self.one, self.other = one, other
        super().__init__(f"one held out {one}, the other {other}: nobody is sure to be unseen by both")


class ModelsUnscored(TrainingError):
    """A figure of a patient has no value, such as the correlation of a map that is the same everywhere."""

    code = "MODELS_UNSCORED"

    def __init__(self, patients: Mapping[str, str]) -> None:
        self.patients = dict(patients)
        told = "; ".join(f"{name}: {what}" for name, what in sorted(patients.items()))
        super().__init__(f"figures without a value: {told}")


class ServingUnknown(TrainingError):
    """Which model the node uses cannot be found out from its site file."""

    code = "SERVING_UNKNOWN"

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"which model the node uses cannot be found out: {reason}")
