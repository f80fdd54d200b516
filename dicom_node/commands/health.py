"""Ask whether the node is well, and whether its messages reach somebody."""

from typing import Annotated

import typer

from dicom_node.commands.site import AsJson, Site, console, read_site
from dicom_node.processes.roles import ALL_ROLES, Role

app = typer.Typer(help="Messages to people: what failed, waits, is late, or ails the node.", no_args_is_help=True)


def health(
    config: Site = None,
    roles: Annotated[
        list[Role] | None, typer.Option("--role", help="What the host does, may be repeated; without it, everything.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Look at a running node from outside: its port, the database, disk, what is late. Ends with status 1 if not ready.

    Whether all processes of the engine run is known to the node alone; see its status page.
    """
    from functools import partial

    from dicom_node import output
    from dicom_node.jobs.jobs import JobBook
    from dicom_node.watching.job_watch import JobWatch
    from dicom_node.watching.node_checks import ENGINES, Weight
    from dicom_node.watching.node_watch import looks
    from dicom_node.watching.status_page import check_fields

    settings = read_site(config)
    jobs = JobWatch(partial(JobBook, settings.database, settings.cases()))
    jobs.look()
    asked = frozenset(roles or ALL_ROLES)
    made = [look() for look in looks(settings, asked, jobs, lambda: settings.receiver.port, lambda: 0, 0)]
    jobs.close()
    checks = [check for check in made if check.name != ENGINES.name]
    ready = all(check.ok or check.weight is Weight.LATE for check in checks)
    if as_json:
        found = {check.name: check_fields(check) for check in checks}
        output.print_json(console, {"ready": ready, "checks": found})
    else:
        for check in checks:
            word = "ok  " if check.ok else "LATE" if check.weight is Weight.LATE else "FAIL"
            console.print(f"{word}  {check.name:<11} {check.code} {check.detail}".rstrip(), soft_wrap=True)
    raise typer.Exit(0 if ready else 1)


@app.command("test")
def send_test(
    name: Annotated[str | None, typer.Argument(help="Name of one alert; without it, all of the site.")] = None,
    config: Site = None,
) -> None:
    """Send a test message now, past the queue, and say what became of it. Ends with status 1 if one did not arrive."""
    import time

    from dicom_node.settings.alert_settings import AlertEvent
    from dicom_node.watching.alerts import Happening, brought

    settings = read_site(config)
    alerts = [alert for alert in settings.alerts if name in (None, alert.name)]
    if not alerts:
        raise typer.BadParameter(f"the site has no alert {name!r}" if name else "the site has no [[alerts]]")
    sentence = "A test: this node can tell you what happens. Nothing is wrong."
    happening = Happening(AlertEvent.TEST, f"test {time.time()}", "TEST", sentence)
    faults = {alert.name: brought(alert, happening.message(settings.receiver.ae_title)) for alert in alerts}
    for alert_name, fault in faults.items():
        console.print(f"{alert_name}: {fault or 'sent'}")
    raise typer.Exit(1 if any(faults.values()) else 0)
