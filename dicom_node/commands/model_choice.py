"""`perfnode models promote | rollback | history | export`: which imported model makes the maps, and who said so."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dicom_node.commands.site import AsJson, Site, console, read_site

if TYPE_CHECKING:
    from dicom_node.settings.config import NodeSettings
    from inference.model_card import ModelIdentity
    from inference.models.evaluation import Evaluation
    from inference.models.history import ChosenModel

Model = Annotated[str, typer.Argument(help="Name of an imported model, name@version, or first digits of its digest.")]
By = Annotated[str, typer.Option("--by", help="Who does this.")]


def promote(
    name: Model,
    evaluation: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="The document of `perfnode evaluate`.")],
    by: By,
    approved_by: Annotated[str, typer.Option(help="Somebody else, who has looked at the evaluation.")],
    config: Site = None,
) -> None:
    """Put an imported model into force. It must have passed an evaluation against the one in use, and the self-test.

    The running node takes it from its next job on; no job is lost, and none is made by two models.
    """
    from dicom_node.selftest import run_self_test
    from inference.models.evaluation import Evaluation
    from inference.models.promotion import promote as put_into_force
    from inference.models.shipped import trusted_keys

    settings, content = read_site(config, default=True), evaluation.read_bytes()
    registry = settings.model_registry()
    model = registry.find(name)
    _print_figures(Evaluation.parse(content))
    # A node cannot start with a model that fails this, so it is found here and not at the next start.
    candidate = replace(settings.engine, perfusion="bundle", model_folder=registry.path(model))
    run_self_test(replace(settings, engine=candidate))
    change = put_into_force(
        registry,
        model,
        content,
        lambda: serving_identity(settings),
        trusted_keys(settings.engine.trusted_keys),
        by=by,
        approved_by=approved_by,
    )
    settings.audit_trail().operator_action("promote-model", f"model:{model.reference}:{model.content_sha256[:12]}")
    _say(f"{model.reference} ({model.content_sha256[:12]}) is in force, by {change.by}, approved by {approved_by}")
    _say_effect(settings)


def rollback(
    by: By,
    reason: Annotated[str, typer.Option(help="Why; it stays in the history.")],
    config: Site = None,
) -> None:
    """Put back the model that was in force before, at once. Again: the one before that."""
    from inference.models.promotion import rollback as put_back

    settings = read_site(config, default=True)
    change = put_back(settings.model_registry(), settings.engine.trusted_keys, by=by, reason=reason)
    settings.audit_trail().operator_action("rollback-model", f"model:{_named(change.model)}")
    _say(f"{_named(change.model)} is in force again, by {change.by}")
    _say_effect(settings)


def history(config: Site = None, as_json: AsJson = False) -> None:
    """Show every change of the model in force: when, which, by whom and why."""
    from dicom_node import output
    from inference.models.promotion import changes

    found = changes(read_site(config, default=True).model_registry())
    if as_json:
        output.print_json(console, {"changes": [asdict(change) for change in found]})
        return
    for change in found:
        people = f"{change.by}, approved by {change.approved_by}" if change.approved_by else change.by
        why = f"evaluation {change.evaluation_sha256[:12]}" if change.evaluation_sha256 else change.reason
        _say(f"{change.line}  {change.at}  {change.what} {_named(change.model)}  {people}  ({why})")
    if not found:
        _say("nothing was promoted here")


def export(
    name: Model,
    file: Annotated[Path, typer.Argument(help="New zip file, which `perfnode models import` reads.")],
    config: Site = None,
) -> None:
    """Write an imported model as one file, to be carried to another site or kept."""
    from inference.models.shipped import trusted_keys

    settings = read_site(config, default=True)
    registry = settings.model_registry()
    model = registry.find(name)
    try:
        registry.export(model, file, trusted_keys(settings.engine.trusted_keys))
    except OSError as fault:
        raise typer.BadParameter(f"{file} cannot be written: {fault.strerror or 'it exists'}") from fault
    settings.audit_trail().operator_action("export-model", f"model:{model.reference}:{model.content_sha256[:12]}")
    _say(f"{model.reference} ({model.content_sha256[:12]}) in {file}")


def serving_identity(settings: "NodeSettings") -> "ModelIdentity":
    """Who makes the maps of a site now; the densitometric baseline where it has no model yet.

    Raises:
        ModelError: its model must not be used.
    """
    from inference.densitometric import DensitometricBaseline
    from inference.errors import ModelNotFound
    from inference.model_card import ModelCard
    from inference.models.promotion import in_force, read_serving_bundle

    engine = settings.engine
    if engine.perfusion == "network" and engine.model_folder is not None:
        return ModelCard.read(engine.model_folder).identity
    if engine.perfusion != "bundle":
        return DensitometricBaseline.identity
    try:
        return read_serving_bundle(engine.model_folder, engine.trusted_keys, engine.model_registry).identity
    except ModelNotFound:
        change = in_force(settings.model_registry())
        if engine.model_folder is not None or (change is not None and change.model is not None):
            raise
        return DensitometricBaseline.identity  # nothing was promoted, and no model comes with this installation


def serving_fields(settings: "NodeSettings") -> dict[str, object]:
    """Who makes the maps of a site now, as plain values: `perfnode evaluate` compares with that."""
    from inference.errors import ModelError

    engine = settings.engine
    try:
        serving = serving_identity(settings)
        folder = "" if not serving.weights_sha256 else _serving_folder(settings)
    except ModelError as fault:
        return {"problem": f"{fault.code}: {fault}"}
    kind = engine.perfusion if serving.weights_sha256 else "densitometric"
    return {"kind": kind, "folder": folder, "trusted_keys": [str(path) for path in engine.trusted_keys]}


def _serving_folder(settings: "NodeSettings") -> str:
    from inference.models.promotion import read_serving_bundle

    engine = settings.engine
    if engine.perfusion == "network":
        return str(engine.model_folder)
    return str(read_serving_bundle(engine.model_folder, engine.trusted_keys, engine.model_registry).folder)


def _print_figures(evaluation: "Evaluation") -> None:
    _say(f"{evaluation.data}, {len(evaluation.patients)} patients, against {evaluation.compared_with.label()}:")
    for figure in evaluation.figures:
        interval = f"{figure.difference:+.4g} ({figure.low:.4g} to {figure.high:.4g}) {figure.unit}".rstrip()
        needed = "" if figure.needed == "reported" else f"; needed {figure.needed}"
        _say(f"  {figure.name}: {interval}{needed}: {'passed' if figure.passes() else 'NOT passed'}")


def _say_effect(settings: "NodeSettings") -> None:
    engine = settings.engine
    if engine.perfusion == "bundle" and engine.model_folder is None:
        _say("the node uses it from its next job on")
    else:
        _say('THIS SITE DOES NOT USE IT: write perfusion = "bundle" without model_folder into [inference]')


def _named(model: "ChosenModel | None") -> str:
    if model is None:
        return "the model that comes with the node"
    return f"{model.name}@{model.version} ({model.content_sha256[:12]})"


def _say(text: str) -> None:
    console.print(text, markup=False, soft_wrap=True)
