"""When a self-test is due, and the process that makes it: the serving process loads no imaging library.

Due are: one some time after each start, unless somebody has made one since, and then one after each interval, counted
from the last one, whoever made it. One that could not be made is tried again after an hour. Of several hosts one makes
it at a time. Afterwards the figures of new results are collected, before retention removes what they are read from.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from dicom_node.constancy.stop import Outcome, VerdictFile
from dicom_node.processes.orphans import die_with_parent
from dicom_node.settings.config import NodeSettings
from dicom_node.watching.chores import Chore

_LOOK_EVERY_S: Final = 30.0
RETRY_S: Final = 3600.0
"""Until a self-test that gave no answer is tried again, where the interval is not shorter; ours."""


class SelfTestTimer:
    """Makes self-tests through the port of a running node.

    Args:
        settings: of the node.
        started_at_s: Unix time at which the node started; without it, now.
    """

    def __init__(self, settings: NodeSettings, started_at_s: float | None = None) -> None:
        self._settings = settings
        self._started_at = time.monotonic()
        self._started_at_s = time.time() if started_at_s is None else started_at_s
        self._tried_at_s = 0.0

    def chores(self) -> list[Chore]:
        """The chore, or none where the site wants no self-tests by the clock."""
        if not self._settings.self_test.every_h:
            return []
        every_s = min(_LOOK_EVERY_S, max(self._settings.self_test.first_after_s, 1.0))
        return [Chore("self-test", every_s, self.look, once_for_all_hosts=True)]

    def is_due(self, now_s: float) -> bool:
        """Whether a self-test is to be made now.

        Args:
            now_s: Unix time.
        """
        wanted = self._settings.self_test
        if time.monotonic() - self._started_at < wanted.first_after_s:
            return False
        every_s = 3600.0 * wanted.every_h
        if 0.0 <= now_s - self._tried_at_s < min(RETRY_S, every_s):
            return False
        try:
            verdict = VerdictFile.under(self._settings.shared_dir).read()
        except (OSError, ValueError):
            verdict = None
        if verdict is None or verdict.at_s < self._started_at_s:
            return True
        wait_s = every_s if verdict.outcome is not Outcome.NOT_RUN else min(RETRY_S, every_s)
        return not 0.0 <= now_s - verdict.at_s < wait_s

    def look(self) -> None:
        """Make a self-test if one is due."""
        if not self.is_due(time.time()):
            return
        self._tried_at_s = time.time()
        command = [sys.executable, "-m", "dicom_node.commissioning.self_test_timer", self._settings.source]
        subprocess.run([*command, str(os.getpid())], check=True, stdin=subprocess.DEVNULL)


def main(arguments: list[str]) -> int:
    """Entry of the process that makes one self-test and then looks at the charts."""
    site_file, parent = arguments
    die_with_parent(int(parent))
    from dicom_node.logs import configure_logs
    from dicom_node.recent_log import RecentLog
    from dicom_node.settings.config import read_settings

    settings = read_settings(Path(site_file))
    configure_logs(settings.log_level, settings.log_format, RecentLog.under(settings.data_dir))
    from dicom_node.commissioning.drift_look import look_at_drift
    from dicom_node.commissioning.self_test import run_port_test

    run_port_test(settings)
    look_at_drift(settings)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
