"""Ask whether the node still answers as it did: the digital thorax, a site's reference set, the figures of patients."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dicom_node.commands.site import AsJson, Site, console, read_site

if TYPE_CHECKING:
    from dicom_node.commissioning.drift import Chart


def selftest(
    config: Site = None,
    accept: Annotated[
        bool, typer.Option("--accept", help="Keep this answer as the right one for the models and settings in force.")
    ] = False,
    by: Annotated[str, typer.Option(help="Who accepts it; stands in the audit trail.")] = "",
    as_json: AsJson = False,
) -> None:
    """Send the running node the digital thorax through its port and compare the answer with the ones before.

    If the answer has moved, patients wait until a self-test passes. Ends with status 1 if it did, 2 if no test could be
    made.
    """
    from dataclasses import asdict

    from dicom_node import output
    from dicom_node.commissioning.self_test import run_port_test
    from dicom_node.constancy.stop import Outcome
    from dicom_node.logs import configure_logs

    if accept != bool(by.strip()):
        raise typer.BadParameter("--accept and --by NAME go together", param_hint="--by")
    settings = read_site(config)
    configure_logs("error", "text")
    report = run_port_test(settings, by.strip())
    verdict = report.verdict
    if as_json:
        compared = [{**asdict(c), "passes": c.passes} for c in report.comparisons]
        fields = {"outcome": verdict.outcome.value, "code": verdict.code, "sentence": verdict.sentence}
        found = {"is_first": report.is_first, "made_since": list(report.made_since), "comparisons": compared}
        output.print_json(console, {**fields, **found})
    else:
        sentence = "This answer is kept as that of these models and settings." if report.is_first else ""
        console.print(f"{verdict.outcome.value}: {sentence or verdict.sentence}", soft_wrap=True, markup=False)
    raise typer.Exit({Outcome.PASSED: 0, Outcome.FAILED: 1, Outcome.NOT_RUN: 2}[verdict.outcome])


def commission(
    reference: Annotated[Path, typer.Argument(help="Reference set: a folder for each CT.", file_okay=False)],
    out: Annotated[Path, typer.Option(help="Where commissioning.json and commissioning.pdf go.")],
    by: Annotated[str, typer.Option(help="Who makes it; stands in the report and the audit trail.")],
    config: Site = None,
    record: Annotated[
        bool, typer.Option("--record", help="Store the answers as those to compare with, in place of earlier ones.")
    ] = False,
    limit_s: Annotated[float, typer.Option(min=1.0, help="How long to wait for each CT (s).")] = 3600.0,
) -> None:
    """Run a reference set through the running node, compare with the stored answers, and write a report to sign.

    Ends with status 1 if an answer has moved or is missing.
    """
    from dicom_node.commissioning.commission import commission as run
    from dicom_node.commissioning.report_page import write_report
    from dicom_node.progress import Progress

    if not by.strip():
        raise typer.BadParameter("a name is needed", param_hint="--by")
    settings = read_site(config)
    with Progress(console) as progress:
        report = run(settings, reference, by=by.strip(), record=record, limit_s=limit_s, progress=progress.say)
    for case in report.cases:
        console.print(f"{case.state:<15} {case.name}: {case.sentence}", soft_wrap=True, markup=False)
    settings.audit_trail().operator_action("record-answers" if record else "commission", f"by:{report.by}")
    for path in write_report(report, out):
        console.print(str(path), soft_wrap=True, markup=False)
    raise typer.Exit(0 if report.passes else 1)


def drift(
    config: Site = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the charts: drift.pdf, a PNG and an SVG of each, drift.json.")
    ] = None,
    first_cases: Annotated[
        int, typer.Option("--first", min=2, help="From so many first cases the limits of each chart are taken.")
    ] = 20,
    rules: Annotated[
        str, typer.Option(help="Numbers of Nelson's rules that are asked, such as 1,2,3; without it, all eight.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Keep the figures of new results, and say whether any has drifted (control charts, Nelson's rules).

    Charts begin anew with each model and its settings; the self-tests have their own. Ends with status 1 if one of the
    newest values breaks a rule.
    """
    from dicom_node import output
    from dicom_node.commissioning.control_chart import RULES
    from dicom_node.commissioning.drift_look import look_at_drift
    from dicom_node.commissioning.drift_page import write_drift
    from dicom_node.constancy.drift_news import PATIENTS, SELF_TESTS

    asked = [number for number in RULES if not rules or str(number) in rules.replace(" ", "").split(",")]
    if rules and {str(number) for number in asked} != set(rules.replace(" ", "").split(",")):
        raise typer.BadParameter(f"numbers from 1 to {len(RULES)}, with commas", param_hint="--rules")
    look = look_at_drift(read_site(config), first_cases, asked)
    written = write_drift(look, out) if out is not None else ()
    if as_json:
        output.print_json(console, look.fields())
    else:
        for whose, report in ((PATIENTS, look.patients), (SELF_TESTS, look.self_tests)):
            console.print(f"{whose}: {report.span}")
            for chart in report.charts:
                _tell(chart)
        if look.unreadable:
            console.print(f"not readable, on no chart: {', '.join(look.unreadable)}", soft_wrap=True, markup=False)
        for path in written[:2]:
            console.print(str(path), soft_wrap=True, markup=False)
    raise typer.Exit(0 if look.is_quiet else 1)


def _tell(chart: "Chart") -> None:
    console.print(_line(chart), soft_wrap=True, markup=False)
    for signal in chart.news:
        told = f"      rule {signal.rule} at {chart.keys[signal.index]}: {signal.sentence}"
        console.print(told, soft_wrap=True, markup=False)


def _line(chart: "Chart") -> str:
    from dicom_node.commissioning.figures import shown_unit

    told = (
        f"{chart.name:<13} {len(chart.values)} case(s), last {chart.values[-1]:.2f} {shown_unit(chart.unit)}".rstrip()
    )
    if chart.limits is None:
        return f"----  {told}; too few for limits"
    word = "LOOK" if chart.news else "ok  "
    doubt = f"; {len(chart.first_beyond)} of the first beyond them" if chart.first_beyond else ""
    return f"{word}  {told}, limits {chart.limits.lower:.2f} to {chart.limits.upper:.2f}{doubt}"
