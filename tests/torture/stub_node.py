"""`perfnode serve` with stub stages: `python -m tests.torture.stub_node --config SITE --name NAME --role ROLE…`."""

import argparse
from pathlib import Path

from dicom_node.logs import configure_logs
from dicom_node.processes.programs import Programs
from dicom_node.processes.roles import ALL_ROLES, Role
from dicom_node.serving.service import serve
from dicom_node.settings.config import read_settings

PROGRAMS = Programs(stage="tests.torture.stub_stage")


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--name", default="1")
    parser.add_argument("--role", type=Role, action="append")
    given = parser.parse_args()
    settings = read_settings(given.config)
    configure_logs(settings.log_level, settings.log_format)
    serve(settings, frozenset(given.role) if given.role else ALL_ROLES, name=given.name, programs=PROGRAMS)


if __name__ == "__main__":
    main()
