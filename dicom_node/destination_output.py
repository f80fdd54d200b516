"""What a person or a script reads about destinations: what is stored where, and whether that was confirmed."""

import re
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from dicom_node.jobs.attempts import Attempt, Case, Result, standing_attempts
from dicom_node.jobs.delivery_history import instance_states
from dicom_node.jobs.route_mode import DRY_RUN
from dicom_node.jobs.stages import Stage

_NUMBER = re.compile(r"-[0-9]{4}$")
"""At the end of an object of which there are many."""
_NO: Mapping[str, Any] = {"objects": ()}


def destination_fields(case: Case) -> list[dict[str, Any]]:
    """Each destination with every instance, as plain values."""
    fields = []
    for standing in standing_attempts(case.attempts):
        if not standing.id.destination:
            continue
        own = [a for a in case.attempts if a.id.destination == standing.id.destination and not a.id.is_aside]
        states = instance_states(sorted(own, key=lambda a: (a.id.run, a.id.attempt)))
        fields.append(
            {
                "destination": standing.id.destination,
                "stage": standing.id.stage.value,
                "is_settled": standing.is_settled,
                "code": str(standing.output.get("code", "")),
                "state": _state(standing),
                "would_send": standing.output.get("would_send"),
                "instances": [{"sop_instance_uid": uid, **state} for uid, state in states.items()],
            }
        )
    return fields


def print_destinations(console: Console, case: Case) -> None:
    """Each destination with its objects; objects of one kind with the same fate stand in one line."""
    destinations = destination_fields(case)
    if not destinations:
        return
    table = Table("destination", "object", "instances", "stored", "confirmed by", title="Destinations")
    for destination in destinations:
        lines: dict[tuple[str, str, str], int] = {}
        for instance in destination["instances"]:
            key = (_NUMBER.sub("", instance["object"]), _stored(instance), instance["verified"])
            lines[key] = lines.get(key, 0) + 1
        nothing = {("", destination["state"] or "nothing yet", ""): len((destination["would_send"] or _NO)["objects"])}
        for (role, stored, confirmed), count in (lines or nothing).items():
            table.add_row(destination["destination"], role, str(count), stored, confirmed)
    console.print(table)


def _state(standing: Attempt) -> str:
    """What to say of a destination that has nothing, if there is a reason for it."""
    if standing.output.get("code") == DRY_RUN:
        return "would be sent (dry run)"
    if standing.id.stage is Stage.DISCARD:
        return "discarded"
    held = {Result.HELD: "waits for a person", Result.DISCARDED: "not sent", Result.CANCELLED: "cancelled"}
    return held.get(standing.result, "") if standing.result is not None else ""


def _stored(instance: Mapping[str, Any]) -> str:
    if instance["stored"]:
        return "[green]yes[/]" if instance["status"] == 0 else f"[yellow]yes, with 0x{instance['status']:04X}[/]"
    return f"[red]no, {instance['reason'] or 'refused with 0x{:04X}'.format(instance['status'])}[/]"
