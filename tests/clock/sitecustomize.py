"""Loaded by every Python process of a node under libfaketime, see `tests/faked_clock.py`.

libfaketime 0.9.10 fails clock_nanosleep with an absolute time, which `time.sleep` uses, once the clock has been moved.
"""

import select
import time


def _sleep(seconds: float) -> None:
    if seconds > 0:
        select.select([], [], [], seconds)


time.sleep = _sleep
