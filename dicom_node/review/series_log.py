"""Decisions about series that are no cases: released or discarded while they are held, interrupted or put aside.

    series-decisions/2026-11.jsonl        a file for each month, in the data directory of the host

They have no case folder to lie in. The files go when cases of that age do, because what people write may name a
patient; the audit trail keeps who decided what.
"""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from dicom_node.durable_files import make_directory
from dicom_node.review.review_log import ReviewLog
from dicom_node.settings.config import NodeSettings
from dicom_node.watching.chores import Chore

_FOLDER: Final = "series-decisions"
_DAY_S: Final = 86400.0
_LOOK_S: Final = 3600.0


def series_log(data_dir: Path) -> ReviewLog:
    """The record of this month."""
    make_directory(data_dir / _FOLDER)
    return ReviewLog(data_dir / _FOLDER / f"{datetime.now(UTC):%Y-%m}.jsonl")


def forget_old(data_dir: Path, keep_days: float, now_s: float) -> int:
    """Remove the files in which nothing was written for so long; how many went."""
    old = [p for p in (data_dir / _FOLDER).glob("*.jsonl") if p.stat().st_mtime < now_s - keep_days * _DAY_S]
    for path in old:
        path.unlink()
    return len(old)


def chore(settings: NodeSettings) -> Chore:
    """The removal as each host does it by itself."""

    def look() -> None:
        forget_old(settings.data_dir, settings.retention.keep_days, time.time())

    return Chore("series-decisions", _LOOK_S, look)
