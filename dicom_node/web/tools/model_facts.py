"""Models of the site for the page: what is in service, what is here, how that came about, and the one in shadow."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final

from dicom_node.model_list import bundle_fields, imported_models, listed, perfusion_model
from dicom_node.settings.config import NodeSettings
from dicom_node.shadow.comparisons import Comparisons
from dicom_node.shadow.summaries import PairSummary, summaries
from inference.errors import ModelError
from inference.models.history import Change, ChosenModel
from inference.models.manifest import PAGE_FILE
from inference.models.promotion import changes
from inference.models.shadow import shadow_of
from inference.models.shipped import trusted_keys

MOST_CASES: Final = 200
_NOT_FOR_ALL: Final = ("folder",)
"""Where things lie on the host is told by `perfnode models show`."""


@dataclass(frozen=True, slots=True)
class ImportedModel:
    """A perfusion model in the registry."""

    reference: str
    """`name@version`."""
    sha256: str
    state: str
    """`in force`, `in shadow`, `imported`, or the code of what is wrong with the choice."""


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights of a lobe engine, by the name under which they were published."""

    name: str
    state: str
    used: bool
    what: str
    licence: str
    sha256: str
    imported_at: str


@dataclass(frozen=True, slots=True)
class ModelChange:
    """One change of the model in force."""

    line: int
    at: str
    what: str
    model: str
    by: str
    approved_by: str
    reason: str
    evaluation_sha256: str


@dataclass(frozen=True, slots=True)
class ModelsHere:
    """All models of a site."""

    lobes: str
    """Engine that finds the lobes."""
    in_service: dict[str, str]
    """What makes the maps, by the name of each fact; `problem` where it must not be used."""
    models: list[ImportedModel]
    weights: list[Weights]
    history: list[ModelChange]
    """The newest first."""
    history_problem: str
    """Why there is none to rely on."""


@dataclass(frozen=True, slots=True)
class ShadowCase:
    """What the model in shadow made of one case."""

    case: str
    at: str
    run_s: float
    figures: dict[str, float | None]
    """As `perfnode models shadow --report` has them; empty where it gave no map."""
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class ShadowReport:
    """The model in shadow beside the one in use."""

    reference: str
    """Empty if none runs."""
    since: str
    by: str
    destination: str
    """That gets its objects; empty: nobody."""
    problem: str
    """Why nobody can say which one runs; empty if all is well."""
    cases: int
    pairs: list[PairSummary]
    newest: list[ShadowCase]
    """The newest first."""


@dataclass(frozen=True, slots=True)
class OneModel:
    """One model of the registry, read and checked."""

    reference: str
    sha256: str
    facts: dict[str, str]
    """Empty where it must not be used."""
    page: str
    """Its own page, in Markdown."""
    problem: str


def models_here(settings: NodeSettings) -> ModelsHere:
    """What is in service and what else is here; reads and checks the bundle in force."""
    try:
        history, trouble = [_change(change) for change in reversed(changes(settings.model_registry()))], ""
    except ModelError as fault:
        history, trouble = [], f"{fault.code}: {fault}"
    return ModelsHere(
        settings.engine.lobes,
        _facts(perfusion_model(settings.engine)),
        [ImportedModel(m["name"], m["sha256"], m["state"]) for m in imported_models(settings)],
        [Weights(w.name, w.state, w.used, w.what, w.licence, w.sha256, w.imported_at) for w in listed(settings)],
        history,
        trouble,
    )


def one_model(settings: NodeSettings, reference: str) -> OneModel:
    """A model of the registry by `name@version`.

    Raises:
        ModelNotRegistered: there is none, or several.
    """
    registry = settings.model_registry()
    model = registry.find(reference)
    try:
        bundle = registry.read(model, trusted_keys(settings.engine.trusted_keys))
    except ModelError as fault:
        return OneModel(model.reference, model.content_sha256, {}, "", f"{fault.code}: {fault}")
    return OneModel(
        model.reference, model.content_sha256, _facts(bundle_fields(bundle)), bundle.text(PAGE_FILE) or "", ""
    )


def shadow_report(settings: NodeSettings) -> ShadowReport:
    """How the model that runs in shadow compares; nothing where none runs."""
    registry = settings.model_registry()
    try:
        running = shadow_of(registry)
    except ModelError as fault:
        return ShadowReport("", "", "", "", f"{fault.code}: {fault}", 0, [], [])
    if running is None:
        return ShadowReport("", "", "", "", "", 0, [], [])
    compared = list(Comparisons(registry.folder, running.model.content_sha256).all())
    newest = [
        ShadowCase(c.case_id, c.at, c.run_s, _figures(asdict(c.figures) if c.figures else {}), c.code, c.message)
        for c in reversed(compared[-MOST_CASES:])
    ]
    known = (running.reference, running.at, running.by, running.destination)
    return ShadowReport(*known, "", len(compared), summaries(compared), newest)


def _figures(found: Mapping[str, object]) -> dict[str, float | None]:
    """The plain figures, without those of single lobes."""
    return {name: value for name, value in found.items() if value is None or isinstance(value, float)}


def _facts(fields: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in fields.items() if name not in _NOT_FOR_ALL and value}


def _change(change: Change) -> ModelChange:
    return ModelChange(
        change.line,
        change.at,
        change.what,
        _named(change.model),
        change.by,
        change.approved_by,
        change.reason,
        change.evaluation_sha256,
    )


def _named(model: ChosenModel | None) -> str:
    if model is None:
        return "the model that comes with the node"
    return f"{model.name}@{model.version} ({model.content_sha256[:12]})"
