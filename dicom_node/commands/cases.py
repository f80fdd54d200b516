"""Look at cases and change their course."""

from typing import TYPE_CHECKING, Annotated

import typer

from dicom_node.commands.site import AsJson, CaseId, Site, console, read_site

if TYPE_CHECKING:
    from pathlib import Path

    from dicom_node.operations import Change, Operations
    from dicom_node.review.decision import Deciding

Urgent = Annotated[bool, typer.Option("--urgent", help="From now on it goes before cases that are not urgent.")]
Subject = Annotated[
    str, typer.Argument(help="Id of a case or key of a series, as perfnode jobs shows them, or its first characters.")
]
Reason = Annotated[
    str, typer.Option(help="Why, in at most 500 characters; kept with the case, with your login name and the time.")
]
OneDestination = Annotated[str, typer.Option("--destination", help="This destination only.")]


def jobs(
    config: Site = None,
    as_json: AsJson = False,
    failed: Annotated[bool, typer.Option(help="Only cases that failed and wait for a person: see `requeue`.")] = False,
    state: Annotated[
        list[str], typer.Option(help="Only cases in this state, for instance HELD; may be repeated.")
    ] = [],  # noqa: B006
    everything: Annotated[bool, typer.Option("--all", help="All cases, not only the newest 100.")] = False,
) -> None:
    """List cases, the newest last, and series that are arriving, wait, or were put aside."""
    from dicom_node import output
    from dicom_node.jobs.attempts import CaseState
    from dicom_node.operations import NEWEST

    try:
        states = [CaseState(name.upper().replace("-", "_")) for name in state or ()]
    except ValueError as fault:
        raise typer.BadParameter(f"known are {', '.join(CaseState)}", param_hint="--state") from fault
    with _operations(config) as node:
        listing = node.jobs(states, failed=failed, limit=None if everything else NEWEST)
    if as_json:
        fields = {
            "cases": [output.case_fields(c) for c in listing.cases],
            "arrivals": [output.arrival_fields(a) for a in listing.arrivals],
            "is_whole": listing.is_whole,
        }
        output.print_json(console, fields)
        return
    output.print_cases(console, listing.cases, listing.arrivals)
    if not listing.is_whole:
        console.print(f"The newest {NEWEST} cases; --all shows every one.", style="dim")


def show(case: CaseId, config: Site = None, as_json: AsJson = False) -> None:
    """Show one case: its state, every attempt, what is stored where, what people decided, and the result if any."""
    from dicom_node import output
    from dicom_node.destination_output import destination_fields, print_destinations
    from dicom_node.review_output import print_review, review_fields

    with _operations(config) as node:
        details = node.show(case)
    if as_json:
        fields = {**output.case_fields(details.case, with_attempts=True), **output.origin_fields(details.record)}
        fields |= {"destinations": destination_fields(details.case), **review_fields(details.review)}
        output.print_json(console, {**fields, "result": details.result})
        return
    output.print_case(console, details.case)
    print_destinations(console, details.case)
    output.print_origin(console, details.record)
    print_review(console, details.review)
    if details.result:
        output.print_lobar_table(console, details.result)


def retry(
    case: CaseId,
    config: Site = None,
    destination: Annotated[str, typer.Option(help="Send to this destination only, even if it waits for later.")] = "",
    urgent: Urgent = False,
    candidate: Annotated[
        bool, typer.Option("--candidate", help="Let the model in shadow look at it once more; nothing else is done.")
    ] = False,
    reason: Reason = "",
) -> None:
    """Try a finished case again from where it stopped; a delivered one is delivered again."""
    if candidate and (destination or urgent):
        raise typer.BadParameter("goes with neither --destination nor --urgent", param_hint="--candidate")
    with _operations(config) as node:
        if candidate:
            _say_candidate(node.retry_candidate(case, deciding=_deciding(reason)))
            return
        _say_queued(node.retry(case, destination, urgent=urgent, deciding=_deciding(reason)))


def rerun(
    case: CaseId,
    config: Site = None,
    urgent: Urgent = False,
    function_rule: Annotated[
        str, typer.Option(help="Cut the map by this rule and not by the site's; held at every destination.")
    ] = "",
    model: Annotated[
        str, typer.Option(help="Make the map with this model of the registry; held at every destination.")
    ] = "",
    reason: Reason = "",
) -> None:
    """Process a finished case anew with the models and settings in force; a changed result supersedes the old one."""
    with _operations(config) as node:
        change = node.rerun(case, urgent=urgent, function_rule=function_rule, model=model, deciding=_deciding(reason))
    _say_queued(change)


def cancel(case: CaseId, config: Site = None, reason: Reason = "") -> None:
    """Stop a case; nothing more of it is processed or sent."""
    with _operations(config) as node:
        change = node.cancel(case, deciding=_deciding(reason))
    console.print("cancelled" if change.has_effect else "it is finished; there was nothing to cancel")


def release(subject: Subject, config: Site = None, destination: OneDestination = "", reason: Reason = "") -> None:
    """Send what is held of a case; or hand a series over as it is: held, interrupted, or put aside by a rule."""
    with _operations(config) as node:
        _say_decided("released", node.release(subject, destination, deciding=_deciding(reason)))


def discard(subject: Subject, config: Site = None, destination: OneDestination = "", reason: Reason = "") -> None:
    """Send nothing of what is held of a case; or put aside a series that nobody wants, which is kept for some days."""
    with _operations(config) as node:
        _say_decided("discarded", node.discard(subject, destination, deciding=_deciding(reason)))


def requeue(
    config: Site = None,
    destination: OneDestination = "",
    code: Annotated[str, typer.Option(help="Only what failed with this code, for instance STORE_REFUSED.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be tried again.")] = False,
    urgent: Urgent = False,
    reason: Reason = "",
) -> None:
    """Try every failed delivery again, the oldest case first: the dead letters that jobs --failed lists."""
    with _operations(config) as node:
        found = node.requeue(destination, code, urgent=urgent, only_ask=dry_run, deciding=_deciding(reason))
    for attempt in found:
        console.print(f"{attempt.case_id} to {attempt.destination}")
    console.print(f"{len(found)} failed deliveries {'would be queued' if dry_run else 'queued'}")


def _operations(config: "Path | None") -> "Operations":
    from dicom_node.operations import Operations

    return Operations(read_site(config))


def _deciding(reason: str) -> "Deciding":
    from dicom_node.review.decision import Deciding

    return Deciding.at_command_line(reason)


def _say_queued(change: "Change") -> None:
    if change.has_effect:
        console.print("queued")
    else:
        console.print("nothing to do: it is not finished, or it waits for a person (release, discard)")


def _say_candidate(change: "Change") -> None:
    nothing = "nothing to do: no checked objects are there, it was stopped, or the model in shadow is at it already"
    console.print("queued; it begins when nothing else is to be done" if change.has_effect else nothing)


def _say_decided(done: str, change: "Change") -> None:
    if (arrival := change.arrival) is not None:
        console.print(f"{done} {arrival.series_key[:8]}, {arrival.instances} images, was {arrival.state.value}")
        return
    names = ", ".join(attempt.destination for attempt in change.queued)
    console.print(f"{done} {change.subject} for {names}")
