"""Read the audit trail, and find out whether somebody altered it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dicom_node.commands.site import AsJson, Site, console, read_site

if TYPE_CHECKING:
    from dicom_node.audit.reading import Entry

app = typer.Typer(help="Read the audit trail, and find out whether somebody altered it.", no_args_is_help=True)


@app.command()
def verify(
    file: Annotated[Path | None, typer.Argument(help="An audit file; without one, that of the site.")] = None,
    config: Site = None,
    as_json: AsJson = False,
) -> None:
    """Follow the chain of hashes and name the first line that does not fit. Ends with status 1 if there is one.

    Compare the number of lines and the last hash with what the syslog server has: a cut end shows only there.
    """
    from dataclasses import asdict

    from dicom_node import output
    from dicom_node.audit.chain import verify as follow

    path = file or read_site(config).audit_trail().log_file
    if not path.exists():
        raise typer.BadParameter(f"there is no {path}")
    found = follow(path)
    if as_json:
        output.print_json(console, {"file": str(path), **asdict(found)})
    else:
        console.print(f"{found.lines} lines, last hash {found.last_hash}", soft_wrap=True)
        for line in found.torn:
            console.print(f"line {line} was cut off by a crash while it was written")
        console.print(f"[red]{found.fault}[/red]" if found.fault else "unbroken")
    raise typer.Exit(1 if found.fault else 0)


@app.command()
def show(
    patient: Annotated[
        str, typer.Option(help="Only events about this Patient ID; other users of this machine can see it.")
    ] = "",
    last: Annotated[int | None, typer.Option(min=1, help="Only the last so many events.")] = None,
    config: Site = None,
    as_json: AsJson = False,
) -> None:
    """Show the events of the trail. That somebody looked becomes an event, too."""
    from dicom_node import output
    from dicom_node.audit.reading import read_entries

    trail = read_site(config).audit_trail()
    if not trail.log_file.exists():
        raise typer.BadParameter(f"there is no {trail.log_file}")
    known_as = trail.pseudonym(patient) if patient else ""
    entries = [entry for entry in read_entries(trail.log_file) if not patient or known_as in entry.patients]
    entries = entries[-last:] if last else entries
    trail.log_used()
    if as_json:
        output.print_json(console, [entry.fields() for entry in entries])
        return
    for entry in entries:
        console.print(_line(entry), soft_wrap=True, markup=False)


def _line(entry: "Entry") -> str:
    what = entry.detail or (f"{entry.instances} instances" if entry.instances else "")
    return "  ".join(filter(None, (entry.time, entry.kind or entry.event, entry.outcome, *entry.participants, what)))
