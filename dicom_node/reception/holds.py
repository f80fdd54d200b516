"""Series that wait in the spool for more slices or for a person, and what a person has said.

    spool/holds/<series key>.json       why the series waits, since when, and in which state it was looked at
    spool/holds/<series key>.release    a person wants it handed over as it is, in that state

Both outlive a restart. They speak of a *state* of the series: when slices arrive, it is looked at anew, and a release
that was given before is void, because the person had seen less.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from dicom_node.durable_files import make_directory, write_durably, write_json
from dicom_node.reception.spool import SpooledSeries


@dataclass(frozen=True, slots=True)
class Hold:
    """Why a series waits. Holds no patient data."""

    code: str
    sentence: str
    rule: str
    """Name of the rule that took the series."""
    since_s: float
    """Unix time at which the series was first held in this state."""
    state: str
    """`state_of` the series."""


@dataclass(frozen=True, slots=True)
class HoldBook:
    """The holds of a spool; several processes may use it."""

    root: Path

    def hold(self, key: str) -> Hold | None:
        """Why the series of that key waits, or `None`."""
        try:
            return Hold(**json.loads((self.root / f"{key}.json").read_text()))
        except FileNotFoundError:
            return None

    def put(self, key: str, hold: Hold) -> None:
        """Keep why a series waits, durably."""
        make_directory(self.root)
        write_json(self.root / f"{key}.json", asdict(hold))

    def release(self, key: str, state: str) -> None:
        """Order that the series is handed over as it is, if it still is in that state."""
        make_directory(self.root)
        write_durably(self.root / f"{key}.release", state.encode())

    def is_released(self, key: str, state: str) -> bool:
        """Whether a person wants the series handed over in that state."""
        try:
            return (self.root / f"{key}.release").read_text() == state
        except FileNotFoundError:
            return False

    def clear(self, key: str) -> None:
        """The series waits no longer."""
        for name in (f"{key}.json", f"{key}.release"):
            (self.root / name).unlink(missing_ok=True)

    def keys(self) -> set[str]:
        """Keys of all series with a hold or a release."""
        return {path.stem for path in self.root.glob("*") if path.suffix in (".json", ".release")}


def state_of(series: SpooledSeries) -> str:
    """What a series in the spool consists of, as a short text that changes when it does.

    An instance never changes under its name, so names are enough.
    """
    names = "\n".join(path.name for path in series.instances)
    return hashlib.sha256(f"{series.interrupted} {series.conflicts}\n{names}".encode()).hexdigest()[:16]
