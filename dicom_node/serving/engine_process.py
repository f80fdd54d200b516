"""One of the processes that do the work of the queues: `python -m dicom_node.serving.engine_process` with its parts.

Started by `supervisor` only, which passes on standard input how long to wait before stopping (`kept_process`), and a
descriptor on which it hears that this process works, or waits for the database. In it run DBOS and the threads that
look after stages and deliveries; the stages themselves are processes again (`child`), which die with this one.
"""

import argparse
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from dicom_node.logs import configure_logs
from dicom_node.processes.kept_process import obey_parent
from dicom_node.processes.programs import Programs
from dicom_node.processes.roles import Role
from dicom_node.recent_log import RecentLog

if TYPE_CHECKING:
    from dicom_node.settings.config import NodeSettings

_LATE_S: Final = 0.5
"""After this long without the database, the parent is told not to wait for us."""


def arguments_of(
    settings: "NodeSettings", executor_id: str, roles: Sequence[Role], programs: Programs, told: int
) -> list[str]:
    """The arguments of an engine process.

    Args:
        settings: of the node; the process reads their file itself.
        executor_id: under which it works, stable over its restarts.
        roles: which queues it takes work from.
        programs: what it starts for stages.
        told: descriptor that it writes one byte to when it works, or waits for the database.
    """
    words = ["--site", settings.source, "--executor", executor_id, "--stage-program", programs.stage]
    return [*words, "--told", str(told), *(word for role in roles for word in ("--role", role.value))]


def main(arguments: Sequence[str]) -> int:
    """Entry of the process."""
    parts = _parser().parse_args(arguments)
    for ending in (signal.SIGTERM, signal.SIGINT):  # sent to a whole group; when to stop is the parent's decision
        signal.signal(ending, signal.SIG_IGN)
    os.umask(0o077)  # what we keep is patient data
    stop = _Stop()
    threading.Thread(target=obey_parent, args=(stop.at_once_or_after,), name="obey-parent", daemon=True).start()

    from dicom_node.settings.config import read_settings

    settings = read_settings(parts.site)
    configure_logs(settings.log_level, settings.log_format, RecentLog.under(settings.data_dir))
    _work(settings, parts, stop)
    os._exit(0)  # what still runs is repeated at the next start, and stages die with us


def _work(settings: "NodeSettings", parts: argparse.Namespace, stop: "_Stop") -> None:
    from dicom_node.serving.job_engine import JobEngine
    from dicom_node.serving.liveness import alive
    from dicom_node.serving.takeover import Takeover

    told = _Told(parts.told)
    late = threading.Timer(_LATE_S, told.once)
    late.daemon = True
    if settings.database.is_server:
        late.start()
    liveness = alive(settings.database, settings.data_dir, parts.executor)
    late.cancel()
    programs = Programs(stage=parts.stage_program)
    engine = JobEngine(settings, parts.role, parts.executor, programs)
    engine.launch()
    takeover = Takeover(settings, parts.executor, liveness, engine.unfinished)
    takeover.start()
    log = structlog.get_logger("dicom_node.serving.engine_process")  # as a program this module has another name
    log.info("engine_started", executor=parts.executor, roles=[role.value for role in parts.role])
    told.once()
    grace_s = stop.wait()
    takeover.stop()
    engine.close(round(grace_s))


class _Stop:
    """The word of the parent to stop."""

    def __init__(self) -> None:
        self._said = threading.Event()
        self._is_working = False
        self._grace_s = 0.0

    def at_once_or_after(self, grace_s: float) -> None:
        """End the process if it has not begun to work, or let `wait` return."""
        self._grace_s = grace_s
        self._said.set()
        if not self._is_working:
            os._exit(0)

    def wait(self) -> float:
        """Wait for the word; how long stopping may take."""
        self._is_working = True
        self._said.wait()
        return self._grace_s


class _Told:
    """The descriptor on which the parent hears from us once."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor
        self._lock = threading.Lock()

    def once(self) -> None:
        """Say that we work, or wait."""
        with self._lock:
            descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.write(descriptor, b".")
            os.close(descriptor)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="engine_process")
    parser.add_argument("--site", type=Path, required=True)
    parser.add_argument("--executor", required=True)
    parser.add_argument("--role", type=Role, action="append", required=True)
    parser.add_argument("--stage-program", required=True)
    parser.add_argument("--told", type=int, required=True)
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
