"""Look at cases and change their course."""

from typing import Annotated

import typer

from dicom_node.commands.site import (
    AsJson,
    CaseId,
    SeriesKey,
    Site,
    case_id,
    console,
    job_book,
    node_arrivals,
    read_site,
)


def jobs(
    config: Site = None,
    as_json: AsJson = False,
    failed: Annotated[bool, typer.Option(help="Only cases that failed and wait for a person: see `retry`.")] = False,
) -> None:
    """List cases, and series that are arriving, wait, or were put aside."""
    from dicom_node import output
    from dicom_node.attempts import CaseState

    settings = read_site(config)
    arrivals = [] if failed else node_arrivals(settings).all()
    with job_book(settings) as book:
        cases = [case for case in book.cases() if not failed or case.state is CaseState.FAILED]
    if as_json:
        fields = {
            "cases": [output.case_fields(c) for c in cases],
            "arrivals": [output.arrival_fields(a) for a in arrivals],
        }
        output.print_json(console, fields)
    else:
        output.print_cases(console, cases, arrivals)


def release(series: SeriesKey, config: Site = None) -> None:
    """Hand a series over as it is: held, interrupted, or put aside by a rule. The running node does it."""
    settings = read_site(config)
    arrival = node_arrivals(settings).release(series)
    settings.audit_trail().operator_action("release", f"series:{arrival.series_key[:16]}")
    console.print(f"released {arrival.series_key[:8]}, {arrival.instances} images, was {arrival.state.value}")


def discard(series: SeriesKey, config: Site = None) -> None:
    """Put aside a series that nobody wants; it is kept for some days and can still be released."""
    settings = read_site(config)
    arrival = node_arrivals(settings).discard(series)
    settings.audit_trail().operator_action("discard", f"series:{arrival.series_key[:16]}")
    console.print(f"discarded {arrival.series_key[:8]}, {arrival.instances} images, was {arrival.state.value}")


def show(case: CaseId, config: Site = None, as_json: AsJson = False) -> None:
    """Show one case: its state, every attempt, what is stored where, and the result if there is one."""
    import json

    from dicom_node import output
    from dicom_node.destination_output import destination_fields, print_destinations

    settings = read_site(config)
    folder = settings.cases().find(case)
    record = folder.record()
    with job_book(settings) as book:
        found = book.case(folder.case_id)
    facts_file = folder.result.with_suffix(".json")
    facts = json.loads(facts_file.read_text()) if facts_file.exists() else None
    if as_json:
        fields = {**output.case_fields(found, with_attempts=True), **output.origin_fields(record)}
        output.print_json(console, {**fields, "destinations": destination_fields(found), "result": facts})
        return
    output.print_case(console, found)
    print_destinations(console, found)
    output.print_origin(console, record)
    if facts:
        output.print_lobar_table(console, facts)


def retry(
    case: CaseId,
    config: Site = None,
    destination: Annotated[str, typer.Option(help="Send to this destination only, even if it waits for later.")] = "",
) -> None:
    """Try a finished case again from where it stopped; a delivered one is delivered again."""
    settings = read_site(config)
    found = case_id(settings, case)
    with job_book(settings) as book:
        book.retry(found, destination)
    settings.audit_trail().operator_action("retry", f"case:{found}")
    console.print("queued")


def rerun(case: CaseId, config: Site = None) -> None:
    """Process a finished case anew with the models and settings in force; a changed result supersedes the old one."""
    settings = read_site(config)
    found = case_id(settings, case)
    with job_book(settings) as book:
        book.rerun(found)
    settings.audit_trail().operator_action("rerun", f"case:{found}")
    console.print("queued")


def cancel(case: CaseId, config: Site = None) -> None:
    """Stop a case; nothing more of it is processed or sent."""
    settings = read_site(config)
    found = case_id(settings, case)
    with job_book(settings) as book:
        book.cancel(found)
    settings.audit_trail().operator_action("cancel", f"case:{found}")
    console.print("cancelled")
