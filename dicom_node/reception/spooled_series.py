"""One series in the spool, as whoever looks from outside sees it."""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path


class SeriesState(Enum):
    """What can be said of a series in `incoming`. There is no stronger sign of an end in DICOM than COMPLETE."""

    ARRIVING = "ARRIVING"
    """An association that sent into it still lives."""
    CONFLICT = "CONFLICT"
    """Two versions of an instance came; a person must decide."""
    INTERRUPTED = "INTERRUPTED"
    """A transfer was cut off or partly refused, and no later one has ended well."""
    COMPLETE = "COMPLETE"
    """Nothing is arriving and nothing was cut off."""


@dataclass(frozen=True, slots=True)
class SpooledSeries:
    """One series in `incoming`, as it was at the moment of looking."""

    key: str
    directory: Path
    instances: tuple[Path, ...]
    """Sorted by name, which says nothing about slice order."""
    quiet_for_s: float
    """Seconds since something arrived; not fooled by a wall clock that is set back while the node runs."""
    open_associations: int
    """Associations that are sending into the series now."""
    interrupted: bool
    """An earlier transfer was cut off or partly refused, and no later one has ended well."""
    calling_ae_titles: tuple[str, ...]
    """Who sent, sorted."""
    conflicts: int = 0
    """Instances of which another version came and was refused (`InstanceConflict`), until a person has decided."""

    @property
    def is_arriving(self) -> bool:
        """Whether an association that sent into the series still lives."""
        return self.open_associations > 0

    @property
    def is_complete(self) -> bool:
        """Whether it may be processed: nothing is arriving, nothing was cut off, no instance has two versions."""
        return self.state is SeriesState.COMPLETE

    @property
    def state(self) -> SeriesState:
        """The first that is true."""
        if self.is_arriving:
            return SeriesState.ARRIVING
        if self.conflicts:
            return SeriesState.CONFLICT
        return SeriesState.INTERRUPTED if self.interrupted else SeriesState.COMPLETE
