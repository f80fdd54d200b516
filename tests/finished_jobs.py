"""Rows of the engine as a node leaves them; `python -m tests.finished_jobs DATA_DIR URL` makes them.

On standard input it wants a JSON object: the id of an attempt → its output, or null for one that waits in its queue.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from dicom_node.jobs.attempts import AttemptId
from dicom_node.jobs.job_database import JobDatabase, server_database
from dicom_node.jobs.queues import APPLICATION_VERSION, DELIVERY_WORKFLOW, STAGE_WORKFLOW, queue_of

Output = dict[str, Any]


def write_rows(data_dir: Path, outputs: dict[str, Output | None], url: str = "") -> None:
    """Make the database of a node with these rows; in a process of its own, since there is one engine per process.

    It is the file in `data_dir`, unless the URL of a server is given.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "tests.finished_jobs", str(data_dir), url]
    subprocess.run(command, input=json.dumps(outputs), text=True, check=True, timeout=120)


def delivered(case_id: str, *destinations: str, run: int = 1) -> dict[str, Output | None]:
    """The rows of a case that every destination has stored and confirmed."""
    stages = {
        f"{case_id}:{run}:{stage}:1": {"result": "done", "destinations": destinations} for stage in ("read", "check")
    }
    rows: dict[str, Output | None] = dict(stages)
    for name in destinations:
        uid = f"1.2.3.{int(case_id, 16)}"
        instances = [{"object": "parametric-map", "sop_instance_uid": uid, "status": 0, "stored": True}]
        rows[f"{case_id}:{run}:deliver.{name}:1"] = {"result": "done", "instances": instances, "verify": True}
        rows[f"{case_id}:{run}:verify.{name}:2"] = {
            "result": "done",
            "confirmed": {uid: "commitment"},
            "transaction": f"2.25.{int(case_id, 16)}",
        }
    return rows


def _main(database: JobDatabase, outputs: dict[str, Output | None]) -> None:
    from dbos import DBOS, SetWorkflowID

    database.prepare()
    DBOS(
        config={
            "name": "perfnode",
            "system_database_url": database.url,
            "executor_id": "node",
            "application_version": APPLICATION_VERSION,
            "log_level": "ERROR",
        }
    )

    @DBOS.step(name="perform")
    def perform(attempt_id: str) -> Output | None:
        return outputs[attempt_id]

    @DBOS.workflow(name=STAGE_WORKFLOW)
    def run_stage(attempt_id: str, tries: int) -> Output | None:
        return perform(attempt_id)

    @DBOS.workflow(name=DELIVERY_WORKFLOW)
    def deliver(attempt_id: str, tries: int) -> Output | None:
        return perform(attempt_id)

    DBOS.listen_queues([])
    DBOS.launch()
    for attempt_id, output in outputs.items():
        queue, name = queue_of(AttemptId.parse(attempt_id))
        workflow = {STAGE_WORKFLOW: run_stage, DELIVERY_WORKFLOW: deliver}[name]
        with SetWorkflowID(attempt_id):
            if output is None:
                DBOS.register_queue(queue)
                DBOS.enqueue_workflow(queue, workflow, attempt_id, 1)
            else:
                workflow(attempt_id, 1)
        time.sleep(0.001)  # the rows of a case have times of their own
    DBOS.destroy()


if __name__ == "__main__":
    url = sys.argv[2]
    _main(server_database(url, None) if url else JobDatabase.under(Path(sys.argv[1])), json.load(sys.stdin))
