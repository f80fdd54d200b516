"""Commands that other rooms bring into `perfnode`, such as `cohort` of `training`, which the node does not import.

A package announces them by entry points, each under the name of the command:

    perfnode.commands           a group of commands, a `typer.Typer`
    perfnode.single_commands    one command, a function as `typer.Typer.command` takes it

One that cannot be loaded says so when it is called, and takes no other command with it.
"""

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from types import FunctionType
from typing import Any

import typer
from rich.console import Console

GROUP = "perfnode.commands"
SINGLE = "perfnode.single_commands"


def add_rooms(app: typer.Typer, taken: frozenset[str]) -> None:
    """Add the commands of all installed packages, in order of their names.

    Args:
        app: the command line.
        taken: names of the node's own commands, which nobody can replace.
    """
    points = [*entry_points(group=GROUP), *entry_points(group=SINGLE)]
    for point in sorted(points, key=lambda point: point.name):
        if point.name in taken:
            _warn(f"{point.value} would replace the command {point.name!r} and is left out")
            continue
        try:
            brought = _loaded(point)
        except Exception as fault:
            _add_broken(app, point, f"{type(fault).__name__}: {fault}")
            continue
        if isinstance(brought, typer.Typer):
            app.add_typer(brought, name=point.name)
        else:
            app.command(point.name)(brought)


def _loaded(point: EntryPoint) -> typer.Typer | Callable[..., Any]:
    brought = point.load()
    wanted, name = (typer.Typer, "typer.Typer") if point.group == GROUP else (FunctionType, "function")
    if not isinstance(brought, wanted):
        raise TypeError(f"{point.value} is of type {type(brought).__name__}, not {name}")
    return brought


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
