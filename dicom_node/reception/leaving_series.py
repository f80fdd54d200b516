"""Series that leave the spool for another file system, as on a node of several hosts: copied, and then removed.

    <root>/<series key>-<number>/        the series as it lay in `incoming`
    <root>/<series key>-<number>.json    where it goes

The series goes out of `incoming` in one rename, after a note of where it goes; what comes later begins a new folder.
Killed at any point, the move is finished at the next start: the series is in one place in the end, and whole.
"""

import json
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

import structlog

from dicom_node.durable_files import (
    copy_directory,
    make_directory,
    remove_abandoned_parts,
    rename_directory,
    sync_directory,
    write_json,
)


@dataclass(frozen=True, slots=True)
class LeavingSeries:
    """The folder of series that are on their way."""

    root: Path

    def begin(self, directory: Path, into: Path) -> Path:
        """Take a series out of `incoming`; the folder where it lies until `finish`."""
        make_directory(self.root)
        leaving = self.root / f"{directory.name}-{uuid.uuid4().hex[:12]}"
        write_json(_note(leaving), {"into": str(into)})
        rename_directory(directory, leaving)
        return leaving

    def finish(self, leaving: Path) -> None:
        """Copy a series to where it goes, unless a copy is there, and remove it here.

        Raises:
            OSError: it could not be copied; it stays here, and may be finished later.
        """
        into = Path(json.loads(_note(leaving).read_text())["into"])
        if leaving.is_dir():
            make_directory(into.parent)
            if not into.exists():
                copy_directory(leaving, into, into.with_name(f".moving-{leaving.name}"))
            shutil.rmtree(leaving)
        sync_directory(self.root)
        _note(leaving).unlink()

    def finish_all(self) -> bool:
        """Finish what was begun and not finished; what fails is logged and holds up no other. Whether nothing did."""
        log, is_whole = structlog.get_logger(), True
        for note in sorted(self.root.glob("*.json")):
            try:
                self.finish(note.with_suffix(""))
            except Exception as fault:  # the other file system, or a bug; the series stays here
                kind = type(fault).__name__
                log.error("series_not_moved", series=note.name[:8], code="SERIES_NOT_MOVED", kind=kind)
                is_whole = False
        remove_abandoned_parts(self.root)
        return is_whole


def _note(leaving: Path) -> Path:
    return leaving.with_name(f"{leaving.name}.json")
