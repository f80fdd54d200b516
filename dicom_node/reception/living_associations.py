"""The associations that this process serves, and what they have done so far.

root/associations/<id>        held for as long as the association lives, from its first instance on (`held_files`)
"""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dicom_node.durable_files import make_directory
from dicom_node.held_files import HeldFile, abandoned

_MOST_REFUSALS: Final = 1000
"""Remembered one by one for each association; with more of them none of its series is called complete."""


@dataclass(slots=True)
class LivingAssociation:
    """What one association has done so far."""

    held: HeldFile | None = None
    series: set[str] = field(default_factory=set)
    """Keys of the series in which its marker is."""
    refusals: dict[str, str | None] = field(default_factory=dict)
    """SOP Instance UIDs that were refused and not accepted since, with their series if that could be known."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def refused(self, sop_instance_uid: str, series_key: str | None) -> None:
        """It was told that an instance is not kept."""
        known = len(self.refusals) < _MOST_REFUSALS
        self.refusals[sop_instance_uid if known else ""] = series_key if known else None

    def kept(self, sop_instance_uid: str) -> None:
        """It was told that an instance is kept, perhaps in a second try."""
        self.refusals.pop(sop_instance_uid, None)

    def whole_series(self) -> list[str]:
        """Series of which everything was kept that it sent. None if an instance was refused that could be of any."""
        refused_in = set(self.refusals.values())
        return [] if None in refused_in else sorted(self.series - refused_in)


class LivingAssociations:
    """The associations of this process.

    Args:
        directory: Where each holds a file; made if absent.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._by_id: dict[str, LivingAssociation] = {}
        make_directory(directory)

    def opened(self, association_id: str) -> None:
        """It lives from now on, for as long as this process does."""
        self._by_id[association_id] = LivingAssociation()

    def find(self, association_id: str) -> LivingAssociation | None:
        """The association of that id, if it lives and is served here."""
        return self._by_id.get(association_id)

    def ended(self, association_id: str) -> None:
        """It is over."""
        association = self._by_id.pop(association_id, None)
        if association is not None and association.held is not None:
            association.held.release()

    @contextlib.contextmanager
    def sending(self, association_id: str) -> Iterator[LivingAssociation]:
        """The association, held. One that was never opened lives for this one instance only.

        Raises:
            OSError: Its file cannot be made.
        """
        known = self._by_id.get(association_id)
        association = known or LivingAssociation()
        with association.lock:
            if association.held is None:
                association.held = HeldFile.create(self._directory / association_id)
        try:
            yield association
        finally:
            if known is None:
                association.held.release()

    def sweep(self) -> None:
        """Remove the files of associations whose process is dead. They say nothing that their absence does not say."""
        for path in self._directory.iterdir():
            with abandoned(path):
                pass
