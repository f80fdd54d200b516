"""Looks every second for work of processes that are dead, and brings it back into the queues.

Every engine process does this for all others, so that the work of a host which is gone goes on within seconds on
another one. The liveness lock of the dead one is held meanwhile: it is not started anew in this moment, and only one of
the living brings its work back.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Final

import structlog

from dicom_node.metrics import TAKEOVERS
from dicom_node.serving.liveness import Liveness
from dicom_node.settings.config import NodeSettings
from dicom_node.watching.alerts import tell_of_takeover

_LOOK_S: Final = 1.0
_ADOPTION_S: Final = 60.0


class Takeover:
    """A thread that looks after the dead.

    Args:
        settings: of the node.
        executor_id: our own.
        liveness: where we are alive.
        unfinished: how many attempts each executor has as running, by executor id.
    """

    def __init__(
        self,
        settings: NodeSettings,
        executor_id: str,
        liveness: Liveness,
        unfinished: Callable[[], Mapping[str, int]],
    ) -> None:
        self._settings = settings
        self._executor_id = executor_id
        self._liveness = liveness
        self._unfinished = unfinished
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="takeover", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Bring back nothing more."""
        self._stopping.set()

    def _run(self) -> None:
        log = structlog.get_logger()
        while not self._stopping.wait(_LOOK_S):
            try:
                self.look()
            except Exception as fault:  # the database is away; if for long, `liveness` ends us
                log.warning("takeover_failed", code="TAKEOVER_FAILED", kind=type(fault).__name__)

    def look(self) -> None:
        """Bring back the work of every executor that is dead."""
        for executor_id in self._unfinished():
            if executor_id == self._executor_id or self._stopping.is_set():
                continue
            with self._liveness.dead(executor_id) as is_dead:
                if is_dead and (attempts := self._unfinished().get(executor_id, 0)):
                    self._adopt(executor_id, attempts)

    def _adopt(self, executor_id: str, attempts: int) -> None:
        log = structlog.get_logger().bind(executor=executor_id, attempts=attempts)
        url = self._settings.database.url
        command = [sys.executable, "-m", "dicom_node.serving.adoption", executor_id, str(os.getpid())]
        try:
            ended = subprocess.run(command, input=url.encode(), timeout=_ADOPTION_S, check=False).returncode
        except subprocess.TimeoutExpired:
            ended = -1
        if ended == 0:
            log.warning("takeover")
            TAKEOVERS.count()
            tell_of_takeover(self._settings, executor_id, attempts)
        else:
            log.error("takeover_failed", code="TAKEOVER_FAILED", kind=f"exit status {ended}")
