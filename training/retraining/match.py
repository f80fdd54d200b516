"""Two models that are to be compared, by what a person calls them, and the rules of the comparison.

    RUN             folder of `perfnode train`: its bundle, checked with the key of that run
    BUNDLE          folder of a signed bundle
    NETWORK         folder of a single network with its card
    serving         what the node makes its maps with
    baseline        CT density and gravity, without weights

Maps are those that the node would make with these models, on the CT. Who is held out follows from the models: a bundle
of a retraining says by which rule its patients were dealt.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from inference.densitometric import DensitometricBaseline
from inference.engine import EngineSettings
from inference.model_card import ModelIdentity
from inference.models.bundle import ModelBundle, read_bundle
from inference.models.manifest import MANIFEST_FILE
from inference.models.shipped import trusted_keys
from inference.perfusion import PerfusionModel
from training.retraining.errors import RunUnfinished, SplitsDiffer, StartUnusable
from training.retraining.recipe import SHIPPED_RECIPE, RetrainingRecipe, read_retraining_recipe
from training.retraining.retraining import lobe_engine
from training.retraining.run_folder import is_run, model_of, recipe_of
from training.retraining.serving import serving_model
from training.retraining.split import SplitRule
from training.retraining.start_model import MADE_BY_SPLIT, MADE_BY_STORE, is_of_a_run

SERVING, BASELINE = "serving", "baseline"


@dataclass(frozen=True, slots=True, eq=False)
class Contender:
    """One of the two."""

    model: PerfusionModel
    split: SplitRule | None
    """By which its patients were dealt; None where it was not trained on any store."""
    store_key: str
    """Of the store that it was trained on; empty likewise."""
    recipe: Path | None
    """Of its run, where it was named by that."""

    @property
    def identity(self) -> ModelIdentity:
        """As objects name it."""
        return self.model.identity


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """Two models and how they are compared."""

    model: Contender
    compared: Contender
    recipe: RetrainingRecipe
    recipe_sha256: str
    lobes: EngineSettings

    @classmethod
    def between(
        cls,
        model: str,
        compared: str,
        *,
        recipe: Path | None = None,
        site: Path | None = None,
        trusted: Iterable[Path] = (),
        model_store: Path | None = None,
        device: str = "auto",
    ) -> "Match":
        """Read two models.

        Args:
            model: see above.
            compared: likewise.
            recipe: file or folder; None for that of the run that is named first, else the shipped one.
            site: site file of the node, for `serving`.
            trusted: files with public keys whose signature counts.
            model_store: weights of a learned lobe engine.
            device: where networks run.

        Raises:
            TrainingError: a model or the recipe cannot be found; each leaf says why.
            ModelError: a model must not be used.
        """
        keys = tuple(trusted)
        one, other = (_contender(name, site=site, trusted=keys, device=device) for name in (model, compared))
        read = read_retraining_recipe(recipe or one.recipe or other.recipe or SHIPPED_RECIPE)
        return cls(one, other, read.recipe, read.sha256, lobe_engine(read, model_store=model_store))

    def split(self, store_key: str) -> SplitRule:
        """Who is held out of a store: by the rule of the models that were trained on it, else by that of the recipe.

        Raises:
            SplitsDiffer: both were, by two rules.
        """
        rules = [
            each.split for each in (self.model, self.compared) if each.split is not None and each.store_key == store_key
        ]
        if len(set(rules)) > 1:
            raise SplitsDiffer(*(rule.words for rule in rules))
        return rules[0] if rules else self.recipe.split


def _contender(name: str, *, site: Path | None, trusted: tuple[Path, ...], device: str) -> Contender:
    if name == BASELINE:
        return Contender(DensitometricBaseline(), None, "", None)
    if name == SERVING:
        serving = serving_model(site)
        own = (*trusted, *map(Path, serving.trusted_keys))
        return _contender(serving.folder or BASELINE, site=None, trusted=own, device=device)
    folder = Path(name)
    if not folder.is_dir():
        raise RunUnfinished(name, "there is no such folder")
    recipe = None
    if is_run(folder):
        recipe = recipe_of(folder)
        folder, key = model_of(folder)
        trusted = (*trusted, key)
    if (folder / MANIFEST_FILE).is_file():
        return _of_bundle(read_bundle(folder, trusted_keys(trusted)), recipe, device)
    from inference.network_perfusion import NetworkPerfusion

    if is_of_a_run(folder):
        raise StartUnusable(name, "it is one network of a retraining and knows some patients: name its run")
    return Contender(NetworkPerfusion.load(folder, device=device), None, "", recipe)


def _of_bundle(bundle: ModelBundle, recipe: Path | None, device: str) -> Contender:
    from inference.ensemble_perfusion import EnsemblePerfusion

    made_from = bundle.manifest.made_from
    words = made_from.get(MADE_BY_SPLIT, "")
    try:
        split = SplitRule.parse(words) if words else None
    except ValueError as fault:
        raise StartUnusable(bundle.identity.label(), f"its manifest says {words!r} of its split") from fault
    return Contender(EnsemblePerfusion.of(bundle, device=device), split, made_from.get(MADE_BY_STORE, ""), recipe)
