"""Series that were put aside: kept whole for some days, with the reason, then removed.

    <root>/<series key>-<state>/           the series as it lay in the spool
    <root>/<series key>-<state>.json       why it is here and since when
    <root>/<series key>-<state>.release    a person wants it processed all the same

The reason is written before the series is moved, so none lies here without one. The node has two shelves: `unmatched`
for what rules did not want, whose series join later slices of their own, and `discarded` for what a person threw away.
"""

import json
import shutil
import time
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from dicom_node.durable_files import (
    make_directory,
    move_directory,
    rename_directory,
    sync_directory,
    write_durably,
    write_json,
)
from dicom_node.reception.holds import state_of
from dicom_node.reception.spool import Spool, SpooledSeries

_LEAVING: Final = ".leaving-"
_DAY_S: Final = 86400.0


class Put(StrEnum):
    """Why a series is on a shelf."""

    IGNORED = "IGNORED"
    """A rule says so."""
    UNMATCHED = "UNMATCHED"
    """No rule took it, or it cannot be used."""
    DISCARDED = "DISCARDED"
    """A person says so."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a series is on a shelf. Holds no patient data."""

    put: Put
    code: str
    sentence: str
    rule: str
    since_s: float
    """Unix time."""


@dataclass(frozen=True, slots=True)
class ShelvedSeries:
    """A series on a shelf."""

    key: str
    directory: Path
    reason: Reason
    is_released: bool
    """A person wants it processed; the node has not come to it yet."""

    def instances(self) -> list[Path]:
        """Its instances, by name."""
        return sorted(self.directory.glob("*.dcm"))


@dataclass(frozen=True, slots=True)
class Shelf:
    """One folder of series put aside; several processes may use it."""

    root: Path

    def put(self, spool: Spool, series: SpooledSeries, reason: Reason) -> None:
        """Move a series from the spool here. The same series again replaces the one that is here.

        Raises:
            SeriesNotComplete: it is arriving, or not as `series` describes it any more.
        """
        make_directory(self.root)
        name = f"{series.key}-{state_of(series)}"
        write_json(self.root / f"{name}.json", asdict(reason))
        if (self.root / name).exists():
            self.drop(spool, series)
        else:
            spool.set_aside(series, self.root / name)

    def drop(self, spool: Spool, series: SpooledSeries) -> None:
        """Remove a series from the spool whose content is kept elsewhere.

        Raises:
            SeriesNotComplete: it is arriving, or not as `series` describes it any more.
        """
        make_directory(self.root)
        leaving = self.root / f"{_LEAVING}{series.key}-{state_of(series)}"
        spool.set_aside(series, leaving)
        shutil.rmtree(leaving)

    def take_over(self, series: ShelvedSeries, reason: Reason) -> None:
        """Move a series from another shelf here."""
        make_directory(self.root)
        target = self.root / series.directory.name
        write_json(target.with_name(f"{target.name}.json"), asdict(reason))
        if target.exists():
            _remove(series.directory)
        else:
            rename_directory(series.directory, target)
        self._forget(series.directory)

    def series(self) -> list[ShelvedSeries]:
        """Everything here, the oldest first."""
        found = []
        for path in self.root.glob("*-*.json"):
            directory = path.with_suffix("")
            if directory.is_dir():
                facts = json.loads(path.read_text())
                reason = Reason(**{**facts, "put": Put(facts["put"])})
                released = directory.with_name(f"{directory.name}.release").exists()
                found.append(ShelvedSeries(directory.name.partition("-")[0], directory, reason, released))
        return sorted(found, key=lambda series: (series.reason.since_s, series.key))

    def of_key(self, key: str) -> list[ShelvedSeries]:
        """What is here of one series."""
        return [series for series in self.series() if series.key == key]

    def release(self, series: ShelvedSeries) -> None:
        """Order that a series is processed all the same."""
        write_durably(series.directory.with_name(f"{series.directory.name}.release"), b"")

    def move(self, series: ShelvedSeries, into: Path) -> None:
        """Give a series away, as a folder of that name, perhaps on another file system."""
        make_directory(into.parent)
        move_directory(series.directory, into, into.with_name(f".moving-{series.directory.name}"))
        self._forget(series.directory)

    def remove(self, series: ShelvedSeries) -> None:
        """Delete a series."""
        _remove(series.directory)
        self._forget(series.directory)

    def remove_older_than(self, days: float) -> int:
        """Delete what lies here longer than that, and what a crash has left over; how many series went."""
        for leftover in self.root.glob(f"{_LEAVING}*"):
            shutil.rmtree(leftover)
        old = [s for s in self.series() if time.time() - s.reason.since_s > days * _DAY_S and not s.is_released]
        for series in old:
            self.remove(series)
        return len(old)

    def make_room(self, free_mb: float) -> int:
        """Delete the oldest series here until so much of the disk is free; how many series went."""
        removed = 0
        for series in self.series():
            if shutil.disk_usage(self.root).free / 1e6 >= free_mb:
                break
            if not series.is_released:
                self.remove(series)
                removed += 1
        return removed

    def _forget(self, directory: Path) -> None:
        for suffix in (".json", ".release"):
            directory.with_name(directory.name + suffix).unlink(missing_ok=True)
        sync_directory(directory.parent)


def _remove(directory: Path) -> None:
    """Rename first, so that a crash leaves a whole series or none."""
    leaving = directory.with_name(f"{_LEAVING}{directory.name}")
    rename_directory(directory, leaving)
    shutil.rmtree(leaving)
