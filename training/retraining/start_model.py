"""The model that training starts from: a signed bundle, the one that comes with the program, or a single network.

Network, grid, channels and window are taken from it as they are. Fold k starts from member k (modulo their number), so
that a network which was fine-tuned here before and never saw the patients of its fold goes on without them. For that
the split must be the same: a start that was trained on the same store with others held out is refused, since the new
model would be judged by patients whom its weights know.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from inference.checkpoint import load_network
from inference.model_card import WEIGHTS_FILE, ModelCard, ModelIdentity
from inference.models.bundle import ModelBundle, read_bundle
from inference.models.manifest import MANIFEST_FILE
from inference.models.shipped import shipped_model_folder, trusted_keys
from training.errors import JobUnreadable
from training.jobs import JOB_FILE, Job, read_record
from training.retraining.errors import StartUnusable
from training.retraining.recipe import RetrainingRecipe
from training.transfer import ENCODERS

MADE_BY_STORE, MADE_BY_SPLIT, MADE_BY_FOLDS = "store_key", "held_out", "folds"
"""Names in a bundle's `made_from` of what it was fine-tuned with."""


@dataclass(frozen=True, slots=True, eq=False)
class StartModel:
    """Networks to go on from."""

    identity: ModelIdentity
    cards: tuple[ModelCard, ...]
    weights: tuple[bytes, ...] = field(repr=False)
    """Of each member, a safetensors file."""
    content_sha256: str = ""
    """Of a bundle; empty for a single network."""
    made_from: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def card(self) -> ModelCard:
        """Of the first member; all are fed alike."""
        return self.cards[0]

    @property
    def sha256(self) -> str:
        """Of all weights."""
        return hashlib.sha256(b"".join(hashlib.sha256(each).digest() for each in self.weights)).hexdigest()


def read_start(folder: Path | None, trusted: Iterable[Path]) -> StartModel:
    """Read a model to start from, with every check that the node makes before it uses one.

    Args:
        folder: of a bundle or of a single network; None for the bundle that comes with the program.
        trusted: files with public keys whose signature counts, besides those of this project.

    Raises:
        StartUnusable: there is none, or it is a network of an earlier run, which only its bundle tells of.
        ModelError: it must not be used; each leaf says why.
    """
    if folder is None:
        folder = shipped_model_folder()
        if not folder.is_dir():
            raise StartUnusable("the shipped model", "none comes with this installation: name one by --start")
    if (folder / MANIFEST_FILE).is_file():
        return _of_bundle(read_bundle(folder, trusted_keys(trusted)))
    network = load_network(folder)
    if is_of_a_run(folder):
        raise StartUnusable(str(folder), "it is one network of a retraining; start from the bundle of that run")
    return StartModel(network.card.identity, (network.card,), ((folder / WEIGHTS_FILE).read_bytes(),))


def require_start(start: StartModel, recipe: RetrainingRecipe, store_key: str) -> None:
    """Go on only if this recipe can be trained from this model.

    Args:
        start: the model.
        recipe: of the run.
        store_key: number of the key of the store (`StudyStore`).

    Raises:
        StartUnusable: what is to learn is not known of its network, or it was trained on this store otherwise.
    """
    label = start.identity.label()
    if recipe.learns == "decoder" and start.card.network not in ENCODERS:
        raise StartUnusable(label, f"which part of {start.card.network} is its decoder is not known")
    if start.made_from.get(MADE_BY_STORE) != store_key:
        return
    before = (start.made_from.get(MADE_BY_SPLIT), start.made_from.get(MADE_BY_FOLDS))
    if before != (recipe.split.words, str(recipe.patients.folds)):
        raise StartUnusable(
            label,
            f"it was trained on patients of this store with parts {before[0]} held out in {before[1]} fold(s), and the "
            f"recipe holds out {recipe.split.words} in {recipe.patients.folds}: it knows patients that would judge it",
        )


def _of_bundle(bundle: ModelBundle) -> StartModel:
    manifest = bundle.manifest
    weights = tuple((bundle.folder / member / WEIGHTS_FILE).read_bytes() for member in manifest.members)
    for member, content in zip(manifest.members, weights, strict=True):
        if hashlib.sha256(content).hexdigest() != manifest.files[f"{member}/{WEIGHTS_FILE}"].sha256:
            raise StartUnusable(str(bundle.folder), f"{member} changed while it was read")
    bundle.networks()  # weights that do not fit their cards are found here, not after the preparation
    return StartModel(bundle.identity, bundle.cards, weights, manifest.content_sha256(), dict(manifest.made_from))


def is_of_a_run(folder: Path) -> bool:
    """Whether a folder is that of one network of a retraining."""
    try:
        return read_record(folder / JOB_FILE, Job).kind == "retraining"
    except JobUnreadable:
        return False
