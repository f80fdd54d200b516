"""`tests.torture.stub_node` with stages that kill their engine for the series that the file `ledger/poison` names."""

import os
import signal
import sys
from pathlib import Path

from dicom_node.jobs.cases import CaseFolder
from dicom_node.processes.programs import Programs
from dicom_node.work.child import SELF_TEST
from tests.torture import stub_node, stub_stage


def run_stage(arguments: list[str]) -> int:
    """One stage, unless it is poison."""
    stage, folder, _, parent, *_ = arguments
    if stage != SELF_TEST:
        plan = stub_stage.Plan.of(CaseFolder(Path(folder)))
        poison = Path(plan.ledger) / "poison"
        if poison.exists() and poison.read_text() == plan.series:
            os.kill(int(parent), signal.SIGKILL)
    return stub_stage.main(arguments)


if __name__ == "__main__":
    if sys.argv[1].startswith("--"):
        stub_node.PROGRAMS = Programs(stage="tests.poisoned_node")
        stub_node.main()
    else:
        sys.exit(run_stage(sys.argv[1:]))
