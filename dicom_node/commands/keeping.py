"""Keep what the node holds, and part with it: backup, restore, and removal of cases."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dicom_node.commands.site import Site, case_id, console, read_site

if TYPE_CHECKING:
    from dicom_node.keeping.retention import Retention


def retire(
    case: Annotated[str, typer.Argument(help="One case, whatever its age; without it, all whose time has come.")] = "",
    config: Site = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go and why, and remove nothing.")] = False,
) -> None:
    """Remove cases that have arrived everywhere, with a proof of it. The running node does this by itself."""
    from dicom_node.keeping.removable import kept_because
    from dicom_node.keeping.retention import node_retention

    settings = read_site(config)
    with node_retention(settings) as keeper:
        if dry_run and case:
            kept = kept_because(keeper.jobs.case(found := case_id(settings, case)))
            console.print(f"{found} {f'stays: {kept}' if kept else 'may go'}")
        elif dry_run:
            due = list(keeper.due())
            for each, because in due:
                console.print(f"{each} {because}")
            console.print(f"{len(due)} case(s) would go")
        else:
            removed = _removed(keeper, case and case_id(settings, case))
            settings.audit_trail().operator_action("retire", f"case:{removed[0]}" if case else f"cases:{len(removed)}")
            console.print(f"removed {len(removed)} case(s)")


def _removed(keeper: "Retention", case: str) -> list[str]:
    """Remove one case, or all whose time has come, while neither a backup nor the node itself is at it."""
    from dicom_node.errors import CaseNotRemovable
    from dicom_node.keeping.retention import REMOVING

    with keeper.locks.try_hold(REMOVING) as held:
        if not held:
            raise CaseNotRemovable(case or "any", "a backup is being made, or the node removes cases itself; try again")
        if not case:
            return keeper.look()
        keeper.retire(case)
        return [case]


def backup(
    folder: Annotated[Path, typer.Argument(help="Where backups lie; each is a folder of its own in it.")],
    config: Site = None,
    keep: Annotated[int, typer.Option(min=1, help="How many backups stay; older ones are removed afterwards.")] = 7,
    files_only: Annotated[
        bool, typer.Option("--files-only", help="PostgreSQL: the database has just been dumped by pg_dump.")
    ] = False,
) -> None:
    """Back up a node while it runs: its database, then its files; what has not changed takes no space again."""
    from dicom_node.keeping.backup import back_up

    made = back_up(read_site(config), folder, keep=keep, files_only=files_only)
    console.print(f"{made.path}: {made.files} files, {made.new_mb:.1f} MB new of {made.size_mb:.1f} MB", soft_wrap=True)


def restore(
    folder: Annotated[Path, typer.Argument(help="One backup, or the folder of backups: then the newest.")],
    config: Site = None,
) -> None:
    """Put a backup back where the site file says, which must be empty; every file is compared with its checksum."""
    from dicom_node.keeping.backup import restore as put_back

    files = put_back(read_site(config), folder)
    console.print(f"restored {files} files; start the node as usual")
