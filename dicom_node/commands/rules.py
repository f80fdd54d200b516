"""See which rules are in force, and try them on files."""

from pathlib import Path
from typing import Annotated

import typer

from dicom_node.commands.site import AsJson, Site, console, read_site

app = typer.Typer(help="See which rules are in force, and try them on files.", no_args_is_help=True)

Files = Annotated[list[Path], typer.Argument(help="DICOM files, or folders of them; several series may be mixed.")]
Calling = Annotated[str, typer.Option("--calling", help="Try as if this AE title had sent the files.")]
AsToml = Annotated[bool, typer.Option("--toml", help="The rules that come with the node, to copy into a site file.")]


@app.command("list")
def list_rules(config: Site = None, as_json: AsJson = False, as_toml: AsToml = False) -> None:
    """List the rules in force, in the order in which they are asked."""
    from dicom_node import output
    from dicom_node.settings.rule_files import default_rules_text

    if as_toml:
        console.file.write(default_rules_text())
        return
    settings = read_site(config, default=True)
    if as_json:
        output.print_json(console, [output.rule_fields(rule) for rule in settings.rules])
    else:
        output.print_rules(console, settings.rules)


@app.command("test")
def try_on_files(files: Files, config: Site = None, calling: Calling = "", as_json: AsJson = False) -> None:
    """Say of each series in the files which rule takes it, and why the rules before it do not. Nothing is kept."""
    from dicom_node import output
    from dicom_node.reception.trial import try_rules

    settings = read_site(config, default=True)
    trials = try_rules(settings.rules, files, (calling,) if calling else ())
    if as_json:
        output.print_json(console, [output.trial_fields(trial) for trial in trials])
    else:
        output.print_trials(console, trials)
    if not trials:
        raise typer.Exit(1)
