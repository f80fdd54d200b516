"""The real node with one flaw: `python -m tests.stalled_node --config SITE`.

The first time that its stage `perfuse` runs for a case, it reads the case, says so in the file `stalled` there, and
waits to be killed. So a test can kill a stage that holds a patient's data, whatever the speed of the computer.
"""

import sys
import time
from pathlib import Path

from dicom_node.jobs.cases import CaseFolder
from dicom_node.logs import configure_logs
from dicom_node.processes.orphans import die_with_parent
from dicom_node.processes.programs import Programs
from dicom_node.serving.service import serve
from dicom_node.settings.config import read_settings
from dicom_node.work import child

STALLED = "stalled"
_FOREVER_S = 36_000


def run_stage(arguments: list[str]) -> int:
    """One stage, as the node does it, unless it is the first `perfuse` of its case."""
    stage, folder, _, parent = arguments
    said = Path(folder) / STALLED
    if stage == "perfuse" and not said.exists():
        from dicom_node.pipeline import case_headers
        from dicom_node.results.result_files import read_ct

        die_with_parent(int(parent))
        held = (case_headers(CaseFolder(Path(folder))), read_ct(CaseFolder(Path(folder)).ct))
        said.write_text("")
        time.sleep(_FOREVER_S)
        del held
    return child.main(arguments)


if __name__ == "__main__":
    if sys.argv[1].startswith("--"):
        settings = read_settings(Path(sys.argv[2]))
        configure_logs(settings.log_level, settings.log_format)
        serve(settings, programs=Programs(stage="tests.stalled_node"))
    else:
        sys.exit(run_stage(sys.argv[1:]))
