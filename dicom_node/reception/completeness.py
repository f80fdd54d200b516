"""Whether a quiet series is whole, as far as it can be known: by its geometry, and by what an archive holds of it.

DICOM has no sign for the end of a series. Two kinds of evidence are weighed once nothing comes any more. A hole in the
stack says that slices are missing inside; it cannot say that the ends are. The number of instances an archive has
(C-FIND) shows missing ends too, but only where the archive got the series before us. Evidence that speaks against the
series holds it, with a reason; no evidence is no reason to hold.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import structlog
from pydicom.uid import CTImageStorage

from dicom_node.reception.series_facts import SeriesFacts
from inference.ct.headers import GAP_FACTOR

SLICES_MISSING: Final = "SLICES_MISSING"
COUNT_DIFFERS: Final = "COUNT_DIFFERS"
COUNT_UNKNOWN: Final = "COUNT_UNKNOWN"
RULE_HOLDS: Final = "RULE_HOLDS"

CountInstances = Callable[[str, str], int | None]
"""Study and Series Instance UID to the number of instances an archive has; `None` if it does not know the series."""


@dataclass(frozen=True, slots=True)
class CompletenessSettings:
    """When a series is taken as complete, and how long anything waits or is kept."""

    quiet_period_s: float = 60.0
    """Nothing came for this long after the last association has ended."""
    hold_limit_s: float = 3600.0
    """A series with a hole is handed over as it is after this time without a change; 0: never without a person."""
    count_from: str = ""
    """Name of the peer that is asked how many instances a series has; empty: nobody is asked."""
    count_wait_s: float = 300.0
    """How long an answer of that peer is waited for; then the series goes on without."""
    keep_unmatched_days: float = 14.0
    """How long series are kept that no rule wanted, that a rule ignores, or that a person discarded."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why a series is not taken for whole. Holds no patient data."""

    code: str
    sentence: str


def gap_in(facts: SeriesFacts) -> Doubt | None:
    """A hole in a stack of single-frame CT images: a step above 1.5 times the median step along the normal.

    `None` for anything else than CT Image Storage in one orientation, where steps mean nothing, and for fewer than
    three positions. Not detected: missing ends, and every other slice missing.
    """
    if {header.sop_class for header in facts.headers} != {CTImageStorage}:
        return None
    if facts.heights_mm is None or len(facts.heights_mm) < 3:
        return None
    steps_mm = np.diff(facts.heights_mm)
    median_mm = float(np.median(steps_mm))
    gaps_mm = steps_mm[steps_mm > GAP_FACTOR * median_mm]
    if not gaps_mm.size:
        return None
    absent = int(np.round(gaps_mm / median_mm - 1).sum())
    where = "one place" if gaps_mm.size == 1 else f"{gaps_mm.size} places"
    return Doubt(
        SLICES_MISSING,
        f"About {absent} slice(s) are missing in {where}: steps of up to {gaps_mm.max():.1f} mm "
        f"in a series of {median_mm:.1f} mm.",
    )


def count_doubt(here: int, in_archive: int | None) -> Doubt | None:
    """What the number in an archive says; more here than there is no doubt, because the archive may be the later one.

    Args:
        here: instances received.
        in_archive: instances there; `None` if it does not answer or does not know the series.
    """
    if in_archive is None:
        return Doubt(COUNT_UNKNOWN, "The archive has not said how many images the series has; it is asked again.")
    if in_archive <= here:
        return None
    return Doubt(COUNT_DIFFERS, f"The archive has {in_archive} images of the series, {here} are here.")


class ArchiveCounts:
    """Asks an archive for the size of series, in the background: a peer that hangs must not hold up other series.

    Args:
        ask: the question; may raise anything, which counts as no answer.
        again_s: a series that got no answer is asked for again after this time.
    """

    def __init__(self, ask: CountInstances, *, again_s: float = 30.0) -> None:
        self._ask = ask
        self._again_s = again_s
        self._answers: dict[str, tuple[str, int | None, float]] = {}
        self._asking: threading.Thread | None = None

    def of(self, study_uid: str, series_uid: str, state: str) -> tuple[bool, int | None]:
        """Whether there is an answer by now, and the number in it; starts to ask where there is none.

        Args:
            study_uid: Study Instance UID.
            series_uid: Series Instance UID.
            state: of the series here; when it changes, the archive may have more by then, and is asked again.
        """
        asked_for, number, answered_at = self._answers.get(series_uid, ("", None, -np.inf))
        is_fresh = number is not None or time.monotonic() - answered_at < self._again_s
        if asked_for == state and is_fresh:
            return True, number
        if self._asking is None or not self._asking.is_alive():
            self._asking = threading.Thread(target=self._question, args=(study_uid, series_uid, state), daemon=True)
            self._asking.start()
        return asked_for == state, None

    def forget(self, series_uid: str) -> None:
        """The series is gone from here."""
        self._answers.pop(series_uid, None)

    def _question(self, study_uid: str, series_uid: str, state: str) -> None:
        try:
            number = self._ask(study_uid, series_uid)
        except Exception as fault:
            structlog.get_logger().warning("archive_not_asked", code=getattr(fault, "code", type(fault).__name__))
            number = None
        self._answers[series_uid] = (state, number, time.monotonic())
