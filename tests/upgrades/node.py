"""`perfnode serve` with the stages of `tests.upgrades.stage`: `python -m tests.upgrades.node --config SITE`."""

import sys
from pathlib import Path

from dicom_node.logs import configure_logs
from dicom_node.processes.programs import Programs
from dicom_node.serving.service import serve
from dicom_node.settings.config import read_settings

if __name__ == "__main__":
    settings = read_settings(Path(sys.argv[2]))
    configure_logs(settings.log_level, settings.log_format)
    serve(settings, programs=Programs(stage="tests.upgrades.stage"))
