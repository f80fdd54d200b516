"""`perfnode models shadow`: a candidate beside the model in use, and how both compare."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dicom_node.commands.model_choice import serving_identity
from dicom_node.commands.site import AsJson, Site, console, read_site

if TYPE_CHECKING:
    from dicom_node.settings.config import NodeSettings
    from dicom_node.shadow.comparisons import CaseComparison
    from dicom_node.shadow.summaries import PairSummary

NOWHERE = "nowhere"


def shadow(
    name: Annotated[
        str, typer.Argument(help="Name of an imported model, name@version, or first digits of its digest.")
    ] = "",
    by: Annotated[str, typer.Option("--by", help="Who does this; needed to start.")] = "",
    to: Annotated[str, typer.Option("--to", help="A destination of mode research that gets its objects.")] = NOWHERE,
    off: Annotated[bool, typer.Option("--off", help="Let no model run in shadow any more.")] = False,
    report: Annotated[bool, typer.Option("--report", help="Show how it compares, case by case.")] = False,
    config: Site = None,
    as_json: AsJson = False,
) -> None:
    """Let a model look at every later case beside the one in use, for comparison; without a name, say which does.

    It works while the node has nothing else to do. Nothing of it goes to a clinical destination.
    """
    settings = read_site(config, default=True)
    if off and (name or report):
        raise typer.BadParameter("--off takes neither a name nor --report")
    if report:
        _report(settings, name, as_json=as_json)
    elif off:
        _end(settings)
    elif name:
        _start(settings, name, by, "" if to == NOWHERE else to)
    else:
        _tell(settings, as_json=as_json)


def _start(settings: "NodeSettings", name: str, by: str, destination: str) -> None:
    from dicom_node.jobs.route_mode import RouteMode
    from inference.models.shadow import start_shadow

    if destination and settings.modes.get(destination) is not RouteMode.RESEARCH:
        known = [given for given, mode in settings.modes.items() if mode is RouteMode.RESEARCH]
        raise typer.BadParameter(
            f'{destination!r} is no destination of mode = "research"; the site has {", ".join(known) or "none"}'
        )
    registry = settings.model_registry()
    model = registry.find(name)
    own = settings.engine.trusted_keys
    in_use = serving_identity(settings)
    found = start_shadow(registry, model, in_use, own, by=by, destination=destination)
    settings.audit_trail().operator_action("shadow-model", f"model:{model.reference}:{model.content_sha256[:12]}")
    _say(f"{found.reference} ({model.content_sha256[:12]}) runs in shadow of {in_use.label()}, by {by}")
    _say(f"its objects go to {destination or NOWHERE}; from the next case on")


def _end(settings: "NodeSettings") -> None:
    from inference.models.shadow import end_shadow

    if end_shadow(settings.model_registry()):
        settings.audit_trail().operator_action("end-shadow", "model:shadow")
        _say("no model runs in shadow any more")
    else:
        _say("no model ran in shadow")


def _tell(settings: "NodeSettings", *, as_json: bool) -> None:
    from dicom_node import output
    from inference.models.shadow import shadow_of

    found = shadow_of(settings.model_registry())
    if as_json:
        output.print_json(console, {"shadow": None if found is None else asdict(found)})
    elif found is None:
        _say("no model runs in shadow")
    else:
        _say(f"{found.reference} runs in shadow since {found.at}, by {found.by}")
        _say(f"its objects go to {found.destination or NOWHERE}")


def _report(settings: "NodeSettings", name: str, *, as_json: bool) -> None:
    from dicom_node import output
    from dicom_node.shadow.comparisons import Comparisons
    from dicom_node.shadow.summaries import summaries
    from inference.models.shadow import shadow_of

    registry = settings.model_registry()
    running = shadow_of(registry)
    if not name and running is None:
        raise typer.BadParameter("no model runs in shadow; name the one that did")
    digest = registry.find(name).content_sha256 if name or running is None else running.model.content_sha256
    cases = list(Comparisons(registry.folder, digest).all())
    pairs = summaries(cases)
    if as_json:
        output.print_json(
            console, {"pairs": [_pair_fields(pair) for pair in pairs], "cases": [asdict(case) for case in cases]}
        )
        return
    for pair in pairs:
        _print_pair(pair)
    for case in cases:
        _say(f"  {case.at}  {case.case_id}  {_line(case)}")
    if not cases:
        _say("no case yet")


def _pair_fields(pair: "PairSummary") -> dict[str, Any]:
    return {**asdict(pair), "figures": {name: asdict(s) if s else {} for name, s in pair.figures.items()}}


def _print_pair(pair: "PairSummary") -> None:
    _say(f"{pair.candidate} beside {pair.in_use or 'any model'}: {pair.cases} case{'s' * (pair.cases != 1)}")
    if pair.without_a_map:
        _say(f"  {pair.without_a_map} without a map of the model in shadow")
    for word, spread in pair.figures.items():
        if spread:
            middle, lowest, highest = (f"{round(v, 6):.3g}" for v in (spread.median, spread.lowest, spread.highest))
            _say(f"  {word}: {middle} ({lowest} to {highest})")


def _line(case: "CaseComparison") -> str:
    from inference.anatomy import Lobe

    if (found := case.figures) is None:
        return f"no map: {case.code} {case.message}".strip()
    rank = "none" if found.spearman is None else f"{found.spearman:.3f}"
    points = found.lobar_percent_points
    lobes = " ".join(f"{lobe.tg263} {points[lobe.tg263]:+.1f}" for lobe in Lobe if lobe.tg263 in points)
    return (
        f"difference {found.mean_difference_percent:+.2f} %, absolute {found.mean_absolute_difference_percent:.1f} %, "
        f"Spearman {rank}, Dice high {found.dice_high:.3f} low {found.dice_low:.3f}, lobes {lobes}, {case.run_s:.1f} s"
    )


def _say(text: str) -> None:
    console.print(text, markup=False, soft_wrap=True)
