"""Which weights this site has and which its engines use, for `perfnode models list`."""

from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from dicom_node.settings.config import NodeSettings
from inference.engine import EngineSettings
from inference.errors import ModelError, StoredModelDamaged
from inference.model_card import ModelCard
from inference.models.bundle import ModelBundle
from inference.models.promotion import in_force, read_serving_bundle
from inference.models.registry import ModelRegistry
from inference.models.shadow import Shadow, shadow_of
from inference.models.shipped import SHIPPED_MODEL
from inference.weights.published_weights import PUBLISHED, PublishedWeights

_USED_BY = {
    "lungmask": ("lungmask-r231", "lungmask-ltrclobes"),
    "totalsegmentator": ("totalsegmentator-lobes",),
}


@dataclass(frozen=True, slots=True)
class ListedModel:
    """Weights as a person sees them."""

    name: str
    state: str
    """`stored`, `absent`, `damaged`, or `file of the site` where the site file names one of its own."""
    used: bool
    """Whether the engines of this site need them."""
    what: str
    licence: str
    citation: str
    url: str
    sha256: str = ""
    source_sha256: str = ""
    size_mb: float = 0.0
    imported_from: str = ""
    imported_at: str = ""


def listed(settings: NodeSettings) -> list[ListedModel]:
    """All weights that are known by name."""
    return [_listed(settings, weights) for weights in PUBLISHED.values()]


def _listed(settings: NodeSettings, weights: PublishedWeights) -> ListedModel:
    engine = settings.engine
    used = weights.name in _USED_BY.get(engine.lobes, ())
    facts = (weights.what, weights.licence, weights.citation, weights.url)
    if _own_file(engine, weights.name) is not None:
        return ListedModel(weights.name, "file of the site", used, *facts)
    try:
        stored = settings.model_store().find(weights.name)
    except StoredModelDamaged:
        return ListedModel(weights.name, "damaged", used, *facts)
    if stored is None:
        return ListedModel(weights.name, "absent", used, *facts)
    return ListedModel(
        weights.name,
        "stored",
        used,
        *facts,
        sha256=stored.sha256,
        source_sha256=stored.source_sha256,
        size_mb=stored.size_bytes / 1e6,
        imported_from=stored.imported_from,
        imported_at=stored.imported_at,
    )


def _own_file(engine: EngineSettings, name: str) -> object:
    own = {"lungmask-r231": engine.r231_weights, "lungmask-ltrclobes": engine.ltrclobes_weights}
    return own.get(name)


def perfusion_model(engine: EngineSettings) -> dict[str, str]:
    """What makes the perfusion map at this site: name, version, digest, and what its card says."""
    if engine.perfusion == "bundle":
        return _bundle(engine)
    if engine.perfusion != "network" or engine.model_folder is None:
        return {"name": "densitometric baseline", "weights": "none", "intended_use": "comparison; not a trained model"}
    try:
        card = ModelCard.read(engine.model_folder)
    except ModelError as fault:
        return {"name": str(engine.model_folder), "problem": f"{fault.code}: {fault}"}
    return {
        "name": f"{card.identity.name} {card.identity.version}",
        "weights": card.identity.weights_sha256,
        "network": card.network,
        "trained_on": card.trained_on,
        "intended_use": card.intended_use,
        "caveat": card.identity.caveat,
    }


def _bundle(engine: EngineSettings) -> dict[str, str]:
    """What the manifest of the site's bundle says, once the whole bundle was checked."""
    try:
        bundle = read_serving_bundle(engine.model_folder, engine.trusted_keys, engine.model_registry)
    except ModelError as fault:
        return {"name": str(engine.model_folder or SHIPPED_MODEL), "problem": f"{fault.code}: {fault}"}
    return bundle_fields(bundle)


def bundle_fields(bundle: ModelBundle) -> dict[str, str]:
    """A checked bundle for people: who it is, what it is for, and who signed it."""
    manifest = bundle.manifest
    return {
        "name": f"{manifest.name} {manifest.version}",
        "weights": bundle.identity.weights_sha256,
        "network": f"{len(bundle.cards)} x {bundle.cards[0].network}",
        "trained_on": manifest.trained_on,
        "intended_use": manifest.intended_use,
        "caveat": manifest.caveat,
        "qualification": manifest.qualification,
        "signed_by": f"{manifest.signer}, key {manifest.key_id}",
        "folder": str(bundle.folder),
    }


def list_fields(settings: NodeSettings) -> dict[str, Any]:
    """Everything as plain values."""
    return {
        "store": str(settings.model_store().folder),
        "lobes": settings.engine.lobes,
        "weights": [asdict(model) for model in listed(settings)],
        "perfusion": perfusion_model(settings.engine),
        "perfusion_models": imported_models(settings),
    }


def imported_models(settings: NodeSettings) -> list[dict[str, str]]:
    """The perfusion models that were imported, and which of them is in force or in shadow."""
    registry = settings.model_registry()
    try:
        change = in_force(registry)
    except ModelError as fault:
        state = fault.code
        return [{"name": m.reference, "sha256": m.content_sha256, "state": state} for m in registry.models()]
    states = {}
    if (shadow := _shadow(registry)) is not None:
        states[shadow.model.manifest_sha256] = "in shadow"
    if change is not None and change.model is not None:
        states[change.model.manifest_sha256] = "in force"
    return [
        {
            "name": model.reference,
            "sha256": model.content_sha256,
            "state": states.get(model.manifest_sha256, "imported"),
        }
        for model in registry.models()
    ]


def _shadow(registry: ModelRegistry) -> Shadow | None:
    try:
        return shadow_of(registry)
    except ModelError:  # then none runs; `perfnode models shadow` says why
        return None


def print_list(console: Console, settings: NodeSettings) -> None:
    """The table, and the perfusion model below it."""
    table = Table(title="Weights")
    for heading in ("name", "state", "used", "MB", "SHA-256", "imported", "licence", "what"):
        table.add_column(heading, no_wrap=heading in ("name", "SHA-256"))
    for model in listed(settings):
        size = f"{model.size_mb:.0f}" if model.size_mb else ""
        used, when = "yes" if model.used else "", model.imported_at[:10]
        table.add_row(model.name, model.state, used, size, model.sha256[:12], when, model.licence, model.what)
    console.print(table)
    console.print(f"lobes: {settings.engine.lobes}; store: {settings.model_store().folder}", soft_wrap=True)
    for key, value in perfusion_model(settings.engine).items():
        console.print(f"perfusion {key}: {value}", markup=False, soft_wrap=True)
    for imported in imported_models(settings):
        line = f"{imported['name']} SHA-256 {imported['sha256'][:12]}: {imported['state']}"
        console.print(line, markup=False, soft_wrap=True)
