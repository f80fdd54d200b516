"""For how long nothing has moved in a series, seen from outside by a process that receives nothing itself.

What moves in a series changes the modification times of its folders. A series counts as quiet from the monotonic moment
at which its present state was first seen here, so no wall clock that is set can shorten or lengthen the wait.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_SETTLED_AFTER_S: Final = 1.0
"""File systems stamp times in ticks of some milliseconds: a name can come without a new stamp right after a look."""


@dataclass(frozen=True, slots=True)
class _Sighting:
    stamps: tuple[int, ...]
    instances: tuple[Path, ...]
    first_seen: float
    """Monotonic."""
    is_known_from_before: bool
    """It was there at the first look, so something may have moved only shortly before."""
    may_be_kept: bool
    """The instances were listed so long after the stamps that no change can hide."""


class Sightings:
    """What this object has seen of the series of a spool."""

    def __init__(self) -> None:
        self._by_key: dict[str, _Sighting] = {}
        self._has_looked = False

    def look(self, key: str, directory: Path, markers: Path) -> tuple[tuple[Path, ...], float]:
        """The instances in `directory`, by name, and the seconds since something moved in there or in `markers`.

        Raises:
            FileNotFoundError: There is no such series (any more).
        """
        now = time.monotonic()
        stats = directory.stat(), markers.stat()
        stamps = tuple(stat.st_mtime_ns for stat in stats)
        seen = self._by_key.get(key)
        if seen is None or seen.stamps != stamps or not seen.may_be_kept:
            seen = self._list(directory, stamps, seen, now)
            self._by_key[key] = seen
        quiet_s = now - seen.first_seen
        if seen.is_known_from_before:
            quiet_s = max(quiet_s, time.time() - max(stat.st_mtime for stat in stats))
        return seen.instances, quiet_s

    def _list(self, directory: Path, stamps: tuple[int, ...], last: _Sighting | None, now: float) -> _Sighting:
        names = sorted(entry.name for entry in os.scandir(directory) if entry.name.endswith(".dcm"))
        instances = tuple(directory / name for name in names)
        if last is not None and (last.stamps, last.instances) == (stamps, instances):
            may_be_kept = now - last.first_seen > _SETTLED_AFTER_S
            return _Sighting(stamps, instances, last.first_seen, last.is_known_from_before, may_be_kept)
        is_known_from_before = last is None and not self._has_looked
        return _Sighting(stamps, instances, now, is_known_from_before, may_be_kept=False)

    def forget_all_but(self, keys: list[str]) -> None:
        """A look at all series has ended; these are there. What appears from now on is new."""
        self._has_looked = True
        for key in self._by_key.keys() - set(keys):
            self._by_key.pop(key, None)
