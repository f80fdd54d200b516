"""Run the node, try it, and use its parts without a network."""

import re
from pathlib import Path
from typing import Annotated

import typer

from dicom_node.commands.site import AsJson, Site, console, read_site
from dicom_node.processes.roles import ALL_ROLES, Role


def serve(
    config: Site = None,
    roles: Annotated[
        list[Role] | None, typer.Option("--role", help="What this host does, may be repeated; without it, everything.")
    ] = None,
    name: Annotated[str, typer.Option(help="Tells several of these on one host apart.")] = "1",
) -> None:
    """Run the node until it is stopped."""
    from dicom_node.logs import configure_logs
    from dicom_node.recent_log import RecentLog
    from dicom_node.serving.service import serve as run

    if not re.fullmatch(r"[A-Za-z0-9-]{1,40}", name):
        raise typer.BadParameter("letters, digits and hyphens only", param_hint="--name")
    settings = read_site(config)
    configure_logs(settings.log_level, settings.log_format, RecentLog.under(settings.data_dir))
    run(settings, roles or ALL_ROLES, name=name)


def demo(
    ct: Annotated[Path | None, typer.Option(help="Folder with a CT series; without it, a digital thorax.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for everything the demo makes.")] = Path("demo-output"),
) -> None:
    """Start a node and a stand-in PACS, send a CT, and show what comes back."""
    from dicom_node.demo import run_demo
    from dicom_node.logs import configure_logs

    configure_logs("warning", "text")
    run_demo(ct, out, console)


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

    settings = read_site(config, default=True)
    if objects:
        try:
            settings = with_order(settings, objects, profile)
        except ValueError as fault:
            raise typer.BadParameter(str(fault)) from fault
    with Progress(console) as progress:
        facts = process_folder(ct_dir, out, settings, progress.say)
    print_lobar_table(console, facts)
    for path in sorted(out.iterdir()):
        console.print(str(path), soft_wrap=True)


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
        output.print_json(console, output.check_fields(report))
    else:
        output.print_check(console, report)
    raise typer.Exit(1 if report.faults else 0)
