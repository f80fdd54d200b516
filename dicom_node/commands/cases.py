"""Look at cases and change their course."""

from dicom_node.commands.site import AsJson, CaseId, Site, case_id, console, job_book, read_site


def jobs(config: Site = None, as_json: AsJson = False) -> None:
    """List cases and series that are arriving."""
    from dicom_node import output
    from dicom_node.reception.spool import Spool

    settings = read_site(config)
    spool = Spool(settings.data_dir / "spool")
    # This process does not see which associations live; a series in which nothing moves any more has lost its own.
    arrivals = [
        output.Arrival(s.key, len(s.instances), s.interrupted and s.quiet_for_s > settings.quiet_period_s)
        for s in spool.series()
    ]
    with job_book(settings) as book:
        cases = book.cases()
    if as_json:
        fields = {
            "cases": [output.case_fields(c) for c in cases],
            "arrivals": [output.arrival_fields(a) for a in arrivals],
        }
        output.print_json(console, fields)
    else:
        output.print_cases(console, cases, arrivals)


def show(case: CaseId, config: Site = None, as_json: AsJson = False) -> None:
    """Show one case: its state, every attempt, and the result if there is one."""
    import json

    from dicom_node import output
    from dicom_node.cases import CaseStore

    settings = read_site(config)
    folder = CaseStore.under(settings.data_dir).find(case)
    with job_book(settings) as book:
        found = book.case(folder.case_id)
    facts_file = folder.result.with_suffix(".json")
    facts = json.loads(facts_file.read_text()) if facts_file.exists() else None
    if as_json:
        output.print_json(console, {**output.case_fields(found, with_attempts=True), "result": facts})
        return
    output.print_case(console, found)
    if facts:
        output.print_lobar_table(console, facts)


def retry(case: CaseId, config: Site = None) -> None:
    """Try a finished case again from where it stopped; a delivered one is delivered again."""
    settings = read_site(config)
    with job_book(settings) as book:
        book.retry(case_id(settings, case))
    console.print("queued")


def rerun(case: CaseId, config: Site = None) -> None:
    """Process a finished case anew with the models and settings in force; a changed result supersedes the old one."""
    settings = read_site(config)
    with job_book(settings) as book:
        book.rerun(case_id(settings, case))
    console.print("queued")


def cancel(case: CaseId, config: Site = None) -> None:
    """Stop a case; nothing more of it is processed or sent."""
    settings = read_site(config)
    with job_book(settings) as book:
        book.cancel(case_id(settings, case))
    console.print("cancelled")
