"""The command line, `perfnode`: every command under its name, and those that other rooms bring (`commands.rooms`)."""

import typer
import typer.main

from dicom_node.commands import (
    audit,
    cases,
    commissioning,
    fetch,
    health,
    keeping,
    models,
    node,
    peers,
    rooms,
    rules,
    web,
)

app = typer.Typer(
    name="perfnode",
    help="Relative lung perfusion from a planning CT, returned to PACS. RESEARCH use only.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for command in (
    *(node.serve, node.demo, node.process, node.check),
    *(peers.send, peers.echo, fetch.fetch),
    *(cases.jobs, cases.show, cases.retry, cases.rerun, cases.cancel, cases.release, cases.discard, cases.requeue),
    *(keeping.retire, keeping.backup, keeping.restore),
    *(commissioning.selftest, commissioning.commission, commissioning.drift),
):
    app.command()(command)
app.add_typer(rules.app, name="rules")
app.add_typer(audit.app, name="audit")
app.add_typer(models.app, name="models")
app.add_typer(web.app, name="web")
app.command()(health.health)
app.add_typer(health.app, name="alerts")
rooms.add_rooms(app, frozenset(typer.main.get_group(app).commands))
