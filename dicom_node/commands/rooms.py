"""Commands that other rooms bring into `perfnode`, such as `cohort` of `training`, which the node does not import.

A package announces a group of commands by an entry point: group `perfnode.commands`, its name the command, its object a
`typer.Typer`. One that cannot be loaded says so when it is called, and takes no other command with it.
"""

from importlib.metadata import EntryPoint, entry_points

import typer
from rich.console import Console

GROUP = "perfnode.commands"


def add_rooms(app: typer.Typer, taken: frozenset[str]) -> None:
    """Add the commands of all installed packages, in order of their names.

    Args:
        app: the command line.
        taken: names of the node's own commands, which nobody can replace.
    """
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        if point.name in taken:
            _warn(f"{point.value} would replace the command {point.name!r} and is left out")
            continue
        try:
            room = point.load()
            if not isinstance(room, typer.Typer):
                raise TypeError(f"{point.value} is of type {type(room).__name__}, not typer.Typer")
        except Exception as fault:
            _add_broken(app, point, f"{type(fault).__name__}: {fault}")
        else:
            app.add_typer(room, name=point.name)


def _add_broken(app: typer.Typer, point: EntryPoint, reason: str) -> None:
    @app.command(
        point.name,
        help=f"Cannot be loaded: {reason}",
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )
    def say() -> None:
        _warn(f"{point.name} of {point.value} cannot be loaded: {reason}")
        raise typer.Exit(2)


def _warn(text: str) -> None:
    Console(stderr=True).print(text, style="red", highlight=False, markup=False, soft_wrap=True)
