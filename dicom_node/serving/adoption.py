"""Brings back the work of a dead process: `python -m dicom_node.serving.adoption EXECUTOR_ID PARENT`.

DBOS puts the unfinished work of an executor back into its queues when an executor of that id is launched. So this
process becomes the dead one for a moment, listens to no queue of ours, and ends when nothing is left; whoever has room
takes the work. Unlike `resume_workflow`, this counts as a recovery, so that work which kills every process that takes
it ends as `TOO_MANY_RESTARTS`. Whoever starts it (`takeover`) holds the liveness lock of the dead one meanwhile, and
passes the URL of the database on standard input, because it may hold a password. Small, so that it starts fast.
"""

import sys
import time
from typing import Final

from dbos import DBOS

from dicom_node.jobs.dbos_settings import dbos_config
from dicom_node.processes.orphans import die_with_parent

_LIMIT_S: Final = 20.0
_LOOK_S: Final = 0.05


def main(arguments: list[str]) -> int:
    """Entry of the process; ends with status 0 when nothing of the dead one is left as running."""
    executor_id, parent = arguments
    die_with_parent(int(parent))
    DBOS(config=dbos_config(sys.stdin.read(), executor_id))
    DBOS.listen_queues(["none"])
    DBOS.launch()
    deadline = time.monotonic() + _LIMIT_S
    while is_left := bool(DBOS.list_workflows(status="PENDING", executor_id=executor_id, load_input=False, limit=1)):
        if time.monotonic() > deadline:
            break
        time.sleep(_LOOK_S)
    DBOS.destroy()
    return int(is_left)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
