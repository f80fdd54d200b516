"""The command line, `perfnode`: run the node, try it, look at cases and change their course.

Imports of the work itself stand inside the commands, so that `--help` answers at once and loads no imaging library.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from dicom_node.config import NodeSettings
    from dicom_node.delivery import Destination
    from dicom_node.jobs import JobBook

app = typer.Typer(
    name="perfnode",
    help="Relative lung perfusion from a planning CT, returned to PACS. RESEARCH use only.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
_console = Console(highlight=False)

Site = Annotated[
    Path | None,
    typer.Option("--config", "-c", envvar="PERFNODE_CONFIG", help="The site file; without it, ./site.toml."),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]
CaseId = Annotated[str, typer.Argument(help="Id of the case, or its first characters.")]
Peer = Annotated[str, typer.Argument(help="AETITLE@host:port, or the name of a destination of the site.")]


@app.command()
def serve(config: Site = None) -> None:
    """Run the node until it is stopped."""
    from dicom_node.logs import configure_logs
    from dicom_node.service import serve as run

    settings = _settings(config)
    configure_logs(settings.log_level, settings.log_format)
    run(settings)


@app.command()
def demo(
    ct: Annotated[Path | None, typer.Option(help="Folder with a CT series; without it, a digital thorax.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for everything the demo makes.")] = Path("demo-output"),
) -> None:
    """Start a node and a stand-in PACS, send a CT, and show what comes back."""
    from dicom_node.demo import run_demo
    from dicom_node.logs import configure_logs

    configure_logs("warning", "text")
    run_demo(ct, out, _console)


@app.command()
def process(
    ct_dir: Annotated[Path, typer.Argument(help="Folder with one CT series.", exists=True, file_okay=False)],
    out: Annotated[Path, typer.Option(help="Where the objects go.")],
    config: Site = None,
    objects: Annotated[
        list[str] | None, typer.Option("--object", help="Kind of object to make, may be repeated; or `all`.")
    ] = None,
    profile: Annotated[str, typer.Option(help="Profile of structure sets, with --object.")] = "generic",
) -> None:
    """Process a CT series without a network and write the objects to a folder.

    Without --object it makes what the destinations of the site order, or Parametric Map and structure set.
    """
    from dicom_node.offline import process_folder, with_order
    from dicom_node.output import print_lobar_table
    from dicom_node.progress import Progress

    settings = _settings(config, default=True)
    if objects:
        try:
            settings = with_order(settings, objects, profile)
        except ValueError as fault:
            raise typer.BadParameter(str(fault)) from fault
    with Progress(_console) as progress:
        facts = process_folder(ct_dir, out, settings, progress.say)
    print_lobar_table(_console, facts)
    for path in sorted(out.iterdir()):
        _console.print(str(path), soft_wrap=True)


@app.command()
def check(
    files: Annotated[list[Path], typer.Argument(help="DICOM files or folders: objects, and the CT they belong to.")],
    as_json: AsJson = False,
) -> None:
    """Test objects for what no public validator finds; with the CT among the files, against the CT.

    Ends with status 1 if there is a fault.
    """
    from dicom_node import output
    from dicom_node.checks.check import check_files
    from dicom_node.offline import dicom_files

    missing = [str(path) for path in files if not path.exists()]
    if missing:
        raise typer.BadParameter(f"there is no {', '.join(missing)}")
    # A file named by hand is checked whatever it is; in a folder only DICOM files are.
    report = check_files([file for path in files for file in ([path] if path.is_file() else dicom_files(path))])
    if as_json:
        output.print_json(_console, output.check_fields(report))
    else:
        output.print_check(_console, report)
    raise typer.Exit(1 if report.faults else 0)


@app.command()
def send(
    folder: Annotated[Path, typer.Argument(help="Folder with DICOM files.", exists=True)],
    peer: Peer,
    config: Site = None,
    calling: Annotated[str, typer.Option(help="Our AE title towards the peer.")] = "PERFNODE",
) -> None:
    """Send DICOM files to a peer by C-STORE."""
    from dicom_node.delivery import send as transmit
    from dicom_node.offline import dicom_files
    from dicom_node.progress import Progress

    paths = dicom_files(folder)
    if not paths:
        raise typer.BadParameter(f"{folder} holds no DICOM file")
    with Progress(_console) as progress:
        counted = progress.counter("sending", len(paths))
        transmit(paths, _destination(peer, config, calling), lambda _: counted())
    _console.print(f"{len(paths)} objects stored by {peer}")


@app.command()
def echo(
    peer: Peer,
    config: Site = None,
    calling: Annotated[str, typer.Option(help="Our AE title towards the peer.")] = "PERFNODE",
) -> None:
    """Ask a peer whether it is there (C-ECHO)."""
    from dicom_node.delivery import echo as ask

    seconds = ask(_destination(peer, config, calling))
    _console.print(f"{peer} answered in {1000 * seconds:.0f} ms")


@app.command()
def jobs(config: Site = None, as_json: AsJson = False) -> None:
    """List cases and series that are arriving."""
    from dicom_node import output
    from dicom_node.spool import Spool

    settings = _settings(config)
    spool = Spool(settings.data_dir / "spool")
    # This process does not see which associations live; a series in which nothing moves any more has lost its own.
    arrivals = [
        output.Arrival(s.key, len(s.instances), s.interrupted and s.quiet_for_s > settings.quiet_period_s)
        for s in spool.series()
    ]
    with _job_book(settings) as book:
        cases = book.cases()
    if as_json:
        fields = {
            "cases": [output.case_fields(c) for c in cases],
            "arrivals": [output.arrival_fields(a) for a in arrivals],
        }
        output.print_json(_console, fields)
    else:
        output.print_cases(_console, cases, arrivals)


@app.command()
def show(case: CaseId, config: Site = None, as_json: AsJson = False) -> None:
    """Show one case: its state, every attempt, and the result if there is one."""
    import json

    from dicom_node import output
    from dicom_node.cases import CaseStore

    settings = _settings(config)
    folder = CaseStore.under(settings.data_dir).find(case)
    with _job_book(settings) as book:
        found = book.case(folder.case_id)
    facts_file = folder.result.with_suffix(".json")
    facts = json.loads(facts_file.read_text()) if facts_file.exists() else None
    if as_json:
        output.print_json(_console, {**output.case_fields(found, with_attempts=True), "result": facts})
        return
    output.print_case(_console, found)
    if facts:
        output.print_lobar_table(_console, facts)


@app.command()
def retry(case: CaseId, config: Site = None) -> None:
    """Try a finished case again from where it stopped; a delivered one is delivered again."""
    settings = _settings(config)
    with _job_book(settings) as book:
        book.retry(_case_id(settings, case))
    _console.print("queued")


@app.command()
def rerun(case: CaseId, config: Site = None) -> None:
    """Process a finished case anew with the models and settings in force; a changed result supersedes the old one."""
    settings = _settings(config)
    with _job_book(settings) as book:
        book.rerun(_case_id(settings, case))
    _console.print("queued")


@app.command()
def cancel(case: CaseId, config: Site = None) -> None:
    """Stop a case; nothing more of it is processed or sent."""
    settings = _settings(config)
    with _job_book(settings) as book:
        book.cancel(_case_id(settings, case))
    _console.print("cancelled")


def _settings(config: Path | None, *, default: bool = False) -> "NodeSettings":
    from dicom_node.config import parse_settings, read_settings

    path = config or Path("site.toml")
    if config is None and default and not path.exists():
        return parse_settings({}, source="built-in defaults")
    return read_settings(path)


def _job_book(settings: "NodeSettings") -> "JobBook":
    from dicom_node.jobs import JobBook

    return JobBook(settings.data_dir)


def _case_id(settings: "NodeSettings", start_of_id: str) -> str:
    from dicom_node.cases import CaseStore

    return CaseStore.under(settings.data_dir).find(start_of_id).case_id


def _destination(peer: str, config: Path | None, calling: str) -> "Destination":
    from dicom_node.addresses import AeAddress
    from dicom_node.delivery import Destination

    if "@" not in peer:
        try:
            return _settings(config).destination(peer)
        except KeyError as fault:
            raise typer.BadParameter(f"the site has no destination {peer!r}") from fault
    try:
        return Destination("peer", AeAddress.parse(peer), calling_ae_title=calling)
    except ValueError as fault:
        raise typer.BadParameter(str(fault)) from fault
