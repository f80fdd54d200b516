"""One queue working off empty tasks in a process of its own: `python -m benchmarks.engine_peers NAME DATABASE TASKS`.

Prints JSON: seconds from the first task that was queued to the last one done, and processor seconds of this process.
"""

import json
import os
import sys
import threading
import time
from typing import Final

_POLL_S: Final = 0.1


def dbos(url: str, tasks: int) -> None:
    """DBOS as its documentation shows it: a workflow with one step, on a queue."""
    from dbos import DBOS, DBOSConfig

    config: DBOSConfig = {"name": "peer", "system_database_url": url, "log_level": "ERROR"}
    DBOS(config=config)

    @DBOS.step()
    def step(number: int) -> int:
        return number

    @DBOS.workflow()
    def workflow(number: int) -> int:
        return step(number)

    DBOS.launch()
    DBOS.register_queue("peer", worker_concurrency=1, polling_interval_sec=_POLL_S)
    handles = [DBOS.enqueue_workflow("peer", workflow, number) for number in range(tasks)]
    for handle in handles:
        handle.get_result(polling_interval_sec=_POLL_S)
    DBOS.destroy()


def huey(path: str, tasks: int) -> None:
    """Huey on SQLite, one worker thread, synced to disk at every commit as DBOS does."""
    from huey import SqliteHuey

    queue = SqliteHuey("peer", filename=path, fsync=True)
    done, lock, all_done = [0], threading.Lock(), threading.Event()

    @queue.task()
    def task(number: int) -> int:
        with lock:
            done[0] += 1
            if done[0] == tasks:
                all_done.set()
        return number

    for number in range(tasks):
        task(number)
    consumer = queue.create_consumer(workers=1, initial_delay=_POLL_S, max_delay=_POLL_S, periodic=False)
    consumer.start()
    all_done.wait(300)
    consumer.stop(graceful=True)


def main() -> None:
    """Run one of them."""
    name, database, tasks = sys.argv[1:]
    started, cpu_s = time.monotonic(), time.process_time()
    {"dbos": dbos, "huey": huey}[name](database, int(tasks))
    print(json.dumps({"seconds": time.monotonic() - started, "cpu_s": time.process_time() - cpu_s}), flush=True)
    os._exit(0)  # threads of a queue may still wait for work


if __name__ == "__main__":
    main()
