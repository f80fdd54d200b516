"""Fetch series from an archive."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dicom_node.commands.site import Site, console, read_site

if TYPE_CHECKING:
    from dicom_node.audit.trail import AuditTrail
    from dicom_node.fetch import Fetched, Landing, Wanted
    from dicom_node.network.archive import AnyPeer
    from dicom_node.settings.config import NodeSettings

_DAY = "%Y-%m-%d"
_LONGEST_LINE = 1024

PeerName = Annotated[str, typer.Argument(help="Name of a peer of the site.")]
Accession = Annotated[str, typer.Option(help="Accession number.")]
Patient = Annotated[
    str, typer.Option(envvar="PERFNODE_PATIENT", help="Patient ID; in the variable other users cannot see it.")
]
PatientStdin = Annotated[
    bool, typer.Option("--patient-stdin", help="Read the Patient ID from the first line of standard input.")
]
Study = Annotated[str, typer.Option(help="Study Instance UID.")]
Series = Annotated[str, typer.Option(help="Series Instance UID, with --study.")]
First = Annotated[
    datetime | None, typer.Option("--from", formats=[_DAY], metavar="YYYY-MM-DD", help="First study date.")
]
Last = Annotated[datetime | None, typer.Option("--to", formats=[_DAY], metavar="YYYY-MM-DD", help="Last study date.")]
Modalities = Annotated[
    list[str] | None,
    typer.Option(help="CT and RTSTRUCT unless said, into a folder CT, NM, PT and REG; may be repeated."),
]
Into = Annotated[
    Path | None, typer.Option(help="Put the series into this folder; the node sees none of them.", file_okay=False)
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only list what would be fetched.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Fetch at most this many series.")]
Waiting = Annotated[int, typer.Option(min=1, help="Pause while this many cases are being processed.")]
Patience = Annotated[float, typer.Option(min=0, help="Give up after a pause of this many seconds.")]
AsJsonLines = Annotated[bool, typer.Option("--json", help="One JSON object per series and line.")]
WithParent = Annotated[bool, typer.Option("--with-parent", hidden=True, help="End when standard input is closed.")]


def fetch(
    peer: PeerName,
    accession: Accession = "",
    patient: Patient = "",
    patient_stdin: PatientStdin = False,
    study: Study = "",
    series: Series = "",
    first: First = None,
    last: Last = None,
    modality: Modalities = None,
    into: Into = None,
    dry_run: DryRun = False,
    limit: Limit = None,
    waiting: Waiting = 5,
    patience: Patience = 3600.0,
    config: Site = None,
    as_json: AsJsonLines = False,
    with_parent: WithParent = False,
) -> None:
    """Fetch CT series and their structure sets from an archive: of a study, a patient, or all of a span of days.

    What is here already is passed over, so the same command goes on after an interruption. It works beside the
    running node. Exit status 1 if a series could not be fetched.
    """
    from dicom_node.fetch import DEFAULT_MODALITIES, FOLDER_MODALITIES, Wanted

    settings = read_site(config)
    with _mistakes_told():
        wanted = Wanted(
            patient_id=_patient_from_stdin() if patient_stdin else patient,
            accession_number=accession,
            study_instance_uid=study,
            series_instance_uid=series,
            first_day=_day(first),
            last_day=_day(last) or _day(first),
            modalities=tuple(modality or (FOLDER_MODALITIES if into else DEFAULT_MODALITIES)),
        )
        archive = _archive(settings, peer)
    if with_parent:
        _end_with_parent()
    audit = settings.audit_trail()
    _be_discreet(settings)
    with _mistakes_told(), _landing(settings, archive, audit, into, waiting, patience) as landing:
        failed = _run(archive, landing, audit, wanted, dry_run=dry_run, limit=limit, as_json=as_json)
    raise typer.Exit(1 if failed else 0)


@contextmanager
def _mistakes_told() -> Iterator[None]:
    """What cannot be meant is the caller's mistake: unclear wishes, and identifiers that cannot be searched for."""
    try:
        yield
    except ValueError as fault:
        raise typer.BadParameter(str(fault)) from fault


def _archive(settings: "NodeSettings", peer: str) -> "AnyPeer":
    try:
        return settings.peer(peer)
    except KeyError as fault:
        raise typer.BadParameter(f"the site has no peer {peer!r}") from fault


def _patient_from_stdin() -> str:
    import sys

    line = sys.stdin.buffer.readline(_LONGEST_LINE)
    try:
        patient_id = line.decode().strip()
    except UnicodeDecodeError:
        patient_id = ""
    if not patient_id:
        raise ValueError("standard input holds no Patient ID in its first line")
    return patient_id


def _end_with_parent() -> None:
    """Nobody is to go on writing for a caller that was killed: it holds the other end of our standard input."""
    import os
    import threading

    def watch() -> None:
        os.read(0, 1)  # not through sys.stdin, whose lock a thread must not hold when the interpreter ends
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _be_discreet(settings: "NodeSettings") -> None:
    import os

    from dicom_node.logs import configure_logs

    configure_logs("warning", settings.log_format)
    os.umask(0o077)  # what we keep is patient data


@contextmanager
def _landing(
    settings: "NodeSettings", archive: "AnyPeer", audit: "AuditTrail", into: Path | None, waiting: int, patience: float
) -> Iterator["Landing"]:
    """Where series go: into the node, or into a folder."""
    if into is None:
        from dicom_node.fetch_into_node import NodeLanding

        yield NodeLanding(settings, archive, audit, maximum_waiting=waiting, patience_s=patience)
        return
    from dicom_node.fetch_into_folder import into_folder

    try:
        with into_folder(settings, archive, into, audit) as landing:
            yield landing
    except OSError as fault:
        raise typer.BadParameter(f"{into} cannot be fetched into: {fault.strerror or fault}") from fault


def _run(
    archive: "AnyPeer",
    landing: "Landing",
    audit: "AuditTrail",
    wanted: "Wanted",
    *,
    dry_run: bool,
    limit: int | None,
    as_json: bool,
) -> bool:
    """Fetch and tell; whether a series failed."""
    from dicom_node.fetch import Fate, Fetcher

    fates = []
    for fetched in Fetcher(archive, landing, audit).run(wanted, dry_run=dry_run, limit=limit):
        fates.append(fetched.fate)
        _tell(fetched, as_json)
    if not as_json:
        counted = ", ".join(f"{fates.count(fate)} {fate}" for fate in Fate if fate in fates)
        console.print(counted or "nothing found", markup=False)
    return Fate.FAILED in fates


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
