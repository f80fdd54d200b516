"""Fetch series from an archive."""

from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from dicom_node.commands.site import Site, console, read_site

if TYPE_CHECKING:
    from dicom_node.fetch import Fetched

_DAY = "%Y-%m-%d"


def fetch(
    peer: Annotated[str, typer.Argument(help="Name of a peer of the site.")],
    accession: Annotated[str, typer.Option(help="Accession number.")] = "",
    patient: Annotated[
        str, typer.Option(envvar="PERFNODE_PATIENT", help="Patient ID; in the variable other users cannot see it.")
    ] = "",
    study: Annotated[str, typer.Option(help="Study Instance UID.")] = "",
    series: Annotated[str, typer.Option(help="Series Instance UID, with --study.")] = "",
    first: Annotated[
        datetime | None, typer.Option("--from", formats=[_DAY], metavar="YYYY-MM-DD", help="First study date.")
    ] = None,
    last: Annotated[
        datetime | None, typer.Option("--to", formats=[_DAY], metavar="YYYY-MM-DD", help="Last study date.")
    ] = None,
    modality: Annotated[list[str] | None, typer.Option(help="CT and RTSTRUCT unless said; may be repeated.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be fetched.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Fetch at most this many series.")] = None,
    waiting: Annotated[int, typer.Option(min=1, help="Pause while this many cases are being processed.")] = 5,
    patience: Annotated[float, typer.Option(min=0, help="Give up after a pause of this many seconds.")] = 3600.0,
    config: Site = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per series and line.")] = False,
) -> None:
    """Fetch CT series and their structure sets from an archive: of a study, a patient, or all of a span of days.

    What is here already is passed over, so the same command goes on after an interruption. It works beside the
    running node. Exit status 1 if a series could not be fetched.
    """
    import os

    from dicom_node.fetch import DEFAULT_MODALITIES, Fate, Fetcher, Wanted
    from dicom_node.logs import configure_logs

    settings = read_site(config)
    try:
        wanted = Wanted(
            patient_id=patient,
            accession_number=accession,
            study_instance_uid=study,
            series_instance_uid=series,
            first_day=_day(first),
            last_day=_day(last) or _day(first),
            modalities=tuple(modality) if modality else DEFAULT_MODALITIES,
        )
        archive = settings.peer(peer)
    except ValueError as fault:
        raise typer.BadParameter(str(fault)) from fault
    except KeyError as fault:
        raise typer.BadParameter(f"the site has no peer {peer!r}") from fault
    configure_logs("warning", settings.log_format)
    os.umask(0o077)  # what we keep is patient data
    fetcher = Fetcher(settings, archive, maximum_waiting=waiting, patience_s=patience)
    fates = []
    try:
        for fetched in fetcher.run(wanted, dry_run=dry_run, limit=limit):
            fates.append(fetched.fate)
            _tell(fetched, as_json)
    except ValueError as fault:  # an identifier that cannot be searched for
        raise typer.BadParameter(str(fault)) from fault
    if not as_json:
        counted = ", ".join(f"{fates.count(fate)} {fate}" for fate in Fate if fate in fates)
        console.print(counted or "nothing found", markup=False)
    if Fate.FAILED in fates:
        raise typer.Exit(1)


def _day(moment: datetime | None) -> date | None:
    return moment.date() if moment else None


def _tell(fetched: "Fetched", as_json: bool) -> None:
    import json

    found = fetched.series
    if as_json:
        fields = {
            "study_date": fetched.study_date,
            "study_instance_uid": found.study_instance_uid,
            "series_instance_uid": found.series_instance_uid,
            "modality": found.modality,
            "series_number": found.number,
            "series_description": found.description,
            "instances": found.instances,
            "fate": fetched.fate.value,
            "code": fetched.code,
            "message": fetched.message,
        }
        print(json.dumps(fields), flush=True)
        return
    count = "?" if found.instances is None else str(found.instances)
    words = [fetched.fate.value, fetched.study_date, found.modality, f"{count} images", found.description]
    line = "  ".join((*words, found.series_instance_uid, f"{fetched.code} {fetched.message}"))
    # an archive may put what it likes into its answers, also what moves the cursor of a terminal
    console.print("".join(c if c.isprintable() else "?" for c in line).rstrip(), markup=False, soft_wrap=True)
