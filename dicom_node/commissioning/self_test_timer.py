"""When a self-test is due, and the process that makes it: the serving process loads no imaging library.

Due are: the first one some time after the start, and then one after each interval, counted from the last one, whoever
made it. Of several hosts one makes it.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from dicom_node.constancy.stop import VerdictFile
from dicom_node.processes.orphans import die_with_parent
from dicom_node.settings.config import NodeSettings
from dicom_node.watching.chores import Chore

_LOOK_EVERY_S: Final = 30.0


class SelfTestTimer:
    """Makes self-tests through the port of a running node.

    Args:
        settings: of the node.
    """

    def __init__(self, settings: NodeSettings) -> None:
        self._settings = settings
        self._started_at = time.monotonic()
        self._done_at_s = 0.0

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
        try:
            verdict = VerdictFile.under(self._settings.shared_dir).read()
        except (OSError, ValueError):
            verdict = None
        last_s = max(self._done_at_s, verdict.at_s if verdict is not None else 0.0)
        return not 0.0 <= now_s - last_s < 3600.0 * wanted.every_h

    def look(self) -> None:
        """Make a self-test if one is due."""
        if not self.is_due(time.time()):
            return
        self._done_at_s = time.time()
        command = [sys.executable, "-m", "dicom_node.commissioning.self_test_timer", self._settings.source]
        subprocess.run([*command, str(os.getpid())], check=True, stdin=subprocess.DEVNULL)


def main(arguments: list[str]) -> int:
    """Entry of the process that makes one self-test."""
    site_file, parent = arguments
    die_with_parent(int(parent))
    from dicom_node.commissioning.self_test import run_port_test
    from dicom_node.logs import configure_logs
    from dicom_node.settings.config import read_settings

    settings = read_settings(Path(site_file))
    configure_logs(settings.log_level, settings.log_format)
    run_port_test(settings)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
