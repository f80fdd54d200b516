"""Looks at the node from outside, again and again, and ends it when it cannot serve, so that it is started anew.

A process may live and serve nobody: stopped, stuck in a lock, out of descriptors. So the node calls its own port, as a
peer does. What heals by itself has time to: only after some failures in a row of a vital check does the process end, at
once and with a status of its own. Its service manager hears that it lives only while the vital checks pass.
"""

import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import psutil
import structlog

from dicom_node.durable_files import write_json
from dicom_node.settings.watch_settings import WatchdogSettings
from dicom_node.watching.node_checks import SUPERVISOR, Check, Look, Weight, failed, passed
from dicom_node.watching.service_manager import ALIVE, STOPPING, notify, status, watchdog_s

CANNOT_SERVE: Final = 69
"""Exit status of a node that its watchdog has ended (EX_UNAVAILABLE of sysexits.h)."""
_FIRST_S: Final = 2.0
"""Before the first round, so that others have looked at what it asks them for."""
_STUCK_S: Final = 120.0
"""The main loop turns twice a second; a look at thousands of waiting series may take a while."""

log = structlog.get_logger()


class Watchdog:
    """Makes the checks in a thread of its own.

    Args:
        settings: how often, and when to give up.
        looks: the checks, besides the one of the main loop.
        end: called when the node cannot serve; does not come back.
    """

    def __init__(
        self,
        settings: WatchdogSettings,
        looks: Sequence[Look],
        *,
        end: Callable[[Check], None],
    ) -> None:
        self._settings = settings
        self._looks = (*looks, self._look_at_main_loop)
        self._end = end
        self._beat_at = time.monotonic()
        self._failures: dict[str, int] = {}
        self._checks: tuple[Check, ...] = ()
        self._looked_at = time.monotonic()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    @property
    def checks(self) -> tuple[Check, ...]:
        """What the last round found; empty before the first one has ended."""
        return self._checks

    @property
    def is_ready(self) -> bool:
        """Whether the node can take and do work: nothing has failed but what is late."""
        return bool(self._checks) and all(check.ok or check.weight is Weight.LATE for check in self._checks)

    @property
    def is_alive(self) -> bool:
        """Whether rounds come to an end, and the node is not about to be given up."""
        overdue = time.monotonic() - self._looked_at > 3 * self._settings.every_s + 60.0
        return not overdue and not self._given_up()

    def beat(self) -> None:
        """The main loop goes on."""
        self._beat_at = time.monotonic()

    def failures(self, name: str) -> int:
        """How many rounds in a row that check has failed."""
        return self._failures.get(name, 0)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no longer; what follows may take its time."""
        self._stopping.set()

    def look(self) -> tuple[Check, ...]:
        """One round."""
        checks = tuple(look() for look in self._looks)
        for check in checks:
            before = self._failures.get(check.name, 0)
            self._failures[check.name] = 0 if check.ok else before + 1
            self._say(check, before)
        self._checks, self._looked_at = checks, time.monotonic()
        return checks

    def _watch(self) -> None:
        patience_s = watchdog_s()
        pause_s = min(self._settings.every_s, patience_s / 3) if patience_s else self._settings.every_s
        due = time.monotonic()
        while not self._stopping.wait(pause_s if self._checks else min(pause_s, _FIRST_S)):
            if time.monotonic() >= due:
                due = time.monotonic() + self._settings.every_s
                self.look()
                if self._stopping.is_set():
                    return
                if (vital := self._given_up()) is not None:
                    log.critical("watchdog_ends_node", code=vital.code, check=vital.name, status=CANNOT_SERVE)
                    self._end(vital)
                    return
            notify(ALIVE, status(self._sentence()))

    def _given_up(self) -> Check | None:
        for check in self._checks:
            if check.weight is Weight.VITAL and self.failures(check.name) >= self._settings.failures:
                return check
        return None

    def _sentence(self) -> str:
        wrong = [check.code for check in self._checks if not check.ok]
        return f"not well: {', '.join(wrong)}" if wrong else "serving"

    def _look_at_main_loop(self) -> Check:
        silent_s = time.monotonic() - self._beat_at
        if silent_s > _STUCK_S:
            return failed(SUPERVISOR, f"The main loop has not turned for {silent_s:.0f} s.")
        return passed(SUPERVISOR)

    def _say(self, check: Check, before: int) -> None:
        """Once at the begin and once at the end of a trouble."""
        if not check.ok and before == 0:
            log.warning("check_failed", code=check.code, check=check.name, detail=check.detail)
        elif check.ok and before > 0:
            log.info("check_passed", check=check.name, failures=before)


@dataclass(frozen=True, slots=True)
class LastWords:
    """Why the watchdog has ended the node, for the next one, which may have a way to tell somebody."""

    path: Path

    @classmethod
    def under(cls, data_dir: Path) -> Self:
        """Those of the node with that data directory."""
        return cls(data_dir / "last-words.json")

    def write(self, check: Check) -> None:
        """Leave them, if the disk still takes them."""
        sentence = f"The node was ended by its watchdog and started anew. {check.detail}"
        with suppress(OSError):
            write_json(self.path, [f"watchdog {round(time.time())}", check.code, sentence])

    def read(self) -> tuple[str, str, str] | None:
        """An id, a code and a sentence; None if the node that ran before was not ended so."""
        try:
            id_, code, sentence = json.loads(self.path.read_text())
        except (OSError, ValueError):
            return None
        return str(id_), str(code), str(sentence)

    def forget(self) -> None:
        """They are told."""
        self.path.unlink(missing_ok=True)


def end_node(check: Check, last_words: LastWords) -> None:
    """End this process and all that it has started, at once; what was being done is repeated by the next start.

    Processes that are stopped do not notice that their parent has gone, and would keep the port.
    """
    last_words.write(check)
    notify(STOPPING, status(f"ended by its watchdog: {check.code}"))
    for child in psutil.Process().children(recursive=True):
        try:
            child.kill()
        except psutil.Error:
            continue
    os._exit(CANNOT_SERVE)
